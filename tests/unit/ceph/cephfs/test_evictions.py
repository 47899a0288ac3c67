"""Whatever sessions there are at the MDS daemons: no healthy client is evicted, and no second writer let in.

The world has what the operator cannot see: on which node each client really is, if on any.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.apis.rook.node_report import NodeReport, VolumeClient
from controller.framework.plan import PlanError
from controller.framework.reports import REPORTS
from controller.runtime.kube import NODE, PV, VOLUME_ATTACHMENT, Node, NodeAddress, ObjectMeta, VolumeAttachment
from controller.runtime.reconciler import Request
from controller.volumes.attachments.act import Attachments
from controller.volumes.attachments.observe import OUT_OF_SERVICE, Observer
from controller.volumes.drivers import Drivers
from tests.unit.ceph.cephfs.cephfs import DRIVER, HANDLE, NAME, Ceph, backend, client_of, session
from tests.unit.volumes import objects
from tests.unit.volumes.world import FakeEvents, World, caches_of

FINALIZER = "external-attacher/rook-ceph-cephfs-csi-ceph-com"
OTHER = NAME.replace("1", "9")
DIRECTORY = f"/volumes/csi/{NAME}/0e81"
ROOTS = (
    DIRECTORY,
    f"/volumes/csi/{NAME}/0e81/within",
    f"/volumes/csi/{NAME}-2/0e81",
    f"/volumes/csi/{OTHER}/0e81",
    "/volumes/csi",
    "/",
    "",
)
NOW = 1767225660.0


@dataclass(frozen=True)
class Client:
    """A client of the file system, and the node that it is on; empty: it is on none, or nobody's."""

    name: str
    root: str
    node: str
    host: str
    stale: bool
    reported: str
    """How the node's agent reports it: by its address, without it ("vague"), or not at all."""

    @property
    def has_volume(self) -> bool:
        return self.root.startswith(f"/volumes/csi/{NAME}/")


@st.composite
def clients(draw: st.DrawFn, number: int) -> Client:
    node = draw(st.sampled_from(["a", "b", ""]))
    own = node and draw(st.booleans())
    address = f"10.0.0.{'ab'.index(node) + 1}" if own else draw(st.sampled_from(["192.168.0.1", "192.168.0.2"]))
    # A pod has a name of its own, of which there may be two; one on the host network has its node's.
    host = draw(st.sampled_from([node, "pod", ""])) if node else draw(st.sampled_from(["pod", "gateway", ""]))
    return Client(
        name=f"{address}:0/{number}",
        root=draw(st.sampled_from(ROOTS)),
        node=node,
        host=host,
        stale=draw(st.booleans()),
        reported=draw(st.sampled_from(["", "vague", "known"])) if node else "",
    )


@st.composite
def scenes(draw: st.DrawFn) -> list[Client]:
    return [draw(clients(number)) for number in range(draw(st.integers(0, 4)))]


def scene(found: list[Client], *, mode: str = "ReadWriteOnce") -> tuple[World, Ceph, Attachments]:
    """Node a is out of service and loses the volume, node b waits for it."""
    world, ceph = World(), Ceph()
    ceph.sessions = [session(c.name, c.root, host=c.host, state="stale" if c.stale else "open") for c in found]
    for number, name in enumerate("ab"):
        node = objects.node(name, f"10.0.0.{number + 1}", taints=(OUT_OF_SERVICE,) if name == "a" else ())
        named = (*node.status.addresses, NodeAddress(type="Hostname", address=name))
        world.put(NODE, msgspec.to_builtins(msgspec.structs.replace(node, status=called(node, named))))
        known = [c for c in found if c.node == name and c.reported]
        report = NodeReport(
            metadata=ObjectMeta(name=name, namespace="rook-ceph"),
            clients=tuple(
                VolumeClient(
                    driver=DRIVER,
                    volume_handle=HANDLE if c.has_volume else "other",
                    address=c.name if c.reported == "known" else "",
                )
                for c in known
            ),
        )
        world.put(REPORTS, msgspec.to_builtins(report))
    volume = objects.volume(modes=(mode,))
    attributes = {"clusterID": "rook-ceph", "fsName": "myfs", "subvolumeName": NAME}
    csi = {"driver": DRIVER, "volumeHandle": HANDLE, "volumeAttributes": attributes}
    built = msgspec.to_builtins(volume)
    world.put(PV, {**built, "spec": {**built["spec"], "csi": csi}})
    attach(world, "a", deleting=True)
    attach(world, "b")
    events: Any = FakeEvents()
    client = world.client()
    drivers = Drivers([backend(ceph)])
    observer = Observer(client, caches_of(world), "rook-ceph", drivers, lambda: NOW)
    return world, ceph, Attachments(client, events, observer)


def called(node: Node, addresses: tuple[NodeAddress, ...]) -> Any:
    return msgspec.structs.replace(node.status, addresses=addresses)


def attach(world: World, node: str, *, deleting: bool = False) -> None:
    found = objects.attachment(node, attached=deleting, deleting=deleting, finalizers=(FINALIZER,))
    moved = msgspec.structs.replace(found, spec=msgspec.structs.replace(found.spec, attacher=DRIVER))
    world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(moved))


async def settle(attachments: Attachments) -> None:
    for name in ("csi-a", "csi-b", "csi-a", "csi-b"):
        with suppress(PlanError):
            await attachments.reconcile(Request("", name))


def attached(world: World, node: str) -> bool:
    found = world.find(VOLUME_ATTACHMENT, "", f"csi-{node}")
    return found is not None and msgspec.convert(found, VolumeAttachment).status.attached


@given(scenes())
async def test_only_clients_of_the_node_that_is_out_of_service_are_evicted(found: list[Client]) -> None:
    world, ceph, attachments = scene(found)
    await settle(attachments)
    mine = {c.name for c in found if c.node == "a" and c.has_volume}
    assert set(ceph.fenced) <= mine
    left = {client_of(s) for s in ceph.sessions}
    others = {c.name for c in found if c.name not in mine}
    assert others <= left
    if attached(world, "b"):
        assert world.find(VOLUME_ATTACHMENT, "", "csi-a") is None
        assert not mine & left, "a client of node a can still write"
        writers = [c for c in found if c.has_volume and not c.stale and c.name not in mine]
        assert all(c.node == "b" for c in writers)


@given(scenes(), st.sampled_from(["down", "replay"]))
async def test_while_mds_daemons_do_not_tell_nobody_else_gets_the_volume(found: list[Client], how: str) -> None:
    world, ceph, attachments = scene(found)
    if how == "replay":
        ceph.filesystems["myfs"] = "up:replay"
    else:
        ceph.down = errno.ETIMEDOUT
    await settle(attachments)
    assert not attached(world, "b")
    found_a = world.find(VOLUME_ATTACHMENT, "", "csi-a")
    assert found_a is not None
    assert found_a["status"]["detachError"]["message"], "and why is told"
    ceph.filesystems["myfs"], ceph.down = "up:active", 0
    before = set(ceph.fenced)
    await settle(attachments)
    assert before == set()


@pytest.mark.parametrize("host", ["a", "gateway"])
@pytest.mark.parametrize("stale", [False, True])
async def test_the_kernels_client_is_found_by_its_host_where_its_agent_does_not_know_it(host: str, stale: bool) -> None:
    """Its address is that of a network for storage, which Kubernetes does not know."""
    kernel = Client("172.16.0.1:0/1", DIRECTORY, "a", host, stale, "vague")
    world, ceph, attachments = scene([kernel])
    await settle(attachments)
    assert ceph.fenced == ([kernel.name] if host == "a" else [])
    assert attached(world, "b") is (host == "a")
    if host != "a":
        told = world.find(VOLUME_ATTACHMENT, "", "csi-a")
        assert told is not None
        assert "172.16.0.1:0/1, for which no node's agent accounts" in told["status"]["detachError"]["message"]


async def test_of_two_pods_of_one_name_none_is_evicted() -> None:
    both = [Client(f"172.16.0.{i}:0/{i}", DIRECTORY, "a", "a", stale=False, reported="vague") for i in (1, 2)]
    world, ceph, attachments = scene(both)
    await settle(attachments)
    assert ceph.fenced == []
    assert not attached(world, "b")


async def test_a_pod_that_is_called_like_a_node_is_not_its_client() -> None:
    other = Client("172.16.0.1:0/1", DIRECTORY, "", "a", stale=False, reported="")
    world, ceph, attachments = scene([other])
    await settle(attachments)
    assert ceph.fenced == []
    assert not attached(world, "b")


async def test_of_a_volume_for_many_writers_clients_are_not_asked_for() -> None:
    reported = Client("192.168.0.1:0/1", DIRECTORY, "a", "", stale=False, reported="known")
    unknown = Client("192.168.0.2:0/2", DIRECTORY, "", "gateway", stale=False, reported="")
    world, ceph, attachments = scene([reported, unknown], mode="ReadWriteMany")
    await settle(attachments)
    assert ceph.fenced == [reported.name], "that of the node that is out of service"
    assert (attached(world, "b"), world.find(VOLUME_ATTACHMENT, "", "csi-a")) == (True, None)
