"""When a volume may be attached and detached: one writer at a time, whatever who remembers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.apis.meta import Condition
from controller.framework.plan import StepState
from controller.runtime.kube import PV, VOLUME_ATTACHMENT, Node, NodeStatus, VolumeAttachment
from controller.runtime.reconciler import Request
from controller.volumes.attach import (
    GRACE,
    LOOK_AGAIN,
    OUT_OF_SERVICE,
    AddFinalizer,
    Attach,
    AttachmentObservation,
    Attachments,
    Detach,
    Fail,
    Fence,
    analyze,
    exclusive,
    finalizer,
)
from controller.volumes.backend import Holder
from tests.unit.volumes.objects import ATTRIBUTES, DRIVER, attachment, node, volume
from tests.unit.volumes.world import FakeBackend, World, informers

FINALIZER = "external-attacher/rook-ceph-rbd-csi-ceph-com"
NODES = {
    "a": node("a", "10.0.0.1", pods=("10.244.1.0/24",)),
    "b": node("b", "10.0.0.2", pods=("10.244.2.0/24", "fd00:2::/64")),
}
METADATA = {"monitors": "10.96.0.1:6789", "pool": "replicapool"}
ON_A = Holder(address="10.0.0.1", client="10.0.0.1:0/1")
ON_B = Holder(address="10.0.0.2", client="10.0.0.2:0/2")


def seen(**changes: Any) -> AttachmentObservation:
    return AttachmentObservation(**{"volume": volume(), "nodes": NODES, "metadata": METADATA, "age": 60.0, **changes})


def actions(this: VolumeAttachment, found: AttachmentObservation) -> list[object]:
    return [step.action for step in analyze(this, found).steps]


def test_the_finalizer_is_the_external_attachers() -> None:
    assert finalizer(DRIVER) == FINALIZER


def test_a_free_volume_is_attached_and_the_node_told_how() -> None:
    assert actions(attachment("a"), seen()) == [AddFinalizer(), Attach(METADATA)]
    assert actions(attachment("a", finalizers=(FINALIZER,)), seen()) == [Attach(METADATA)]


def test_an_attached_volume_is_left_alone_until_the_mons_move() -> None:
    settled = attachment("a", attached=True, finalizers=(FINALIZER,), metadata=METADATA)
    assert actions(settled, seen()) == []
    moved = {**METADATA, "monitors": "10.96.0.9:6789"}
    assert actions(settled, seen(metadata=moved)) == [Attach(moved)]
    assert actions(settled, seen(metadata={}, trouble="no mon answers")) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"others": [attachment("a", attached=True)]}, "attached to node a"),
        ({"others": [attachment("a", deleting=True)]}, "attached to node a"),
        ({"others": [attachment("a", created="2025-12-31T00:00:00Z")]}, "attached to node a"),
        ({"others": [attachment("a", name="aaa")]}, "attached to node a"),
        ({"holders": [ON_A]}, "10.0.0.1:0/1 on node a"),
        ({"holders": [Holder(address="10.244.1.7", client="10.244.1.7:0/3")]}, "on node a"),
        ({"holders": [Holder(address="192.0.2.1", client="192.0.2.1:0/3")]}, "on none of the nodes"),
        ({"holders": [ON_B, ON_A]}, "on node a"),
        ({"volume": None}, "does not exist"),
        ({"volume": volume(deleting=True)}, "is being deleted"),
        ({"trouble": "the mons do not answer"}, "the mons do not answer"),
    ],
)
def test_what_keeps_a_volume_from_a_node_is_named(changes: dict[str, Any], named: str) -> None:
    plan = analyze(attachment("b", finalizers=(FINALIZER,)), seen(**changes))
    fail, wait = plan.steps
    assert isinstance(fail.action, Fail)
    assert named in fail.action.error
    assert wait.held_by is StepState.WAITING
    assert plan.look_again == LOOK_AGAIN


@pytest.mark.parametrize(
    "changes",
    [
        {"others": [attachment("a", name="zzz")]},  # asked later: this one goes first
        {"others": [attachment("a", created="2026-01-01T00:00:01Z")]},
        {"holders": [ON_B]},  # its own node has it open still
        {"holders": [Holder(address="10.244.2.1", client="10.244.2.1:0/3")]},
        {"holders": [Holder(address="fd00:2::7", client="[fd00:2::7]:0/3")]},
        {"volume": volume(modes=("ReadOnlyMany",)), "others": [attachment("a", attached=True)], "holders": [ON_A]},
        {
            "volume": volume(modes=("ReadWriteMany",), mode="Block"),
            "others": [attachment("a", attached=True)],
            "holders": [ON_A],
        },
    ],
)
def test_what_does_not(changes: dict[str, Any]) -> None:
    assert actions(attachment("b", finalizers=(FINALIZER,)), seen(**changes)) == [Attach(METADATA)]


def test_of_two_that_ask_at_once_exactly_one_gets_it() -> None:
    first, second = attachment("a", finalizers=(FINALIZER,)), attachment("b", finalizers=(FINALIZER,))
    granted = [
        this.spec.node_name
        for this, other in ((first, second), (second, first))
        if Attach(METADATA) in actions(this, seen(others=[other]))
    ]
    assert granted == ["a"]


def test_an_error_is_told_once_and_not_before_the_grace_is_over() -> None:
    waiting = attachment("b", finalizers=(FINALIZER,))
    assert actions(waiting, seen(holders=[ON_A], age=GRACE - 1)) == [None]
    (fail, _) = actions(waiting, seen(holders=[ON_A], age=GRACE))
    assert isinstance(fail, Fail)
    told = attachment("b", finalizers=(FINALIZER,), error=fail.error)
    assert actions(told, seen(holders=[ON_A])) == [None]


@pytest.mark.parametrize(
    ("modes", "mode", "expected"),
    [
        (("ReadWriteOnce",), "Filesystem", True),
        (("ReadWriteOncePod",), "Block", True),
        (("ReadOnlyMany",), "Filesystem", False),
        (("ReadWriteOnce", "ReadOnlyMany"), "Filesystem", True),
        (("ReadWriteMany",), "Block", False),
        (("ReadWriteMany",), "Filesystem", True),
    ],
)
def test_which_volumes_have_one_node_only(modes: tuple[str, ...], mode: str, expected: bool) -> None:
    assert exclusive(volume(modes=modes, mode=mode)) is expected


def test_a_node_that_has_let_go_is_detached() -> None:
    leaving = attachment("a", deleting=True, attached=True, finalizers=(FINALIZER,))
    assert actions(leaving, seen()) == [Detach()]
    assert actions(leaving, seen(holders=[ON_B])) == [Detach()]
    assert actions(attachment("a", deleting=True), seen(holders=[ON_A])) == []


def test_a_node_that_still_has_it_open_is_not() -> None:
    leaving = attachment("a", deleting=True, attached=True, finalizers=(FINALIZER,))
    plan = analyze(leaving, seen(holders=[ON_A]))
    fail = plan.steps[0].action
    assert isinstance(fail, Fail)
    assert fail.detach
    assert "10.0.0.1:0/1" in fail.error
    assert OUT_OF_SERVICE in fail.error
    assert plan.look_again == LOOK_AGAIN
    told = attachment("a", deleting=True, attached=True, finalizers=(FINALIZER,), detach_error=fail.error)
    assert actions(told, seen(holders=[ON_A])) == [None]


def test_a_node_that_does_not_answer_keeps_its_volumes_until_it_is_out_of_service() -> None:
    leaving = attachment("a", deleting=True, attached=True, finalizers=(FINALIZER,))
    silent = NodeStatus(conditions=(Condition(type="Ready", status="Unknown"),))

    def nodes(*taints: str) -> dict[str, Node]:
        return {**NODES, "a": msgspec.structs.replace(node("a", "", taints=taints), status=silent)}

    fail, wait = actions(leaving, seen(nodes=nodes()))
    assert isinstance(fail, Fail)
    assert "node a does not answer" in fail.error
    assert wait is None
    assert actions(leaving, seen(nodes=nodes(OUT_OF_SERVICE))) == [Detach()]
    assert actions(leaving, seen(nodes=nodes(), volume=volume(modes=("ReadOnlyMany",)))) == [Detach()]


def test_a_cluster_that_does_not_answer_detaches_nothing() -> None:
    leaving = attachment("a", deleting=True, attached=True, finalizers=(FINALIZER,))
    assert Detach() not in actions(leaving, seen(trouble="the mons do not answer"))


def test_a_node_that_is_out_of_service_is_fenced_first() -> None:
    leaving = attachment("a", deleting=True, attached=True, finalizers=(FINALIZER,))
    nodes = {**NODES, "a": node("a", "10.0.0.1", taints=(OUT_OF_SERVICE,))}
    fence, detach = actions(leaving, seen(nodes=nodes, holders=[ON_A, ON_B]))
    assert isinstance(fence, Fence)
    assert fence.holder == ON_A
    assert detach == Detach()


def test_a_client_that_was_cut_off_and_may_be_back_is_fenced_when_its_node_is_out_of_service() -> None:
    leaving = attachment("a", deleting=True, attached=True, finalizers=(FINALIZER,))
    assert actions(leaving, seen(absent=[ON_A])) == [Detach()], "its node is well and let go of it"
    nodes = {**NODES, "a": node("a", "10.0.0.1", taints=(OUT_OF_SERVICE,))}
    fence, detach = actions(leaving, seen(nodes=nodes, absent=[ON_A, ON_B]))
    assert isinstance(fence, Fence)
    assert (fence.holder, detach) == (ON_A, Detach())
    fence, detach = actions(leaving, seen(nodes={"b": NODES["b"]}, absent=[ON_A, ON_B]))
    assert isinstance(fence, Fence)
    assert (fence.holder, detach) == (ON_A, Detach())


async def test_it_is_fenced_before_the_attachment_goes() -> None:
    world = World()
    world.put(PV, msgspec.to_builtins(volume()))
    leaving = attachment("a", deleting=True, attached=True, finalizers=(FINALIZER,))
    world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(leaving))
    world.absent[ATTRIBUTES["imageName"]] = (ON_A,)
    client = world.client()
    caches = informers(world)
    operator = Attachments(client, caches["attachments"], caches["volumes"], caches["nodes"], FakeBackend(world))
    await operator.reconcile(Request("", leaving.metadata.name))
    assert world.absent[ATTRIBUTES["imageName"]] == ()
    assert world.find(VOLUME_ATTACHMENT, "", leaving.metadata.name) is None


def test_a_node_that_is_gone_is_fenced_by_elimination() -> None:
    metadata = {**ATTRIBUTES, **METADATA}
    leaving = attachment("gone", deleting=True, attached=True, finalizers=(FINALIZER,), metadata=metadata)
    stranger = Holder(address="10.0.0.9", client="10.0.0.9:0/9")
    fence, detach = actions(leaving, seen(volume=None, holders=[stranger, ON_B]))
    assert isinstance(fence, Fence)
    assert fence.holder == stranger
    assert fence.volume.attributes == metadata
    assert detach == Detach()


def test_a_client_whose_address_was_translated_is_the_node_s_that_alone_has_it_attached() -> None:
    leaving = attachment("a", deleting=True, attached=True, finalizers=(FINALIZER,))
    translated = Holder(address="10.0.0.254", client="10.0.0.254:0/7")
    assert Detach() not in actions(leaving, seen(holders=[translated]))
    nodes = {**NODES, "a": node("a", "10.0.0.1", taints=(OUT_OF_SERVICE,))}
    for found in (seen(nodes=nodes, holders=[translated]), seen(nodes=nodes, absent=[translated])):
        fence, detach = actions(leaving, found)
        assert isinstance(fence, Fence)
        assert (fence.holder, detach) == (translated, Detach())
    elsewhere = attachment("b", attached=True)
    shared = seen(nodes=nodes, holders=[translated], others=[elsewhere])
    assert actions(leaving, shared) == [Detach()], "it may be node b's"
