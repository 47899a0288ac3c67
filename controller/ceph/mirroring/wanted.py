"""What a spec asks for of the mirroring of a pool or RADOS namespace. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.ceph.access.rados_namespaces import IMPLICIT, name_of
from controller.ceph.mirroring import schedules
from controller.ceph.mirroring.place import Mode, Place
from controller.framework.duration import DurationError, duration_or, parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephBlockPoolRadosNamespace
    from controller.apis.ceph.pool import MirrorHealthCheckSpec, NamedBlockPoolSpec
    from controller.ceph.mirroring.schedules import Schedule
    from controller.ceph.releases import CephVersion

SINCE = 20
"""The major release of Ceph from which mode init-only and other names of RADOS namespaces are known."""


EVERY, SHORTEST = 60.0, 10.0
"""Seconds between two looks at the state of the mirroring: where the spec says nothing, and at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for of a place.

    Attributes:
        mode: What is to be mirrored.
        schedules: When snapshots are made for that.
        secrets: The Secrets with tokens of other clusters.
        remote_namespace: The RADOS namespace of the other cluster; None: of the same name.
        watched: Whether the state of the mirroring is shown.
        interval: Seconds between two looks at it.
    """

    mode: Mode = Mode.DISABLED
    schedules: tuple[Schedule, ...] = ()
    secrets: tuple[str, ...] = ()
    remote_namespace: str | None = None
    watched: bool = True
    interval: float = EVERY


def of_pool(spec: NamedBlockPoolSpec) -> Wanted:
    """What a CephBlockPool asks for."""
    mirroring, check = spec.mirroring, spec.status_check.mirror
    if not mirroring.enabled:
        return Wanted()
    return Wanted(
        mode=Mode.of(mirroring.mode or Mode.IMAGE.word),
        schedules=schedules.wanted(mirroring.snapshot_schedules),
        secrets=mirroring.peers.secret_names,
        watched=not check.disabled,
        interval=interval(check),
    )


def of_namespace(namespace: CephBlockPoolRadosNamespace) -> Wanted:
    """What a CephBlockPoolRadosNamespace asks for."""
    mirroring = namespace.spec.mirroring
    remote: str | None = mirroring.remote_namespace
    if not remote or remote == name_of(namespace):
        remote = None
    return Wanted(
        mode=Mode.of(mirroring.mode),
        schedules=schedules.wanted(mirroring.snapshot_schedules) if mirroring.mode else (),
        remote_namespace="" if remote == IMPLICIT else remote,
    )


def interval(check: MirrorHealthCheckSpec) -> float:
    """Seconds between two looks at the state of the mirroring."""
    return max(duration_or(check.interval, EVERY), SHORTEST)


def problems_of_pool(spec: NamedBlockPoolSpec) -> tuple[str, ...]:
    """Why what a CephBlockPool asks for cannot be, in words."""
    return tuple(_of_pool(spec))


def _of_pool(spec: NamedBlockPoolSpec) -> Iterator[str]:
    mirroring = spec.mirroring
    if not mirroring.enabled:
        return
    if len(mirroring.peers.secret_names) > 1:
        count = len(mirroring.peers.secret_names)
        yield f"mirroring.peers.secretNames has {count} names: expected one, as Ceph mirrors a pool with one cluster"
    yield from schedules.problems(mirroring.snapshot_schedules, "mirroring.snapshotSchedules")
    try:
        parse_duration(spec.status_check.mirror.interval or "60s")
    except DurationError as error:
        yield f"statusCheck.mirror.interval: {error}"


def problems_of_namespace(namespace: CephBlockPoolRadosNamespace) -> tuple[str, ...]:
    """Why what a CephBlockPoolRadosNamespace asks for cannot be, in words."""
    mirroring = namespace.spec.mirroring
    if not mirroring.mode:
        return ()
    found = list(schedules.problems(mirroring.snapshot_schedules, "mirroring.snapshotSchedules"))
    if not name_of(namespace):
        found.append("mirroring is set for the implicit namespace: expected it in the CephBlockPool instead")
    return tuple(found)


def too_new(wanted: Wanted, version: CephVersion | None) -> str:
    """What is asked for that the cluster's release does not know, in words; empty: nothing."""
    if version is None or version.major >= SINCE:
        return ""
    if wanted.mode is Mode.INIT_ONLY:
        return f"a cluster of Ceph {SINCE}, as mirroring.mode init-only is newer than {version}"
    if wanted.remote_namespace is not None:
        return f"a cluster of Ceph {SINCE}, as mirroring.remoteNamespace is newer than {version}"
    return ""


def place_of_pool(name: str) -> Place:
    """A pool, by its name in Ceph."""
    return Place(name)


def place_of_namespace(namespace: CephBlockPoolRadosNamespace) -> Place:
    """A RADOS namespace, in the pool of its CephBlockPool."""
    return Place(namespace.spec.block_pool_name, name_of(namespace))
