"""What Kubernetes does with volumes, as far as it matters to them: claims, pods, attachments, kubelets, snapshots.

It is no kinder than the real one: it asks for a second node while the first has a volume, and forces a detachment.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from controller.agent.node.calls import CsiError
from controller.agent.node.driver import UnavailableError, VolumeError
from controller.agent.system.command import CommandError
from controller.framework.reports import REPORTS
from controller.runtime.kube import NODE, PV, PVC, STORAGE_CLASS, VOLUME_ATTACHMENT
from controller.testkit import ApiServer, Stored, now
from controller.volumes.attachments.observe import OUT_OF_SERVICE
from controller.volumes.claims.objects import STORAGE_PROVISIONERS
from controller.volumes.snapshots.kinds import BEING_DELETED, CONTENTS, SNAPSHOT_CLASSES, SNAPSHOTS
from informers import TransportError
from tests.unit.ceph.cephfs import cephfs
from tests.unit.ceph.volumes import DRIVER as RBD
from tests.unit.ceph.volumes import storage_class
from tests.unit.volumes.faults.nodes import Wish, start, stop

if TYPE_CHECKING:
    from informers import JsonObject
    from tests.unit.volumes.faults.nodes import Host

LOOK_SECONDS = 0.5
FORCED_SECONDS = 360.0
"""After which a volume is detached from a node that is not Ready, though its kubelet has it in use."""
UNREADY_SECONDS = 40.0
ERRORS = (CsiError, VolumeError, UnavailableError, CommandError, TransportError)
"""What the node service raises."""
CLASSES = {"rbd": RBD, "cephfs": cephfs.DRIVER}


@dataclass
class Pod:
    """A pod on a node, with the volume of a claim."""

    name: str
    claim: str
    host: Host
    deleting: bool = False
    running: bool = False


@dataclass
class Kubernetes:
    """The API server, and the controllers that are none of ours."""

    server: ApiServer = field(default_factory=lambda: ApiServer(namespaces=("app", "default", "rook-ceph")))
    hosts: dict[str, Host] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    """Claims that are to go once no pod has them."""
    _asked: dict[str, float] = field(default_factory=dict)
    _unready: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stored = Stored(self.server)
        for resource in (REPORTS, SNAPSHOTS, CONTENTS, SNAPSHOT_CLASSES):
            self.server.serve(resource)
        for name, built in (("rbd", storage_class(pool="p")), ("cephfs", cephfs.storage_class())):
            grows = {"allowVolumeExpansion": True, "reclaimPolicy": "Delete", "metadata": {"name": name}}
            self.server.put(STORAGE_CLASS, {**msgspec.to_builtins(built), **grows})
        self.server.put(SNAPSHOT_CLASSES, {"metadata": {"name": "s"}, "driver": RBD, "deletionPolicy": "Delete"})

    def join(self, host: Host) -> None:
        """A node is there."""
        self.hosts[host.name] = host
        addresses = [
            {"type": "InternalIP", "address": f"10.0.0.{host.number}"},
            {"type": "Hostname", "address": host.name},
        ]
        status = {"addresses": addresses, "conditions": [{"type": "Ready", "status": "True"}]}
        self.server.put(NODE, {"metadata": {"name": host.name}, "spec": {}, "status": status})

    def claim(self, name: str, kind: str, mode: str, source: JsonObject | None) -> None:
        """Somebody asks for a volume."""
        spec: JsonObject = {
            "storageClassName": kind,
            "accessModes": [mode],
            # A copy is as large as its source may be by now.
            "resources": {"requests": {"storage": "3Gi" if source else "1Gi"}},
            **({"dataSource": source} if source else {}),
        }
        noted = {STORAGE_PROVISIONERS[0]: CLASSES[kind]}
        metadata = {"namespace": "app", "name": name, "annotations": noted}
        self.server.create(PVC, {"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}})

    def grow(self, name: str) -> None:
        """Somebody asks for more."""
        requests = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
        self.server.patch(PVC, "app", name, requests)

    def snapshot(self, name: str, claim: str) -> None:
        """Somebody asks for a snapshot of a volume that there is."""
        made = self.server.create(SNAPSHOTS, {"metadata": {"namespace": "app", "name": name}, "spec": {}})
        uid, wish = made["metadata"]["uid"], self.wish(claim)
        assert wish is not None
        spec = {
            "volumeSnapshotRef": {"namespace": "app", "name": name, "uid": uid},
            "deletionPolicy": "Delete",
            "driver": wish.driver,
            "volumeSnapshotClassName": "s",
            "source": {"volumeHandle": wish.handle},
            "sourceVolumeMode": "Filesystem",
        }
        self.server.create(CONTENTS, {"metadata": {"name": f"snapcontent-{name}"}, "spec": spec})

    def drop_snapshot(self, name: str) -> None:
        """Somebody deletes one."""
        content = f"snapcontent-{name}"
        if self.server.find(CONTENTS, "", content) is not None:
            self.server.patch(CONTENTS, "", content, {"metadata": {"annotations": {BEING_DELETED: "yes"}}})
            self.server.delete(CONTENTS, "", content)
        if self.server.find(SNAPSHOTS, "app", name) is not None:
            self.server.delete(SNAPSHOTS, "app", name)

    def taint(self, host: Host) -> None:
        """An administrator says that a node is down; its pods are deleted by force."""
        self.server.patch(NODE, "", host.name, {"spec": {"taints": [{"key": OUT_OF_SERVICE, "effect": "NoExecute"}]}})
        self.pods = {name: pod for name, pod in self.pods.items() if pod.host is not host}

    def untaint(self, host: Host) -> None:
        """The node is as before."""
        self.server.patch(NODE, "", host.name, {"spec": {"taints": None}})

    def is_tainted(self, host: Host) -> bool:
        return bool(self._node(host)["spec"].get("taints"))

    def _node(self, host: Host) -> JsonObject:
        found = self.stored.find(NODE, "", host.name)
        assert found is not None
        return found

    def wish(self, claim: str) -> Wish | None:
        """What a node is asked for; None: the claim is not bound."""
        found = self.stored.find(PVC, "app", claim)
        volume = self.stored.find(PV, "", (found or {"spec": {}})["spec"].get("volumeName") or "-")
        return None if volume is None else wish_of(volume)

    async def run(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as tasks:
            for host in self.hosts.values():
                tasks.start_soon(self._kubelet, host)
            while True:
                self._bind()
                self._readiness()
                self._attach()
                self._snapshots()
                await anyio.sleep(LOOK_SECONDS)

    def _bind(self) -> None:
        for volume in self.stored.list(PV):
            reference = volume["spec"]["claimRef"]
            found = self.stored.find(PVC, reference["namespace"], reference["name"])
            if found is None or found["metadata"]["uid"] != reference["uid"]:
                if volume.get("status", {}).get("phase") != "Released":
                    self.server.put(PV, {**volume, "status": {"phase": "Released"}})
            elif not found["spec"].get("volumeName"):
                name, capacity = volume["metadata"]["name"], dict(volume["spec"]["capacity"])
                bound = {"spec": {**found["spec"], "volumeName": name}}
                self.server.put(PVC, {**found, **bound, "status": {"phase": "Bound", "capacity": capacity}})
                self.server.put(PV, {**volume, "status": {"phase": "Bound"}})
        for claim in [claim for claim in self.dropped if not any(p.claim == claim for p in self.pods.values())]:
            if self.server.find(PVC, "app", claim) is not None:
                self.server.delete(PVC, "app", claim)
            self.dropped.discard(claim)

    def _readiness(self) -> None:
        for host in self.hosts.values():
            since = self._unready.setdefault(host.name, now())
            if host.alive:
                del self._unready[host.name]
            ready = "True" if host.alive or now() - since < UNREADY_SECONDS else "Unknown"
            status: JsonObject = {"conditions": [{"type": "Ready", "status": ready}]}
            if host.alive:  # by its kubelet
                status["volumesInUse"] = sorted(host.in_use)
            attached = [a for a in self.stored.list(VOLUME_ATTACHMENT) if a["spec"]["nodeName"] == host.name]
            # It leaves the list right before it is to be detached.
            kept = [a for a in attached if a.get("status", {}).get("attached") and not _deleting(a)]
            volumes = [self._attached_name(a) for a in kept]
            status["volumesAttached"] = [{"name": name, "devicePath": ""} for name in sorted(filter(None, volumes))]
            node = self._node(host)
            if any(node["status"].get(key) != value for key, value in status.items()):
                self.server.put(NODE, {**node, "status": {**node["status"], **status}})

    def _attached_name(self, attachment: JsonObject) -> str:
        volume = self.stored.find(PV, "", attachment["spec"]["source"]["persistentVolumeName"])
        return wish_of(volume).name if volume is not None else ""

    def _attach(self) -> None:
        wanted: dict[str, tuple[str, Host, Wish]] = {}
        for pod in self.pods.values():
            wish = self.wish(pod.claim)
            if wish is not None and (not pod.deleting or wish.handle in pod.host.staged):
                volume = self.server.get(PVC, "app", pod.claim)["spec"]["volumeName"]
                wanted[f"csi-{pod.host.name}-{volume}"] = (volume, pod.host, wish)
        for name, (volume, host, wish) in wanted.items():
            if self.server.find(VOLUME_ATTACHMENT, "", name) is None:
                source = {"persistentVolumeName": volume}
                spec = {"attacher": wish.driver, "nodeName": host.name, "source": source}
                self.server.create(VOLUME_ATTACHMENT, {"metadata": {"name": name}, "spec": spec})
        for found in self.stored.list(VOLUME_ATTACHMENT):
            name = found["metadata"]["name"]
            if name in wanted or _deleting(found):
                self._asked.pop(name, None)
                continue
            host = self.hosts[found["spec"]["nodeName"]]
            since = self._asked.setdefault(name, now())
            used = self._attached_name(found) in self._node(host)["status"].get("volumesInUse", ())
            forced = self.is_tainted(host) or (not host.alive and now() - since > FORCED_SECONDS)
            if forced or not used:
                self.server.delete(VOLUME_ATTACHMENT, "", name)

    def _snapshots(self) -> None:
        for content in self.stored.list(CONTENTS):
            reference = content["spec"]["volumeSnapshotRef"]
            found = self.stored.find(SNAPSHOTS, reference["namespace"], reference["name"])
            bound = {"boundVolumeSnapshotContentName": content["metadata"]["name"]}
            if found is not None and found.get("status") != bound and content.get("status", {}).get("readyToUse"):
                self.server.put(SNAPSHOTS, {**found, "status": bound})

    async def _kubelet(self, host: Host) -> None:
        while True:
            await anyio.sleep(LOOK_SECONDS)
            for pod in list(self.pods.values()):
                if pod.host is host and host.alive:
                    with suppress(*ERRORS):  # it is tried again
                        await self._sync(pod)
            for handle in [handle for handle in host.staged if host.alive and not self._has(host, handle)]:
                with suppress(*ERRORS):
                    await self._orphan(host, handle)
            if host.alive:
                host.in_use = {name for name in host.in_use if self._needs(host, name.partition("^")[2])}

    async def _sync(self, pod: Pod) -> None:
        host, wish = pod.host, self.wish(pod.claim)
        if pod.deleting:
            if wish is not None:
                last = not any(p is not pod and p.claim == pod.claim and p.host is host for p in self.pods.values())
                await stop(host, wish, pod.name, last=last)
                if last:
                    host.in_use.discard(wish.name)
            self.pods.pop(pod.name, None)
            return
        if wish is None or pod.running:
            return
        host.in_use.add(wish.name)
        volume = self.server.get(PVC, "app", pod.claim)["spec"]["volumeName"]
        found = self.server.find(VOLUME_ATTACHMENT, "", f"csi-{host.name}-{volume}")
        if found is None or not found.get("status", {}).get("attached") or _deleting(found):
            return
        node = self._node(host)
        if wish.name not in [attached["name"] for attached in node["status"].get("volumesAttached", ())]:
            return
        told: dict[str, str] = found["status"].get("attachmentMetadata", {})
        await start(host, Wish(wish.driver, wish.handle, wish.attributes, told, wish.many), pod.name)
        pod.running = True

    def _has(self, host: Host, handle: str) -> bool:
        wishes = (self.wish(pod.claim) for pod in self.pods.values() if pod.host is host)
        return any(wish is not None and wish.handle == handle for wish in wishes)

    def _needs(self, host: Host, handle: str) -> bool:
        return handle in host.staged or self._has(host, handle)

    async def _orphan(self, host: Host, handle: str) -> None:
        """What pods had that were deleted by force."""
        driver = next(name.partition("^")[0].rpartition("/")[2] for name in host.in_use if name.endswith(f"^{handle}"))
        wish = Wish(driver, handle, {}, {}, many=False)
        base = host.directory / "kubelet" / "pods"
        mine = [m.target for m in host.table if m.target.startswith(str(base)) and m.target.endswith(handle)]
        for target in mine:
            await stop(host, wish, target.split("/")[-2], last=False)
        await stop(host, wish, "none", last=True)
        host.in_use.discard(wish.name)


def wish_of(volume: JsonObject) -> Wish:
    """What a node is asked for, by the PersistentVolume."""
    csi: Any = volume["spec"]["csi"]
    many = "ReadWriteMany" in volume["spec"]["accessModes"]
    return Wish(csi["driver"], csi["volumeHandle"], dict(csi["volumeAttributes"]), {}, many)


def _deleting(found: JsonObject) -> bool:
    return bool(found["metadata"].get("deletionTimestamp"))
