"""What an operator for all namespaces can do, with its token and the chart's own roles and policies: serve clusters."""

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml

from controller.apis.ceph import CEPH_BUCKET_TOPIC, CEPH_CLUSTER
from controller.framework.namespaces import ROLE_BINDINGS, Account, Everywhere
from controller.framework.settings import Served
from controller.runtime import resource_of
from controller.runtime.kube import CONFIG_MAP, DEPLOYMENT, SECRET, SERVICE_ACCOUNT
from e2e import binaries
from e2e.apiserver import ApiServer
from informers import ApiError, Client, JsonObject, Resource
from tests.integration.conftest import NAMESPACES
from tests.integration.test_agent_rights import CRD, KINDS, ROOT, put

CLUSTERS, TOPICS = resource_of(CEPH_CLUSTER), resource_of(CEPH_BUCKET_TOPIC)
CLUSTER_ROLE = "ClusterRole"


async def rendered(namespace: str) -> list[JsonObject]:
    program = await asyncio.to_thread(binaries.ensure, "helm")
    command = [program / "helm", "template", "rook", ROOT / "charts/rook", "--namespace", namespace]
    done = await anyio.run_process([*map(str, command), "--kube-version", "1.36.0", "--set", "clusterNamespaces=*"])
    return [o for o in yaml.load_all(done.stdout, yaml.CSafeLoader) if o]


class Installed:
    """The chart in a namespace, a client with the operator's token, and namespaces for clusters."""

    def __init__(self, admin: Client, operator: Client, home: str, kubeconfig: Path) -> None:
        self.admin, self.operator, self.home, self.kubeconfig = admin, operator, home, kubeconfig
        self.account = Account(home)
        self.every = Everywhere(self.account, (home,), (CLUSTERS, TOPICS), (CLUSTERS, TOPICS))

    async def namespace(self) -> str:
        name = f"test-{uuid.uuid4().hex[:8]}"
        await self.admin.create(NAMESPACES, {"metadata": {"name": name}})
        return name

    async def found(self, namespace: str) -> Served:
        """What is served, once a namespace is."""
        with anyio.fail_after(60):
            while True:
                served = await self.every.find(self.operator)
                if namespace in served.found:
                    return served
                await anyio.sleep(0.2)  # the policy may not have heard of the object yet

    async def make(self, resource: Resource, namespace: str) -> None:
        spec: JsonObject = {"cephVersion": {"image": "x"}, "dataDirHostPath": "/var/lib/x"}
        if resource == TOPICS:
            spec = {"objectStoreName": "s", "objectStoreNamespace": "n", "endpoint": {"http": {"uri": "http://x"}}}
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "spec": spec}
        await self.admin.create(resource, body | {"metadata": {"namespace": namespace, "name": "x"}})


@pytest.fixture
async def installed(apiserver: ApiServer, client: Client, namespace: str, tmp_path: Path) -> AsyncIterator[Installed]:
    objects = await rendered(namespace)
    for obj in objects:
        if obj["kind"] == "CustomResourceDefinition":
            await put(client, CRD, obj)
    made = [o for o in objects if o["kind"] in KINDS and "helm.sh/hook" not in o["metadata"].get("annotations", {})]
    for obj in made:
        await put(client, KINDS[obj["kind"]], obj)
    request: JsonObject = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/rook-ceph-system/token"
    token = json.loads(await client.request("POST", path, body=request))["status"]["token"]
    config = apiserver.write_kubeconfig(tmp_path / "operator", user={"token": token})
    async with Client.connect(kubeconfig=str(config)) as operator:
        found = Installed(client, operator, namespace, config)
        await in_force(found)
        yield found
    for obj in made:
        if not KINDS[obj["kind"]].namespaced:
            await client.delete(KINDS[obj["kind"]], "", obj["metadata"]["name"])


async def in_force(installed: Installed) -> None:
    """Returns once the server has read the policies: a binding for what is not there is refused by them."""
    probe = await installed.namespace()
    with anyio.fail_after(60):
        for plural in ("cephclusters.ceph.rook.io", "cephbuckettopics.ceph.rook.io"):
            while True:
                binding = installed.account.binding(probe, plural)
                try:
                    await installed.operator.create(ROLE_BINDINGS, binding)
                except ApiError as error:
                    if "no params found" in str(error):
                        break
                else:
                    await installed.admin.delete(ROLE_BINDINGS, probe, binding["metadata"]["name"])
                await anyio.sleep(0.2)


def refused(why: str = "") -> Any:
    return pytest.raises(ApiError, match=f"(?is)(forbidden|denied).*{why}")


async def test_the_operator_gets_its_rights_where_a_cluster_is_and_nowhere_else(installed: Installed) -> None:
    place, other = await installed.namespace(), await installed.namespace()
    for namespace in (place, other, "kube-system"):
        with refused():
            await installed.operator.list(SECRET, namespace)
    await installed.make(CLUSTERS, place)
    served = await installed.found(place)
    assert other not in served.found
    for resource in (SECRET, CONFIG_MAP, DEPLOYMENT, CLUSTERS):
        await installed.operator.list(resource, place)
    for namespace in (other, "kube-system", ""):
        with refused():
            await installed.operator.list(SECRET, namespace)
    assert [
        o["metadata"]["name"] for o in await installed.operator.list(CLUSTERS) if o["metadata"]["namespace"] == place
    ]


async def test_rights_go_with_what_they_were_for(installed: Installed) -> None:
    place = await installed.namespace()
    await installed.make(TOPICS, place)
    await installed.found(place)
    await installed.operator.list(SECRET, place)
    await installed.admin.delete(TOPICS, place, "x")
    assert place not in (await installed.every.find(installed.operator)).found
    with anyio.fail_after(60), refused():
        while True:
            await installed.operator.list(SECRET, place)
            await anyio.sleep(0.2)


async def test_the_operator_can_bind_nothing_else(installed: Installed) -> None:
    place, other = await installed.namespace(), await installed.namespace()
    await installed.make(CLUSTERS, place)
    account, clusters = installed.account, "cephclusters.ceph.rook.io"
    right = account.binding(place, clusters)

    def changed(**parts: Any) -> JsonObject:
        return right | parts

    def named(name: str, labels: dict[str, str]) -> JsonObject:
        return changed(metadata={"namespace": place, "name": name, "labels": labels})

    with refused("no params found"):
        await installed.operator.create(ROLE_BINDINGS, account.binding(other, clusters))
    with refused("no params found"):
        await installed.operator.create(ROLE_BINDINGS, account.binding(place, "cephbuckettopics.ceph.rook.io"))
    label = {"rook.io/served-for": clusters}
    for wrong in (
        named("another", label),
        named(right["metadata"]["name"], {}),
        named("x", {"rook.io/served-for": "x"}),
    ):
        with refused("served-for"):
            await installed.operator.create(ROLE_BINDINGS, wrong)
    somebody = {"kind": "ServiceAccount", "name": "default", "namespace": place}
    with refused("to itself only"):
        await installed.operator.create(ROLE_BINDINGS, changed(subjects=[*right["subjects"], somebody]))
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": CLUSTER_ROLE, "name": "cluster-admin"}
    with refused():
        await installed.operator.create(ROLE_BINDINGS, changed(roleRef=role))
    for kind in (CLUSTER_ROLE, "ClusterRoleBinding", "Role"):
        with refused():
            meta = {"name": "x", "namespace": place if KINDS[kind].namespaced else ""}
            await installed.operator.create(KINDS[kind], {"metadata": meta, "roleRef": role})


async def test_others_bind_what_they_like_as_before(installed: Installed) -> None:
    place = await installed.namespace()
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": CLUSTER_ROLE, "name": "view"}
    meta = {"namespace": place, "name": "of-somebody"}
    await installed.admin.create(ROLE_BINDINGS, {"metadata": meta, "roleRef": role, "subjects": []})
    with refused():
        await installed.operator.delete(ROLE_BINDINGS, place, "of-somebody")


async def test_the_operator_itself_takes_up_a_new_namespace_without_being_started_again(installed: Installed) -> None:
    """As a process of its own, with its own token: it says that a cluster in a new namespace is on its way."""
    command = [sys.executable, "-m", "controller", "--watch-namespaces=*", f"--operator-namespace={installed.home}"]
    command += [f"--kubeconfig={installed.kubeconfig}", "--metrics-address=127.0.0.1:0", "--log-level=info"]
    async with await anyio.open_process(command, stdout=None, stderr=None) as process:
        try:
            places = []
            for _ in range(2):
                places.append(await installed.namespace())
                await installed.make(CLUSTERS, places[-1])
                with anyio.fail_after(90):
                    while not (await installed.admin.get(CLUSTERS, places[-1], "x")).get("status", {}).get("phase"):
                        assert process.returncode is None
                        await anyio.sleep(0.2)
                accounts = await installed.admin.list(SERVICE_ACCOUNT, places[-1])
                assert {"rook-ceph-default", "rook-ceph-mgr", "rook-ceph-osd"} <= {
                    o["metadata"]["name"] for o in accounts
                }
        finally:
            process.terminate()
            with anyio.fail_after(40):
                assert await process.wait() == 0
