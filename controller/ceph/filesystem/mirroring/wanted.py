"""What a CephFilesystem asks for of its mirroring. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.ceph.filesystem.mirroring import schedules
from controller.ceph.filesystem.mirroring.schedules import Plan
from controller.ceph.mirroring.wanted import EVERY, interval
from controller.framework.duration import DurationError, parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephFilesystem

WHERE = "spec.mirroring"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for of a file system.

    Attributes:
        enabled: Whether it is mirrored.
        secrets: The Secrets with tokens of other clusters.
        snapshots: When snapshots are made, and how many are kept.
        directories: What is copied, beside what somebody adds by hand.
        watched: Whether the state of the mirroring is shown.
        interval: Seconds between two looks at it.
    """

    enabled: bool = False
    secrets: tuple[str, ...] = ()
    snapshots: Plan = Plan()  # noqa: RUF009  immutable
    directories: tuple[str, ...] = ()
    watched: bool = True
    interval: float = EVERY


def of(filesystem: CephFilesystem) -> Wanted:
    """What a CephFilesystem asks for."""
    spec, check = filesystem.spec.mirroring, filesystem.spec.status_check.mirror
    if not spec.enabled:
        return Wanted()
    return Wanted(
        enabled=True,
        secrets=tuple(dict.fromkeys(spec.peers.secret_names)),
        snapshots=schedules.wanted(spec.snapshot_schedules, spec.snapshot_retention),
        directories=tuple(sorted({schedules.normal(path) for path in spec.directories if path.startswith("/")})),
        watched=not check.disabled,
        interval=interval(check),
    )


def problems(filesystem: CephFilesystem) -> Iterator[str]:
    """Why what a CephFilesystem asks for cannot be, in words."""
    spec = filesystem.spec.mirroring
    if not spec.enabled:
        return
    name = filesystem.metadata.name
    if "." in name:
        yield f"metadata.name is {name}: the mgr takes no peer whose user has a dot in its name; choose another name"
    count = len(set(spec.peers.secret_names))
    if count > 1:
        yield f"{WHERE}.peers.secretNames has {count} names: expected one, as Ceph's daemon knows but one peer"
    yield from schedules.problems(spec.snapshot_schedules, spec.snapshot_retention, WHERE)
    for index, path in enumerate(spec.directories):
        if not path.startswith("/"):
            problem = f"{path!r}: expected that of a directory from the root on, such as /shared"
            yield f"{WHERE}.directories[{index}] is {problem}"
    yield from _nested(sorted({schedules.normal(path) for path in spec.directories if path.startswith("/")}))
    try:
        parse_duration(filesystem.spec.status_check.mirror.interval or "60s")
    except DurationError as error:
        yield f"spec.statusCheck.mirror.interval: {error}"


def _nested(directories: list[str]) -> Iterator[str]:
    for path in directories:
        within = next(
            (other for other in directories if other != path and path.startswith(other.rstrip("/") + "/")), ""
        )
        if within:
            yield f"{WHERE}.directories has {path}, which is in {within}: Ceph mirrors no directory within another one"
