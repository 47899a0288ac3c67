"""What is left to do after members came or were upgraded, where there are many keyspaces."""

from __future__ import annotations

from collections import Counter

import pytest

from controller.cassandra.access.answers import Cleanup, Job, JobState, Keyspace, UpgradeSSTables
from controller.cassandra.member import chores
from controller.cassandra.member.pod.jolokia import MOST_JOBS
from controller.cassandra.member.roster import Chore, ChoreKind
from controller.cassandra.member.steps import Tell, WriteRoster
from tests.unit.cassandra.member import scenes
from tests.unit.cassandra.member.scenes import FIRST, SECOND
from tests.unit.cassandra.rounds import PREFIX, Rounds

MANY = 300
FOUNDER, OTHER = f"{PREFIX}-a-0", f"{PREFIX}-a-1"


def many() -> Rounds:
    """A ring of two members with many keyspaces, at rest."""
    rounds = Rounds({"a": 2})
    go_on(rounds)
    for number in range(MANY):
        name = f"app_{number}"
        rounds.world.keyspaces[name] = Keyspace(name, "NetworkTopologyStrategy", {"dc1": 1})
    return rounds


def go_on(rounds: Rounds, *, kill_at: int = 0) -> None:
    """Seconds pass until the ring is at rest; a member is restarted when it was told to do so many things."""
    for _ in range(10 * MANY):
        if rounds.settled():
            return
        rounds.operate()
        rounds.tick()
        if kill_at and len(rounds.world.told) >= kill_at:
            rounds.world.kill(FOUNDER)
            kill_at = 0
    raise AssertionError([(step.subject, step.reason, step.waits_for) for step in rounds.operate(0)])


def test_many_keyspaces_are_cleaned_up_once_each() -> None:
    rounds = many()
    names = set(rounds.world.keyspaces)
    rounds.world.told.clear()
    rounds.scale("a", 3)
    go_on(rounds)

    for member in (FOUNDER, OTHER):
        told = Counter(c.keyspace for name, c in rounds.world.told if name == member and isinstance(c, Cleanup))
        assert told == dict.fromkeys(names, 1)
    assert rounds.world.violations == []


def test_a_member_that_is_restarted_does_a_batch_anew_and_no_more() -> None:
    rounds = many()
    names = set(rounds.world.keyspaces)
    rounds.world.told.clear()
    rounds.scale("a", 3)
    go_on(rounds, kill_at=100)

    told = Counter(c.keyspace for name, c in rounds.world.told if name == FOUNDER and isinstance(c, Cleanup))
    assert told.keys() == names
    assert told.total() <= len(names) + chores.BATCH
    assert max(told.values()) == 2
    assert rounds.world.violations == []


def test_a_plan_asks_for_fewer_jobs_than_a_member_remembers() -> None:
    own = tuple(Keyspace(f"app_{number}", "SimpleStrategy", {"": 1}) for number in range(MANY))
    every = scenes.roster().with_chores(*(Chore(kind=kind, member=FIRST, cause="x") for kind in ChoreKind))
    asked = chores.asked_jobs(every, (*scenes.keyspaces(), *own))
    assert {member for member, _ in asked} == {FIRST}
    assert len(asked) < MOST_JOBS


def test_what_was_done_before_a_failure_is_not_done_again() -> None:
    chore = Chore(kind=ChoreKind.UPGRADE, member=SECOND, cause="5.0.3")
    known, failed = scenes.roster().with_chores(chore), scenes.NOW - 3600
    first, *rest = sorted(keyspace.name for keyspace in scenes.keyspaces())
    jobs: dict[tuple[str, str], Job | None] = {
        (SECOND, f"upgrade-5.0.3-0-{first}"): Job("done", JobState.SUCCEEDED),
        (SECOND, f"upgrade-5.0.3-0-{rest[0].replace('_', '.')}"): Job("failed", JobState.FAILED, "no room", 1, failed),
    }
    written = scenes.step(scenes.wish(3), known, scenes.scene(jobs=jobs)).action
    assert isinstance(written, WriteRoster)
    again = f"upgrade-5.0.3-1-{rest[0].replace('_', '.')}"
    told = scenes.step(scenes.wish(3), written.roster, scenes.scene(jobs={(SECOND, again): None})).action
    assert told == Tell(SECOND, again, UpgradeSSTables(rest[0]))


@pytest.mark.parametrize("kind", list(ChoreKind))
def test_a_chore_is_over_when_the_last_keyspace_is_done_or_dropped(kind: ChoreKind) -> None:
    known = scenes.roster().with_chores(Chore(kind=kind, member=FIRST, cause="x", done_to="zebra"))
    written = scenes.step(scenes.wish(3), known, scenes.scene()).action
    assert isinstance(written, WriteRoster)
    assert [(chore.kind, chore.member) for chore in written.roster.chores if chore.kind is kind] == []
