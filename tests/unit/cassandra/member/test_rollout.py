"""Whom a rollout restarts: one member that serves at a time, while all others are well, after a snapshot."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from controller.apis.cassandra.cluster import UpgradeSpec
from controller.apis.meta import ObjectMeta
from controller.cassandra.access.answers import Job, JobState, Mode, Phase, Report, TakeSnapshot
from controller.cassandra.member.objects import TEMPLATE_ANNOTATION, VERSION_LABEL
from controller.cassandra.member.rollout import Restarts, decide, steps
from controller.cassandra.member.roster import Standing
from controller.cassandra.member.steps import Restart, Tell
from controller.runtime.kube import Pod
from tests.unit.cassandra.member import scenes
from tests.unit.cassandra.member.scenes import ALL, FIRST, LAST, NAMES, RING, SECOND, scene, seen, state

if TYPE_CHECKING:
    from controller.cassandra.member.ring import Scene, Seen

ROSTER = scenes.roster()


def pod(name: str, template: str = "old", version: str = "5.0.3") -> Pod:
    annotations, labels = {TEMPLATE_ANNOTATION: template}, {VERSION_LABEL: version}
    return Pod(metadata=ObjectMeta(name=name, uid=f"pod-{name}", annotations=annotations, labels=labels))


def restarts(*done: str, version: str = "5.0.3", has: str = "5.0.3", **changes: Any) -> Restarts:
    """All members but those that are done are out of date."""
    pods = {name: pod(name, "new" if name in done else "old", version if name in done else has) for name in NAMES}
    told: dict[str, Any] = {"policy": UpgradeSpec(soak_seconds=60), "up": dict.fromkeys(NAMES, 3600.0), **changes}
    return Restarts(templates={"a": "new"}, racks=["a"], version=version, pods=pods, **told)


UNSEEN = replace(RING, live=ALL - {f"ip-{LAST}"})


def test_the_last_goes_first_and_alone() -> None:
    found = decide(ROSTER, scene(), restarts())

    assert found == {
        LAST: "",
        SECOND: f"{LAST} to be restarted",
        FIRST: f"{LAST} to be restarted",
    }


@pytest.mark.parametrize(
    ("found", "how", "why"),
    [
        pytest.param(scene((LAST, seen(LAST))), restarts(LAST), f"{LAST} to serve", id="the last is not back"),
        pytest.param(
            scene((FIRST, seen(FIRST, state(FIRST, ring=UNSEEN)))),
            restarts(LAST),
            f"{LAST} to be seen up by {FIRST}",
            id="one does not see it",
        ),
        pytest.param(
            scene(), restarts(LAST, up={LAST: 59.0}), f"{LAST} to have served for 60 s", id="it is not back for long"
        ),
        pytest.param(scene((FIRST, seen(FIRST))), restarts(LAST), FIRST, id="another is down by chance"),
        pytest.param(
            scene(ring=replace(RING, joining=frozenset({"ip-x"}))), restarts(LAST), "ip-x joins", id="another moves"
        ),
        pytest.param(
            scene(ring=replace(RING, schema={"one": ALL, "two": ALL})), restarts(LAST), "schema", id="schemas differ"
        ),
        pytest.param(scene(), restarts(LAST, hold="the ring to have changed"), "the ring to have", id="it is held"),
        pytest.param(
            scene(), restarts(LAST, policy=UpgradeSpec(paused=True)), "spec.upgrade.paused to be false", id="a pause"
        ),
        pytest.param(
            scene(), restarts(LAST, policy=UpgradeSpec(canary=1)), "spec.upgrade.canary to be 0", id="a canary"
        ),
        pytest.param(
            scene((LAST, seen(LAST))), restarts(LAST, down={LAST: 1800.0}), f"{LAST} to come back", id="it is broken"
        ),
    ],
)
def test_nobody_that_serves_is_restarted_meanwhile(found: Scene, how: Restarts, why: str) -> None:
    waits = {name: text for name, text in decide(ROSTER, found, how).items() if found.of(name).serves}

    assert waits
    assert all(waits.values())
    assert why in " ".join(waits.values())


@pytest.mark.parametrize("down", [None, *NAMES])
@pytest.mark.parametrize("blinded", [None, FIRST, SECOND])
@pytest.mark.parametrize("done", [None, *NAMES])
def test_no_second_one_is_taken_down(down: str | None, blinded: str | None, done: str | None) -> None:
    told = {name: state(name, ring=UNSEEN if name == blinded else RING) for name in NAMES}
    found = scene(*((name, seen(name, None if name == down else told[name])) for name in NAMES))
    waits = decide(ROSTER, found, restarts(*([done] if done is not None else [])))
    goes = [name for name, text in waits.items() if not text and found.of(name).serves]

    assert len(goes) == (down is None and blinded is None)


def test_mixed_versions_do_not_hold_up_what_mixes_them() -> None:
    found = scene((LAST, seen(LAST, state(LAST, release="5.0.4"))))

    assert decide(ROSTER, found, restarts(LAST, version="5.0.4"))[SECOND] == ""


def test_one_that_serves_nothing_may_be_restarted_whoever_else_is_down() -> None:
    found = scene((SECOND, seen(SECOND)))

    assert decide(ROSTER, found, restarts())[SECOND] == ""


SNAPSHOT = (LAST, f"snapshot-5.0.4-host-{LAST}")


@pytest.mark.parametrize(
    ("jobs", "action"),
    [
        pytest.param({SNAPSHOT: None}, Tell(*SNAPSHOT, TakeSnapshot("rook-before-5.0.4")), id="there is none"),
        pytest.param({}, None, id="it is not known"),
        pytest.param({SNAPSHOT: Job("", JobState.RUNNING)}, None, id="it is taken"),
        pytest.param({SNAPSHOT: Job("", JobState.FAILED, "full", ended=0.0)}, None, id="it failed"),
        pytest.param({SNAPSHOT: Job("", JobState.SUCCEEDED)}, Restart(LAST, f"pod-{LAST}"), id="it is there"),
    ],
)
def test_a_snapshot_comes_before_another_version(jobs: dict[tuple[str, str], Job | None], action: object) -> None:
    how = restarts(version="5.0.4")
    (only,) = steps({LAST: ""}, ROSTER, scene(jobs=jobs), how)

    assert only.action == action
    assert bool(only.waits_for) == (action is None)


def test_a_configuration_needs_no_snapshot_and_another_version_none_where_that_is_said() -> None:
    (configured,) = steps({LAST: ""}, ROSTER, scene(), restarts())
    assert configured.action == Restart(LAST, f"pod-{LAST}")
    (said,) = steps({LAST: ""}, ROSTER, scene(), restarts(version="5.0.4", policy=UpgradeSpec(snapshot=False)))
    assert said.action == Restart(LAST, f"pod-{LAST}")


COMES = scenes.roster(a2=scenes.seat(2, standing=Standing.JOINING, host_id=""))
RUNS = seen(LAST, state(LAST, mode=Mode.JOINING, native_running=False))


@pytest.mark.parametrize(
    ("newcomer", "hold", "wanted"),
    [
        pytest.param(scenes.unanswered(LAST), "", {LAST: ""}, id="its pod does not start"),
        pytest.param(seen(LAST, report=Report(Phase.RUNNING)), "", {LAST: ""}, id="Cassandra ends at once"),
        pytest.param(scenes.unanswered(LAST), "the spec", {LAST: "the spec"}, id="the spec cannot be done"),
        pytest.param(RUNS, "", {}, id="it joins"),
    ],
)
def test_who_comes_and_does_not_start_gets_what_is_wanted_now(
    newcomer: Seen, hold: str, wanted: dict[str, str]
) -> None:
    """A correction of the spec reaches it, though nobody else is restarted while the ring changes."""
    found = decide(COMES, scene((LAST, newcomer)), restarts(hold=hold))

    assert {name: text for name, text in found.items() if name == LAST} == wanted
    assert all(found[name] for name in (FIRST, SECOND))
    assert not [name for name in decide(COMES, scene((LAST, newcomer)), restarts(LAST)) if name == LAST]
