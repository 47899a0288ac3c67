"""The whole operator over an API server that does not do as it is told, and a simulated Ceph cluster."""

from __future__ import annotations

import copy
import sys
from collections import Counter
from contextlib import asynccontextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from bench.scale.measure import Loop, Operator, operator
from bench.scale.world import CLUSTER, CLUSTERS, NAMESPACE, NEW_IMAGE, World
from controller.runtime.kube import DEPLOYMENT
from informers import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from informers import JsonObject, Resource

MIRROR = "mirror.example/"
REFUSAL = 'Deployment.apps "{}" is invalid: {}: Unsupported value: "{}": supported values: "Equal", "Exists"'


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("bench.scale.measure.DEADLINE", 15.0)
    monkeypatch.setitem(sys.modules, "rados", ModuleType("rados"))  # what the simulation replaces is put back
    found = World(0)
    found.ceph.install()
    return found


class Admission:
    """What an API server does with Deployments that are applied, before it stores them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, world: World, admit: Callable[[JsonObject], None]) -> None:
        self.applied: Counter[str] = Counter()
        patch = world.server.patch

        def admitted(resource: Resource, namespace: str, name: str, body: JsonObject, **more: Any) -> JsonObject:
            if resource == DEPLOYMENT and not more.get("subresource"):
                body = copy.deepcopy(body)
                self.applied[name] += 1
                admit(body)
            return patch(resource, namespace, name, body, **more)

        monkeypatch.setattr(world.server, "patch", admitted)


@asynccontextmanager
async def served(world: World) -> AsyncIterator[Operator]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.kubelets)
        async with operator(world, Loop()) as running:
            yield running
        tasks.cancel_scope.cancel()


def ready(world: World) -> str:
    """The message of condition Ready, after its status."""
    conditions: list[JsonObject] = world.status().get("conditions", [])
    found = next((c for c in conditions if c["type"] == "Ready"), {})
    return f"{found.get('status')}: {found.get('message')}"


def versions(world: World) -> set[str]:
    """The releases that the labels of Deployments tell."""
    stored = world.server.storage.objects((DEPLOYMENT.group, DEPLOYMENT.plural)).values()
    return {obj["metadata"]["labels"]["ceph-version"] for obj in stored}


async def test_an_admission_controller_that_changes_images_is_named_and_holds_up_nothing(
    monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    def mirrored(body: JsonObject) -> None:
        pod = body["spec"]["template"]["spec"]
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            container["image"] = MIRROR + container["image"].removeprefix(MIRROR)

    admission = Admission(monkeypatch, world, mirrored)
    async with served(world) as running:
        await running.until(lambda: world.status().get("phase") == "Ready", "mons and mgrs")
        await running.done()
        assert "True: Cluster created successfully; something changes what is applied" in ready(world)
        assert "Deployment rook-ceph-" in ready(world)
        assert max(admission.applied.values()) <= 3, admission.applied
        world.server.patch(CLUSTERS, NAMESPACE, CLUSTER, {"spec": {"cephVersion": {"image": NEW_IMAGE}}})
        await running.until(lambda: versions(world) == {"18.2.8-0"}, "an upgrade")
        await running.done()
        assert max(admission.applied.values()) <= 6, admission.applied


async def test_a_field_that_the_api_server_refuses_is_named_and_holds_up_its_daemon_only(
    monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    def checked(body: JsonObject) -> None:
        for index, toleration in enumerate(body["spec"]["template"]["spec"].get("tolerations", ())):
            operator = toleration.get("operator", "Equal")
            if operator not in ("Equal", "Exists"):
                field = f"spec.template.spec.tolerations[{index}].operator"
                raise ApiError(422, "Invalid", REFUSAL.format(body["metadata"]["name"], field, operator))

    placement = {"mgr": {"tolerations": [{"key": "x", "operator": "Exist"}]}}
    world.server.patch(CLUSTERS, NAMESPACE, CLUSTER, {"spec": {"placement": placement}})
    admission = Admission(monkeypatch, world, checked)
    field = "spec.template.spec.tolerations[0].operator"
    async with served(world) as running:
        await running.until(lambda: world.deployments() == 3, "all mons, and no mgr")
        await running.until(lambda: str(world.status()["plan"]).count("'state'") == 2, "nothing is left but the mgrs")
        assert world.status()["phase"] == "Failure"
        told = REFUSAL.format("rook-ceph-mgr-b", field, "Exist")
        assert told in world.status()["message"]
        assert told in ready(world)
        world.server.patch(CLUSTERS, NAMESPACE, CLUSTER, {"spec": {"placement": None}})
        await running.until(lambda: world.status().get("phase") == "Ready", "the mistake is mended")
    assert admission.applied["rook-ceph-mon-a"] < 5
