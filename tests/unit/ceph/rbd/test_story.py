"""From a claim to its snapshot, to what is restored, to nothing: all controllers of volumes, on librbd in memory."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.framework.reports import REPORTS
from controller.runtime.kube import PV, PVC, STORAGE_CLASS
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from controller.volumes import system
from controller.volumes.backend import Volume
from controller.volumes.claims.objects import STORAGE_PROVISIONERS
from controller.volumes.groups import kinds as groups
from controller.volumes.snapshots.kinds import (
    BEING_DELETED,
    CONTENT_FINALIZER,
    CONTENTS,
    GROUP_HANDLE,
    SNAPSHOT_CLASSES,
    SNAPSHOTS,
)
from tests.unit.ceph.rbd.librbd import EXCLUSIVE_LOCK, Cluster, Stored
from tests.unit.ceph.rbd.test_snapshots import operator
from tests.unit.ceph.volumes import DRIVER, storage_class

GROUP_CONTENTS, GROUP_CLASSES = groups.contents("v1"), groups.classes("v1")


class Kubernetes:
    """What Kubernetes' own controllers do, and the snapshot-controller."""

    def __init__(self) -> None:
        self.server = ApiServer(namespaces=("app", "default", "rook-ceph"))
        for resource in (REPORTS, SNAPSHOTS, CONTENTS, SNAPSHOT_CLASSES, GROUP_CONTENTS, GROUP_CLASSES):
            self.server.serve(resource)
        built = msgspec.to_builtins(storage_class(pool="p"))
        self.server.put(STORAGE_CLASS, {**built, "metadata": {"name": "rbd"}})
        self.server.put(SNAPSHOT_CLASSES, {"metadata": {"name": "s"}, "driver": DRIVER, "deletionPolicy": "Delete"})
        self.server.put(GROUP_CLASSES, {"metadata": {"name": "g"}, "driver": DRIVER, "deletionPolicy": "Delete"})

    async def claim(self, name: str, **spec: Any) -> str:
        """Makes a claim and binds it; returns its image."""
        wanted = {
            "storageClassName": "rbd",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            **spec,
        }
        metadata = {"namespace": "app", "name": name, "annotations": {STORAGE_PROVISIONERS[0]: DRIVER}}
        made = self.server.create(PVC, {"metadata": metadata, "spec": wanted})
        volume = f"pvc-{made['metadata']['uid']}"
        await until(lambda: self.server.find(PV, "", volume) is not None, within=60)
        bound = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
        self.server.patch(PVC, "app", name, {"spec": {"volumeName": volume}})
        self.server.put(PVC, {**self.server.get(PVC, "app", name), "status": bound})
        self.server.put(PV, {**self.server.get(PV, "", volume), "status": {"phase": "Bound"}})
        await until(lambda: not self.server.get(PVC, "app", name)["metadata"].get("finalizers"), within=60)
        image: str = self.server.get(PV, "", volume)["spec"]["csi"]["volumeAttributes"]["imageName"]
        return image

    async def snapshot(self, name: str, claim: str) -> str:
        """Takes a snapshot; returns the content's name."""
        made = self.server.create(SNAPSHOTS, {"metadata": {"namespace": "app", "name": name}, "spec": {}})
        uid = made["metadata"]["uid"]
        volume = self.server.get(PV, "", self.server.get(PVC, "app", claim)["spec"]["volumeName"])
        content = f"snapcontent-{uid}"
        spec = {
            "volumeSnapshotRef": {"namespace": "app", "name": name, "uid": uid},
            "deletionPolicy": "Delete",
            "driver": DRIVER,
            "volumeSnapshotClassName": "s",
            "source": {"volumeHandle": volume["spec"]["csi"]["volumeHandle"]},
            "sourceVolumeMode": "Filesystem",
        }
        self.server.create(CONTENTS, {"metadata": {"name": content}, "spec": spec})
        await until(lambda: self.server.get(CONTENTS, "", content).get("status", {}).get("readyToUse"), within=120)
        bound = {"boundVolumeSnapshotContentName": content}
        self.server.put(SNAPSHOTS, {**self.server.get(SNAPSHOTS, "app", name), "status": bound})
        return content

    async def delete_snapshot(self, content: str) -> None:
        self.server.patch(CONTENTS, "", content, {"metadata": {"annotations": {BEING_DELETED: "yes"}}})
        self.server.delete(CONTENTS, "", content)
        await until(lambda: self.server.find(CONTENTS, "", content) is None, within=60)

    async def group_snapshot(self, uid: str, *claims: str) -> None:
        """Takes a group snapshot; of each claim's member there is a VolumeSnapshot of the claim's name then."""
        volumes = [self.server.get(PV, "", self.server.get(PVC, "app", name)["spec"]["volumeName"]) for name in claims]
        handles = [volume["spec"]["csi"]["volumeHandle"] for volume in volumes]
        spec = {
            "volumeGroupSnapshotRef": {"namespace": "app", "name": "group", "uid": uid},
            "deletionPolicy": "Delete",
            "driver": DRIVER,
            "volumeGroupSnapshotClassName": "g",
            "source": {"volumeHandles": handles},
        }
        self.server.create(GROUP_CONTENTS, {"metadata": {"name": "group"}, "spec": spec})

        def status() -> Any:
            return self.server.get(GROUP_CONTENTS, "", "group").get("status", {})

        await until(lambda: status().get("readyToUse"), within=120)
        for claim, found in zip(claims, status()["volumeSnapshotInfoList"], strict=True):
            self._member(claim, found, status()["volumeGroupSnapshotHandle"])

    def _member(self, name: str, found: Any, group: str) -> None:
        made = self.server.create(SNAPSHOTS, {"metadata": {"namespace": "app", "name": name}, "spec": {}})
        spec = {
            "volumeSnapshotRef": {"namespace": "app", "name": name, "uid": made["metadata"]["uid"]},
            "deletionPolicy": "Delete",
            "driver": DRIVER,
            "source": {"volumeHandle": found["volumeHandle"]},
            "sourceVolumeMode": "Filesystem",
        }
        meta = {"name": name, "annotations": {GROUP_HANDLE: group}, "finalizers": [CONTENT_FINALIZER]}
        self.server.create(CONTENTS, {"metadata": meta, "spec": spec})
        known = {key: value for key, value in found.items() if key != "volumeHandle"}
        status = {**known, "volumeGroupSnapshotHandle": group}
        self.server.put(CONTENTS, {**self.server.get(CONTENTS, "", name), "status": status})
        bound = {"boundVolumeSnapshotContentName": name}
        self.server.put(SNAPSHOTS, {**self.server.get(SNAPSHOTS, "app", name), "status": bound})

    async def delete_group(self, *members: str) -> None:
        self.server.patch(GROUP_CONTENTS, "", "group", {"metadata": {"annotations": {groups.BEING_DELETED: "yes"}}})
        self.server.delete(GROUP_CONTENTS, "", "group")
        await until(lambda: self.server.find(GROUP_CONTENTS, "", "group") is None, within=60)
        for name in members:
            await self.delete_snapshot(name)

    async def delete_claim(self, name: str) -> None:
        volume = self.server.get(PVC, "app", name)["spec"]["volumeName"]
        self.server.delete(PVC, "app", name)
        self.server.put(PV, {**self.server.get(PV, "", volume), "status": {"phase": "Released"}})
        await until(lambda: self.server.find(PV, "", volume) is None, within=60)


def limit(image: Stored) -> str | None:
    return image.metadata.get("conf_rbd_qos_iops_limit")


def volume_of(image: str) -> Volume:
    return Volume(driver=DRIVER, attributes={"clusterID": "rook-ceph", "pool": "p", "imageName": image})


@virtual_time
async def test_from_a_claim_to_what_is_restored_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kubernetes, ceph = Kubernetes(), Cluster("p")
    backend, images = operator(ceph, monkeypatch), ceph.pools["p"].images
    manager = new_manager(kubernetes.server)
    system.register(manager, "rook-ceph").drivers.add(backend, backend.snapshots, attributes=backend.attributes)
    async with running(manager):
        data = await kubernetes.claim("data")
        images[data].data = "A"
        await backend.attributes.apply(volume_of(data), {"maxIops": "5"})
        assert limit(images[data]) == "5"
        snapshot = await kubernetes.snapshot("snap", "data")
        images[data].data = "B"
        source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "snap"}
        restored = await kubernetes.claim("restored", dataSource=source)
        copied = await kubernetes.claim("copied", dataSource={"kind": "PersistentVolumeClaim", "name": "data"})
        assert (images[restored].content(), images[copied].content()) == ("A", "B")
        assert (limit(images[restored]), limit(images[copied])) == (None, None), "they have no class"

        await kubernetes.delete_claim("data")
        await kubernetes.delete_snapshot(snapshot)
        assert (images[restored].content(), images[copied].content()) == ("A", "B")
        assert sorted(images) == sorted((restored, copied))
        assert len(ceph.left()) == 4, "what they are clones of is in the trash"

        await kubernetes.delete_claim("restored")
        await kubernetes.delete_claim("copied")
        assert ceph.left() == []


@virtual_time
async def test_from_claims_to_their_group_to_what_is_restored_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kubernetes, ceph = Kubernetes(), Cluster("p")
    backend, images = operator(ceph, monkeypatch), ceph.pools["p"].images
    manager = new_manager(kubernetes.server)
    system.register(manager, "rook-ceph").drivers.add(backend, backend.snapshots, groups=backend.groups)
    async with running(manager):
        sources = [await kubernetes.claim(name) for name in ("one", "two")]
        for image, data in zip(sources, "AB", strict=True):
            images[image].data, images[image].features = data, images[image].features | EXCLUSIVE_LOCK
        await kubernetes.group_snapshot("66666666-2222-3333-4444-555555555555", "one", "two")
        for image in sources:
            images[image].data = "C"
        restored = [
            await kubernetes.claim(
                f"restored-{name}",
                dataSource={"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name},
            )
            for name in ("one", "two")
        ]
        assert [images[image].content() for image in restored] == ["A", "B"]

        await kubernetes.delete_snapshot("one")
        assert len(images) == 6, "a member that goes by itself takes no snapshot along"
        await kubernetes.delete_group("two")
        await kubernetes.delete_claim("one")
        assert [images[image].content() for image in restored] == ["A", "B"]
        for name in ("two", "restored-one", "restored-two"):
            await kubernetes.delete_claim(name)
        assert ceph.left() == []
