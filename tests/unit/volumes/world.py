"""A small world for reconcilers of volumes: the test kit's API server, a storage system, and a way to crash.

Caches are read from the server as it is: these tests are about crashes and late caches, not about watches. The storage
system is a fake, since the real one is tested in `e2e/`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from controller.apis.rook.node_report import NodeReport
from controller.framework.reports import REPORTS
from controller.runtime.kube import (
    NAMESPACE,
    PV,
    PVC,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)
from controller.testkit import ApiServer, Connection
from controller.volumes.attachments.act import Attachments
from controller.volumes.attachments.observe import Observer
from controller.volumes.attributes.kinds import V1, VolumeAttributesClass
from controller.volumes.backend import (
    BackendError,
    Created,
    Description,
    GoneError,
    Holder,
    NewVolume,
    ParameterError,
    Volume,
)
from controller.volumes.caches import (
    BY_DRIVER,
    BY_GROUP,
    BY_HANDLE,
    BY_IDENTITY,
    BY_MEMBER,
    BY_SHOWN,
    BY_SNAPSHOT,
    BY_SOURCE,
    BY_TRIM,
    BY_VOLUME,
    Caches,
    GroupCaches,
    SnapshotCaches,
    copied_by,
    drivers_of,
    handles_of,
    shown_by,
    trims_of,
)
from controller.volumes.clients import BY_ADDRESS, BY_CLIENT, BY_MAPPED, addresses_of, clients_of, mapped_by
from controller.volumes.drivers import Drivers
from controller.volumes.groups import kinds as groups
from controller.volumes.snapshots.kinds import (
    CONTENTS,
    SNAPSHOT_CLASSES,
    SNAPSHOTS,
    VolumeSnapshot,
    VolumeSnapshotClass,
    VolumeSnapshotContent,
    handles,
)
from informers import Client, IncompleteIndexError, JsonObject, Resource
from tests.unit.volumes.objects import ATTRIBUTES, DISKS, DRIVER

GROUP_CONTENTS, GROUP_CLASSES = groups.contents("v1"), groups.classes("v1")

type Key = tuple[str, str, str]


class CrashError(BaseException):
    """The operator dies here: no handler may catch it."""


class World:
    """Objects in an API server, images by name; everything that the operator does passes `step`."""

    def __init__(self) -> None:
        self.server = ApiServer(namespaces=("app", "rook-ceph"), collects=False)
        for resource in (REPORTS, SNAPSHOTS, CONTENTS, SNAPSHOT_CLASSES, GROUP_CONTENTS, GROUP_CLASSES, V1):
            self.server.serve(resource)
        self.images: dict[str, int] = {}
        self.snapshots: dict[str, str] = {}
        """By handle, what each snapshot is of, or a part of it."""
        self.attributes: dict[str, dict[str, str]] = {}
        """By image, by the class that was applied last, or a part of it."""
        self.holders: dict[str, tuple[Holder, ...]] = {}
        self.absent: dict[str, tuple[Holder, ...]] = {}
        self.steps = 0
        self.crash_at: int | None = None
        self.gone = False

    @property
    def objects(self) -> dict[Key, JsonObject]:
        """By (plural, namespace, name)."""
        found = self.server.storage.all()
        return {(plural, *key): obj for (_, plural), key, obj in found if plural != NAMESPACE.plural}

    def put(self, resource: Resource, obj: JsonObject) -> None:
        """Make the object be so. A new one has the uid and the times that it says, which no client could give it."""
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        if self.server.find(resource, *key) is not None:
            self.server.put(resource, obj)
            return
        typed = {"apiVersion": resource.api_version, "kind": resource.kind}
        about = {"uid": f"uid-{self.server.storage.version}", "generation": 1, **metadata}
        self.server.storage.put((resource.group, resource.plural), key, {**obj, **typed, "metadata": about})

    def find(self, resource: Resource, namespace: str, name: str) -> JsonObject | None:
        return self.server.find(resource, namespace, name)

    def client(self) -> Client:
        return Client(Mortal(self))

    @contextmanager
    def step(self) -> Iterator[None]:
        """One thing that the operator does: it may die just before or just after."""
        self.steps += 1
        if self.crash_at == self.steps:
            raise CrashError
        yield
        self.steps += 1
        if self.crash_at == self.steps:
            raise CrashError

    def kubernetes(self) -> None:
        """What Kubernetes' own controllers do: bind claims, release volumes."""
        for volume in self.server.list(PV):
            reference = volume["spec"]["claimRef"]
            found = self.find(PVC, reference["namespace"], reference["name"])
            if found is None or found["metadata"]["uid"] != reference["uid"]:
                self.server.put(PV, {**volume, "status": {"phase": "Released"}})
            elif not found["spec"].get("volumeName"):
                found["spec"]["volumeName"] = volume["metadata"]["name"]
                found["status"] = {"phase": "Bound", "capacity": dict(volume["spec"]["capacity"])}
                self.server.put(PVC, found)
                self.server.put(PV, {**volume, "status": {"phase": "Bound"}})

    def delete(self, resource: Resource, namespace: str, name: str) -> None:
        if self.find(resource, namespace, name) is not None:
            self.server.delete(resource, namespace, name)


class Mortal(Connection):
    """A connection of an operator that may die before or after each of its writes."""

    def __init__(self, world: World) -> None:
        super().__init__(world.server, "operator")
        self._world = world

    async def request(self, method: str, path: str, **rest: Any) -> bytes:
        if method == "GET":
            return await super().request(method, path, **rest)
        with self._world.step():
            return await super().request(method, path, **rest)


class FakeInformer[T]:
    """A cache that is never behind."""

    synced = True

    def __init__(self, world: World, plural: str, view: type[T]) -> None:
        self._world = world
        self._plural = plural
        self._view = view

    def get(self, namespace: str, name: str) -> T | None:
        found = self._world.objects.get((self._plural, namespace, name))
        return None if found is None else msgspec.convert(found, self._view)

    def by_index(self, index: str, value: str, *, complete: bool = False) -> list[T]:
        return [msgspec.convert(self._stored()[key], self._view) for key in self._found(index, value, complete)]

    def keys_by_index(self, index: str, value: str, *, complete: bool = False) -> list[tuple[str, str]]:
        return [(namespace, name) for _, namespace, name in self._found(index, value, complete)]

    async def reached(self, resource_version: int, deadline: float) -> None:
        """It is never behind."""

    def _found(self, index: str, value: str, complete: bool) -> list[Key]:
        indexed: dict[str, Callable[[Any], tuple[str, ...]]] = {
            BY_VOLUME: lambda attachment: (attachment.spec.source.persistent_volume_name,),
            BY_IDENTITY: Drivers([FakeBackend(self._world)]).identities,
            BY_HANDLE: handles_of,
            BY_DRIVER: drivers_of,
            BY_SHOWN: shown_by,
            BY_SOURCE: copied_by,
            BY_SNAPSHOT: handles,
            BY_GROUP: groups.handles,
            BY_MEMBER: groups.snapshot_handles,
            BY_ADDRESS: addresses_of,
            BY_CLIENT: clients_of,
            BY_MAPPED: mapped_by,
            BY_TRIM: trims_of,
        }
        found = []
        for key, obj in self._stored().items():
            try:
                view = msgspec.convert(obj, self._view)
            except msgspec.ValidationError:
                if complete:
                    raise IncompleteIndexError(self._plural, index, [key[1:]]) from None
                continue
            if value in indexed[index](view):
                found.append(key)
        return found

    def _stored(self) -> dict[Key, JsonObject]:
        return {key: obj for key, obj in self._world.objects.items() if key[0] == self._plural}

    def list(self) -> Sequence[T]:
        return [msgspec.convert(obj, self._view) for obj in self._stored().values()]


class FakeBackend:
    """A storage system whose volumes are names."""

    name = "fake"
    capabilities = DISKS

    def __init__(self, world: World) -> None:
        self._world = world

    def knows(self, driver: str) -> bool:
        return driver.endswith(".rbd.csi.ceph.com")

    def serves(self, driver: str) -> bool:
        return driver == DRIVER

    def driver_of(self, storage_class: StorageClass) -> str:
        return storage_class.provisioner if storage_class.provisioner == DRIVER else ""

    def not_served(self, storage_class: StorageClass) -> str:
        meant = storage_class.parameters.get("clusterID") == "rook-ceph" and storage_class.provisioner != DRIVER
        return f"provisioner is {storage_class.provisioner!r}: expected {DRIVER}" if meant else ""

    def describe(self, storage_class: StorageClass, claim_uid: str, *, filesystem: bool) -> Description:
        volume = Volume(driver=DRIVER, attributes={**ATTRIBUTES, "imageName": f"csi-vol-{claim_uid}"})
        return Description(volume=volume, secret_namespace="rook-ceph", stage_secret="node", expand_secret="admin")

    def identity(self, volume: Volume) -> str:
        return volume.attributes["imageName"]

    def is_made_for(self, volume: Volume, claim_uid: str) -> bool:
        return volume.attributes["imageName"] == f"csi-vol-{claim_uid}"

    async def create(self, wanted: NewVolume) -> Created:
        name = wanted.volume.attributes["imageName"]
        with self._world.step():
            self._world.images.setdefault(name, wanted.size)
        return Created(handle=name, size=wanted.size)

    async def delete(self, volume: Volume) -> None:
        if self._world.gone:
            raise GoneError("no cluster")
        if self._world.holders.get(volume.attributes["imageName"]):
            raise BackendError("open")
        with self._world.step():
            self._world.images.pop(volume.attributes["imageName"], None)

    async def expand(self, volume: Volume, size: int) -> int:
        with self._world.step():
            name = volume.attributes["imageName"]
            self._world.images[name] = max(self._world.images[name], size)
        return self._world.images[name]

    async def holders(self, volume: Volume) -> tuple[Holder, ...]:
        return self._world.holders.get(volume.attributes["imageName"], ())

    async def absent(self, volume: Volume) -> tuple[Holder, ...]:
        return self._world.absent.get(volume.attributes["imageName"], ())

    async def fence(self, volume: Volume, holder: Holder) -> None:
        with self._world.step():
            name = volume.attributes["imageName"]
            for known in (self._world.holders, self._world.absent):
                known[name] = tuple(h for h in known.get(name, ()) if h.client != holder.client)

    async def attachment(self, volume: Volume, told: Mapping[str, str], node: Mapping[str, str]) -> Mapping[str, str]:
        return {"monitors": "10.0.0.1:6789", **volume.attributes}


class FakeAttributes:
    """Volumes have a speed, which is a number, and a colour."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.fails = False
        self.without = ""

    def check(self, parameters: Mapping[str, str]) -> None:
        for key in parameters:
            if key not in ("speed", "colour"):
                raise ParameterError(f"parameter {key!r} is not known: expected some of speed, colour")

    async def apply(self, volume: Volume, parameters: Mapping[str, str]) -> None:
        has = self._world.attributes.setdefault(volume.attributes["imageName"], {})
        for key in ("speed", "colour"):
            if has.get(key) == parameters.get(key):
                continue
            if self.fails:
                raise BackendError("the storage system does not answer")
            with self._world.step():
                has.pop(key, None)
                if key in parameters:
                    has[key] = parameters[key]

    def without_effect(self, volume: Volume, reports: Iterable[NodeReport]) -> str:
        nodes = ", ".join(report.metadata.name for report in reports)
        return f"{self.without} on {nodes}" if nodes and self.without else ""


class FakeEvents:
    """Keeps what users are told, as (reason, note)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def event(self, regarding: JsonObject, type: str, reason: str, note: str, action: str = "") -> None:  # noqa: A002
        self.told.append((reason, note))


def caches_of(world: World) -> Caches:
    """Caches that are never behind."""
    caches: dict[str, Any] = {
        "claims": FakeInformer(world, "persistentvolumeclaims", PersistentVolumeClaim),
        "volumes": FakeInformer(world, "persistentvolumes", PersistentVolume),
        "classes": FakeInformer(world, "storageclasses", StorageClass),
        "attachments": FakeInformer(world, "volumeattachments", VolumeAttachment),
        "nodes": FakeInformer(world, "nodes", Node),
        "reports": FakeInformer(world, "nodereports", NodeReport),
        "attributes": FakeInformer(world, V1.plural, VolumeAttributesClass),
    }
    return Caches(**caches, snapshots=snapshot_caches_of(world), groups=group_caches_of(world))


def group_caches_of(world: World) -> GroupCaches:
    """Caches of group snapshots that are never behind."""
    caches: dict[str, Any] = {
        "contents": FakeInformer(world, GROUP_CONTENTS.plural, groups.VolumeGroupSnapshotContent),
        "classes": FakeInformer(world, GROUP_CLASSES.plural, groups.VolumeGroupSnapshotClass),
    }
    return GroupCaches(**caches, resource=GROUP_CONTENTS)


def snapshot_caches_of(world: World) -> SnapshotCaches:
    """Caches of snapshots that are never behind."""
    caches: dict[str, Any] = {
        "snapshots": FakeInformer(world, "volumesnapshots", VolumeSnapshot),
        "contents": FakeInformer(world, "volumesnapshotcontents", VolumeSnapshotContent),
        "classes": FakeInformer(world, "volumesnapshotclasses", VolumeSnapshotClass),
    }
    return SnapshotCaches(**caches)


def attaching(
    world: World,
    *,
    backend: FakeBackend | None = None,
    client: Client | None = None,
    events: Any = None,
    clock: Callable[[], float] = time.time,
) -> Attachments:
    """The reconciler of attachments of a fresh operator."""
    client = client or world.client()
    drivers = Drivers([backend or FakeBackend(world)])
    told: Any = events or FakeEvents()
    return Attachments(client, told, Observer(client, caches_of(world), "rook-ceph", drivers, clock))
