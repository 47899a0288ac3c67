"""A cluster's OSDs for tests: devices, Deployments, Jobs, and what is seen of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph import CephCluster
from controller.apis.rook.node_report import BlockDevice
from controller.ceph.access.rados import CephError
from controller.ceph.osd import analyze as osd
from controller.ceph.osd.assess import assess
from controller.ceph.osd.memory import Comparisons
from controller.ceph.osd.objects import Osd, osd_deployment, read_osd
from controller.ceph.osd.observation import OsdObservation, OsdState
from controller.ceph.osd.observe import observe
from controller.ceph.osd.prepare_job import APP as PREPARE_APP
from controller.ceph.osd.prepare_job import (
    BOOTSTRAP_SECRET,
    PrepareDevices,
    Target,
    prepare_job,
)
from controller.ceph.osd.reservations import Reservations
from controller.ceph.osd.spec import OsdSpec
from controller.ceph.pods import Context, Release, context_of
from controller.ceph.releases import CephVersion
from controller.framework.jobs import Run, read
from controller.framework.plan import Step
from controller.runtime.kube import Deployment, Job, Node, Pod
from informers import Client
from tests.unit.framework.applied import as_applied

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FSID = "a7beedc0-36a7-4be2-afe3-22094a6770aa"
UUIDS = tuple(f"354e9e31-3991-4647-ad71-9e21444f95c{n}" for n in range(10))
RELEASE = Release("ceph:18.2", CephVersion(18, 2, 7))
NEXT_RELEASE = Release("ceph:19.2", CephVersion(19, 2, 2))
NOW = 1_800_000_000.0
UNUSED: Any = None
GIB = 1024**3


def cluster(**spec: Any) -> CephCluster:
    spec.setdefault("storage", {"useAllNodes": True, "useAllDevices": True})
    meta = {"name": "my-cluster", "namespace": "rook-ceph", "uid": "c1"}
    return msgspec.convert({"metadata": meta, "spec": spec}, CephCluster)


def node(name: str, **labels: str) -> Node:
    labels = {"kubernetes.io/hostname": name, **labels}
    return msgspec.convert(
        {"metadata": {"name": name, "labels": labels}, "status": {"nodeInfo": {"bootID": f"boot-{name}"}}}, Node
    )


def disk(name: str = "sdb", **fields: Any) -> BlockDevice:
    return BlockDevice(**{"name": name, "path": f"/dev/{name}", "type": "disk", "size": 10 * GIB, **fields})


def target(name: str, device_class: str = "") -> Target:
    """What is asked of a Job for `disk(name)`."""
    return Target(f"/dev/{name}", device_class, size=10 * GIB)


def osd_disk(number: int, name: str = "sdb") -> BlockDevice:
    label = {"ceph_fsid": FSID, "osd_id": number, "osd_uuid": UUIDS[number], "signatures": ("ceph_bluestore",)}
    return disk(name, **label)


def an_osd(number: int, node_name: str = "a", **fields: Any) -> Osd:
    return Osd(**{"osd_id": number, "uuid": UUIDS[number], "node": node_name, "path": "/dev/sdb", **fields})


def state(number: int, *, up: bool = True, is_in: bool = True, new: bool = False, **fields: Any) -> OsdState:
    return OsdState(osd_id=number, uuid=UUIDS[number], up=up, is_in=is_in, new=new, **fields)


def running(
    spec: CephCluster,
    one: Osd,
    release: Release = RELEASE,
    *,
    rolled_out: bool = True,
    progress: str = "",
    since: float = NOW,
) -> dict[str, Any]:
    """An OSD's Deployment as the API server has it.

    Args:
        spec: The cluster.
        one: The OSD.
        release: What it is to run.
        rolled_out: Whether its pod is there.
        progress: The reason of its condition Progressing, written `since` then.
        since: Seconds since the epoch.
    """
    found = as_applied(osd_deployment(spec.spec.storage, a_context(spec, release), one, node(one.node), {}, IMAGE))
    found["metadata"] |= {"uid": f"d{one.osd_id}", "generation": 2}
    replicas = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    found["status"] = {"observedGeneration": 2, **(replicas if rolled_out else {})}
    if progress:
        updated = datetime.fromtimestamp(since, UTC).isoformat()
        found["status"]["conditions"] = [
            {"type": "Progressing", "status": "True", "reason": progress, "lastUpdateTime": updated}
        ]
    return found


IMAGE = "rook/operator:v1"
OPERATOR: dict[str, Any] = {"script_image": IMAGE, "reservations": Reservations(lambda: NOW)}
SHARED: dict[tuple[str, str], dict[str, Any]] = {
    ("Secret", BOOTSTRAP_SECRET): {},
}


def observation(*deployments: dict[str, Any], **fields: Any) -> OsdObservation:
    """What is seen of a cluster whose shared objects are there."""
    typed = [msgspec.convert(d, Deployment) for d in deployments]
    numbered = {one.osd_id: d for d in typed if (one := read_osd(d)) is not None}
    live = {**SHARED, **{("Deployment", d["metadata"]["name"]): d for d in deployments}}
    names = fields.pop("nodes", ("a",))
    fields = {"now": NOW, "script_image": IMAGE, "live": live, "deployments": numbered, "states": {}, **fields}
    return OsdObservation(nodes=tuple(node(n) if isinstance(n, str) else n for n in names), **fields)


def job(spec: CephCluster, *paths: str, ended: str = "", kind: str = "Complete") -> Job:
    action = PrepareDevices(node="a", hostname="a", targets=tuple(Target(path) for path in paths))
    manifest = prepare_job(spec.spec.storage, a_context(spec), action, UUIDS[: len(paths)], IMAGE)
    manifest["metadata"]["uid"] = "j1"
    if ended:
        manifest["status"] = {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": ended}]}
    return msgspec.convert(manifest, Job)


def preparing(found: Job, now: float = NOW) -> dict[str, Run]:
    return {found.metadata.name: read(found, (), {}, now)}


def prepare_pod(name: str, message: str, *, created: str = "2027-01-15T08:00:00Z", node_name: str = "a") -> Pod:
    ended = {"name": "provision", "state": {"terminated": {"exitCode": 0, "message": message}}}
    return msgspec.convert(
        {
            "metadata": {"name": name, "creationTimestamp": created, "labels": {"app": PREPARE_APP}},
            "spec": {"nodeName": node_name},
            "status": {"containerStatuses": [ended]},
        },
        Pod,
    )


def assessed(spec: CephCluster, release: Release, seen: OsdObservation) -> OsdObservation:
    return replace(seen, assessed=assess(OsdSpec.of(spec), a_context(spec, release), seen, Comparisons()))


def a_context(spec: CephCluster, release: Release = RELEASE) -> Context:
    return context_of(spec, FSID, release)


def analyze(spec: CephCluster, context: Context, seen: OsdObservation, *, hold: str = "") -> tuple[Step, ...]:
    """The plan for what is seen."""
    return osd.analyze(OsdSpec.of(spec), context, assessed(spec, context.release, seen), hold=hold)


def lost(seen: OsdObservation) -> dict[int, str]:
    return osd.lost(assessed(cluster(), RELEASE, seen))


def shown(steps: tuple[Step, ...]) -> list[tuple[str, str, str]]:
    return [(step.subject, step.title, step.waits_for) for step in steps]


class OnTheServer(Client):
    """An API server that has the CephCluster."""

    def __init__(self, allowed: bool, uid: str = "c1") -> None:
        self.cluster = {"metadata": {"uid": uid}, "spec": {"removeOSDsIfOutAndSafeToRemove": allowed}}

    async def get(self, *_: Any, **__: Any) -> Any:
        return self.cluster


class FakeCeph:
    """Answers as a cluster whose OSDs are given, and refuses what it is told to refuse."""

    def __init__(self, *states: OsdState, refuses: dict[tuple[str, tuple[str, ...]], str] | None = None) -> None:
        self.states = states
        self.refuses = refuses or {}
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.outputs: dict[str, Any] = {}
        self.answers: Iterator[bool] = iter(())
        self.silent = False
        self.max_osd: int | None = None

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        if self.silent:
            raise CephError(110, "no answer")
        if prefix == "osd count-metadata":
            value = {"osd_objectstore": "bluestore", "ceph_release": "reef"}[args["property"]]
            return {value: len(self.states), "unknown": 1}
        assert not args
        if prefix == "osd dump":
            return {
                "osds": [
                    {
                        "osd": s.osd_id,
                        "uuid": s.uuid,
                        "up": int(s.up),
                        "in": int(s.is_in),
                        "state": ["exists", *(["new"] if s.new else [])],
                    }
                    for s in self.states
                ],
                "require_osd_release": "quincy",
                **({} if self.max_osd is None else {"max_osd": self.max_osd}),
            }
        if prefix == "osd tree":
            return {"nodes": [{"id": -1}, *({"id": s.osd_id, "device_class": "ssd"} for s in self.states)], "stray": []}
        assert prefix == "osd crush rule dump"
        return []

    async def mon_input(self, prefix: str, data: bytes, /, **args: Any) -> Any:
        raise AssertionError(prefix)

    async def mgr(self, prefix: str, /, **args: Any) -> Any:
        question = (prefix, tuple(args["ids"]))
        self.asked.append(question)
        refusal = self.refuses.get(question) or ("" if next(self.answers, True) else "not now")
        if refusal:
            raise CephError(16, refusal, self.outputs.get(prefix))
        return self.outputs.get(prefix, {})


THREE = (an_osd(0, "a"), an_osd(1, "a"), an_osd(2, "b"))


async def look(
    spec: CephCluster,
    release: Release,
    ceph: Any,
    deployed: Sequence[dict[str, Any]],
    *,
    now: float = NOW,
    mgr: bool = True,
    memory: Comparisons | None = None,
) -> OsdObservation:
    """What is observed of a cluster on nodes a, b and c with these Deployments."""
    return await observe(
        OsdSpec.of(spec),
        a_context(spec, release),
        now=now,
        nodes=[node(n) for n in "abc"],
        reports={},
        live={**SHARED, **{("Deployment", d["metadata"]["name"]): d for d in deployed}},
        deployments=[msgspec.convert(d, Deployment) for d in deployed],
        all_jobs=[],
        pods=[],
        ceph=ceph,
        mgr=mgr,
        memory=memory,
        script_image=IMAGE,
    )


def copies(deployment: dict[str, Any]) -> list[str]:
    """The images from which the pods of a Deployment get files."""
    return [c["image"] for c in deployment["spec"]["template"]["spec"]["initContainers"]]
