"""One set of controllers for several storage systems: each object goes to the one that serves its driver, if any."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.apis.meta import ObjectMeta
from controller.framework.reports import REPORTS
from controller.runtime.kube import PV, PVC, STORAGE_CLASS, StorageClass
from controller.runtime.reconciler import Request
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from controller.volumes import system
from controller.volumes.backend import Description, Volume
from controller.volumes.claims.act import Claims
from controller.volumes.claims.objects import STORAGE_PROVISIONERS
from controller.volumes.drivers import Drivers
from tests.unit.volumes.objects import DRIVER, SHARES, UID, claim, storage_class
from tests.unit.volumes.world import FakeBackend, FakeEvents, World, caches_of

SHARE_DRIVER = "rook-ceph.shares.csi.example.com"
SHARE_CLASS = StorageClass(metadata=ObjectMeta(name="shared"), provisioner=SHARE_DRIVER, parameters={"fs": "x"})
GIB = 1 << 30


class Shares(FakeBackend):
    """A storage system of another kind: many nodes may write to its file systems."""

    name = "shares"
    capabilities = SHARES

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.there = True

    def knows(self, driver: str) -> bool:
        return driver.endswith(".shares.csi.example.com")

    def serves(self, driver: str) -> bool:
        return self.there and driver == SHARE_DRIVER

    def driver_of(self, storage_class: StorageClass) -> str:
        return storage_class.provisioner if self.serves(storage_class.provisioner) else ""

    def not_served(self, storage_class: StorageClass) -> str:
        return ""

    def describe(self, storage_class: StorageClass, claim_uid: str, *, filesystem: bool) -> Description:
        made = Volume(driver=SHARE_DRIVER, attributes={"imageName": f"share-{claim_uid}"})
        return Description(volume=made, secret_namespace="rook-ceph", stage_secret="node", expand_secret="admin")


def shared(**changes: Any) -> Any:
    noted = {STORAGE_PROVISIONERS[0]: SHARE_DRIVER, **changes.pop("annotations", {})}
    return claim(
        storage_class_name="shared", access_modes=("ReadWriteMany",), annotations=noted, asked=False, **changes
    )


def worlds_claims(world: World, *backends: FakeBackend) -> Claims:
    events: Any = FakeEvents()
    return Claims(world.client(), events, caches_of(world), Drivers(list(backends)))


def test_an_object_belongs_to_the_system_that_knows_its_driver() -> None:
    world = World()
    disks, shares = FakeBackend(world), Shares(world)
    drivers = Drivers([disks, shares])
    assert (drivers.serving(DRIVER), drivers.serving(SHARE_DRIVER), drivers.serving("x")) == (disks, shares, None)
    assert drivers.of_class(SHARE_CLASS) == (SHARE_DRIVER, shares)
    assert drivers.of_class(storage_class(provisioner="ebs.csi.aws.com")) == ("", None)
    shares.there = False
    assert drivers.serving(SHARE_DRIVER) is None
    assert drivers.of_class(SHARE_CLASS) == ("", None)
    assert drivers.knowing(SHARE_DRIVER) is shares, "what its volumes are does not change"


def test_volumes_of_different_systems_are_never_the_same() -> None:
    world = World()
    drivers = Drivers([FakeBackend(world), Shares(world)])
    name = {"imageName": "a"}
    found = {drivers.identity(Volume(driver=driver, attributes=name, handle="h")) for driver in (DRIVER, SHARE_DRIVER)}
    assert len(found) == 2
    assert drivers.identity(Volume(driver="ebs", attributes={}, handle="h")) == "ebs h"


@pytest.mark.parametrize("there", [True, False])
async def test_a_claim_is_served_by_its_class(there: bool) -> None:
    world = World()
    world.put(STORAGE_CLASS, _built(SHARE_CLASS))
    world.put(PVC, _built(shared()))
    shares = Shares(world)
    shares.there = there
    await worlds_claims(world, FakeBackend(world), shares).reconcile(Request("app", "data"))
    found = world.find(PV, "", f"pvc-{UID}")
    if not there:
        assert found is None
        assert "finalizers" not in _built(world.find(PVC, "app", "data"))["metadata"]
        return
    assert found is not None
    assert world.images == {f"share-{UID}": GIB}
    assert found["spec"]["csi"]["driver"] == SHARE_DRIVER
    assert "fsType" not in found["spec"]["csi"], "it is a file system by itself"
    assert "nodeAffinity" not in found["spec"]


@virtual_time
async def test_the_same_controllers_serve_all_systems_that_are_added() -> None:
    server, world = ApiServer(namespaces=("app", "rook-ceph")), World()
    for resource, obj in ((STORAGE_CLASS, SHARE_CLASS), (STORAGE_CLASS, storage_class()), (PVC, shared())):
        server.put(resource, _new(obj))
    other = _new(claim())
    server.put(PVC, {**other, "metadata": {**other["metadata"], "name": "disk"}})
    server.serve(REPORTS)
    manager = new_manager(server)
    serving = system.register(manager, "rook-ceph")
    serving.drivers.add(FakeBackend(world))
    serving.drivers.add(Shares(world))
    async with running(manager):
        await until(lambda: len(server.list(PV)) == 2)
    assert {found["spec"]["csi"]["driver"] for found in server.list(PV)} == {DRIVER, SHARE_DRIVER}


def _built(obj: Any) -> Any:
    return msgspec.to_builtins(obj)


def _new(obj: Any) -> Any:
    built = _built(obj)
    for name in ("uid", "resourceVersion", "generation", "creationTimestamp"):
        built["metadata"].pop(name, None)
    return built
