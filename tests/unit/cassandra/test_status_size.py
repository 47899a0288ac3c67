"""A status stays small however large the ring is, and says what it leaves out."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from controller.apis.cassandra import CassandraCluster, MemberStatus
from controller.apis.cassandra.status import ClusterStatus
from controller.cassandra.access.answers import Ring
from controller.cassandra.cluster.analyze import analyze
from controller.cassandra.cluster.observe import Observation
from controller.cassandra.cluster.status import MOST_MEMBERS, show
from controller.cassandra.member.ring import Scene, Seen
from controller.cassandra.member.roster import Roster, Seat
from controller.cassandra.member.steps import WriteRoster
from controller.framework.kind import Look
from controller.framework.plan import APPLY, Outcome, StepResult, StepState
from tests.unit.cassandra.life import spec
from tests.unit.cassandra.member import scenes

COUNT = 1000
RACK = "a" * 40
MEMBERS = [f"store-dc1-{RACK}-{ordinal}" for ordinal in range(COUNT)]
IDS = {name: f"01234567-89ab-cdef-0123-{ordinal:012}" for ordinal, name in enumerate(MEMBERS)}
ADDRESSES = {name: f"fd00:10:244:1234:5678:9abc:def0:{ordinal:04x}" for ordinal, name in enumerate(MEMBERS)}
MOST_BYTES = 256 << 10


def cluster(status: ClusterStatus | None = None) -> CassandraCluster:
    meta = {"name": "store", "namespace": "db", "uid": "u1", "generation": 2}
    made = msgspec.convert({"metadata": meta, "spec": spec("5.0.3", **{RACK: COUNT})}, CassandraCluster)
    return msgspec.structs.replace(made, status=status if status is not None else ClusterStatus())


def ring(*, down: int) -> Observation:
    """A thousand members, of which the last so many do not answer, for a long reason."""
    seats = {name: Seat(rack=RACK, ordinal=number, host_id=IDS[name]) for number, name in enumerate(MEMBERS)}
    view = Ring(
        {ADDRESSES[name]: IDS[name] for name in MEMBERS},
        live=frozenset(ADDRESSES[name] for name in MEMBERS[: COUNT - down]),
    )
    well = {
        name: replace(
            scenes.seen(name, scenes.state(name, host_id=IDS[name], ring=view)),
            address=ADDRESSES[name],
        )
        for name in MEMBERS[: COUNT - down]
    }
    away = {name: Seen(address=ADDRESSES[name], trouble="why " * 200) for name in MEMBERS[COUNT - down :]}
    roster = Roster(cluster="store", datacenter="dc1", num_tokens=16, founded=True, version="5.0.3", seats=seats)
    return Observation(roster=roster, scene=Scene(now=scenes.NOW, seen={**well, **away}))


def shown(seen: Observation, outcome: Outcome = Outcome()) -> ClusterStatus:  # noqa: B008  # it never changes
    return show(Look(obj=cluster(), spec={}, mode=APPLY, now=scenes.NOW), seen, outcome)


@pytest.mark.parametrize("down", [0, 3, COUNT - 1])
def test_a_thousand_members_are_told_in_a_quarter_of_a_mebibyte(down: int) -> None:
    seen = ring(down=down)
    planned = analyze(cluster(), seen, installer="i").steps
    results = tuple(StepResult(step=step, state=StepState.WAITING) for step in planned)
    status = shown(seen, Outcome(results=results))

    assert len(msgspec.json.encode(status)) < MOST_BYTES
    assert (status.member_count, status.ready_members) == (COUNT, COUNT - down)
    assert (len(status.members), status.members_omitted) == (MOST_MEMBERS, COUNT - MOST_MEMBERS)
    unwell = [name for name, member in status.members.items() if member.state != "Normal"]
    assert len(unwell) == min(down, MOST_MEMBERS)


def test_a_roster_is_not_rebuilt_from_a_status_that_lists_only_some() -> None:
    status = shown(ring(down=0))
    (only,) = [step for step in analyze(cluster(status), Observation(), installer="i").steps if step.subject == "ring"]

    assert only.action is None
    assert f"lists {MOST_MEMBERS} members, and {COUNT - MOST_MEMBERS} are missing" in only.reason
    assert only.waits_for == "ConfigMap store-members to be restored from a backup"


def test_a_status_keeps_its_members_while_the_roster_is_gone() -> None:
    """They are all that a roster can be written by."""
    member = MemberStatus(rack=RACK, host_id="h", state="Normal")
    known = ClusterStatus(founded=True, members={MEMBERS[0]: member}, members_omitted=0)
    lost = cluster(known)
    kept = show(Look(obj=lost, spec={}, mode=APPLY, now=scenes.NOW), Observation(), Outcome())
    writes = [s.action for s in analyze(cluster(kept), Observation(), installer="i").steps if s.subject == "ring"]

    assert kept.members == known.members
    assert [w.roster.seats.keys() for w in writes if isinstance(w, WriteRoster)] == [{MEMBERS[0]}]
