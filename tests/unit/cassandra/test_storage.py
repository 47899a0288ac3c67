"""How members write files: one mode after the other, when all are well and run 5.0."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from controller.apis.cassandra.cluster import CASSANDRA_4, NONE, UPGRADING, UpgradeSpec
from controller.apis.meta import ObjectMeta
from controller.cassandra.access.answers import Job, JobState
from controller.cassandra.cluster.storage import change, first_mode, is_mixed, refusal
from controller.cassandra.member.objects import STORAGE_ANNOTATION
from controller.cassandra.member.ring import Scene
from controller.cassandra.member.rollout import Restarts
from controller.cassandra.member.roster import Chore, ChoreKind, Roster
from controller.cassandra.member.steps import WriteRoster
from controller.runtime.kube import Pod
from tests.unit.cassandra.member import scenes
from tests.unit.cassandra.member.scenes import FIRST, LAST, NAMES, scene, unanswered

RESTARTS = Restarts(
    templates={}, racks=["a"], version="5.0.3", pods={}, policy=UpgradeSpec(), up=dict.fromkeys(NAMES, 30.0)
)


def roster(**changes: Any) -> Roster:
    return msgspec.structs.replace(scenes.roster(), **changes)


def pods(**modes: str) -> dict[str, Pod]:
    """A pod of each member; `a0=` is the mode of the first."""
    found = {}
    for ordinal, name in enumerate(NAMES):
        mode = modes.get(f"a{ordinal}", "")
        meta = ObjectMeta(name=name, annotations={STORAGE_ANNOTATION: mode} if mode else {})
        found[name] = Pod(metadata=meta)
    return found


@pytest.mark.parametrize(
    ("wanted", "recorded", "why"),
    [
        (CASSANDRA_4, CASSANDRA_4, ""),
        (UPGRADING, CASSANDRA_4, ""),
        (NONE, CASSANDRA_4, "set UPGRADING first"),
        (CASSANDRA_4, UPGRADING, "there is no way back; set it to UPGRADING"),
        (UPGRADING, UPGRADING, ""),
        (NONE, UPGRADING, ""),
        (CASSANDRA_4, NONE, "there is no way back; set it to NONE"),
        (UPGRADING, NONE, ""),
    ],
)
def test_modes_follow_each_other(wanted: str, recorded: str, why: str) -> None:
    assert why in refusal(wanted, recorded)
    assert bool(refusal(wanted, recorded)) == bool(why)
    step = change(wanted, roster(storage_mode=recorded), scene(), RESTARTS, outdated=())
    assert (step is None) == (bool(why) or wanted == recorded)
    if step is not None:
        assert isinstance(step.action, WriteRoster)
        assert step.action.roster == roster(storage_mode=wanted)


CLEANUP = Chore(kind=ChoreKind.CLEANUP, member=FIRST, cause="host")


@pytest.mark.parametrize(
    ("known", "found", "restarts", "outdated", "waits_for"),
    [
        pytest.param(roster(version="4.1.7"), scene(), RESTARTS, (), "all members to run 5.0", id="they run 4.1"),
        pytest.param(roster(), scene(), RESTARTS, (LAST,), f"{LAST} to be restarted", id="one is to be restarted"),
        pytest.param(
            roster(), scene((LAST, unanswered(LAST))), RESTARTS, (), f"{LAST} does not answer", id="one is down"
        ),
        pytest.param(
            roster(),
            scene(jobs={(FIRST, "repair"): Job("repair", JobState.RUNNING)}),
            RESTARTS,
            (),
            f"{FIRST} does repair",
            id="one is busy",
        ),
        pytest.param(
            roster(chores=(CLEANUP,)), scene(), RESTARTS, (), f"Cleanup of {FIRST}", id="something is left to do"
        ),
        pytest.param(
            roster(),
            scene(),
            replace(RESTARTS, up={FIRST: 30.0, LAST: 29.0}),
            (),
            "to have served for 30 s",
            id="not for long",
        ),
    ],
)
def test_a_mode_waits_for_all_to_be_well(
    known: Roster, found: Scene, restarts: Restarts, outdated: tuple[str, ...], waits_for: str
) -> None:
    step = change(UPGRADING, known, found, restarts, outdated=outdated)

    assert step is not None
    assert step.action is None
    assert waits_for in step.waits_for


def test_modes_are_mixed_while_a_pod_has_another() -> None:
    assert not is_mixed(roster(), pods())
    assert is_mixed(roster(storage_mode=UPGRADING), pods(a0=UPGRADING, a1=UPGRADING))
    assert not is_mixed(roster(storage_mode=UPGRADING), pods(a0=UPGRADING, a1=UPGRADING, a2=UPGRADING))
    assert is_mixed(roster(storage_mode=NONE), pods(a0=UPGRADING, a1=NONE, a2=NONE))


def test_a_ring_of_4_1_has_the_first_mode_whatever_the_spec_says() -> None:
    assert first_mode("4.1.7", NONE) == CASSANDRA_4
    assert first_mode("5.0.3", NONE) == NONE
