"""The examples of docs/runtime.md, run as they stand there."""

import asyncio
import os
import re
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from controller.runtime import Controller, Request, Result
from controller.runtime.kube import CONFIG_MAP, EVENT, LEASE, SECRET
from e2e.apiserver import ApiServer
from informers import Client, Resource
from tests.integration.crds import install
from tests.integration.test_manager import MERGE, new_manager, read, running, until, until_stored
from workqueue import LOW_PRIORITY, WorkQueue

NAMESPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs/runtime.md"


def example(*headings: str) -> dict[str, Any]:
    """What the first Python blocks below these headings define, one after the other."""
    text = DOCS.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "example"}
    for heading in headings:
        code = re.search(rf"^#+ {heading}\n.*?```python\n(.*?)```", text, re.DOTALL | re.MULTILINE)
        assert code is not None
        exec(compile(code[1], str(DOCS), "exec"), names)  # noqa: S102  # our own documentation
    return names


def pool(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "ceph.rook.io/v1",
        "kind": "CephBlockPool",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"replicated": {"size": 3}, **spec},
    }


class Noting:
    """A reconciler that notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def reconcile(self, request: Request) -> Result:
        self.asked.append(request.name)
        return Result()


async def ensure_namespace(client: Client, name: str) -> None:
    if await client.find(NAMESPACES, "", name) is None:
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


@pytest.fixture(autouse=True)
async def crds(apiserver: ApiServer) -> None:
    await install(apiserver)


async def test_adding_a_controller(client: Client, namespace: str) -> None:
    names = example("Adding a controller")
    manager = new_manager(client, namespace)
    names["add_to"](manager)
    async with running(manager):
        await client.create(names["POOLS"], pool(namespace, "replicapool"))
        made = await until_stored(client, namespace, "replicapool")
        assert made["data"] == {"pool": "replicapool"}

        await client.delete(CONFIG_MAP, namespace, "replicapool")
        await until_stored(
            client, namespace, "replicapool", lambda found: found["metadata"]["uid"] != made["metadata"]["uid"]
        )

        await client.delete(names["POOLS"], namespace, "replicapool")

        async def gone() -> bool:
            return await read(client, names["POOLS"], namespace, "replicapool") is None

        await until(gone)


PROGRAM = """
import sys
from functools import partial
from tests.integration.test_runtime_docs import example

names = example("Adding a controller", "The program")
names["run"] = partial(names["run"], metrics_address=None, debug_address=None)  # ports may be taken on this machine
sys.exit(names["main"]())
"""


async def test_the_program(apiserver: ApiServer, client: Client) -> None:
    names = example("Adding a controller", "The program")
    await ensure_namespace(client, "rook-ceph")
    environment = {**os.environ, "KUBECONFIG": str(apiserver.kubeconfig)}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, cwd=ROOT, env=environment)
    try:
        await client.create(names["POOLS"], pool("rook-ceph", "from-zero"))
        made = await until_stored(client, "rook-ceph", "from-zero")
        assert "example.com/applied-digest" in made["metadata"]["annotations"]
        assert (await client.get(LEASE, "rook-ceph", "pool-names"))["spec"]["holderIdentity"]
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert not (await client.get(LEASE, "rook-ceph", "pool-names"))["spec"]["holderIdentity"]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_relations_and_changes(client: Client, namespace: str) -> None:
    names = example("Adding a controller", "Relations and changes")
    manager, noting = new_manager(client, namespace), Noting()
    controller = Controller("relations", noting)
    names["watch_relations"](manager, controller)
    manager.add(controller)
    for name, device_class in (("fast", "ssd"), ("faster", "nvme")):
        await client.create(names["POOLS"], pool(namespace, name, deviceClass=device_class))

    async def asks_for(name: str, change: Awaitable[Any]) -> None:
        """The change brings exactly one request, for `name`."""
        noting.asked.clear()
        await change
        await until(lambda: bool(noting.asked))
        assert noting.asked == [name]

    async with running(manager):
        await until(lambda: sorted(noting.asked) == ["fast", "faster"])
        labels = {"metadata": {"labels": {"a": "b"}}}
        await asks_for("fast", client.patch(names["POOLS"], namespace, "fast", labels, content_type=MERGE))

        noting.asked.clear()
        status = {"status": {"phase": "Progressing"}}
        changed = await client.patch(
            names["POOLS"], namespace, "fast", status, content_type=MERGE, subresource="status"
        )
        pools = manager.informers.informer(names["POOLS"], names["CephBlockPool"])
        await pools.reached(int(changed["metadata"]["resourceVersion"]), 20.0)
        assert noting.asked == []

        secret = {"metadata": {"namespace": namespace, "name": "s", "labels": {"example.com/pool": "fast"}}}
        await asks_for("fast", client.create(SECRET, {"apiVersion": "v1", "kind": "Secret", **secret}))
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": "nvme"}}
        await asks_for("faster", client.create(CONFIG_MAP, config_map))


async def test_status_conditions_events(client: Client, namespace: str) -> None:
    names = example("Adding a controller", "Status, conditions, events")
    manager = new_manager(client, namespace)
    pools = manager.informers.informer(names["POOLS"], names["CephBlockPool"])

    async def report(problem: str) -> dict[str, Any]:
        found = pools.get(namespace, "small")
        assert found is not None
        await names["report"](manager, found, problem)
        stored = await client.get(names["POOLS"], namespace, "small")
        await pools.reached(int(stored["metadata"]["resourceVersion"]), 20.0)
        (ready,) = stored["status"]["conditions"]
        assert (ready["type"], ready["observedGeneration"]) == ("Ready", 1)
        assert problem in ready["message"]
        return stored

    async with running(manager):
        await client.create(names["POOLS"], pool(namespace, "small"))
        await until(lambda: pools.get(namespace, "small") is not None)
        first = await report("")
        assert first["status"]["conditions"][0]["status"] == "True"
        assert await report("") == first  # what is as before is not written again

        assert (await report("needs 3 hosts, there are 2"))["status"]["conditions"][0]["status"] == "False"

        async def told() -> bool:
            events = await client.list(EVENT, namespace)
            return [(e["reason"], e["note"]) for e in events] == [("PoolTooSmall", "needs 3 hosts, there are 2")]

        await until(told)


async def test_informers(
    apiserver: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = example("Informers")
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig))
    await ensure_namespace(client, "rook-ceph")
    for name, node in (("a", "worker-1"), ("b", "worker-2"), ("c", "worker-1")):
        metadata = {"namespace": "rook-ceph", "name": name, "labels": {"app": "rook-ceph-osd"}}
        spec = {"nodeName": node, "containers": [{"name": "osd", "image": "ceph"}]}
        await client.create(names["PODS"], {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    queue: WorkQueue[tuple[str, str]] = WorkQueue("osds")

    await names["watch_pods"](queue)

    assert capsys.readouterr().out == "2 OSDs on worker-1\n"
    assert sorted(queue.next_ready(10)) == [(("rook-ceph", name), LOW_PRIORITY) for name in "abc"]
