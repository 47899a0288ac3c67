"""Attaching and detaching by caches that are behind: what could cost data is decided by what the API server has."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from controller.framework.plan import PlanError
from controller.framework.reports import REPORTS
from controller.runtime.kube import NODE, PV, VOLUME_ATTACHMENT
from controller.runtime.reconciler import Request
from controller.testkit import ApiServer, new_manager, running, virtual_time
from controller.volumes.attachments.act import Attachments
from controller.volumes.attachments.analyze import LAST_LOOK
from controller.volumes.attachments.observe import GIVEN_TO, OUT_OF_SERVICE, Observer
from controller.volumes.backend import Holder, Volume
from controller.volumes.caches import caches_of
from controller.volumes.drivers import Drivers
from informers import Client, IncompleteIndexError, TransportError
from tests.unit.volumes.objects import ATTRIBUTES, DRIVER, UID, attachment, node, report, volume
from tests.unit.volumes.world import FakeBackend, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from controller.runtime import Manager
    from informers import JsonObject, Resource

FINALIZER = "external-attacher/rook-ceph-rbd-csi-ceph-com"
OPERATOR = "rook-ceph"
FIRST, SECOND, LAST = "csi-a-is-first-by-name", "csi-b", "csi-z-is-last-by-name"
IMAGE = ATTRIBUTES["imageName"]
ON_A = Holder(address="10.0.0.1", client="10.0.0.1:0/1")
ON_B = Holder(address="10.0.0.2", client="10.0.0.2:0/2")
TAINT = {"spec": {"taints": [{"key": OUT_OF_SERVICE, "effect": "NoExecute"}]}}
NO_TAINT = {"spec": {"taints": None}}


class Backend(FakeBackend):
    """A storage system that notes whom it fences, and in whose course something may happen."""

    def __init__(self, *holders: Holder) -> None:
        self.world = World()
        self.world.holders[IMAGE] = holders
        self.fenced: list[str] = []
        self.meanwhile: Any = lambda: None
        self.asked = 0
        super().__init__(self.world)

    async def holders(self, volume: Volume) -> tuple[Holder, ...]:
        self.asked += 1
        return await super().holders(volume)

    async def fence(self, volume: Volume, holder: Holder) -> None:
        await super().fence(volume, holder)
        self.fenced.append(holder.client)
        self.meanwhile()


class Held(Client):
    """A client whose permissions to attach wait on their way to the server until they are let go."""

    def __init__(self, server: ApiServer) -> None:
        super().__init__(server.connection())
        self.sent, self.let_go = anyio.Event(), anyio.Event()

    async def patch(self, resource: Resource, *args: Any, **options: Any) -> JsonObject:
        if options.get("subresource") == "status":
            self.sent.set()
            await self.let_go.wait()
        return await super().patch(resource, *args, **options)


class Lossy(Client):
    """A client whose first permission to attach gets no answer, and never arrives."""

    def __init__(self, server: ApiServer) -> None:
        super().__init__(server.connection())
        self.lost = False

    async def patch(self, resource: Resource, *args: Any, **options: Any) -> JsonObject:
        if options.get("subresource") == "status" and not self.lost:
            self.lost = True
            raise TransportError("the connection broke")
        return await super().patch(resource, *args, **options)


@dataclass
class Operator:
    """One that has started, with its caches; its controllers do nothing by themselves."""

    manager: Manager
    backend: Backend
    client: Client | None = None
    attachments: Attachments = field(init=False)

    def __post_init__(self) -> None:
        client, events = self.client or self.manager.client, self.manager.events
        drivers = Drivers([self.backend])
        caches = caches_of(self.manager.informers, drivers, OPERATOR)
        self.attachments = Attachments(client, events, Observer(client, caches, OPERATOR, drivers))

    async def reconcile(self, name: str) -> float | None:
        return (await self.attachments.reconcile(Request("", name))).requeue_after


@asynccontextmanager
async def operator(
    server: ApiServer, backend: Backend | None = None, client: Client | None = None
) -> AsyncIterator[Operator]:
    manager = new_manager(server)
    found = Operator(manager, backend or Backend(), client)
    async with running(manager):
        yield found


def with_nodes(*taints: str) -> ApiServer:
    now = datetime(2026, 1, 1, tzinfo=UTC)  # all are made in the same second
    server = ApiServer(namespaces=(OPERATOR,), now=lambda: now)
    server.serve(REPORTS)
    put(server, PV, volume())
    put(server, NODE, node("a", "10.0.0.1", taints=taints))
    put(server, NODE, node("b", "10.0.0.2"))
    return server


def put(server: ApiServer, resource: Resource, obj: Any) -> None:
    built = msgspec.to_builtins(obj)
    for name in ("uid", "resourceVersion", "generation", "creationTimestamp"):
        built["metadata"].pop(name, None)
    server.put(resource, built)


def put_attachment(server: ApiServer, name: str, host: str, *, attached: bool = False) -> None:
    """One that has the volume has it by a note in the PersistentVolume."""
    put(server, VOLUME_ATTACHMENT, attachment(host, name=name, attached=attached, finalizers=(FINALIZER,)))
    if attached:
        note(server, f"pvc-{UID}", name)


def note(server: ApiServer, volume: str, attachment: str) -> None:
    server.patch(PV, "", volume, {"metadata": {"annotations": {GIVEN_TO: note_of(server, attachment)}}})


def leaving(server: ApiServer) -> None:
    put_attachment(server, FIRST, "a", attached=True)
    server.delete(VOLUME_ATTACHMENT, "", FIRST)


def is_there(server: ApiServer) -> bool:
    return server.find(VOLUME_ATTACHMENT, "", FIRST) is not None


def attached(server: ApiServer) -> list[str]:
    return [a["metadata"]["name"] for a in server.list(VOLUME_ATTACHMENT) if a.get("status", {}).get("attached")]


# Detaching.


@virtual_time
@pytest.mark.parametrize("gone", [False, True])
async def test_a_node_that_has_gone_out_of_service_since_is_fenced(gone: bool) -> None:
    server, backend = with_nodes(), Backend(ON_A)
    leaving(server)
    async with operator(server, backend) as one:
        server.stall()
        if gone:
            server.delete(NODE, "", "a")
        else:
            server.patch(NODE, "", "a", TAINT)
        await one.reconcile(FIRST)
        assert backend.fenced == [ON_A.client]
        assert not is_there(server)


@virtual_time
@pytest.mark.parametrize("back", [False, True])
async def test_a_node_that_is_in_service_again_is_not_fenced(back: bool) -> None:
    server, backend = with_nodes(OUT_OF_SERVICE), Backend(ON_A)
    leaving(server)
    if back:
        server.delete(NODE, "", "a")
    async with operator(server, backend) as one:
        server.stall()
        if back:
            put(server, NODE, node("a", "10.0.0.1"))
        else:
            server.patch(NODE, "", "a", NO_TAINT)
        assert await one.reconcile(FIRST) == LAST_LOOK
        assert backend.fenced == []
        assert is_there(server)


@virtual_time
async def test_a_silent_node_whose_taint_was_removed_since_keeps_its_volume() -> None:
    server, backend = with_nodes(), Backend()
    server.patch(NODE, "", "a", TAINT)
    server.put(NODE, {**server.get(NODE, "", "a"), "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})
    leaving(server)
    async with operator(server, backend) as one:
        server.stall()
        server.patch(NODE, "", "a", NO_TAINT)
        await one.reconcile(FIRST)
        assert is_there(server)


@virtual_time
async def test_the_second_client_is_not_fenced_when_the_node_came_back_during_the_first_fence() -> None:
    again = Holder(address="10.0.0.1", client="10.0.0.1:0/9")
    server, backend = with_nodes(OUT_OF_SERVICE), Backend(ON_A, again)
    leaving(server)
    backend.meanwhile = lambda: server.patch(NODE, "", "a", NO_TAINT)
    async with operator(server, backend) as one:
        with pytest.raises(PlanError, match=r"node a is not out of service any more: 10\.0\.0\.1:0/9 is not fenced"):
            await one.reconcile(FIRST)
        assert backend.fenced == [ON_A.client]
        assert is_there(server)


@virtual_time
async def test_a_client_of_a_node_that_the_cache_does_not_show_yet_is_not_fenced_as_anothers() -> None:
    server, backend = with_nodes(OUT_OF_SERVICE), Backend(Holder(address="10.0.0.3", client="10.0.0.3:0/3"))
    leaving(server)
    async with operator(server, backend) as one:
        server.stall()
        put(server, NODE, node("c", "10.0.0.3"))
        await one.reconcile(FIRST)
        assert backend.fenced == []


@virtual_time
async def test_a_client_may_be_anothers_whose_attachment_the_cache_does_not_show_yet() -> None:
    server, backend = with_nodes(OUT_OF_SERVICE), Backend(Holder(address="10.0.0.254", client="translated"))
    leaving(server)
    async with operator(server, backend) as one:
        server.stall()
        put_attachment(server, SECOND, "b", attached=True)
        await one.reconcile(FIRST)
        assert backend.fenced == []
        assert is_there(server)


@virtual_time
async def test_a_client_may_be_anothers_whose_report_the_cache_does_not_show_yet() -> None:
    server, backend = with_nodes(OUT_OF_SERVICE), Backend(Holder(address="10.0.0.254", client="tunnel"))
    leaving(server)
    async with operator(server, backend) as one:
        server.stall()
        put(server, REPORTS, report("b", "tunnel"))
        await one.reconcile(FIRST)
        assert backend.fenced == []
        assert not is_there(server), "it is another node's"


@virtual_time
async def test_a_client_that_ceph_has_forgotten_is_fenced_by_what_its_node_reported() -> None:
    """Without a lock on the image, nothing else has its address."""
    server, backend = with_nodes(OUT_OF_SERVICE), Backend()
    found = report("a", "tunnel")
    other = report("a", "another volume's", handle="another")
    put(server, REPORTS, msgspec.structs.replace(found, clients=(*found.clients, *other.clients)))
    leaving(server)
    async with operator(server, backend) as one:
        await one.reconcile(FIRST)
        assert backend.fenced == ["tunnel"]
        assert not is_there(server)


@virtual_time
async def test_while_it_is_waited_for_a_client_nothing_is_listed() -> None:
    server, backend = with_nodes(OUT_OF_SERVICE), Backend(Holder(address="10.0.0.254", client="tunnel"))
    put_attachment(server, SECOND, "b", attached=True)
    leaving(server)
    async with operator(server, backend) as one:
        asked = len(server.requests)
        assert await one.reconcile(FIRST) == LAST_LOOK
        collections = ("/nodes", "/persistentvolumes", "/volumeattachments", "/nodereports")
        assert not [request for request in server.requests[asked:] if request.path.endswith(collections)]


@virtual_time
async def test_a_detachment_goes_on_when_the_agent_has_let_go() -> None:
    server, backend = with_nodes(), Backend(Holder(address="10.0.0.254", client="tunnel"))
    put(server, REPORTS, report("a", "tunnel"))
    leaving(server)
    async with operator(server, backend) as one:
        assert await one.reconcile(FIRST) == LAST_LOOK
        assert is_there(server)
        put(server, REPORTS, report("a"))
        backend.world.holders[IMAGE] = ()
        await anyio.sleep(LAST_LOOK)
        await one.reconcile(FIRST)
        assert not is_there(server)


# Attaching.


@virtual_time
async def test_a_client_on_the_machine_that_had_the_nodes_name_before_is_another() -> None:
    server = with_nodes()
    put_attachment(server, FIRST, "a")
    async with operator(server, Backend(ON_A)) as one:
        server.stall()
        server.delete(NODE, "", "a")
        put(server, NODE, node("a", "10.0.0.3"))
        assert await one.reconcile(FIRST) == LAST_LOOK
        assert attached(server) == []


@virtual_time
async def test_a_new_leader_whose_cache_lacks_an_attachment_does_not_give_the_volume_twice() -> None:
    server = with_nodes()
    put_attachment(server, FIRST, "a")
    async with operator(server) as one:
        server.stall()
        put_attachment(server, SECOND, "b", attached=True)
        with pytest.raises(PlanError, match="is attached to node b"):
            await one.reconcile(FIRST)
        assert attached(server) == [SECOND]


@virtual_time
async def test_nobody_gets_a_volume_that_a_node_may_have_whose_report_cannot_be_read() -> None:
    server = with_nodes()
    put_attachment(server, FIRST, "a")
    server.put(REPORTS, {"metadata": {"name": "b", "namespace": OPERATOR}, "clients": "none"})
    async with operator(server) as one:
        with pytest.raises(IncompleteIndexError, match="rook-ceph/b"):
            await one.reconcile(FIRST)
        assert attached(server) == []
        server.delete(REPORTS, OPERATOR, "b")
        await anyio.sleep(1)
        await one.reconcile(FIRST)
        assert attached(server) == [FIRST]


@virtual_time
async def test_attaching_lists_nothing() -> None:
    """There are thousands of attachments and nodes, and as many are attached when a node is drained."""
    server = with_nodes()
    put_attachment(server, FIRST, "a")
    async with operator(server, Backend(ON_A)) as one:
        asked = len(server.requests)
        await one.reconcile(FIRST)
        assert attached(server) == [FIRST]
        collections = ("/nodes", "/persistentvolumes", "/volumeattachments", "/nodereports")
        assert not [request for request in server.requests[asked:] if request.path.endswith(collections)]


@virtual_time
@pytest.mark.parametrize("shared", [False, True])
async def test_who_has_a_volume_open_is_asked_only_where_it_matters(shared: bool) -> None:
    """While another node has it, by Kubernetes' own account, and for one that many may have, it does not."""
    server, backend = with_nodes(), Backend(ON_B)
    if shared:
        put(server, PV, volume(modes=("ReadWriteMany",), mode="Block"))
    put_attachment(server, FIRST, "a")
    put_attachment(server, SECOND, "b", attached=True)
    async with operator(server, backend) as one:
        await one.reconcile(FIRST)
    assert attached(server) == ([FIRST, SECOND] if shared else [SECOND])
    assert backend.asked == 0


@virtual_time
async def test_nor_while_the_permission_of_the_leader_before_is_still_on_its_way() -> None:
    server = with_nodes()
    put_attachment(server, LAST, "a")
    before = Held(server)
    async with operator(server) as new:
        server.stall()
        put_attachment(server, SECOND, "b")
        async with operator(server, client=before) as old, anyio.create_task_group() as tasks:
            tasks.start_soon(old.reconcile, SECOND)
            await before.sent.wait()
            with pytest.raises(PlanError, match="is being attached to node b"):
                await new.reconcile(LAST)
            before.let_go.set()
        assert attached(server) == [SECOND]


@virtual_time
async def test_of_two_operators_that_look_at_the_same_time_one_gives_the_volume() -> None:
    server = with_nodes()
    put_attachment(server, FIRST, "a")
    async with operator(server) as one:
        server.stall()
        put_attachment(server, SECOND, "b")
        patch, rival = one.manager.client.patch, {"metadata": {"annotations": {GIVEN_TO: note_of(server, SECOND)}}}

        async def overtaken(resource: Resource, *args: Any, **options: Any) -> JsonObject:
            if resource == PV:
                server.patch(PV, "", f"pvc-{UID}", rival)
            return await patch(resource, *args, **options)

        one.manager.client.patch = overtaken  # type: ignore[method-assign]
        with pytest.raises(PlanError, match="has been modified"):
            await one.reconcile(FIRST)
        assert attached(server) == []


@virtual_time
async def test_one_whose_permission_got_no_answer_goes_first_when_it_is_tried_again() -> None:
    server = with_nodes()
    put_attachment(server, SECOND, "b")
    async with operator(server, client=Lossy(server)) as one:
        with pytest.raises(PlanError, match="the connection broke"):
            await one.reconcile(SECOND)
    put_attachment(server, FIRST, "a")
    async with operator(server) as successor:
        with pytest.raises(PlanError, match="is being attached to node b"):
            await successor.reconcile(FIRST)
        await successor.reconcile(SECOND)
        assert attached(server) == [SECOND]


@virtual_time
async def test_the_next_gets_it_when_the_one_that_had_it_is_gone() -> None:
    server = with_nodes()
    put_attachment(server, FIRST, "a")
    async with operator(server) as one:
        await one.reconcile(FIRST)
        server.delete(VOLUME_ATTACHMENT, "", FIRST)
        server.patch(VOLUME_ATTACHMENT, "", FIRST, {"metadata": {"finalizers": None}})
        put_attachment(server, SECOND, "b")
        await anyio.sleep(1)
        await one.reconcile(SECOND)
        assert attached(server) == [SECOND]
        assert server.get(PV, "", f"pvc-{UID}")["metadata"]["annotations"][GIVEN_TO] == note_of(server, SECOND)


@virtual_time
@pytest.mark.parametrize("behind", [False, True])
async def test_another_persistent_volume_of_the_same_volume_has_it(behind: bool) -> None:
    """Of an image without a lock, Ceph tells nothing of a client that was cut off for 30 s."""
    server, this = with_nodes(), msgspec.to_builtins(volume())
    put(server, PV, {**this, "metadata": {**this["metadata"], "name": "copy"}})
    spec = {"attacher": DRIVER, "nodeName": "b", "source": {"persistentVolumeName": "copy"}}
    put_attachment(server, FIRST, "a")

    def attach_copy() -> None:
        put(server, VOLUME_ATTACHMENT, {"metadata": {"name": SECOND}, "spec": spec, "status": {"attached": True}})
        note(server, "copy", SECOND)

    if not behind:
        attach_copy()
    async with operator(server) as one:
        if behind:
            server.stall()
            attach_copy()
            with pytest.raises(PlanError, match="is attached to node b"):
                await one.reconcile(FIRST)
        else:
            assert await one.reconcile(FIRST) == LAST_LOOK
        assert attached(server) == [SECOND]


@virtual_time
async def test_a_volume_that_many_may_have_is_given_without_a_note() -> None:
    server = with_nodes()
    put(server, PV, volume(modes=("ReadOnlyMany",)))
    for name, host in ((FIRST, "a"), (SECOND, "b")):
        put_attachment(server, name, host)
    async with operator(server) as one:
        await one.reconcile(FIRST)
        await one.reconcile(SECOND)
        assert attached(server) == [FIRST, SECOND]
        assert GIVEN_TO not in server.get(PV, "", f"pvc-{UID}")["metadata"].get("annotations", {})


def note_of(server: ApiServer, name: str) -> str:
    return f"{name}/{server.get(VOLUME_ATTACHMENT, '', name)['metadata']['uid']}"
