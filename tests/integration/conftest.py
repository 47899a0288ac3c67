"""Fixtures of the tests that talk to a real API server."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from controller.cassandra.access.http import HttpMembers
from e2e.apiserver import ApiServer
from informers import Client, Resource
from tests.integration.cassandra import Lab
from tests.integration.crds import install

NAMESPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this directory."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server for all tests. A test that kills it starts it again."""
    with ApiServer(tmp_path_factory.mktemp("apiserver")) as server:
        yield server


@pytest.fixture(scope="module")
def crds(apiserver: ApiServer) -> None:
    """The generated CRDs, installed and served."""
    anyio.run(install, apiserver)


@pytest.fixture
async def client(apiserver: ApiServer) -> AsyncIterator[Client]:
    """A client with an administrator's rights."""
    async with Client.connect(kubeconfig=str(apiserver.kubeconfig), user_agent="tests") as client:
        yield client


@pytest.fixture
async def namespace(client: Client) -> str:
    """The name of a new namespace. It stays: nothing here could finish its deletion."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A place for members of Cassandra clusters; with the parameter True, they have certificates."""
    with Lab(tmp_path, tls=getattr(request, "param", False)) as lab:
        yield lab


@pytest.fixture
async def members() -> AsyncIterator[HttpMembers]:
    """How the operator reaches members."""
    async with HttpMembers() as members:
        yield members
