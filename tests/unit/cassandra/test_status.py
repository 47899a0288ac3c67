"""What the status of a Cluster tells besides what members are: phase, conditions and message."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from controller.apis.cassandra import CassandraCluster
from controller.cassandra.cluster.observe import Observation
from controller.cassandra.cluster.status import show
from controller.cassandra.cluster.users import Auth
from controller.cassandra.member.ring import Seen
from controller.cassandra.member.roster import Seat, Standing
from controller.framework.kind import Look
from controller.framework.plan import APPLY, Outcome, Step, StepResult, StepState
from tests.unit.cassandra.life import spec
from tests.unit.cassandra.member import scenes
from tests.unit.cassandra.member.scenes import LAST, SECOND, scene, unanswered

WELL = "The cluster is as the spec has it"
IDLE = ("False", "ReconcileSucceeded", "")


def outcome(state: StepState | None = None, error: str = "", **changes: Any) -> Outcome:
    """Of a plan with one step, or with none."""
    step = Step(subject="store-dc1-a-3", reason="rack a is to have 4 members", **{"action": object(), **changes})
    return Outcome(results=(StepResult(step=step, state=state, error=error),) if state is not None else ())


def shown(
    found: Outcome, seen: Observation, *, deleted: str | None = None, **changes: Any
) -> tuple[str, str, dict[str, tuple[str, str, str]]]:
    """Phase, message, and conditions by type as status, reason and message."""
    meta = {"name": "store", "namespace": "db", "uid": "u1", "generation": 2, "deletionTimestamp": deleted}
    wanted = {"metadata": meta, "spec": {**spec(a=3), **changes}}
    cluster = msgspec.convert(wanted, CassandraCluster)
    look = Look(obj=cluster, spec=wanted["spec"], mode=APPLY, now=scenes.NOW)
    status = show(look, seen, found)
    assert {condition.observed_generation for condition in status.conditions} == {status.observed_generation} == {2}
    elsewhere = ("FieldsHonoured", "UpdateAvailable", "RolloutStopped")
    told = {c.type: (c.status, c.reason, c.message) for c in status.conditions if c.type not in elsewhere}
    return status.phase, status.message, told


def ring(*found: tuple[str, Seen], seats: dict[str, Seat] | None = None, **changes: Any) -> Observation:
    """Three members."""
    known = msgspec.structs.replace(scenes.roster(**(seats or {})), authentication=True)
    return Observation(roster=known, scene=scene(*found), **changes)


DOWN = f"{LAST} does not answer"
WAITING = "store-dc1-a-3: rack a is to have 4 members; waits for peace"
FAILING = "object store-dc1-a-3: no route"


@pytest.mark.parametrize(
    ("found", "seen", "phase", "message", "told"),
    [
        pytest.param(
            outcome(),
            ring(),
            "Ready",
            WELL,
            {
                "Ready": ("True", "ReconcileSucceeded", WELL),
                "Progressing": IDLE,
                "Degraded": ("False", "AllWell", ""),
            },
            id="all is well",
        ),
        pytest.param(
            outcome(StepState.WAITING, waits_for="peace"),
            ring(seats={"a2": scenes.seat(2, standing=Standing.LEAVING)}),
            "Progressing",
            WAITING,
            {
                "Ready": ("False", "MemberLeaving", WAITING),
                "Progressing": ("True", "MemberLeaving", WAITING),
                "Degraded": ("False", "AllWell", ""),
            },
            id="a member leaves",
        ),
        pytest.param(
            outcome(StepState.FAILED, error="no route"),
            ring(),
            "Failure",
            FAILING,
            {
                "Ready": ("False", "ReconcileFailed", FAILING),
                "Progressing": ("True", "ReconcileStarted", FAILING),
                "Degraded": ("True", "ReconcileFailed", FAILING),
                "Failure": ("True", "ReconcileFailed", FAILING),
            },
            id="a step fails",
        ),
        pytest.param(
            outcome(),
            ring(auth=Auth(default=True)),
            "Ready",
            WELL,
            {
                "Ready": ("True", "ReconcileSucceeded", WELL),
                "Progressing": IDLE,
                "Degraded": (
                    "True",
                    "AuthUnsafe",
                    "role cassandra, whose password everybody knows, is not locked yet",
                ),
            },
            id="everybody knows the password",
        ),
    ],
)
def test_what_a_cluster_tells(
    found: Outcome, seen: Observation, phase: str, message: str, told: dict[str, tuple[str, str, str]]
) -> None:
    assert shown(found, seen) == (phase, message, told)


def test_a_cluster_with_nothing_left_to_do_is_not_ready_while_a_member_is_down() -> None:
    phase, message, told = shown(outcome(), ring((LAST, unanswered(LAST))))

    assert phase == "Degraded"
    assert message.startswith(f"{DOWN}; where its node or volume is lost for good")
    assert told["Ready"] == ("False", "MemberDown", message)
    assert told["Degraded"] == ("True", "MemberDown", message)
    assert told["Progressing"] == IDLE


def test_who_is_down_is_told_beside_what_is_under_way() -> None:
    seen = ring((LAST, unanswered(LAST)), (SECOND, unanswered(SECOND)))
    phase, message, told = shown(outcome(StepState.WAITING, waits_for="peace"), seen)

    assert (phase, message) == ("Progressing", WAITING)
    assert told["Degraded"][:2] == ("True", "MemberDown")
    assert told["Degraded"][2].startswith(f"{SECOND} does not answer, {DOWN}")


def test_a_spec_that_cannot_be_is_told_and_makes_the_cluster_degraded() -> None:
    phase, message, told = shown(outcome(), ring(), version="3.11.6")

    assert (phase, told["Degraded"][:2]) == ("Degraded", ("True", "InvalidSpec"))
    assert message.startswith("spec.version is 3.11.6")
    assert told["Ready"] == ("False", "InvalidSpec", message)


def test_a_cluster_that_goes_tells_so() -> None:
    phase, message, told = shown(outcome(), ring(), deleted="2027-01-15T08:00:00Z")

    assert (phase, message) == ("Deleting", "The Cluster is being deleted")
    assert told["Deleting"] == ("True", "Deleting", "")
    assert told["Ready"] == ("False", "Deleting", message)


def test_who_does_not_start_since_it_was_away_for_too_long_is_to_be_given_up() -> None:
    said = (
        "ERROR [main] CassandraDaemon.java:887 - There are tables for which gc_grace_seconds is older than the lastly"
    )
    _, message, _ = shown(outcome(), ring((LAST, replace(unanswered(LAST), trouble=said))))

    assert "it was away for longer than deleted rows are remembered, and would bring them back: give it up" in message
    assert f"{{member: {LAST}, hostID: host-{LAST}}}" in message
