"""csi-sanity, the conformance tests of CSI, against the agent's node service and the operator's controller service.

Both are the real ones, on sparse files as volumes: the node attaches them as loop devices and mounts what is on them.
What is skipped has to be what is not declared.
"""

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
import pytest
import yaml
from prometheus_client import CollectorRegistry

from controller.agent.node import csi_pb2_grpc
from controller.agent.node.block import BlockDriver
from controller.agent.node.calls import Interceptor, Operations
from controller.agent.node.clients import Clients
from controller.agent.node.identity import IdentityService
from controller.agent.node.problems import Problems
from controller.agent.node.server import serving_on
from controller.agent.node.service import NodeService
from controller.agent.node.topology import Topology
from controller.agent.rbd.devices import RbdDevices
from controller.agent.system import loop, mounts
from controller.agent.system.command import run
from controller.apis.rook.node_report import VolumeClient
from controller.csi import system
from controller.csi.records import KIND
from controller.csi.service import status
from controller.framework.reports import REPORTS
from controller.runtime.kube import CONFIG_MAP, NODE
from controller.volumes.caches import caches_of
from controller.volumes.drivers import Drivers
from e2e import binaries, csi_sanity, junit
from informers import ApiError, Client, InformerFactory, JsonObject, Resource
from tests.integration.file_volumes import FileBackend
from tests.unit.agent.standin import ADDRESS, FileMapper, needs_loop_devices

pytestmark = needs_loop_devices

ROOT = Path(__file__).parents[2]
CRD = Resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)


@dataclass(frozen=True)
class Services:
    """Where the services are, and the files that are their volumes."""

    directory: Path
    node: Path
    controller: Path
    files: Path


@asynccontextmanager
async def served(client: Client, namespace: str, directory: Path) -> AsyncIterator[Services]:
    """A node's agent and an operator, as far as CSI goes."""
    driver, node, files = f"{namespace}.rbd.csi.ceph.com", f"{namespace}-node", directory / "files"
    files.mkdir()
    definition = yaml.safe_load((ROOT / "manifests/crds/rook.io_nodereports.yaml").read_text(encoding="utf-8"))
    await apply(client, CRD, definition)
    await client.create(NODE, {"metadata": {"name": node}})

    async def publish() -> None:
        await report(client, namespace, node, clients.listed())

    clients = Clients(directory / "clients", publish)
    backend, drivers = FileBackend(files, driver, ADDRESS), Drivers()
    drivers.add(backend, backend)
    factory = InformerFactory(client)
    caches = caches_of(factory, drivers, namespace)
    found = Services(directory, directory / "node.sock", directory / "controller.sock", files)
    async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
        stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(factory.run)
        block = BlockDriver(node, RbdDevices(node, [FileMapper(files)], CollectorRegistry(), 7), clients, directory)
        server = await stack.enter_async_context(serving_on(found.node, (Interceptor(CollectorRegistry()),)))
        identity = IdentityService(driver, "test", block.usable, controller=True)
        csi_pb2_grpc.add_IdentityServicer_to_server(identity, server)
        problems = Problems(publish)
        service = NodeService(node, driver, block, Operations(tasks), Topology(client, node), problems)
        csi_pb2_grpc.add_NodeServicer_to_server(service, server)
        await server.start()
        told = Interceptor(CollectorRegistry(), metric=system.METRIC, status=status)
        server = await stack.enter_async_context(serving_on(found.controller, (told,)))
        made = system.service_of(driver, client, namespace, caches, drivers, tasks)
        system.add(server, driver, made)
        await server.start()
        with anyio.fail_after(60):
            await eventually_reported(client, namespace, node, clients)
            await factory.wait_synced()
        yield found
    await client.delete(NODE, "", node)


async def eventually_reported(client: Client, namespace: str, node: str, clients: Clients) -> None:
    """Returns once the API server takes reports, whose kind may have come a moment ago."""
    while True:
        try:
            await clients.publish()
        except ApiError as error:
            if not error.is_not_found:
                raise
            await anyio.sleep(0.1)
        else:
            return


async def report(client: Client, namespace: str, node: str, listed: Sequence[VolumeClient]) -> None:
    """Tells the operator which volumes the node has mapped, as the agent does."""
    told = msgspec.to_builtins(listed)
    metadata = {"name": node, "namespace": namespace}
    await apply(client, REPORTS, {"metadata": metadata, "clients": told})


async def apply(client: Client, resource: Resource, obj: JsonObject) -> None:
    metadata = obj["metadata"]
    await client.patch(
        resource,
        metadata.get("namespace", ""),
        metadata["name"],
        {**obj, "apiVersion": resource.api_version, "kind": resource.kind},
        content_type="application/apply-patch+yaml",
        params={"fieldManager": "test", "force": "true"},
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("block", [False, True], ids=["filesystem", "block"])
async def test_csi_sanity_finds_nothing_and_leaves_nothing(client: Client, namespace: str, *, block: bool) -> None:
    programs = await anyio.to_thread.run_sync(binaries.ensure, csi_sanity.PROGRAM)
    # A short name: the path of a unix socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="rook-") as name:
        async with served(client, namespace, Path(name)) as found:
            secrets = {"NodeStageVolumeSecret": {"userID": "node", "userKey": "key"}}
            (found.directory / "secrets.yaml").write_text(yaml.safe_dump(secrets))
            command = csi_sanity.command(
                programs / csi_sanity.PROGRAM,
                node=found.node,
                controller=found.controller,
                directory=found.directory,
                block=block,
                size=64 << 20,
            )
            try:
                done = await anyio.run_process(command, check=False, cwd=name)
            finally:
                left = await clean(found)
        output = done.stdout.decode()
        assert (found.directory / "junit.xml").exists(), output
        results = junit.read((found.directory / "junit.xml").read_bytes())
        assert not results.failed, "\n\n".join(f"{name}: {why}" for name, why in results.failed.items())
        assert not csi_sanity.unexplained(results)
        assert done.returncode == 0, output
        assert len(results.passed) > 50
        assert not left
        assert list(found.files.iterdir()) == []
        assert await client.list(CONFIG_MAP, namespace, label_selector=KIND) == []


async def clean(services: Services) -> list[str]:
    """Takes away what a node has of volumes, and returns what there was: mounts, and loop devices."""
    inside = f"{services.directory}/"
    mounted = [mount.target for mount in await mounts.table() if mount.target.startswith(inside)]
    for target in reversed(mounted):
        await run("umount", target)
    devices = [device for file in services.files.iterdir() for device in loop.devices_on(file)]
    for device in devices:
        await run("losetup", "--detach", device)
    return [*mounted, *devices]
