"""How long users wait for volumes on a real cluster: one request is begun after the other, and each is timed.

Part of `bench.cluster`. A machine that is asked for everything at once is measured by `bench.scale`; here requests come
at a pace that leaves it time, so that the figures are those of a request, not of a queue.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.ceph.system import CSI_DRIVERS
from e2e import environment as env
from e2e import filesystems, pods, postgres, snapshots
from e2e.api import Manifest, load
from e2e.eventually import NotYetError, eventually
from e2e.progress import say

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from e2e.environment import Environment

RUNS = 50
LOOK_SECONDS = 0.05
DEADLINE = 180.0
"""Seconds after the last was begun until all have to be there."""
SOURCE_BYTES = "16M"
"""What the volume has in it of which snapshots and clones are made."""
SOURCE = "source"
NAMESPACE = "bench-latencies"

BOUND, RUNNING, TAKEN, CLONED = "claim to bound", "claim to running pod", "snapshot to ready", "clone to bound"
MEASURES = (BOUND, RUNNING, TAKEN, CLONED)
PACE = {BOUND: 0.5, RUNNING: 3.0, TAKEN: 1.0, CLONED: 1.0}
"""Seconds between two beginnings."""


@dataclass(frozen=True)
class System:
    """A sort of volumes: its StorageClass, the end of its driver's name, and the access mode of its claims."""

    name: str
    storage_class: str
    suffix: str
    access: str

    @property
    def measures(self) -> tuple[str, ...]:
        """What can be measured of it: snapshots and clones only where they are served."""
        sources = CSI_DRIVERS[self.suffix].sources
        served = {TAKEN: "VolumeSnapshot" in sources, CLONED: "PersistentVolumeClaim" in sources}
        return tuple(measure for measure in MEASURES if served.get(measure, True))


SYSTEMS = (
    System("RBD", env.STORAGE_CLASS, ".rbd.csi.ceph.com", "ReadWriteOnce"),
    System("CephFS", "rook-cephfs", ".cephfs.csi.ceph.com", "ReadWriteMany"),
)


@dataclass(frozen=True)
class Latency:
    """Seconds that each of the runs of a measure took."""

    system: str
    measure: str
    seconds: list[float]


def paced(
    count: int,
    begin: Callable[[int], None],
    arrived: Callable[[], Collection[int]],
    *,
    every: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[float]:
    """Begin so many, one each `every` seconds, and return the seconds from the beginning of each to its arrival.

    Args:
        count: How many.
        begin: Begins the one of that number.
        arrived: The numbers of those that have arrived. It is asked about every `LOOK_SECONDS`.
        every: Seconds between two beginnings.
        clock: Tells the time.
        sleep: Waits.

    Raises:
        TimeoutError: Some are not there `DEADLINE` seconds after the last was begun.
    """
    begun: list[float] = []
    took: dict[int, float] = {}
    while len(took) < count:
        now = clock()
        if len(begun) < count and (not begun or now - begun[-1] >= every):
            begun.append(now)
            begin(len(begun) - 1)
        elif len(begun) == count and now - begun[-1] > DEADLINE:
            missing = [str(number) for number in range(count) if number not in took]
            raise TimeoutError(f"{DEADLINE:g} s after the last was begun still not: {', '.join(missing)}")
        found = arrived()
        now = clock()
        took |= {number: now - begun[number] for number in found if number < len(begun) and number not in took}
        sleep(LOOK_SECONDS)
    return [took[number] for number in range(count)]


def percentile(values: Iterable[float], percent: float) -> float:
    """The least of the values that so many per cent of them do not exceed; of 50, the 99th is the most."""
    ordered = sorted(values)
    return ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1]


def table(found: Sequence[Latency]) -> str:
    """A row for each measure, with median and 99th percentile of each system; "-": not measured."""
    head = [f"{RUNS} runs of each", *(f"{system.name} {what} s" for system in SYSTEMS for what in ("median", "p99"))]
    lines = [head, ["---"] * len(head)]
    by_name = {(latency.system, latency.measure): latency.seconds for latency in found}
    for measure in MEASURES:
        cells = [measure]
        for system in SYSTEMS:
            seconds = by_name.get((system.name, measure))
            cells += [f"{statistics.median(seconds):.2f}", f"{percentile(seconds, 99):.2f}"] if seconds else ["-", "-"]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def measure(environment: Environment, systems: Sequence[System] = SYSTEMS) -> list[Latency]:
    """Time all that is served of these systems, and remove what was made for it."""
    snapshots.install(environment)
    own_filesystem = environment.api.find("CephFilesystem", filesystems.NAME, env.NAMESPACE) is None
    filesystems.make(environment, group=False)
    for manifest in load(env.EXAMPLES / "filesystem-storageclass.yaml"):
        environment.api.apply(manifest)
    environment.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    found = []
    try:
        for system in systems:
            _make_source(environment, system)
            for what in system.measures:
                say(f"    {system.name}: {what}, {RUNS} runs")
                seconds = _TIMED[what](environment, system)
                found.append(Latency(system.name, what, seconds))
                say(f"    median {statistics.median(seconds):.2f} s, p99 {percentile(seconds, 99):.2f} s")
            environment.api.delete("VolumeSnapshotClass", _class(system))
    finally:
        postgres.remove(environment, NAMESPACE)
        _wait_until_released(environment)
        if own_filesystem:
            filesystems.remove(environment)
    return found


def _class(system: System) -> str:
    return f"bench-{system.name.lower()}"


def _source(system: System) -> str:
    return f"{SOURCE}-{system.name.lower()}"


def _make_source(environment: Environment, system: System) -> None:
    """A claim with data in it, and the class by which snapshots of it are taken."""
    name = _source(system)
    pods.claim(environment, NAMESPACE, name, storage_class=system.storage_class, access=system.access)
    pods.pod(environment, NAMESPACE, name, name)
    pods.wait(environment, NAMESPACE, name)
    file = f"{pods.PATH}/file"
    pods.shell(environment, NAMESPACE, name, f"head -c {SOURCE_BYTES} /dev/urandom > {file}; sync {file}")
    pods.delete(environment, NAMESPACE, name)
    if TAKEN in system.measures:
        secret = f"rook-csi-{system.suffix.split('.')[1]}-provisioner"
        parameters = {
            "clusterID": env.NAMESPACE,
            "csi.storage.k8s.io/snapshotter-secret-name": secret,
            "csi.storage.k8s.io/snapshotter-secret-namespace": env.NAMESPACE,
        }
        environment.api.apply(
            {
                "apiVersion": "snapshot.storage.k8s.io/v1",
                "kind": "VolumeSnapshotClass",
                "metadata": {"name": _class(system)},
                "driver": f"{env.NAMESPACE}{system.suffix}",
                "parameters": parameters,
                "deletionPolicy": "Delete",
            }
        )


def _time_claims(environment: Environment, system: System) -> list[float]:
    def begin(number: int) -> None:
        name = f"bound-{number}"
        pods.claim(environment, NAMESPACE, name, storage_class=system.storage_class, access=system.access)

    return _timed(environment, BOUND, "PersistentVolumeClaim", "bound-", begin, _is_bound)


def _time_pods(environment: Environment, system: System) -> list[float]:
    def begin(number: int) -> None:
        name = f"running-{number}"
        pods.claim(environment, NAMESPACE, name, storage_class=system.storage_class, access=system.access)
        pods.pod(environment, NAMESPACE, name, name)

    return _timed(environment, RUNNING, "Pod", "running-", begin, lambda pod: bool(env.running([pod])))


def _time_snapshots(environment: Environment, system: System) -> list[float]:
    def begin(number: int) -> None:
        spec = {
            "volumeSnapshotClassName": _class(system),
            "source": {"persistentVolumeClaimName": _source(system)},
        }
        _apply(environment, "snapshot.storage.k8s.io/v1", "VolumeSnapshot", f"taken-{number}", spec)

    def ready(snapshot: Manifest) -> bool:
        return bool(snapshot.get("status", {}).get("readyToUse"))

    return _timed(environment, TAKEN, "VolumeSnapshot", "taken-", begin, ready)


def _time_clones(environment: Environment, system: System) -> list[float]:
    def begin(number: int) -> None:
        spec = {
            "storageClassName": system.storage_class,
            "accessModes": [system.access],
            "resources": {"requests": {"storage": "512Mi"}},
            "dataSource": {"kind": "PersistentVolumeClaim", "name": _source(system)},
        }
        _apply(environment, "v1", "PersistentVolumeClaim", f"cloned-{number}", spec)

    return _timed(environment, CLONED, "PersistentVolumeClaim", "cloned-", begin, _is_bound)


_TIMED = {BOUND: _time_claims, RUNNING: _time_pods, TAKEN: _time_snapshots, CLONED: _time_clones}


def _apply(environment: Environment, version: str, kind: str, name: str, spec: dict[str, Any]) -> None:
    meta = {"name": name, "namespace": NAMESPACE}
    environment.api.apply({"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec})


def _is_bound(claim: Manifest) -> bool:
    return bool(claim.get("status", {}).get("phase") == "Bound")


def _timed(
    environment: Environment,
    what: str,
    kind: str,
    prefix: str,
    begin: Callable[[int], None],
    arrived: Callable[[Manifest], bool],
) -> list[float]:
    """Time the objects of a kind whose names are the prefix and a number; they are gone afterwards."""

    def look() -> list[int]:
        found = environment.api.list(kind, NAMESPACE)
        named = [obj for obj in found if obj["metadata"]["name"].startswith(prefix)]
        return [int(obj["metadata"]["name"].removeprefix(prefix)) for obj in named if arrived(obj)]

    seconds = paced(RUNS, begin, look, every=PACE[what])
    kinds = (kind, "PersistentVolumeClaim") if kind == "Pod" else (kind,)
    for number in range(RUNS):
        for each in kinds:
            environment.api.delete(each, f"{prefix}{number}", NAMESPACE)

    def gone() -> None:
        left = [o for each in kinds for o in environment.api.list(each, NAMESPACE) if _is_of(o, prefix)]
        if left:
            raise NotYetError(f"{len(left)} to go")

    eventually(f"{what}: what was made", gone, deadline=DEADLINE)
    _wait_until_released(environment, kept=SOURCE)
    return seconds


def _is_of(obj: Manifest, prefix: str) -> bool:
    return bool(obj["metadata"]["name"].startswith(prefix))


def _wait_until_released(environment: Environment, *, kept: str = "") -> None:
    """Wait until the claims' PersistentVolumes are gone, so that they do not disturb what is timed next.

    `kept`: what the names of claims begin with whose volumes stay.
    """

    def look() -> None:
        claims = [volume["spec"].get("claimRef", {}) for volume in environment.api.list("PersistentVolume")]
        names = [claim["name"] for claim in claims if claim.get("namespace") == NAMESPACE]
        left = [name for name in names if not kept or not name.startswith(kept)]
        if left:
            raise NotYetError(f"{len(left)} PersistentVolumes to go")

    eventually("the volumes", look, deadline=2 * DEADLINE)
