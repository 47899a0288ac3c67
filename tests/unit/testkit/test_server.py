"""What the kit does beyond what is compared with a real server: garbage, faults of a connection, leadership."""

import asyncio
import subprocess
import sys
from typing import Any

import anyio
import pytest

from controller.runtime import LeaderElection, LeadershipLostError, Manager, NotLeaderError, Program
from controller.runtime.kube import CONFIG_MAP, LEASE, NAMESPACE, NODE, POD
from controller.testkit import ApiServer, garbage, new_manager, now, running, until, virtual_time
from informers import ApiError, Client, JsonObject, TransportError


def reference(owner: JsonObject, **more: Any) -> JsonObject:
    about = owner["metadata"]
    return {"apiVersion": "v1", "kind": owner["kind"], "name": about["name"], "uid": about["uid"], **more}


def child(server: ApiServer, name: str, *owners: JsonObject, **metadata: Any) -> JsonObject:
    references = [reference(owner, blockOwnerDeletion=True) for owner in owners]
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


def test_a_foreground_deletion_waits_only_for_dependents_that_block_it() -> None:
    server = ApiServer()
    owner = child(server, "owner")
    child(server, "child", ownerReferences=[reference(owner)], finalizers=["a.io/x"])
    server.delete(CONFIG_MAP, "default", "owner", propagation="Foreground")
    assert names(server) == ["child"]
    assert "deletionTimestamp" in server.get(CONFIG_MAP, "default", "child")["metadata"]


def test_a_foreground_deletion_goes_down_to_the_last_dependent() -> None:
    server = ApiServer()
    top = child(server, "a-top")
    middle = child(server, "b-middle", top)
    child(server, "c-bottom", middle, finalizers=["a.io/x"])
    server.delete(CONFIG_MAP, "default", "a-top", propagation="Foreground")
    ending = [obj["metadata"].get("finalizers") for obj in server.list(CONFIG_MAP)]
    assert ending == [["foregroundDeletion"], ["foregroundDeletion"], ["a.io/x"]]
    server.patch(CONFIG_MAP, "default", "c-bottom", {"metadata": {"finalizers": None}})
    assert names(server) == []


def test_a_dependent_with_another_owner_lets_go_of_those_that_are_gone_or_go_in_the_foreground() -> None:
    server = ApiServer()
    gone, waiting, stays = child(server, "gone"), child(server, "waiting"), child(server, "stays")
    child(server, "child", gone, waiting, stays)
    server.delete(CONFIG_MAP, "default", "gone")
    server.delete(CONFIG_MAP, "default", "waiting", propagation="Foreground")
    assert names(server) == ["child", "stays"]
    references = server.get(CONFIG_MAP, "default", "child")["metadata"]["ownerReferences"]
    assert [found["name"] for found in references] == ["stays"]


def test_an_orphan_keeps_its_other_owners_and_goes_with_them() -> None:
    server = ApiServer()
    one, two = child(server, "one"), child(server, "two")
    child(server, "child", one, two)
    server.delete(CONFIG_MAP, "default", "one", propagation="Orphan")
    assert names(server) == ["child", "two"]
    server.delete(CONFIG_MAP, "default", "two")
    assert names(server) == []


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, ["child", "owner"]),
        ({"uid": "another"}, ["owner"]),
        ({"name": "another"}, ["owner"]),
        ({"kind": "Secret"}, ["owner"]),
        ({"kind": "Nothing"}, ["child", "owner"]),
    ],
)
def test_an_owner_is_who_has_the_kind_the_name_and_the_uid(changes: dict[str, str], left: list[str]) -> None:
    server = ApiServer()
    owner = child(server, "owner")
    child(server, "child", ownerReferences=[reference(owner) | changes])
    assert names(server) == left


def test_an_owner_is_in_the_same_namespace_or_in_none() -> None:
    server = ApiServer()
    elsewhere = server.create(CONFIG_MAP, {"metadata": {"namespace": "kube-system", "name": "owner"}})
    node = server.create(NODE, {"metadata": {"name": "owner"}})
    child(server, "of-elsewhere", elsewhere)
    child(server, "of-the-node", node)
    assert names(server) == ["of-the-node", "owner"]
    # What is in no namespace cannot say in which its owner would be: it is left alone.
    server.create(NODE, {"metadata": {"name": "odd", "ownerReferences": [reference(elsewhere)]}})
    server.delete(CONFIG_MAP, "kube-system", "owner")
    server.delete(NODE, "", "owner")
    assert names(server) == []
    assert server.find(NODE, "", "odd") is not None


@virtual_time
async def test_a_pod_on_a_node_stays_until_its_time_is_told_to_be_over() -> None:
    server = ApiServer()
    server.create(POD, {"metadata": {"namespace": "default", "name": "p"}, "spec": {"nodeName": "n"}})

    def ends() -> str:
        found: str = server.get(POD, "default", "p")["metadata"]["deletionTimestamp"]
        return found

    await anyio.sleep(10)
    server.delete(POD, "default", "p")
    assert ends() == "2026-01-01T00:00:40Z"
    await anyio.sleep(5)
    server.delete(POD, "default", "p", grace=20)
    assert ends() == "2026-01-01T00:00:30Z", "counted from when it was first asked for"
    await anyio.sleep(10)
    server.delete(POD, "default", "p", grace=5)
    assert ends() == "2026-01-01T00:00:25Z", "not in the past"
    server.delete(POD, "default", "p", grace=0)
    assert server.find(POD, "default", "p") is None


@virtual_time
async def test_bookmarks_come_each_minute_and_before_the_end() -> None:
    client = ApiServer().client()
    came: list[float] = []
    params = {"watch": "true", "resourceVersion": "10", "allowWatchBookmarks": "true", "timeoutSeconds": "150"}
    async with client.stream(CONFIG_MAP.path("default"), params=params, idle=90.0) as stream:
        while await stream.read():
            came.append(now())
    assert came == [60.0, 120.0, 148.0]
    assert now() == 150.0


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
    client.on_write = lambda resource, namespace, name: lambda _: written.append(f"{resource} {namespace}/{name}")
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
            program=Program("test"),
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


def test_ten_thousand_objects_with_owners_are_each_looked_at_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    look = garbage._due

    def counting(*args: Any) -> garbage.Change | None:
        nonlocal looks
        looks += 1
        return look(*args)

    monkeypatch.setattr(garbage, "_due", counting)
    server = ApiServer()
    owner = child(server, "owner")
    for number in range(10_000):
        child(server, f"c{number:05}", owner)
    assert looks < 30_000
    server.delete(CONFIG_MAP, "default", "owner", propagation="Foreground")
    assert names(server) == []
    assert looks < 100_000


@virtual_time
async def test_a_manager_listens_nowhere_and_can_stand_for_election() -> None:
    def refused(*_args: Any, **_kwargs: Any) -> None:
        pytest.fail("a socket")

    server = ApiServer()
    manager = new_manager(server, leader_election=LeaderElection(namespace="default", name="test"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(asyncio.get_running_loop(), "create_server", refused)
        async with running(manager):
            await until(lambda: manager.elector is not None and manager.elector.leading)
            assert server.get(LEASE, "default", "test")["spec"]["holderIdentity"] == manager.identity
    assert manager.addresses == ()
