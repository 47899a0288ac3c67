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
from controller.volumes.claims.objects import STORAGE_PROVISIONERS
from controller.volumes.snapshots.kinds import CONTENTS, GROUP, SNAPSHOT_CLASSES, SNAPSHOTS
from e2e.api import load
from e2e.environment import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from controller.testkit import ApiServer
    from informers import JsonObject, Resource

APPS = "apps"
AT_ONCE = 20
"""Objects that are written before the operator has its turn."""


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
    objects: Callable[[int, ApiServer], Iterator[tuple[Resource, JsonObject]]]
    done: Callable[[JsonObject], bool]
    resource: Resource = PVC
    most: int = 1 << 30


@dataclass
class Binder:
    """Binds claims to the PersistentVolumes that are made for them, and counts what is done.

    Attributes:
        server: The API server.
        wanted: The demand that is counted.
    """

    server: ApiServer
    wanted: Demand | None = None
    _done: set[tuple[str, str]] = field(default_factory=set)

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
                self._count(record.collection, record.key, record.object)
                if number % AT_ONCE == 0:
                    await anyio.lowlevel.checkpoint()

    def begin(self, wanted: Demand) -> None:
        """Counts from now on what is done of a demand."""
        self.wanted = wanted
        self._done.clear()

    @property
    def done(self) -> int:
        """How many objects have what was asked for."""
        return len(self._done)

    def _count(self, collection: tuple[str, str], key: tuple[str, str], obj: JsonObject) -> None:
        wanted = self.wanted
        if wanted is not None and collection == (wanted.resource.group, wanted.resource.plural) and wanted.done(obj):
            self._done.add(key)

    def _bind(self, volume: JsonObject) -> None:
        reference = volume["spec"]["claimRef"]
        claim = self.server.get(PVC, reference["namespace"], reference["name"])
        claim["spec"]["volumeName"] = volume["metadata"]["name"]
        claim["status"] = {"phase": "Bound", "capacity": dict(volume["spec"]["capacity"])}
        self.server.put(PVC, claim)
        bound = self.server.get(PV, "", volume["metadata"]["name"])
        self.server.put(PV, {**bound, "status": {"phase": "Bound"}})


def prepare(server: ApiServer) -> None:
    """Serves the kinds of snapshots, and has the examples' classes."""
    for resource in (SNAPSHOTS, CONTENTS, SNAPSHOT_CLASSES):
        server.serve(resource)
    for file, resource in (
        ("storageclass", STORAGE_CLASS),
        ("filesystem-storageclass", STORAGE_CLASS),
        ("snapshotclass", SNAPSHOT_CLASSES),
    ):
        for manifest in load(EXAMPLES / f"{file}.yaml"):
            server.put(resource, manifest)


BLOCK_CLASS, FILE_CLASS = "rook-ceph-block", "rook-cephfs"
BLOCK_DRIVER = f"{NAMESPACE}.rbd.csi.ceph.com"


def is_bound(claim: JsonObject) -> bool:
    """Whether a claim has its volume, and the operator has nothing to do with it any more."""
    return claim.get("status", {}).get("phase") == "Bound" and "volumes.rook.io/provisioning" not in str(
        claim["metadata"].get("finalizers", "")
    )


def is_ready(obj: JsonObject) -> bool:
    """Whether an object of a kind of Ceph's is Ready."""
    return bool(obj.get("status", {}).get("phase") == "Ready")


def _claim(name: str, storage_class: str, **spec: Any) -> tuple[Resource, JsonObject]:
    driver = BLOCK_DRIVER if storage_class == BLOCK_CLASS else f"{NAMESPACE}.cephfs.csi.ceph.com"
    return PVC, {
        "metadata": {"namespace": APPS, "name": name, "annotations": {STORAGE_PROVISIONERS[0]: driver}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": storage_class,
            "volumeMode": "Filesystem",
            **spec,
        },
        "status": {"phase": "Pending"},
    }


def _claims(prefix: str, storage_class: str, **spec: Any) -> Callable[..., Iterator[tuple[Resource, JsonObject]]]:
    def objects(count: int, _: ApiServer) -> Iterator[tuple[Resource, JsonObject]]:
        for number in range(count):
            yield _claim(f"{prefix}-{number:05d}", storage_class, **spec)

    return objects


def _snapshots(count: int, server: ApiServer) -> Iterator[tuple[Resource, JsonObject]]:
    """VolumeSnapshots of the first claims, with the contents that the snapshot-controller makes."""
    for number in range(count):
        name, uid = f"snapshot-{number:05d}", f"00000000-0000-0000-0000-{number:012x}"
        content = f"snapcontent-{uid}"
        claim = server.get(PVC, APPS, f"files-{number:05d}")
        volume = server.get(PV, "", claim["spec"]["volumeName"])
        snapshot = {
            "metadata": {"namespace": APPS, "name": name, "uid": uid},
            "spec": {
                "volumeSnapshotClassName": BLOCK_CLASS,
                "source": {"persistentVolumeClaimName": claim["metadata"]["name"]},
            },
            "status": {"boundVolumeSnapshotContentName": content},
        }
        yield SNAPSHOTS, snapshot
        found = server.get(SNAPSHOTS, APPS, name)
        reference = {"kind": "VolumeSnapshot", "namespace": APPS, "name": name, "uid": found["metadata"]["uid"]}
        spec = {
            "deletionPolicy": "Delete",
            "driver": BLOCK_DRIVER,
            "source": {"volumeHandle": volume["spec"]["csi"]["volumeHandle"]},
            "sourceVolumeMode": "Filesystem",
            "volumeSnapshotClassName": BLOCK_CLASS,
            "volumeSnapshotRef": reference,
        }
        yield CONTENTS, {"metadata": {"name": content}, "spec": spec}


def _copies(prefix: str, source: str, **reference: str) -> Callable[..., Iterator[tuple[Resource, JsonObject]]]:
    def objects(count: int, _: ApiServer) -> Iterator[tuple[Resource, JsonObject]]:
        for number in range(count):
            of = {**reference, "name": f"{source}-{number:05d}"}
            yield _claim(f"{prefix}-{number:05d}", BLOCK_CLASS, dataSource=of)

    return objects


def _kind(kind: Any, prefix: str, spec: JsonObject) -> Callable[..., Iterator[tuple[Resource, JsonObject]]]:
    def objects(count: int, _: ApiServer) -> Iterator[tuple[Resource, JsonObject]]:
        for number in range(count):
            meta = {"namespace": NAMESPACE, "name": f"{prefix}-{number:05d}"}
            yield resource_of(kind), {"metadata": meta, "spec": spec}

    return objects


FEW = 300
"""How many there are of what is not a volume."""

DEMANDS = (
    Demand("RBD claim, file system", _claims("files", BLOCK_CLASS), is_bound),
    Demand("RBD claim, block", _claims("blocks", BLOCK_CLASS, volumeMode="Block"), is_bound),
    Demand("CephFS claim", _claims("shared", FILE_CLASS, accessModes=["ReadWriteMany"]), is_bound),
    Demand(
        "snapshot of an RBD claim",
        _snapshots,
        lambda content: bool(content.get("status", {}).get("readyToUse")),
        CONTENTS,
    ),
    Demand("claim from a snapshot", _copies("restored", "snapshot", apiGroup=GROUP, kind="VolumeSnapshot"), is_bound),
    Demand("claim from a claim", _copies("cloned", "files", kind="PersistentVolumeClaim"), is_bound),
    Demand(
        "CephClient",
        _kind(CEPH_CLIENT, "client", {"caps": {"mon": "profile rbd", "osd": f"profile rbd pool={POOL}"}}),
        is_ready,
        resource_of(CEPH_CLIENT),
        FEW,
    ),
    Demand(
        "CephBlockPoolRadosNamespace",
        _kind(CEPH_BLOCK_POOL_RADOS_NAMESPACE, "tenant", {"blockPoolName": POOL}),
        is_ready,
        resource_of(CEPH_BLOCK_POOL_RADOS_NAMESPACE),
        FEW,
    ),
    Demand(
        "CephFilesystemSubVolumeGroup",
        _kind(CEPH_FILESYSTEM_SUBVOLUME_GROUP, "group", {"filesystemName": FILESYSTEM}),
        is_ready,
        resource_of(CEPH_FILESYSTEM_SUBVOLUME_GROUP),
        FEW,
    ),
)
"""In the order in which they are asked for: what is copied has to be there."""
