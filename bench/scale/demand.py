"""What users ask for when the cost of volumes is measured: claims, snapshots, copies and other objects, many at once.

Kubernetes' own part, the binding of claims, is done here as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from bench.scale.storage import FILESYSTEM, POOL
from bench.scale.world import NAMESPACE
from controller.apis.ceph import CEPH_BLOCK_POOL_RADOS_NAMESPACE, CEPH_CLIENT, CEPH_FILESYSTEM_SUBVOLUME_GROUP
from controller.runtime.kube import PV, PVC, STORAGE_CLASS, resource_of
from controller.volumes.claims.objects import CLAIM_FINALIZER, STORAGE_PROVISIONERS
from controller.volumes.snapshots.kinds import CONTENTS, GROUP, SNAPSHOT_CLASSES, SNAPSHOTS
from e2e.api import load
from e2e.environment import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from controller.testkit import ApiServer
    from informers import JsonObject, Resource

APPS = "apps"
AT_ONCE = 20
"""Objects that are written before the operator has its turn."""


type Objects = Callable[[int, ApiServer], Iterator[tuple[Resource, JsonObject]]]
"""Makes so many objects, one by one; it may look at those that are there."""


@dataclass(frozen=True)
class Demand:
    """Objects of one sort that users ask for.

    Attributes:
        name: What the row of the table is called.
        objects: Makes so many of them, the objects that they need included.
        done: Whether an object, as it is now, has what its user asked for.
        resource: The kind that `done` looks at.
        most: Most objects that are asked for, whatever the size.
    """

    name: str
    objects: Objects
    done: Callable[[JsonObject], bool]
    resource: Resource = PVC
    most: int = 1 << 30


@dataclass
class Binder:
    """Binds claims to the PersistentVolumes that are made for them, and sees which objects have what was asked for.

    Attributes:
        server: The API server.
        waiting: Those that have not, with what they wait for, by collection and key.
    """

    server: ApiServer
    waiting: dict[tuple[object, object], Callable[[JsonObject], bool]] = field(default_factory=dict)

    async def run(self) -> None:
        """Follows the objects for ever; costs nothing for those that do not change."""
        storage, seen = self.server.storage, self.server.storage.version
        changed = anyio.Event()
        storage.listeners.append(lambda: changed.set())
        while True:
            await changed.wait()
            changed = anyio.Event()
            for number, record in enumerate(storage.since(seen)):
                seen = record.version
                if record.collection == (PV.group, PV.plural) and record.type == "ADDED":
                    self._bind(record.object)
                done = self.waiting.get((record.collection, record.key))
                if done is not None and done(record.object):
                    del self.waiting[record.collection, record.key]
                if number % AT_ONCE == 0:
                    await anyio.lowlevel.checkpoint()

    def expect(self, demand: Demand, resource: Resource, obj: JsonObject) -> None:
        """Waits for an object that is about to be made, if it is of the kind that the demand is for."""
        if resource == demand.resource:
            key = (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
            self.waiting[(resource.group, resource.plural), key] = demand.done

    def _bind(self, volume: JsonObject) -> None:
        reference = volume["spec"]["claimRef"]
        claim = self.server.get(PVC, reference["namespace"], reference["name"])
        claim["spec"]["volumeName"] = volume["metadata"]["name"]
        claim["status"] = {"phase": "Bound", "capacity": dict(volume["spec"]["capacity"])}
        self.server.put(PVC, claim)
        bound = self.server.get(PV, "", volume["metadata"]["name"])
        self.server.put(PV, {**bound, "status": {"phase": "Bound"}})


def prepare(server: ApiServer) -> None:
    """Serves the kinds of snapshots, and has the examples' StorageClasses and a VolumeSnapshotClass for each sort."""
    for resource in (SNAPSHOTS, CONTENTS, SNAPSHOT_CLASSES):
        server.serve(resource)
    for file in ("storageclass", "filesystem-storageclass"):
        for manifest in load(EXAMPLES / f"{file}.yaml"):
            server.put(STORAGE_CLASS, manifest)
    for sort in SORTS:
        parameters = {"clusterID": NAMESPACE}
        made = {"driver": sort.driver, "deletionPolicy": "Delete", "parameters": parameters}
        server.put(SNAPSHOT_CLASSES, {"metadata": {"name": sort.prefix}, **made})


@dataclass(frozen=True)
class Sort:
    """A sort of volumes.

    Attributes:
        name: What it is called in the table.
        prefix: What the names of its claims begin with, and the name of its VolumeSnapshotClass.
        storage_class: The StorageClass of its claims.
        driver: Its CSI driver.
        spec: What else its claims ask for.
    """

    name: str
    prefix: str
    storage_class: str
    driver: str
    spec: Mapping[str, Any]


RBD, CEPHFS = f"{NAMESPACE}.rbd.csi.ceph.com", f"{NAMESPACE}.cephfs.csi.ceph.com"
SORTS = (
    Sort("RBD, file system", "files", "rook-ceph-block", RBD, {"volumeMode": "Filesystem"}),
    Sort("RBD, block", "blocks", "rook-ceph-block", RBD, {"volumeMode": "Block"}),
    Sort("CephFS", "shared", "rook-cephfs", CEPHFS, {"accessModes": ["ReadWriteMany"]}),
)


def is_bound(claim: JsonObject) -> bool:
    """Whether a claim has its volume, and the operator has nothing to do with it any more."""
    held = CLAIM_FINALIZER in claim["metadata"].get("finalizers", ())
    return claim.get("status", {}).get("phase") == "Bound" and not held


def is_taken(content: JsonObject) -> bool:
    """Whether a VolumeSnapshotContent has its snapshot."""
    return bool(content.get("status", {}).get("readyToUse"))


def is_ready(obj: JsonObject) -> bool:
    """Whether an object of a kind of Ceph's is Ready."""
    return bool(obj.get("status", {}).get("phase") == "Ready")


def _claim(sort: Sort, name: str, **spec: Any) -> tuple[Resource, JsonObject]:
    return PVC, {
        "metadata": {"namespace": APPS, "name": name, "annotations": {STORAGE_PROVISIONERS[0]: sort.driver}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": sort.storage_class,
            "volumeMode": "Filesystem",
            **sort.spec,
            **spec,
        },
        "status": {"phase": "Pending"},
    }


def _claims(sort: Sort) -> Objects:
    def objects(count: int, _: ApiServer) -> Iterator[tuple[Resource, JsonObject]]:
        for number in range(count):
            yield _claim(sort, f"{sort.prefix}-{number:05d}")

    return objects


def _snapshots(sort: Sort) -> Objects:
    """VolumeSnapshots of the claims, with the contents that the snapshot-controller makes."""

    def objects(count: int, server: ApiServer) -> Iterator[tuple[Resource, JsonObject]]:
        for number in range(count):
            source = f"{sort.prefix}-{number:05d}"
            name = content = f"snapshot-of-{source}"
            claim = server.get(PVC, APPS, source)
            volume = server.get(PV, "", claim["spec"]["volumeName"])
            named = {"volumeSnapshotClassName": sort.prefix}
            meta = {"namespace": APPS, "name": name}
            bound = {"status": {"boundVolumeSnapshotContentName": content}}
            spec = {**named, "source": {"persistentVolumeClaimName": source}}
            yield SNAPSHOTS, {"metadata": meta, "spec": spec, **bound}
            uid = server.get(SNAPSHOTS, APPS, name)["metadata"]["uid"]
            of_content = {
                **named,
                "deletionPolicy": "Delete",
                "driver": sort.driver,
                "source": {"volumeHandle": volume["spec"]["csi"]["volumeHandle"]},
                "sourceVolumeMode": claim["spec"]["volumeMode"],
                "volumeSnapshotRef": {"kind": "VolumeSnapshot", **meta, "uid": uid},
            }
            yield CONTENTS, {"metadata": {"name": content}, "spec": of_content}

    return objects


def _copies(sort: Sort, prefix: str, source: str, **reference: str) -> Objects:
    def objects(count: int, _: ApiServer) -> Iterator[tuple[Resource, JsonObject]]:
        for number in range(count):
            of = {**reference, "name": f"{source}{sort.prefix}-{number:05d}"}
            yield _claim(sort, f"{prefix}-{sort.prefix}-{number:05d}", dataSource=of)

    return objects


def _kind(resource: Resource, prefix: str, spec: JsonObject) -> Objects:
    def objects(count: int, _: ApiServer) -> Iterator[tuple[Resource, JsonObject]]:
        for number in range(count):
            meta = {"namespace": NAMESPACE, "name": f"{prefix}-{number:05d}"}
            yield resource, {"metadata": meta, "spec": spec}

    return objects


FEW = 300
"""How many there are of what is not a volume."""


def _of_volumes(sort: Sort) -> Iterator[Demand]:
    yield Demand(f"{sort.name}: claim", _claims(sort), is_bound)
    yield Demand(f"{sort.name}: snapshot", _snapshots(sort), is_taken, CONTENTS)
    restored = _copies(sort, "restored", "snapshot-of-", apiGroup=GROUP, kind="VolumeSnapshot")
    yield Demand(f"{sort.name}: claim from a snapshot", restored, is_bound)
    cloned = _copies(sort, "cloned", "", kind="PersistentVolumeClaim")
    yield Demand(f"{sort.name}: claim from a claim", cloned, is_bound)


def _of_kinds() -> Iterator[Demand]:
    caps = {"mon": "profile rbd", "osd": f"profile rbd pool={POOL}"}
    for kind, prefix, spec in (
        (CEPH_CLIENT, "client", {"caps": caps}),
        (CEPH_BLOCK_POOL_RADOS_NAMESPACE, "tenant", {"blockPoolName": POOL}),
        (CEPH_FILESYSTEM_SUBVOLUME_GROUP, "group", {"filesystemName": FILESYSTEM}),
    ):
        resource = resource_of(kind)
        yield Demand(resource.kind, _kind(resource, prefix, spec), is_ready, resource, FEW)


DEMANDS = (*(demand for sort in SORTS for demand in _of_volumes(sort)), *_of_kinds())
"""In the order in which they are asked for: what is copied has to be there."""
