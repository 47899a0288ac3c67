"""What an agent can do, with its token and the chart's own roles and policy on a real API server: report its node."""

import asyncio
import json
import os
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import anyio
import grpc.aio
import msgspec
import pytest
import yaml

from controller.agent.__main__ import Settings, run_agent
from controller.agent.devices.report import REPORTS
from controller.agent.node import csi_pb2, csi_pb2_grpc
from controller.agent.system.files import file_name, write_durably
from controller.apis.rook.node_report import NODE_REPORT, VolumeClient
from controller.runtime.kube import CONFIG_MAP, EVENT, NODE, POD, SECRET, SERVICE_ACCOUNT
from e2e import binaries
from e2e.apiserver import ApiServer
from informers import ApiError, Client, JsonObject, Resource

ROOT = Path(__file__).parents[2]
RBAC = "rbac.authorization.k8s.io"
ADMISSION = "admissionregistration.k8s.io"
KINDS = {
    resource.kind: resource
    for resource in (
        SERVICE_ACCOUNT,
        Resource(RBAC, "v1", "Role", "roles"),
        Resource(RBAC, "v1", "RoleBinding", "rolebindings"),
        Resource(RBAC, "v1", "ClusterRole", "clusterroles", namespaced=False),
        Resource(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
        Resource(ADMISSION, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", namespaced=False),
        Resource(
            ADMISSION, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", namespaced=False
        ),
    )
}
CRD = Resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
APPLY = "application/apply-patch+yaml"


async def rendered(namespace: str) -> list[JsonObject]:
    program = await asyncio.to_thread(binaries.ensure, "helm")
    command = [program / "helm", "template", "rook", ROOT / "charts/rook", "--namespace", namespace]
    done = await anyio.run_process([*map(str, command), "--kube-version", "1.36.0"])
    return [o for o in yaml.load_all(done.stdout, yaml.CSafeLoader) if o]


async def put(client: Client, resource: Resource, obj: JsonObject) -> None:
    meta = obj["metadata"]
    await client.patch(
        resource,
        meta.get("namespace", ""),
        meta["name"],
        obj,
        content_type=APPLY,
        params={"fieldManager": "test", "force": "true"},
    )


def report(name: str, **more: Any) -> JsonObject:
    return {"apiVersion": NODE_REPORT.api_version, "kind": NODE_REPORT.kind, "metadata": {"name": name}, **more}


class Cluster:
    """A namespace with the chart's accounts, and nodes with agents."""

    def __init__(self, server: ApiServer, admin: Client, namespace: str, directory: Path) -> None:
        self.server, self.admin, self.namespace, self._directory = server, admin, namespace, directory
        self.nodes = tuple(f"{namespace}-{name}.example.org" for name in "ab")

    async def install(self) -> None:
        definition = yaml.safe_load((ROOT / "manifests/crds/rook.io_nodereports.yaml").read_text(encoding="utf-8"))
        await put(self.admin, CRD, definition)
        for obj in await rendered(self.namespace):
            if obj["kind"] in KINDS and "helm.sh/hook" not in obj["metadata"].get("annotations", {}):
                await put(self.admin, KINDS[obj["kind"]], obj)
        for node in self.nodes:
            await self.admin.create(NODE, {"metadata": {"name": node}})

    @asynccontextmanager
    async def agent(self, node: str | None) -> AsyncIterator[Client]:
        """A client with the token of the agent's pod on this node; None: with one that no pod has."""
        request: JsonObject = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        if node is not None:
            name = f"agent-{uuid.uuid4().hex[:8]}"
            spec = {
                "nodeName": node,
                "serviceAccountName": "rook-agent",
                "containers": [{"name": "agent", "image": "rook/agent"}],
            }
            pod = await self.admin.create(POD, {"metadata": {"name": name, "namespace": self.namespace}, "spec": spec})
            uid = pod["metadata"]["uid"]
            request["spec"] = {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}}
        path = f"{SERVICE_ACCOUNT.path(self.namespace, 'rook-agent')}/token"
        token = json.loads(await self.admin.request("POST", path, body=request))["status"]["token"]
        config = self.server.write_kubeconfig(self._directory / uuid.uuid4().hex, user={"token": token})
        async with Client.connect(kubeconfig=str(config)) as client:
            yield client

    async def apply(self, client: Client, name: str, **content: Any) -> None:
        await put(client, REPORTS, report(name, **content) | {"metadata": {"name": name, "namespace": self.namespace}})


@pytest.fixture
async def cluster(apiserver: ApiServer, client: Client, namespace: str, tmp_path: Path) -> AsyncIterator[Cluster]:
    found = Cluster(apiserver, client, namespace, tmp_path)
    await found.install()
    await in_force(found)
    yield found
    for kind in ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"):
        await client.delete(KINDS[kind], "", f"{namespace}-rook-agent")
    for node in found.nodes:
        await client.delete(NODE, "", node)


async def in_force(cluster: Cluster) -> None:
    """Returns once the server has read the roles and the policy: an agent's own report passes, another is refused."""
    own, other = cluster.nodes
    with anyio.fail_after(60):
        async with cluster.agent(own) as agent:
            while True:
                try:
                    await cluster.apply(agent, own)
                    await cluster.apply(agent, other)
                except ApiError as error:
                    if "report of its own node only" in str(error):
                        break
                await anyio.sleep(0.2)
    await cluster.admin.delete(REPORTS, cluster.namespace, own)
    if await cluster.admin.find(REPORTS, cluster.namespace, other) is not None:  # it passed before the policy was read
        await cluster.admin.delete(REPORTS, cluster.namespace, other)


def refused(why: str = "") -> Any:
    return pytest.raises(ApiError, match=f"(?is)forbidden.*{why}")


async def test_an_agent_writes_the_report_of_its_own_node(cluster: Cluster) -> None:
    own = cluster.nodes[0]
    async with cluster.agent(own) as agent:
        for size in (1, 2):
            await cluster.apply(agent, own, devices=[{"name": "sdb", "size": size}])
        assert (await agent.get(REPORTS, cluster.namespace, own))["devices"] == [{"name": "sdb", "size": 2}]


async def test_an_agent_cannot_make_or_change_the_report_of_another_node(cluster: Cluster) -> None:
    own, other = cluster.nodes
    why = "may write the report of its own node only"
    async with cluster.agent(own) as agent:
        with refused(why):
            await cluster.apply(agent, other)
        with refused(why):
            await agent.create(REPORTS, report(other) | {"metadata": {"name": other, "namespace": cluster.namespace}})
        with refused(why):
            meta = {"generateName": own, "namespace": cluster.namespace}
            await agent.create(REPORTS, report(other) | {"metadata": meta})
        async with cluster.agent(other) as second:
            await cluster.apply(second, other, mapper={"name": "krbd"})
        with refused(why):
            await cluster.apply(agent, other, mapper={"name": "userspace"})
        with refused():
            await agent.delete(REPORTS, cluster.namespace, own)


async def test_a_token_of_the_account_that_is_of_no_node_writes_nothing(cluster: Cluster) -> None:
    async with cluster.agent(None) as stranger:
        with refused("may write the report of its own node only"):
            await cluster.apply(stranger, cluster.nodes[0])


async def test_an_agent_reaches_no_config_map_nor_secret(cluster: Cluster) -> None:
    body: JsonObject = {"metadata": {"name": "rook-config-override", "namespace": cluster.namespace}}
    await cluster.admin.create(CONFIG_MAP, body)
    async with cluster.agent(cluster.nodes[0]) as agent:
        for resource in (CONFIG_MAP, SECRET):
            with refused():
                await agent.create(resource, {"metadata": {"name": "x", "namespace": cluster.namespace}})
            with refused():
                await agent.get(resource, cluster.namespace, "rook-config-override")
            with refused():
                patch = {"data": {"config": "[global]"}}
                merge = "application/merge-patch+json"
                await agent.patch(resource, cluster.namespace, "rook-config-override", patch, content_type=merge)


async def test_an_agent_reads_its_node_and_changes_nothing_of_it(cluster: Cluster) -> None:
    own = cluster.nodes[0]
    async with cluster.agent(own) as agent:
        (found,) = await agent.list(NODE, field_selector=f"metadata.name={own}")
        assert found["metadata"]["name"] == own
        with refused():
            patch = {"metadata": {"labels": {"a": "b"}}}
            await agent.patch(NODE, "", own, patch, content_type="application/merge-patch+json")
        with refused():
            await agent.create(EVENT, {"metadata": {"name": f"{own}.1", "namespace": "default"}})


async def test_an_agent_runs_with_these_rights(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """It serves its driver, reports its node, and lets go of what is left of a volume that is not attached any more."""
    own, driver = cluster.nodes[0], f"{cluster.namespace}.rbd.csi.ceph.com"
    left = VolumeClient(driver=driver, volume_handle="left", image="pool/left", address="10.0.0.1:0/3456")
    monkeypatch.setattr("controller.agent.node.leftovers.GRACE", 0.1)
    # A short name: the path of a unix socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="rook-") as name:
        directory = Path(name)
        record = directory / f"state/clients/{file_name('left')}.json"
        write_durably(record, msgspec.json.encode(left))
        settings = Settings(
            node=own,
            namespace=cluster.namespace,
            drivers=(driver,),
            kubelet=directory / "kubelet",
            state=directory / "state",
            mounter=directory / "mounter/mounter.sock",
            host_mounts=Path("/proc/1/mountinfo"),
            metrics=("127.0.0.1", 0),
            max_volumes=9,
        )
        socket = directory / "kubelet/plugins" / driver / "csi.sock"
        async with cluster.agent(own) as agent, anyio.create_task_group() as tasks:
            monkeypatch.setattr(Client, "connect", lambda **options: nullcontext(agent))
            tasks.start_soon(run_agent, settings)
            try:
                with anyio.fail_after(60):
                    await serves_and_reports(cluster, socket, record)
            finally:
                assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
                os.kill(os.getpid(), signal.SIGTERM)


async def serves_and_reports(cluster: Cluster, socket: Path, left: Path) -> None:
    own = cluster.nodes[0]
    while not await anyio.Path(socket).exists():  # noqa: ASYNC110
        await anyio.sleep(0.1)
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        info = await csi_pb2_grpc.NodeStub(channel).NodeGetInfo(csi_pb2.NodeGetInfoRequest())
    assert (info.node_id, info.max_volumes_per_node) == (own, 9)
    while True:
        found = await cluster.admin.find(REPORTS, cluster.namespace, own)
        if found is not None and not found.get("clients") and not await anyio.Path(left).exists():
            assert found["mapper"]["reason"]
            return
        await anyio.sleep(0.1)
