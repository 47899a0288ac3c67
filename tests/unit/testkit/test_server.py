"""What the kit does beyond what is compared with a real server: garbage, faults of a connection, leadership."""

import subprocess
import sys
from typing import Any

import anyio
import pytest

from controller.runtime import LeaderElection, LeadershipLostError, Manager, NotLeaderError
from controller.runtime.kube import CONFIG_MAP, LEASE, NAMESPACE
from controller.testkit import ApiServer, now, until, virtual_time
from informers import ApiError, Client, JsonObject, TransportError


def child(server: ApiServer, name: str, *owners: JsonObject, **metadata: Any) -> JsonObject:
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
        for owner in owners
    ]
    about = {"namespace": "default", "name": name, "ownerReferences": references, **metadata}
    return server.create(CONFIG_MAP, {"metadata": about})


def names(server: ApiServer) -> list[str]:
    return [obj["metadata"]["name"] for obj in server.list(CONFIG_MAP)]


def test_dependents_go_with_the_last_of_their_owners() -> None:
    server = ApiServer()
    one, two = child(server, "one"), child(server, "two")
    both = child(server, "both", one, two)
    child(server, "below", both)

    server.delete(CONFIG_MAP, "default", "one")
    assert names(server) == ["below", "both", "two"]
    server.delete(CONFIG_MAP, "default", "two")
    assert names(server) == []


def test_a_foreground_deletion_waits_for_dependents_and_an_orphaning_one_lets_them_go() -> None:
    server = ApiServer()
    owner = child(server, "owner")
    child(server, "child", owner, finalizers=["a.io/x"])
    server.delete(CONFIG_MAP, "default", "owner", propagation="Foreground")
    assert names(server) == ["child", "owner"]
    assert "deletionTimestamp" in server.get(CONFIG_MAP, "default", "child")["metadata"]
    server.patch(CONFIG_MAP, "default", "child", {"metadata": {"finalizers": None}})
    assert names(server) == []

    owner = child(server, "owner")
    child(server, "child", owner)
    server.delete(CONFIG_MAP, "default", "owner", propagation="Orphan")
    assert names(server) == ["child"]
    assert not server.get(CONFIG_MAP, "default", "child")["metadata"].get("ownerReferences")


def test_a_namespace_takes_its_objects_with_it() -> None:
    server = ApiServer()
    child(server, "held", finalizers=["a.io/x"])
    child(server, "free")
    server.delete(NAMESPACE, "", "default")
    assert names(server) == ["held"]
    server.patch(CONFIG_MAP, "default", "held", {"metadata": {"finalizers": None}})
    assert server.find(NAMESPACE, "", "default") is None


def test_what_is_returned_is_the_callers_own() -> None:
    server = ApiServer()
    child(server, "a")["metadata"]["name"] = "changed"
    server.get(CONFIG_MAP, "default", "a")["metadata"]["name"] = "changed"
    assert names(server) == ["a"]


@virtual_time
async def test_a_late_write_is_carried_out_though_no_answer_comes_in_time() -> None:
    server = ApiServer()
    connection = server.connection()
    client = Client(connection)
    connection.late = 5.0
    with pytest.raises(TransportError, match="no answer within 3 s"):
        await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": "late"}}, deadline=3.0)
    assert now() == 3.0
    assert names(server) == ["late"]

    connection.cut_off()
    with pytest.raises(TransportError):
        await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": "lost"}}, deadline=3.0)
    assert names(server) == ["late"]


@virtual_time
async def test_the_gate_and_on_write_are_those_of_the_real_client() -> None:
    server = ApiServer()
    client = server.client()
    written: list[str] = []
    client.on_write = lambda resource, namespace, name, answer: written.append(f"{resource} {namespace}/{name}")
    await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": "a"}})

    def gate() -> None:
        raise NotLeaderError

    client.write_gate = gate
    with pytest.raises(NotLeaderError):
        await client.delete(CONFIG_MAP, "default", "a")
    assert written == ["configmaps default/a"]
    assert names(server) == ["a"]


@virtual_time
async def test_a_standby_takes_over_from_a_leader_that_is_cut_off() -> None:
    server = ApiServer()
    leading: list[str] = []
    connections = []

    def replica(name: str) -> Manager:
        connection = server.connection()
        connections.append(connection)
        manager = Manager(
            server.client(),
            namespaces=("default",),
            identity=name,
            leader_election=LeaderElection(namespace="default", name="test"),
            lease_client=Client(connection),
            metrics_address=("127.0.0.1", 0),
            debug_address=None,
        )

        async def lead() -> None:
            leading.append(name)
            await anyio.sleep_forever()

        manager.add_runnable(lead)
        return manager

    first, second = replica("first"), replica("second")
    lost: list[float] = []

    async def run_first() -> None:
        try:
            await first.run(signals=False)
        except LeadershipLostError:
            lost.append(now())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_first)
        await until(lambda: leading == ["first"], within=60)
        tasks.start_soon(lambda: second.run(signals=False))
        await anyio.sleep(30)
        assert leading == ["first"]
        connections[0].cut_off()
        await until(lambda: leading == ["first", "second"], within=60)
        assert lost
        assert lost[0] < now()
        second.stop()
    assert server.get(LEASE, "default", "test")["spec"]["holderIdentity"] == ""


def test_a_kind_that_is_withdrawn_is_not_found() -> None:
    server = ApiServer()
    server.withdraw(CONFIG_MAP)
    with pytest.raises(ApiError) as caught:
        server.list(CONFIG_MAP)
    assert caught.value.is_not_found


def test_it_needs_no_test_framework() -> None:
    program = "import sys, controller.testkit; assert not {'pytest', 'hypothesis'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
