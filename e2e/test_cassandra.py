"""Cassandra: a cluster is made, grows, shrinks, loses a member, is restored, is upgraded while clients write, and goes.

The scenarios are told in this order, on one cluster: each begins with what the one before it left.
"""

import base64
from collections.abc import Iterator

import pytest

from e2e import cassandra, minio
from e2e import environment as env
from e2e.api import ApiError, condition
from e2e.cassandra import JOIN_SECONDS, client, member
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

ROWS = 300
LABEL = f"cassandra.rook.io/cluster={cassandra.NAME}"
pytestmark = pytest.mark.timeout(2400, func_only=True)


@pytest.fixture(scope="module")
def cluster(environment: Environment) -> Iterator[Environment]:
    """Cassandra 4.1 in two racks of two members, with a table and its rows."""
    cassandra.remove(environment)
    manifest = cassandra.manifest(environment, {"a": 2, "b": 2}, image="cassandra-41")
    environment.api.apply(manifest, kind=cassandra.KIND)
    cassandra.wait(environment, {"a": 2, "b": 2}, deadline=4 * JOIN_SECONDS)
    cassandra.deploy_client(environment)
    client(environment, "create", "3")
    client(environment, "fill", "0", str(ROWS))
    yield environment
    cassandra.remove(environment)


def check_rows(environment: Environment) -> None:
    """All rows that were written are there."""
    found = client(environment, "count")
    assert found["rows"] >= ROWS
    assert not [number for number in found["missing"] if number < ROWS]


def test_members_are_one_ring_and_say_so(cluster: Environment) -> None:
    found = cassandra.members(cluster)
    assert {m["state"] for m in found.values()} == {"Normal"}
    assert len({m["hostID"] for m in found.values()}) == 4
    assert cassandra.get(cluster)["status"]["founded"] is True
    for name in found:
        log = cluster.api.logs(name, env.NAMESPACE, "cassandra")
        assert "continuing anyway since node is in its own seed list" not in log or name == member("a", 0)
    with pytest.raises(RuntimeError, match="RefusedError"):
        cluster.execute(cassandra.CLIENT, "python3", "-c", DEFAULT_LOGIN, namespace=env.NAMESPACE)


DEFAULT_LOGIN = f"""\
import asyncio
from controller.cassandra.access import cql, roles
async def main():
    import socket
    import ssl
    name = "{cassandra.NAME}-client.{env.NAMESPACE}"
    host = socket.getaddrinfo(name, 9042)[0][4][0]
    context = ssl.create_default_context(cafile="/ca/ca.crt")
    async with cql.connect(host, roles.DEFAULT, context=context, name=name):
        pass
asyncio.run(main())
"""


SHOWN = """\
import socket, ssl, sys
context = ssl.create_default_context(cafile="/ca/ca.crt")
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10) as plain:
    with context.wrap_socket(plain, server_hostname=sys.argv[1]) as shown:
        print(shown.getpeercert()["serialNumber"])
"""
PLAIN = """\
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10) as plain:
    try:
        plain.sendall(bytes.fromhex(sys.argv[3]))
        print(plain.recv(1).hex() or "closed")
    except ConnectionError:
        print("closed")
"""


def run(environment: Environment, script: str, *arguments: str) -> str:
    """What a script says that runs beside the application."""
    command = ("python3", "-c", script, *arguments)
    return environment.execute(cassandra.CLIENT, *command, namespace=env.NAMESPACE).strip()


def test_members_speak_tls_alone_and_take_a_new_certificate_without_a_restart(cluster: Environment) -> None:
    name = member("a", 0)
    host = f"{name}.{env.NAMESPACE}.svc"
    # A request of CQL for the options, and how a member greets another: neither is answered without TLS.
    for port, greeting in ((9042, "040000000500000000"), (7000, "ca552dfa0000000000000000")):
        assert run(cluster, PLAIN, host, str(port), greeting) in ("closed", "15")  # 0x15: an alert of TLS
    before = {port: run(cluster, SHOWN, host, str(port)) for port in (9042, 7000)}
    uid = cluster.api.get("Pod", name, env.NAMESPACE)["metadata"]["uid"]
    cluster.api.delete("Secret", f"{cassandra.NAME}-{cassandra.DATACENTER}-a-tls", env.NAMESPACE)

    def renewed() -> None:
        found = {port: run(cluster, SHOWN, host, str(port)) for port in (9042, 7000)}
        if set(found.values()) & set(before.values()):
            raise NotYetError(f"still {found}")

    eventually("both ports to show the new certificate", renewed, deadline=300)
    assert cluster.api.get("Pod", name, env.NAMESPACE)["metadata"]["uid"] == uid
    assert condition(cassandra.get(cluster), "CertificatesCurrent")["status"] == "True"


def test_members_serve_metrics_where_prometheus_finds_them(cluster: Environment) -> None:
    service = cluster.api.get("Service", f"{cassandra.NAME}-members", env.NAMESPACE)
    assert service["metadata"]["annotations"]["prometheus.io/port"] == "9500"
    url = f"http://{service['metadata']['name']}.{env.NAMESPACE}:9500/metrics"
    script = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=30).read().decode())"
    assert "cassandra_storage_load " in run(cluster, script, url)


def test_the_examples_application_needs_no_image_but_the_clusters(cluster: Environment) -> None:
    cassandra.deploy_example(cluster, image="cassandra-41")
    try:
        cassandra.wait_for_orders(cluster, deadline=60)
    finally:
        orders = cassandra.remove_example(cluster)
    assert orders >= 2


def test_is_repaired_by_an_operation_that_goes_on_when_the_operator_is_killed(cluster: Environment) -> None:
    cluster.api.apply(cassandra.operation("repair", repair={}), kind=cassandra.OPERATION)

    def under_way() -> None:
        found = cluster.api.get(cassandra.OPERATION, "repair", env.NAMESPACE).get("status", {})
        if not found.get("members") and not found.get("finished") and found.get("phase") != "Succeeded":
            raise NotYetError(f"{found.get('phase', 'nothing')}: {found.get('message', '')}")

    eventually("a member to be repaired", under_way, deadline=120)
    for pod in cluster.api.list("Pod", env.NAMESPACE, labels="app=rook-ceph-operator"):
        cluster.api.delete("Pod", pod["metadata"]["name"], env.NAMESPACE, grace_seconds=0)
    status = cassandra.ended(cluster, "repair", deadline=600)
    assert status["phase"] == "Succeeded", status
    assert status["progress"] == {"done": 4, "total": 4, "unit": "Members"}
    assert condition(cluster.api.get(cassandra.OPERATION, "repair", env.NAMESPACE), "Complete")["status"] == "True"
    with pytest.raises(ApiError, match="only paused can be changed"):
        cluster.api.patch(cassandra.OPERATION, "repair", env.NAMESPACE, {"spec": {"repair": {"keyspaces": ["shop"]}}})
    cassandra.wait(cluster, {"a": 2, "b": 2}, deadline=60)
    check_rows(cluster)


def test_a_schedule_makes_an_operation(cluster: Environment) -> None:
    template = cassandra.operation("", cleanup={"keyspaces": ["shop"]})
    schedule = {
        "apiVersion": template["apiVersion"],
        "kind": "OperationSchedule",
        "metadata": {"name": "often", "namespace": env.NAMESPACE},
        "spec": {"schedule": "* * * * *", "timeZone": "Europe/Berlin", "operation": template["spec"]},
    }
    cluster.api.apply(schedule, kind=cassandra.SCHEDULE)

    def made() -> str:
        found = cluster.api.list(cassandra.OPERATION, env.NAMESPACE, labels="cassandra.rook.io/schedule=often")
        if not found:
            raise NotYetError("its minute to come")
        return str(found[0]["metadata"]["name"])

    name = eventually("an Operation", made, deadline=90)
    cluster.api.patch(cassandra.SCHEDULE, "often", env.NAMESPACE, {"spec": {"suspend": True}})
    status = cassandra.ended(cluster, name, deadline=300)
    assert status["phase"] == "Succeeded", status
    cluster.api.delete(cassandra.SCHEDULE, "often", env.NAMESPACE)
    env.gone(cluster, cassandra.OPERATION, name, env.NAMESPACE, deadline=120)
    check_rows(cluster)


def test_the_superuser_is_rotated_and_the_application_goes_on(cluster: Environment) -> None:
    def username() -> str:
        secret = cluster.api.get("Secret", f"{cassandra.NAME}-superuser", env.NAMESPACE)
        return base64.b64decode(secret["data"]["username"]).decode()

    before = username()
    cassandra.edit(cluster, {"authentication": {"rotate": "2026-12-01"}})

    def mounted() -> None:
        found = cluster.execute(cassandra.CLIENT, "cat", "/login/username", namespace=env.NAMESPACE)
        if username() == before or found != username():
            raise NotYetError(f"the application has {found}, the Secret {username()}")
        check_rows(cluster)

    eventually("the application to log in as the next superuser", mounted, deadline=180)
    cassandra.wait(cluster, {"a": 2, "b": 2}, deadline=60)


def test_grows_and_shrinks_with_its_data_though_the_operator_is_killed(cluster: Environment) -> None:
    cassandra.scale(cluster, {"a": 3})
    cassandra.wait(cluster, {"a": 3, "b": 2}, deadline=2 * JOIN_SECONDS)
    check_rows(cluster)
    cassandra.scale(cluster, {"a": 2, "b": 1})

    def leaving() -> None:
        states = {name: m.get("state") for name, m in cassandra.members(cluster).items()}
        if "Leaving" not in states.values():
            raise NotYetError(str(states))

    eventually("a member to leave", leaving, deadline=300)
    for pod in cluster.api.list("Pod", env.NAMESPACE, labels="app=rook-ceph-operator"):
        cluster.api.delete("Pod", pod["metadata"]["name"], env.NAMESPACE, grace_seconds=0)
    cassandra.wait(cluster, {"a": 2, "b": 1}, deadline=2 * JOIN_SECONDS)
    check_rows(cluster)
    claims = cluster.api.list(
        "PersistentVolumeClaim", env.NAMESPACE, labels=f"cassandra.rook.io/cluster={cassandra.NAME}"
    )
    assert len(claims) == 5, "volumes of members that left are kept"


def test_a_member_that_is_lost_with_its_volume_is_replaced_by_consent(cluster: Environment) -> None:
    name = member("a", 1)
    host_id = cassandra.members(cluster)[name]["hostID"]
    cluster.api.delete("PersistentVolumeClaim", f"data-{name}", env.NAMESPACE)
    cluster.api.delete("Pod", name, env.NAMESPACE, grace_seconds=0)

    def degraded() -> None:
        found = condition(cassandra.get(cluster), "Degraded")
        if found.get("reason") != "MemberDown" or host_id not in found.get("message", ""):
            raise NotYetError(str(found))

    eventually("the loss to be told", degraded, deadline=300)
    cassandra.edit(cluster, {"lostMembers": [{"member": name, "hostID": host_id}]})
    cassandra.wait(cluster, {"a": 2, "b": 1}, deadline=2 * JOIN_SECONDS)
    assert cassandra.members(cluster)[name]["hostID"] != host_id
    check_rows(cluster)


def test_rows_that_were_deleted_come_back_from_a_backup(cluster: Environment) -> None:
    minio.deploy(cluster)
    try:
        backup = {"destination": {"s3": minio.location()}}
        status = cassandra.operate(cluster, "monday", {"backup": backup}, deadline=600)
        assert status["phase"] == "Succeeded", status
        assert status["backup"]["keyspaces"] == ["shop"]
        assert status["backup"]["files"] > 0

        client(cluster, "delete", "0", "100")
        assert client(cluster, "count")["missing"]
        restore = {"source": {"s3": minio.location()}, "backup": "monday"}
        refused = cassandra.operate(cluster, "refused", {"restore": restore}, deadline=300)
        assert refused["phase"] == "Failed"
        assert "table shop.orders exists" in refused["message"]
        assert client(cluster, "count")["missing"]

        status = cassandra.operate(cluster, "back", {"restore": {**restore, "overwrite": ["shop"]}}, deadline=600)
        assert status["phase"] == "Succeeded", status
        check_rows(cluster)
    finally:
        for name in ("monday", "refused", "back"):
            cluster.api.delete(cassandra.OPERATION, name, env.NAMESPACE)
        minio.remove(cluster)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"numTokens": 8}, "numTokens is fixed"),
        ({"datacenter": {"name": "dc2"}}, "the name of a datacenter"),
        ({"authentication": {"enabled": False}}, "authentication is decided"),
        ({"storageCompatibility": "NONE"}, "set UPGRADING first"),
        ({"lostMembers": [{"member": member("a", 0)}]}, "with its hostID, or with its claimUID"),
    ],
)
def test_what_cannot_be_changed_is_refused(cluster: Environment, spec: dict[str, object], message: str) -> None:
    with pytest.raises(ApiError, match=message):
        cassandra.edit(cluster, spec)


def test_is_upgraded_while_clients_write(cluster: Environment) -> None:
    cassandra.edit(cluster, {"claimRetention": {"whenScaled": "Delete"}})
    cassandra.scale(cluster, {"a": 2, "b": 2})
    cassandra.wait(cluster, {"a": 2, "b": 2}, deadline=JOIN_SECONDS)
    cassandra.begin_load(cluster)
    repository, version = cluster.images["cassandra-50"].rsplit(":", 1)
    cassandra.edit(cluster, {"version": version, "repository": repository})
    cassandra.wait(cluster, {"a": 2, "b": 2}, deadline=4 * JOIN_SECONDS)
    told = cassandra.end_load(cluster)
    assert told["lost"] == []
    assert told["failed"] == 0
    assert told["written"] > 100
    assert cassandra.get(cluster)["status"]["version"].startswith("5.0")
    check_rows(cluster)


def test_volumes_outlive_the_cluster(cluster: Environment) -> None:
    before = {name: m["hostID"] for name, m in cassandra.members(cluster).items()}
    spec = cassandra.get(cluster)["spec"]
    cluster.api.delete(cassandra.KIND, cassandra.NAME, env.NAMESPACE)
    env.gone(cluster, cassandra.KIND, cassandra.NAME, env.NAMESPACE, deadline=300)
    manifest = cassandra.manifest(cluster, {"a": 2, "b": 2}, image="cassandra-50")
    cluster.api.apply({**manifest, "spec": spec}, kind=cassandra.KIND)
    cassandra.wait(cluster, {"a": 2, "b": 2}, deadline=2 * JOIN_SECONDS)
    assert {name: m["hostID"] for name, m in cassandra.members(cluster).items()} == before
    check_rows(cluster)


def test_volumes_go_with_the_cluster_where_that_is_said(cluster: Environment) -> None:
    cassandra.remove(cluster)
    for kind in ("PersistentVolumeClaim", "Pod", "ConfigMap"):
        for found in cluster.api.list(kind, env.NAMESPACE, labels=LABEL):
            env.gone(cluster, kind, found["metadata"]["name"], env.NAMESPACE, deadline=300)
