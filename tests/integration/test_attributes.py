"""Classes of attributes on a real API server, which checks what is written to claims and PersistentVolumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from controller.runtime.kube import PV, PVC, STORAGE_CLASS
from controller.volumes import system
from controller.volumes.attributes.kinds import V1
from controller.volumes.claims.objects import STORAGE_PROVISIONERS
from tests.integration.crds import install
from tests.integration.test_manager import new_manager, running
from tests.unit.volumes.objects import DRIVER, storage_class
from tests.unit.volumes.world import FakeAttributes, FakeBackend, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.apiserver import ApiServer
    from informers import Client, JsonObject

MERGE = "application/merge-patch+json"
CLASSES = {"gold": {"speed": "9"}, "silver": {"speed": "5", "colour": "grey"}, "bogus": {"wheels": "4"}}


@pytest.fixture(scope="module", autouse=True)
def crds(apiserver: ApiServer) -> None:
    """The generated CRDs, installed and served: nodes' agents report."""
    anyio.run(install, apiserver)


class Claim:
    """A claim of its own namespace, and what Kubernetes does about it."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client, self.namespace = client, namespace

    def named(self, short: str) -> str:
        return f"{short}-{self.namespace}"

    async def prepare(self) -> None:
        built = msgspec.to_builtins(storage_class())
        name = self.named("fake")
        fields = {"provisioner": DRIVER, "parameters": built["parameters"]}
        await self.client.create(STORAGE_CLASS, {"metadata": {"name": name}, **fields})
        for short, parameters in CLASSES.items():
            made = {"metadata": {"name": self.named(short)}, "driverName": DRIVER, "parameters": parameters}
            await self.client.create(V1, made)

    async def create(self, wanted: str = "") -> None:
        spec: JsonObject = {
            "storageClassName": self.named("fake"),
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            **({"volumeAttributesClassName": self.named(wanted)} if wanted else {}),
        }
        annotations = {STORAGE_PROVISIONERS[0]: DRIVER}
        metadata = {"name": "data", "namespace": self.namespace, "annotations": annotations}
        made = await self.client.create(PVC, {"metadata": metadata, "spec": spec})
        self.volume = f"pvc-{made['metadata']['uid']}"

    async def bind(self) -> None:
        volume = await self.until(PV, self.volume, lambda _: True)
        await self.patch({"spec": {"volumeName": self.volume}})
        current = volume["spec"].get("volumeAttributesClassName")
        status = {"phase": "Bound", "capacity": {"storage": "1Gi"}, "currentVolumeAttributesClassName": current}
        await self.patch({"status": status}, subresource="status")

    async def patch(self, body: JsonObject, **options: Any) -> None:
        await self.client.patch(PVC, self.namespace, "data", body, content_type=MERGE, **options)

    async def choose(self, short: str) -> None:
        await self.patch({"spec": {"volumeAttributesClassName": self.named(short) if short else ""}})

    async def until(self, resource: Any, name: str, holds: Callable[[JsonObject], bool]) -> JsonObject:
        with anyio.fail_after(60):
            while True:
                found = await self.client.find(resource, "" if resource is PV else self.namespace, name)
                if found is not None and holds(found):
                    return found
                await anyio.sleep(0.05)

    async def until_in_force(self, short: str) -> None:
        def holds(found: JsonObject) -> bool:
            status = found["status"]
            in_force = status.get("currentVolumeAttributesClassName") == self.named(short)
            return in_force and "modifyVolumeStatus" not in status and not status.get("conditions")

        await self.until(PVC, "data", holds)
        found = await self.client.get(PV, "", self.volume)
        assert found["spec"]["volumeAttributesClassName"] == self.named(short)

    async def until_refused(self, short: str) -> None:
        wanted = {"targetVolumeAttributesClassName": self.named(short), "status": "Infeasible"}
        found = await self.until(PVC, "data", lambda found: found["status"].get("modifyVolumeStatus") == wanted)
        (condition,) = found["status"]["conditions"]
        assert condition["type"] == "ModifyVolumeError"
        assert "parameter 'wheels' is not known" in condition["message"]


@pytest.fixture
async def claim(client: Client, namespace: str) -> Claim:
    found = Claim(client, namespace)
    await found.prepare()
    return found


def operator(claim: Claim, world: World) -> Any:
    manager = new_manager(claim.client, claim.namespace)
    system.register(manager, claim.namespace).drivers.add(FakeBackend(world), attributes=FakeAttributes(world))
    return running(manager)


async def test_a_claim_changes_its_class_and_goes_back_from_one_that_is_refused(claim: Claim) -> None:
    world = World()
    async with operator(claim, world):
        await claim.create("gold")
        await claim.bind()
        (attributes,) = world.attributes.values()
        assert attributes == CLASSES["gold"]
        await claim.choose("silver")
        await claim.until_in_force("silver")
        assert attributes == CLASSES["silver"]
        await claim.choose("bogus")
        await claim.until_refused("bogus")
        assert attributes == CLASSES["silver"]
        await claim.choose("silver")
        await claim.until_in_force("silver")


async def test_a_claim_takes_back_a_class_that_was_never_in_force(claim: Claim) -> None:
    world = World()
    async with operator(claim, world):
        await claim.create()
        await claim.bind()
        await claim.choose("bogus")
        await claim.until_refused("bogus")
        await claim.choose("")
        found = await claim.until(PVC, "data", lambda found: "modifyVolumeStatus" not in found["status"])
        assert not found["status"].get("conditions")
        assert world.attributes == {}
