"""A small world for reconcilers of volumes: an API server that keeps objects, a storage system, and a way to crash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from controller.runtime.kube import (
    PV,
    PVC,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)
from controller.volumes.backend import BackendError, Created, Description, GoneError, Holder, Volume
from informers import ApiError, JsonObject, Resource
from tests.unit.volumes.objects import ATTRIBUTES, DRIVER

type Key = tuple[str, str, str]


class CrashError(BaseException):
    """The operator dies here: no handler may catch it."""


class World:
    """Objects by (plural, namespace, name), images by name; everything that the operator does passes `_step`."""

    def __init__(self) -> None:
        self.objects: dict[Key, JsonObject] = {}
        self.images: dict[str, int] = {}
        self.holders: dict[str, tuple[Holder, ...]] = {}
        self.absent: dict[str, tuple[Holder, ...]] = {}
        self.steps = 0
        self.crash_at: int | None = None
        self.gone = False
        self._version = 0

    def put(self, resource: Resource, obj: JsonObject) -> None:
        self._version += 1
        metadata = obj.setdefault("metadata", {})
        metadata["resourceVersion"] = str(self._version)
        metadata.setdefault("uid", f"uid-{self._version}")
        self.objects[resource.plural, metadata.get("namespace", ""), metadata["name"]] = obj
        self._collect()

    def find(self, resource: Resource, namespace: str, name: str) -> JsonObject | None:
        return self.objects.get((resource.plural, namespace, name))

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
        for (plural, _, name), volume in list(self.objects.items()):
            if plural != PV.plural:
                continue
            reference = volume["spec"]["claimRef"]
            found = self.find(PVC, reference["namespace"], reference["name"])
            if found is None or found["metadata"]["uid"] != reference["uid"]:
                volume["status"] = {"phase": "Released"}
            elif not found["spec"].get("volumeName"):
                found["spec"]["volumeName"] = name
                found["status"] = {"phase": "Bound", "capacity": dict(volume["spec"]["capacity"])}
                volume["status"] = {"phase": "Bound"}
                self.put(PVC, found)

    def delete(self, resource: Resource, namespace: str, name: str) -> None:
        obj = self.find(resource, namespace, name)
        if obj is not None:
            obj["metadata"].setdefault("deletionTimestamp", "2026-01-01T00:00:00Z")
            self._collect()

    def _collect(self) -> None:
        for key, obj in list(self.objects.items()):
            if obj["metadata"].get("deletionTimestamp") and not obj["metadata"].get("finalizers"):
                del self.objects[key]


class FakeClient:
    """The part of `informers.Client` that the reconcilers use."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def get(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        found = self._world.find(resource, namespace, name)
        if found is None:
            raise ApiError(404, "NotFound", f"{resource.plural} {name} not found")
        return found

    async def list(self, resource: Resource) -> list[JsonObject]:
        return [obj for (plural, _, _), obj in self._world.objects.items() if plural == resource.plural]

    async def create(self, resource: Resource, obj: JsonObject) -> JsonObject:
        with self._world.step():
            name = obj["metadata"]["name"]
            if self._world.find(resource, "", name) is not None:
                raise ApiError(409, "AlreadyExists", f"{name} exists")
            self._world.put(resource, msgspec.json.decode(msgspec.json.encode(obj)))
        return obj

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: JsonObject,
        *,
        content_type: str,
        subresource: str = "",
    ) -> JsonObject:
        with self._world.step():
            found = await self.get(resource, namespace, name)
            version = body.get("metadata", {}).get("resourceVersion")
            if version is not None and version != found["metadata"]["resourceVersion"]:
                raise ApiError(409, "Conflict", "the object has been modified")
            _merge(found, body)
            self._world.put(resource, found)
        return found

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str = "") -> None:
        with self._world.step():
            self._world.delete(resource, namespace, name)


class FakeInformer[T]:
    """A cache that is never behind."""

    def __init__(self, world: World, plural: str, view: type[T]) -> None:
        self._world = world
        self._plural = plural
        self._view = view

    def get(self, namespace: str, name: str) -> T | None:
        found = self._world.objects.get((self._plural, namespace, name))
        return None if found is None else msgspec.convert(found, self._view)

    def by_index(self, index: str, value: str) -> list[T]:
        assert index == "volume"
        return [
            msgspec.convert(o, self._view)
            for key, o in self._world.objects.items()
            if key[0] == self._plural and o["spec"]["source"]["persistentVolumeName"] == value
        ]

    def list(self, namespace: str | None = None) -> list[T]:
        return [msgspec.convert(o, self._view) for key, o in self._world.objects.items() if key[0] == self._plural]


class FakeBackend:
    """A storage system whose volumes are names."""

    def __init__(self, world: World) -> None:
        self._world = world

    def serves(self, driver: str) -> bool:
        return driver == DRIVER

    def driver_of(self, storage_class: StorageClass) -> str:
        return storage_class.provisioner if storage_class.provisioner == DRIVER else ""

    def describe(self, storage_class: StorageClass, claim_uid: str, *, filesystem: bool) -> Description:
        volume = Volume(driver=DRIVER, attributes={**ATTRIBUTES, "imageName": f"csi-vol-{claim_uid}"})
        return Description(volume=volume, secret_namespace="rook-ceph", stage_secret="node", expand_secret="admin")

    def is_made_for(self, volume: Volume, claim_uid: str) -> bool:
        return volume.attributes["imageName"] == f"csi-vol-{claim_uid}"

    async def create(self, volume: Volume, size: int, options: Mapping[str, str]) -> Created:
        with self._world.step():
            self._world.images.setdefault(volume.attributes["imageName"], size)
        return Created(handle=volume.attributes["imageName"], size=size)

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
                known[name] = tuple(h for h in known.get(name, ()) if h != holder)

    async def attachment(self, volume: Volume) -> Mapping[str, str]:
        return {"monitors": "10.0.0.1:6789", **volume.attributes}


class FakeEvents:
    """Keeps what users are told, as (reason, note)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def event(self, regarding: JsonObject, type: str, reason: str, note: str, action: str = "") -> None:  # noqa: A002
        self.told.append((reason, note))


def informers(world: World) -> dict[str, Any]:
    return {
        "claims": FakeInformer(world, "persistentvolumeclaims", PersistentVolumeClaim),
        "volumes": FakeInformer(world, "persistentvolumes", PersistentVolume),
        "classes": FakeInformer(world, "storageclasses", StorageClass),
        "attachments": FakeInformer(world, "volumeattachments", VolumeAttachment),
        "nodes": FakeInformer(world, "nodes", Node),
    }


def _merge(target: JsonObject, patch: JsonObject) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value
