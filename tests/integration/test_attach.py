"""Attaching by two operators at once, on a real API server: neither has the other's attachments in its cache."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from controller.framework.plan import PlanError
from controller.runtime.kube import NODE, PV, VOLUME_ATTACHMENT, VolumeAttachment
from controller.runtime.reconciler import Request
from controller.volumes.attachments.act import Attachments
from controller.volumes.attachments.observe import GIVEN_TO, OUT_OF_SERVICE, Observer
from controller.volumes.backend import Holder
from controller.volumes.caches import BY_VOLUME, caches_of
from controller.volumes.drivers import Drivers
from informers import Client
from tests.integration.crds import install
from tests.integration.test_manager import new_manager, running
from tests.unit.volumes.objects import DRIVER
from tests.unit.volumes.world import FakeBackend, World

if TYPE_CHECKING:
    from e2e.apiserver import ApiServer
    from informers import JsonObject

VOLUMES = 10
MERGE = "application/merge-patch+json"


async def create_volume(client: Client, name: str) -> None:
    source = {"driver": DRIVER, "volumeHandle": name, "volumeAttributes": {"imageName": name}}
    spec = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "csi": source}
    await client.create(PV, {"metadata": {"name": name}, "spec": spec})


async def create_attachment(client: Client, volume: str, node: str) -> str:
    name = f"{volume}-{node}"
    spec = {"attacher": DRIVER, "nodeName": node, "source": {"persistentVolumeName": volume}}
    made = await client.create(
        VOLUME_ATTACHMENT,
        {"metadata": {"name": name, "labels": {"node": node}}, "spec": spec},
    )
    return str(made["metadata"]["uid"])


@pytest.fixture(scope="module", autouse=True)
def crds(apiserver: ApiServer) -> None:
    """The generated CRDs, installed and served: nodes' agents report."""
    anyio.run(install, apiserver)


def operator(manager: Any, namespace: str, backend: FakeBackend, *, sees: str = "") -> Attachments:
    """With a cache that has the attachments to one node only, if so told."""
    drivers = Drivers([backend])
    caches = caches_of(manager.informers, drivers, namespace)
    if sees:
        found = manager.informers.informer(VOLUME_ATTACHMENT, VolumeAttachment, label_selector=f"node={sees}")
        found.add_index(BY_VOLUME, lambda a: (a.spec.source.persistent_volume_name or "",))
        caches = replace(caches, attachments=found)
    return Attachments(manager.client, manager.events, Observer(manager.client, caches, namespace, drivers))


async def attached(client: Client, volume: str) -> dict[str, str]:
    """How the attachments that have the volume are noted, by node."""
    return {
        a["spec"]["nodeName"]: f"{a['metadata']['name']}/{a['metadata']['uid']}"
        for a in await client.list(VOLUME_ATTACHMENT)
        if a["spec"]["source"].get("persistentVolumeName") == volume and a.get("status", {}).get("attached")
    }


async def test_each_volume_is_given_once(apiserver: ApiServer, client: Client, namespace: str) -> None:
    volumes = [f"{namespace}-{number}" for number in range(VOLUMES)]
    for volume in volumes:
        await create_volume(client, volume)
        for node in ("a", "b"):
            await create_attachment(client, volume, node)
    refused = 0

    async def give(attachments: Attachments, name: str) -> None:
        nonlocal refused
        try:
            await attachments.reconcile(Request("", name))
        except PlanError:
            refused += 1

    async with Client.connect(kubeconfig=str(apiserver.kubeconfig), user_agent="two") as another:
        managers = new_manager(client, namespace), new_manager(another, namespace)
        one, two = (
            operator(manager, namespace, FakeBackend(World()), sees=node)
            for manager, node in zip(managers, ("a", "b"), strict=True)
        )
        async with running(managers[0]), running(managers[1]), anyio.create_task_group() as tasks:
            for volume in volumes:
                tasks.start_soon(give, one, f"{volume}-a")
                tasks.start_soon(give, two, f"{volume}-b")

    for volume in volumes:
        having = await attached(client, volume)
        assert len(having) == 1
        noted = (await client.get(PV, "", volume))["metadata"]["annotations"][GIVEN_TO]
        assert [noted] == list(having.values())
    assert refused == VOLUMES


@pytest.mark.parametrize("tainted", [False, True])
async def test_a_node_is_asked_for(client: Client, namespace: str, tainted: bool) -> None:
    volume, node = f"{namespace}-v", f"node-{uuid.uuid4().hex[:8]}"
    made: JsonObject = {"metadata": {"name": node}, "spec": {}}
    await client.create(NODE, made)
    status = {"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}
    await client.patch(NODE, "", node, status, content_type=MERGE, subresource="status")
    if tainted:
        taint = {"spec": {"taints": [{"key": OUT_OF_SERVICE, "effect": "NoExecute"}]}}
        await client.patch(NODE, "", node, taint, content_type=MERGE)
    await create_volume(client, volume)
    await create_attachment(client, volume, node)
    world = World()
    manager = new_manager(client, namespace)
    attachments = operator(manager, namespace, FakeBackend(world))
    request = Request("", f"{volume}-{node}")
    async with running(manager):
        await attachments.reconcile(request)
        assert set(await attached(client, volume)) == {node}
        world.holders[volume] = (Holder(address="10.0.0.1", client="10.0.0.1:0/1"),)
        await client.delete(VOLUME_ATTACHMENT, "", request.name)
        with anyio.fail_after(60):
            while True:  # until the cache has the deletion
                found = attachments.observer.caches.attachments.get("", request.name)
                if found is None or found.metadata.deletion_timestamp:
                    break
                await anyio.sleep(0.02)
        await attachments.reconcile(request)
        left = [a["metadata"]["name"] for a in await client.list(VOLUME_ATTACHMENT)]
        assert (request.name in left) is not tainted
        assert bool(world.holders[volume]) is not tainted
