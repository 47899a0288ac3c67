"""How members leave: told once, stopped when all others know it, and their volumes deleted by consent only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from controller.cassandra.access.answers import Bootstrap, Decommission, Job, JobState, Mode, Phase, Report, Ring
from controller.cassandra.member.roster import Standing
from controller.cassandra.member.steps import DeleteVolume, Restart, Tell, WriteRoster
from tests.unit.cassandra.member import scenes
from tests.unit.cassandra.member.scenes import FIRST, HOSTS, LAST, NOW, RING, SECOND, scene, seen, state

if TYPE_CHECKING:
    from controller.cassandra.access.answers import State
    from controller.cassandra.member.ring import Scene, Seen
    from controller.framework.plan import Step

JOB = f"decommission-host-{LAST}-0"
STAY = frozenset({f"ip-{FIRST}", f"ip-{SECOND}"})
WITHOUT = Ring({a: h for a, h in HOSTS.items() if a in STAY}, live=STAY, schema={"one": STAY})


def job(how: JobState, ended: float | None = None) -> Job:
    return Job(JOB, how, "why", ended=ended)


def leaver(told: State | None = None, **changes: Any) -> tuple[str, Seen]:
    return LAST, seen(LAST, told if told is not None else state(LAST, **changes))


def next_step(found: Scene, standing: Standing = Standing.LEAVING, **changes: Any) -> Step:
    known = scenes.roster(a2=scenes.seat(2, standing=standing))
    return scenes.step(scenes.wish(2, **changes), known, replace(found, keyspaces=scenes.keyspaces(system=2)))


def written(found: Step) -> Standing | None:
    """What the roster is to say of the one that leaves."""
    if not isinstance(found.action, WriteRoster):
        return None
    return found.action.roster.seats[LAST].standing


def test_who_is_to_leave_is_told_where_nothing_was_told_yet() -> None:
    told = next_step(scene(jobs={(LAST, JOB): None}))

    assert told.action == Tell(LAST, JOB, Decommission())


LEAVES: dict[str, Any] = {"mode": Mode.LEAVING}
DONE: dict[str, Any] = {"mode": Mode.DECOMMISSIONED, "bootstrap": Bootstrap.DECOMMISSIONED, "native_running": False}
NOT_AGAIN = [
    pytest.param({}, {JOB: job(JobState.RUNNING)}, None, id="it was told"),
    pytest.param({}, {JOB: job(JobState.SUCCEEDED, NOW)}, None, id="it says that it did"),
    pytest.param({}, {}, None, id="it does not say what it was told"),
    pytest.param(LEAVES, {JOB: job(JobState.RUNNING)}, None, id="it leaves"),
    pytest.param(LEAVES, {JOB: None}, None, id="it leaves, as somebody else told it"),
    pytest.param(LEAVES, {}, None, id="it leaves, and does not say why"),
    pytest.param({"native_running": False}, {JOB: None}, None, id="it does not serve"),
    pytest.param({"mode": Mode.STARTING, "gossip_running": False}, {JOB: None}, None, id="it starts"),
    pytest.param({"mode": Mode.JOINING, "bootstrap": Bootstrap.NEEDED}, {JOB: None}, None, id="it comes back"),
    pytest.param({"host_id": "host-else"}, {JOB: None}, None, id="it has another's volume"),
    pytest.param(DONE, {JOB: job(JobState.SUCCEEDED, NOW)}, Standing.LEFT, id="it has left"),
    pytest.param(DONE, {JOB: None}, Standing.LEFT, id="it has left, and forgot why"),
    pytest.param({**DONE, "mode": Mode.NORMAL}, {JOB: None}, Standing.LEFT, id="its volume says so"),
    pytest.param({}, {JOB: job(JobState.FAILED, NOW)}, None, id="it could not a moment ago"),
]


@pytest.mark.parametrize(("changes", "jobs", "stands"), NOT_AGAIN)
def test_nobody_is_told_again(changes: dict[str, Any], jobs: dict[str, Job | None], stands: Standing | None) -> None:
    found = next_step(scene(leaver(**changes), jobs={(LAST, job_id): said for job_id, said in jobs.items()}))

    assert not isinstance(found.action, Tell)
    assert written(found) == stands
    assert bool(found.waits_for) == (stands is None)


def test_nobody_is_told_again_whose_program_says_that_it_left() -> None:
    gone = seen(LAST, report=Report(Phase.LEFT, "", f"host-{LAST}"))
    found = next_step(scene((LAST, gone), jobs={(LAST, JOB): None}))

    assert written(found) is Standing.LEFT


def test_who_could_not_leave_is_told_again_after_a_while_by_another_job() -> None:
    failed = scene(leaver(mode=Mode.DECOMMISSION_FAILED), jobs={(LAST, JOB): job(JobState.FAILED, NOW - 60)})
    found = next_step(failed)

    assert isinstance(found.action, WriteRoster)
    assert found.action.roster.seats[LAST].attempt == 1
    assert found.action.roster.seats[LAST].standing is Standing.LEAVING


def test_who_stopped_leaving_halfway_is_restarted_and_not_told_again() -> None:
    """Told once more, Cassandra 4.1 would skip its own checks."""
    found = next_step(scene(leaver(mode=Mode.LEAVING), jobs={(LAST, JOB): job(JobState.FAILED, NOW - 600)}))

    assert found.action == Restart(LAST, f"pod-{LAST}")


SEES_IT_LEAVE = replace(RING, leaving=frozenset({f"ip-{LAST}"}))
FAILED_MODE: dict[str, Any] = {"mode": Mode.DECOMMISSION_FAILED}
TAKEN_BACK = [
    pytest.param({}, {JOB: None}, RING, Standing.MEMBER, id="it was not told"),
    pytest.param({}, {JOB: job(JobState.FAILED, NOW)}, RING, Standing.MEMBER, id="it could not"),
    pytest.param(FAILED_MODE, {JOB: job(JobState.FAILED, NOW)}, RING, Standing.MEMBER, id="it was refused"),
    pytest.param({}, {JOB: None}, SEES_IT_LEAVE, "to see that it stays", id="it was restarted a moment ago"),
    pytest.param({}, {JOB: job(JobState.FAILED, NOW)}, SEES_IT_LEAVE, Restart, id="it stopped halfway"),
    pytest.param(FAILED_MODE, {JOB: None}, SEES_IT_LEAVE, Restart, id="it stopped halfway, as somebody told it"),
    pytest.param({}, {}, RING, "it to begin", id="it does not say what it was told"),
    pytest.param({}, {JOB: job(JobState.RUNNING)}, RING, "it to begin", id="it was told a moment ago"),
    pytest.param(LEAVES, {JOB: job(JobState.RUNNING)}, SEES_IT_LEAVE, "its data to be with the others", id="it leaves"),
    pytest.param(DONE, {JOB: None}, WITHOUT, Standing.LEFT, id="it has left"),
]


@pytest.mark.parametrize(("changes", "jobs", "ring", "expected"), TAKEN_BACK)
def test_who_is_wanted_again_stays_where_it_has_not_begun_to_leave(
    changes: dict[str, Any], jobs: dict[str, Job | None], ring: Ring, expected: Standing | type | str
) -> None:
    known = scenes.roster(a2=scenes.seat(2, standing=Standing.LEAVING))
    others = [(name, seen(name, state(name, ring=ring))) for name in (FIRST, SECOND)]
    found = scene(*others, leaver(ring=ring, **changes), jobs={(LAST, job_id): said for job_id, said in jobs.items()})
    only = scenes.step(scenes.wish(3), known, found)

    assert not isinstance(only.action, Tell)
    if isinstance(expected, Standing):
        assert written(only) is expected
    elif isinstance(expected, str):
        assert only.action is None
        assert expected in only.waits_for
    else:
        assert only.action == expected(LAST, f"pod-{LAST}")


def test_who_has_nobody_with_room_for_its_data_stays_when_it_is_wanted_again() -> None:
    full = seen(FIRST, state(FIRST), report=Report(Phase.RUNNING, "", f"host-{FIRST}", 100, 5))
    found = scene((FIRST, full), leaver(load=10), jobs={(LAST, JOB): None})
    assert "to have room for 10 bytes" in next_step(found).waits_for
    known = scenes.roster(a2=scenes.seat(2, standing=Standing.LEAVING))
    assert written(scenes.step(scenes.wish(3), known, found)) is Standing.MEMBER


def views(first: Ring, second: Ring) -> Scene:
    """What the two that stay see; the third has left."""
    return scene(
        (FIRST, seen(FIRST, state(FIRST, ring=first))),
        (SECOND, seen(SECOND, state(SECOND, ring=second))),
        leaver(**DONE),
    )


UNAWARE = [
    pytest.param(views(RING, RING), (FIRST, SECOND), id="nobody has seen it"),
    pytest.param(views(WITHOUT, RING), (SECOND,), id="one has not"),
    pytest.param(
        views(WITHOUT, replace(WITHOUT, leaving=frozenset({f"ip-{LAST}"}))), (SECOND,), id="one sees it leave"
    ),
    pytest.param(
        views(WITHOUT, replace(RING, live=STAY, unreachable=frozenset({f"ip-{LAST}"}))),
        (SECOND,),
        id="one takes it for a member that is down",
    ),
    pytest.param(views(Ring({}), Ring({})), ("the others",), id="nobody said whom they see"),
    pytest.param(
        scene((FIRST, scenes.unanswered(FIRST)), (SECOND, scenes.unanswered(SECOND)), leaver(**DONE)),
        ("the others",),
        id="nobody answers",
    ),
]


@pytest.mark.parametrize(("found", "who"), UNAWARE)
def test_who_left_runs_until_all_others_have_seen_it(found: Scene, who: tuple[str, ...]) -> None:
    only = next_step(found, Standing.LEFT)

    assert only.action is None
    assert all(name in only.waits_for for name in who)


def test_who_left_is_stopped_when_all_others_have_seen_it() -> None:
    assert written(next_step(views(WITHOUT, WITHOUT), Standing.LEFT)) is Standing.STOPPING


def test_who_left_is_never_stopped_at_once() -> None:
    """Its own word comes first, and then that of the others, at another look."""
    for found in (views(WITHOUT, WITHOUT), views(RING, RING)):
        assert written(next_step(found)) is Standing.LEFT


GONE = (LAST, replace(scenes.unanswered(LAST), pod=""))


@pytest.mark.parametrize("wipe", [True, False])
def test_a_volume_outlives_the_pod_and_goes_with_consent_only(wipe: bool) -> None:
    runs = next_step(views(WITHOUT, WITHOUT), Standing.STOPPING, wipe=wipe)
    assert (runs.action, runs.waits_for) == (None, "its pod to end")

    counted = next_step(replace(scene(), seen={**scene().seen, LAST: GONE[1]}), Standing.STOPPING, wipe=wipe)
    assert (counted.action, counted.waits_for) == (None, f"{FIRST}, {SECOND} to see that")

    left = views(WITHOUT, WITHOUT)
    ends = next_step(replace(left, seen={**left.seen, LAST: GONE[1]}), Standing.STOPPING, wipe=wipe)
    if wipe:
        assert ends.action == DeleteVolume(member=LAST, claim=f"claim-{LAST}", pod="")
    else:
        assert isinstance(ends.action, WriteRoster)
        assert LAST not in ends.action.roster.seats
        assert "its volume is kept" in ends.reason


@pytest.mark.parametrize("standing", [Standing.LEAVING, Standing.LEFT])
def test_no_volume_goes_before_its_member_is_stopped(standing: Standing) -> None:
    for found in (
        scene(),
        views(RING, WITHOUT),
        views(WITHOUT, WITHOUT),
        scene(GONE),
        scene(leaver(mode=Mode.LEAVING)),
    ):
        only = next_step(replace(found, jobs={(LAST, JOB): None}), standing, wipe=True)
        assert not isinstance(only.action, DeleteVolume)


def test_the_volume_of_one_that_left_is_in_the_way_of_its_successor_until_that_is_said() -> None:
    known = scenes.roster(a2=None)
    left = replace(scene(ring=WITHOUT), keyspaces=scenes.keyspaces(system=2), strangers={LAST: "claim-old"})
    for wipe in (True, False):
        only = scenes.step(scenes.wish(3, wipe=wipe), known, left)
        assert isinstance(only.action, DeleteVolume)
        assert only.action.claim == "claim-old"
        assert only.consent == ("" if wipe else "spec.claimRetention.whenScaled: Delete")


def test_nobody_leaves_whose_data_have_no_room() -> None:
    known = scenes.roster(a2=scenes.seat(2, standing=Standing.LEAVING))
    found = scene(leaver(load=91), jobs={(LAST, JOB): None}, keyspaces=scenes.keyspaces(system=2))

    waits_for = scenes.step(scenes.wish(2), known, found).waits_for
    assert "to have room for 91 bytes" in waits_for
    assert "spec.datacenter has its size" in waits_for
