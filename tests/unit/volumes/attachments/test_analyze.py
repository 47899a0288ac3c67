"""When a volume may be attached and detached: one writer at a time, whatever who remembers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from controller.framework.plan import PlanError, StepState
from controller.runtime.kube import NODE, PV, VOLUME_ATTACHMENT, Node, VolumeAttachment
from controller.runtime.reconciler import Request
from controller.testkit import Connection
from controller.volumes.attachments.analyze import (
    ASK_AGAIN,
    FIRST_LOOK,
    GRACE,
    LAST_LOOK,
    AddFinalizer,
    Attach,
    Detach,
    Fail,
    Fence,
    analyze,
    finalizer,
)
from controller.volumes.attachments.observe import GIVEN_TO, OUT_OF_SERVICE, AttachmentObservation
from controller.volumes.backend import BackendError, Holder, Volume
from informers import ApiError, Client
from tests.unit.volumes.objects import ATTRIBUTES, DRIVER, alone, attachment, node, volume
from tests.unit.volumes.world import FakeBackend, FakeEvents, World, attaching

FINALIZER = "external-attacher/rook-ceph-rbd-csi-ceph-com"
NODE_A = node("a", "10.0.0.1")
METADATA = {"monitors": "10.96.0.1:6789", "pool": "replicapool"}
ON_A = Holder(address="10.0.0.1", client="10.0.0.1:0/1", nodes=frozenset({"a"}))
ON_B = Holder(address="10.0.0.2", client="10.0.0.2:0/2", nodes=frozenset({"b"}))
UNKNOWN = Holder(address="192.0.2.1", client="192.0.2.1:0/3")
BOTH = Holder(address="192.0.2.1", client="192.0.2.1:0/3", nodes=frozenset({"a", "b"}))
UNTOLD = Holder(address="", client="", nodes=frozenset({"a"}))
OUT = node("a", "10.0.0.1", taints=(OUT_OF_SERVICE,), ready="Unknown")
LEAVING = attachment("a", deleting=True, attached=True, finalizers=("external-attacher/rook-ceph-rbd-csi-ceph-com",))
SHARED = volume(modes=("ReadWriteMany",), mode="Block")


def seen(**changes: Any) -> AttachmentObservation:
    values = {"volume": volume(), "node": NODE_A, "metadata": METADATA, "age": 60.0, **changes}
    this = values["volume"]
    return AttachmentObservation(**values, exclusive=this is None or alone(this))


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


def test_it_is_asked_again_where_the_mons_are_when_they_did_not_say() -> None:
    settled = attachment("a", attached=True, finalizers=(FINALIZER,), metadata=METADATA)
    assert analyze(settled, seen()).look_again is None
    plan = analyze(settled, seen(metadata={}, trouble="no mon answers"))
    assert (plan.steps, plan.look_again) == ((), ASK_AGAIN)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"others": [attachment("a", attached=True)]}, "attached to node a"),
        ({"others": [attachment("a", deleting=True)]}, "attached to node a"),
        ({"others": [attachment("a", created="2025-12-31T00:00:00Z")]}, "attached to node a"),
        ({"others": [attachment("a", name="aaa")]}, "attached to node a"),
        ({"holders": [ON_A]}, "10.0.0.1:0/1 on node a"),
        ({"holders": [UNKNOWN]}, "192.0.2.1:0/3, for which no node's agent accounts"),
        ({"holders": [ON_B, ON_A]}, "on node a"),
        ({"holders": [BOTH]}, "on node a or b"),
        ({"elsewhere": ["a"]}, "still mapped on node a"),
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
    assert plan.look_again is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"others": [attachment("a", name="zzz")]},  # asked later: this one goes first
        {"others": [attachment("a", created="2026-01-01T00:00:01Z")]},
        {"holders": [ON_B]},  # its own node has it open still
        {"volume": volume(modes=("ReadOnlyMany",)), "others": [attachment("a", attached=True)], "holders": [ON_A]},
        {"volume": SHARED, "others": [attachment("a", attached=True)], "holders": [ON_A], "elsewhere": ["a"]},
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
    assert actions(LEAVING, seen(holders=[ON_A], age=GRACE - 1)) == [None]
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
    assert alone(volume(modes=modes, mode=mode)) is expected


@pytest.mark.parametrize(("age", "expected"), [(0.0, FIRST_LOOK), (60.0, 12.0), (3600.0, LAST_LOOK)])
def test_the_longer_it_is_waited_for_the_less_often_it_is_asked(age: float, expected: float) -> None:
    assert analyze(LEAVING, seen(holders=[ON_A], age=age)).look_again == expected
    assert analyze(attachment("b"), seen(holders=[ON_A], age=age)).look_again == expected


def test_a_node_that_has_let_go_is_detached() -> None:
    assert actions(LEAVING, seen()) == [Detach()]
    assert actions(LEAVING, seen(holders=[ON_B])) == [Detach()]
    assert actions(attachment("a", deleting=True), seen(holders=[ON_A])) == []


@pytest.mark.parametrize(
    ("found", "named"),
    [
        (seen(holders=[ON_A]), "node a still has the volume open (10.0.0.1:0/1)"),
        (seen(holders=[ON_B, BOTH]), "node a still has the volume open (192.0.2.1:0/3)"),
        (seen(reported=[ON_A]), "node a still has the volume open (10.0.0.1:0/1)"),
        (seen(reported=[UNTOLD]), "node a still has the volume open (by a client unknown)"),
        (seen(node=node("a", "10.0.0.1", ready="False", in_use=True)), "node a still has the volume mounted, says its"),
        (seen(holders=[UNKNOWN]), "no node's agent accounts for 192.0.2.1:0/3, which may be node a's"),
        (seen(holders=[UNKNOWN], reports=True), "no node's agent accounts for 192.0.2.1:0/3"),
        (seen(holders=[UNKNOWN], node=node("a", "10.0.0.1", ready="False")), "no node's agent accounts for"),
        (
            seen(
                volume=SHARED,
                holders=[UNKNOWN],
                node=node("a", "10.0.0.1", ready="False"),
                reports=True,
                others=[attachment("b", attached=True)],
            ),
            "no node's agent accounts for",
        ),
        (
            seen(volume=SHARED, holders=[UNKNOWN], others=[attachment("b", attached=True)]),
            "no node's agent accounts for",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_node_that_may_still_have_it_open_is_not(found: AttachmentObservation, named: str) -> None:
    plan = analyze(LEAVING, found)
    fail, wait = plan.steps
    assert isinstance(fail.action, Fail)
    assert fail.action.detach
    assert named in fail.action.error
    assert OUT_OF_SERVICE in fail.action.error
    assert wait.held_by is StepState.WAITING
    assert plan.look_again is not None
    told = attachment("a", deleting=True, attached=True, finalizers=(FINALIZER,), detach_error=fail.action.error)
    assert actions(told, found) == [None]


def test_a_node_that_is_well_and_waits_for_the_volume_anew_does_not_keep_it() -> None:
    """It waits for the attachment to go and come again."""
    assert actions(LEAVING, seen(node=node("a", "10.0.0.1", in_use=True))) == [Detach()]


def test_the_report_of_a_node_that_answers_is_believed_where_others_have_the_volume_too() -> None:
    found = seen(volume=SHARED, holders=[UNKNOWN], reports=True, others=[attachment("b", attached=True)])
    assert actions(LEAVING, found) == [Detach()]


def test_a_node_that_does_not_answer_keeps_its_volumes_until_it_is_out_of_service() -> None:
    silent = node("a", "", ready="Unknown")
    fail, wait = actions(LEAVING, seen(node=silent))
    assert isinstance(fail, Fail)
    assert "node a does not answer" in fail.error
    assert wait is None
    assert actions(LEAVING, seen(node=node("a", "", ready="Unknown", taints=(OUT_OF_SERVICE,)))) == [Detach()]
    assert actions(LEAVING, seen(node=silent, volume=volume(modes=("ReadOnlyMany",)))) == [Detach()]


@pytest.mark.parametrize("host", [NODE_A, OUT, None], ids=["in service", "out of service", "gone"])
def test_a_cluster_that_does_not_answer_detaches_nothing(host: Node | None) -> None:
    """It may have said who has the volume open, and not who never gave it back."""
    found = actions(LEAVING, seen(node=host, holders=[ON_A], trouble="the mons do not answer"))
    assert not any(isinstance(action, (Fence, Detach)) for action in found)


@pytest.mark.parametrize("host", [OUT, None], ids=["tainted", "gone"])
@pytest.mark.parametrize(
    ("found", "fenced"),
    [
        ({"holders": [ON_A, ON_B]}, [ON_A]),
        ({"absent": [ON_A, ON_B]}, [ON_A]),
        ({"reported": [ON_A]}, [ON_A]),  # Ceph has forgotten it, and it may be back
        ({"holders": [ON_A], "absent": [ON_A], "reported": [ON_A]}, [ON_A]),
        ({"holders": [UNKNOWN, ON_B]}, [UNKNOWN]),  # nobody else has the volume attached
        ({"absent": [UNKNOWN]}, [UNKNOWN]),
        ({"holders": [ON_A, ON_B], "others": [attachment("b", attached=True)]}, [ON_A]),
        ({"reported": [UNTOLD]}, []),
        ({}, []),
    ],
)
def test_what_a_node_that_is_out_of_service_may_still_write_by_is_fenced_first(
    host: Node | None, found: dict[str, Any], fenced: list[Holder]
) -> None:
    plan = analyze(LEAVING, seen(node=host, **found))
    *fences, detach = (step.action for step in plan.steps)
    assert [fence.holder for fence in fences if isinstance(fence, Fence)] == fenced
    assert detach == Detach()


@pytest.mark.parametrize("host", [OUT, None], ids=["tainted", "gone"])
@pytest.mark.parametrize(
    ("found", "named"),
    [
        ({"holders": [ON_A, UNKNOWN], "others": [attachment("b", attached=True)]}, "192.0.2.1:0/3, for which no"),
        ({"absent": [UNKNOWN], "others": [attachment("b", attached=True)]}, "node b has the volume attached, too"),
        ({"holders": [BOTH]}, "192.0.2.1:0/3 on node a or b"),
    ],
)
def test_while_a_client_may_be_anothers_nothing_is_fenced_and_nothing_detached(
    host: Node | None, found: dict[str, Any], named: str
) -> None:
    fail, wait = actions(LEAVING, seen(node=host, volume=SHARED, **found))
    assert isinstance(fail, Fail)
    assert named in fail.error
    assert wait is None


@pytest.mark.parametrize("host", [NODE_A, OUT, None], ids=["in service", "tainted", "gone"])
def test_a_node_that_never_got_the_volume_has_nothing_to_do_with_a_client_of_nobodys(host: Node | None) -> None:
    waiting = attachment("a", deleting=True, finalizers=(FINALIZER,))
    assert actions(waiting, seen(node=host, holders=[UNKNOWN], absent=[UNKNOWN])) == [Detach()]
    given = seen(node=host, holders=[UNKNOWN], given=True)
    assert actions(waiting, given)[0] != Detach(), "it was on its way to get it"


async def test_it_is_fenced_before_the_attachment_goes() -> None:
    world = World()
    world.put(PV, msgspec.to_builtins(volume()))
    world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(LEAVING))
    world.absent[ATTRIBUTES["imageName"]] = (ON_A,)
    await attaching(world).reconcile(Request("", LEAVING.metadata.name))
    assert world.absent[ATTRIBUTES["imageName"]] == ()
    assert world.find(VOLUME_ATTACHMENT, "", LEAVING.metadata.name) is None


def test_a_node_that_is_gone_is_fenced_by_what_the_attachment_says_of_the_volume() -> None:
    metadata = {**ATTRIBUTES, **METADATA}
    leaving = attachment("gone", deleting=True, attached=True, finalizers=(FINALIZER,), metadata=metadata)
    fence, detach = actions(leaving, seen(node=None, volume=None, holders=[UNKNOWN, ON_B]))
    assert isinstance(fence, Fence)
    assert fence.holder == UNKNOWN
    assert fence.volume.attributes == metadata
    assert detach == Detach()


class Former(FakeBackend):
    """A storage system that serves the driver no more: its last cluster is gone."""

    def serves(self, driver: str) -> bool:
        return False


@pytest.mark.parametrize("given", [True, False])
async def test_what_was_given_is_taken_back_though_its_driver_is_not_served_any_more(given: bool) -> None:
    world = World()
    world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(LEAVING))
    found = world.find(VOLUME_ATTACHMENT, "", "csi-a")
    assert found is not None
    this = msgspec.to_builtins(volume())
    if given:
        this["metadata"]["annotations"][GIVEN_TO] = f"csi-a/{found['metadata']['uid']}"
    world.put(PV, this)
    world.put(NODE, msgspec.to_builtins(NODE_A))
    await attaching(world, backend=Former(world)).reconcile(Request("", "csi-a"))
    assert (world.find(VOLUME_ATTACHMENT, "", "csi-a") is None) is given


# What users are told.


class Broken(FakeBackend):
    """A storage system with an error that nobody thought of."""

    async def attachment(self, volume: Volume, told: Mapping[str, str], node: Mapping[str, str]) -> Mapping[str, str]:
        raise KeyError("imageName")


async def test_whatever_keeps_a_volume_from_being_attached_is_told() -> None:
    world, events = World(), FakeEvents()
    world.put(PV, msgspec.to_builtins(volume()))
    world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(attachment("a", finalizers=(FINALIZER,))))
    await attaching(world, backend=Broken(world), events=events).reconcile(Request("", "csi-a"))
    found = world.find(VOLUME_ATTACHMENT, "", "csi-a")
    assert found is not None
    assert "imageName" in found["status"]["attachError"]["message"]
    assert events.told == [("FailedAttachVolume", "'imageName'")]


class Forbidden(Connection):
    """An API server that shows no node."""

    async def request(self, method: str, path: str, **rest: Any) -> bytes:
        if path.startswith("/api/v1/nodes/"):
            raise ApiError(403, "Forbidden", "nodes is forbidden")
        return await super().request(method, path, **rest)


async def test_what_the_api_server_does_not_show_is_told() -> None:
    world = World()
    world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(LEAVING))
    operator = attaching(world, client=Client(Forbidden(world.server, "operator")))
    with pytest.raises(ApiError):
        await operator.reconcile(Request("", "csi-a"))
    found = world.find(VOLUME_ATTACHMENT, "", "csi-a")
    assert found is not None
    assert "nodes is forbidden" in found["status"]["detachError"]["message"]


class Refused(FakeBackend):
    """A storage system that fences nobody, for a reason that goes on for pages."""

    async def fence(self, volume: Volume, holder: Holder) -> None:
        raise BackendError("not permitted\n" + "at somewhere\n" * 100)


async def test_a_step_that_fails_is_told_in_a_line() -> None:
    world, events = World(), FakeEvents()
    world.put(PV, msgspec.to_builtins(volume()))
    world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(LEAVING))
    world.holders[ATTRIBUTES["imageName"]] = (UNKNOWN,)
    operator = attaching(world, backend=Refused(world), events=events)
    with pytest.raises(PlanError):
        await operator.reconcile(Request("", "csi-a"))
    found = world.find(VOLUME_ATTACHMENT, "", "csi-a")
    assert found is not None
    assert found["status"]["detachError"]["message"] == "not permitted"
    assert events.told == [("FailedDetachVolume", "not permitted")]
