"""The example of docs/runtime.md, run as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest

from controller.runtime.kube import CONFIG_MAP
from e2e.apiserver import ApiServer
from informers import Client
from tests.integration.test_crds import install
from tests.integration.test_manager import new_manager, read, running, until, until_stored

DOCS = Path(__file__).parents[2] / "docs/runtime.md"


def example() -> dict[str, Any]:
    """What the first Python block defines."""
    code = re.search(r"## Adding a controller.*?```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code[1], str(DOCS), "exec"), names)  # noqa: S102  # our own documentation
    return names


@pytest.fixture(autouse=True)
async def crds(apiserver: ApiServer) -> None:
    await install(apiserver)


async def test_adding_a_controller(client: Client, namespace: str) -> None:
    names = example()
    manager = new_manager(client, namespace)
    names["add_to"](manager)
    pool = {
        "apiVersion": "ceph.rook.io/v1",
        "kind": "CephBlockPool",
        "metadata": {"namespace": namespace, "name": "replicapool"},
        "spec": {"replicated": {"size": 3}},
    }

    async with running(manager):
        await client.create(names["POOLS"], pool)
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
