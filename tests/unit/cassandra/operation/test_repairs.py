"""Operations in the life of a cluster: the whole operator against a world that follows Cassandra's rules."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from controller.cassandra.access.answers import Cleanup, Decommission, Repair, StopRepairs
from controller.cassandra.cluster.act import CLUSTERS
from controller.cassandra.cluster.observe import OPERATIONS
from controller.cassandra.member.turn import ANNOTATION
from controller.cassandra.operation.analyze import holder_of
from controller.cassandra.operation.observe import Observation, Observer
from controller.runtime.kube import CONFIG_MAP
from controller.testkit import virtual_time
from tests.unit.cassandra.life import NAME, Life, living, operator, spec
from tests.unit.cassandra.world import NAMESPACE

if TYPE_CHECKING:
    from controller.apis.cassandra import CassandraOperation

ALL = ("a-0", "a-1", "b-0", "b-1")
KEYSPACES = ("shop", "system_auth", "system_distributed", "system_traces")


def told(life: Life, kind: type[Repair | Cleanup] = Repair) -> list[tuple[str, str]]:
    """Who was told to do what of a kind with which keyspace, in order, since the ring is at rest."""
    return [(name.removeprefix("store-dc1-"), c.keyspace) for name, c in life.world.told if isinstance(c, kind)]


def turn(life: Life) -> str:
    """Whose turn it is to act on the ring."""
    found = life.server.get(CONFIG_MAP, NAMESPACE, f"{NAME}-members")["metadata"].get("annotations", {})
    return str(found.get(ANNOTATION, "")).partition("/")[0]


async def at_rest(life: Life) -> None:
    """A ring in which nothing is left to do."""
    life.create(spec(a=2, b=2))
    await life.ready()
    life.world.told.clear()


@virtual_time
async def test_a_repair_goes_through_all_members_one_at_a_time_with_each_keyspace() -> None:
    async with living() as life:
        await at_rest(life)
        life.order("weekly", repair={})
        await life.ended("weekly")

        assert told(life) == [(member, keyspace) for member in ALL for keyspace in KEYSPACES]
        assert all(command.primary for _, command in life.world.told if isinstance(command, Repair))
        status = life.operation("weekly").status
        assert (status.act, status.progress.done, status.progress.total) == ("Repair", 4, 4)
        assert (status.members, status.finished) == ({}, ())
        assert turn(life) == ""


@virtual_time
async def test_only_the_keyspaces_that_are_named_and_a_cleanup() -> None:
    async with living() as life:
        await at_rest(life)
        life.order("shop", repair={"keyspaces": ["shop"], "incremental": True})
        life.order("tidy", cleanup={"keyspaces": ["shop"]})
        await life.ended("tidy")

        assert told(life) == [(member, "shop") for member in ALL]
        assert told(life, Cleanup) == [(member, "shop") for member in ALL]
        assert life.world.told[0][1] == Repair("shop", incremental=True)


@virtual_time
async def test_a_keyspace_that_is_not_there_is_refused_with_those_that_are() -> None:
    async with living() as life:
        await at_rest(life)
        life.order("wrong", repair={"keyspaces": ["shoe"]})
        await life.ended("wrong", "Failed")

        message = life.operation("wrong").status.message
        assert message.startswith("spec.repair.keyspaces has shoe, and the Cluster has no such keyspace")
        assert "it has shop, system_auth" in message
        assert life.world.told == []


@virtual_time
async def test_operations_wait_for_each_other_in_the_order_in_which_they_were_made() -> None:
    async with living() as life:
        await at_rest(life)
        life.world.stuck.add("store-dc1-a-0")
        life.order("z-first", repair={"keyspaces": ["shop"]})
        await asyncio.sleep(2)
        life.order("a-second", cleanup={"keyspaces": ["shop"]})
        life.order("b-third", repair={"keyspaces": ["shop"]})
        await life.until(lambda: life.operation("b-third").status.phase == "Pending")
        await asyncio.sleep(60)
        assert [life.operation(name).status.phase for name in ("z-first", "a-second", "b-third")] == [
            "Running",
            "Pending",
            "Pending",
        ]
        message = "waits for Operation z-first, which goes first, to end"
        assert life.operation("a-second").status.message == message
        life.world.stuck.clear()
        life.world.kill("store-dc1-a-0")
        await life.ended("b-third")

        order = [type(command) for _, command in life.world.told]
        assert order.index(Cleanup) > 3
        assert Repair not in order[order.index(Cleanup) : order.index(Cleanup) + 4]


@virtual_time
@pytest.mark.parametrize("seed", range(3))
async def test_an_operator_that_dies_at_any_moment_does_not_repeat_members_that_are_done(seed: int) -> None:
    async with living(seed=seed, operated=False) as life:
        async with operator(life):
            await at_rest(life)
            life.order("weekly", repair={})
            await life.until(lambda: told(life))
        for _ in range(100):
            if life.operation("weekly").status.completed:
                break
            async with operator(life):
                await asyncio.sleep(life.world.chance.uniform(0.05, 4))
            await asyncio.sleep(life.world.chance.uniform(0, 3))
        assert life.operation("weekly").status.phase == "Succeeded", life.operation("weekly").status
        assert Counter(told(life)) == {(member, keyspace): 1 for member in ALL for keyspace in KEYSPACES}
        assert life.world.violations == []


@virtual_time
async def test_a_member_that_is_restarted_in_the_midst_is_told_again_after_a_while() -> None:
    async with living() as life:
        await at_rest(life)
        life.world.stuck.add("store-dc1-b-0")
        life.order("weekly", repair={})
        await life.until(lambda: ("b-0", "shop") in told(life))
        await asyncio.sleep(10)
        life.world.kill("store-dc1-b-0")
        life.world.stuck.clear()
        await life.ended("weekly")

        assert Counter(told(life))["b-0", "shop"] == 2
        assert Counter(told(life))["a-0", "shop"] == 1


@virtual_time
async def test_what_fails_is_tried_again_and_fails_the_operation_with_who_and_why_in_the_end() -> None:
    async with living() as life:
        await at_rest(life)
        life.world.failing["store-dc1-a-1"] = 2
        life.order("twice", repair={"keyspaces": ["shop"]})
        await life.ended("twice")
        life.world.failing["store-dc1-a-1"] = 3
        life.order("thrice", repair={"keyspaces": ["shop"]})
        await life.ended("thrice", "Failed")

        assert life.operation("thrice").status.message == "failed 3 times: store-dc1-a-1: shop: no room"
        assert life.operation("thrice").status.members["store-dc1-a-1"].state == "Failed"
        assert turn(life) == ""


@virtual_time
async def test_nothing_is_begun_while_a_member_is_down() -> None:
    async with living() as life:
        await at_rest(life)
        life.world.blocked.add("store-dc1-b-1")
        life.world.kill("store-dc1-b-1")
        await asyncio.sleep(1)
        life.order("weekly", repair={})
        await life.until(lambda: "store-dc1-b-1" in life.operation("weekly").status.message)
        await asyncio.sleep(120)
        assert life.operation("weekly").status.phase == "Pending"
        assert told(life) == []
        life.world.blocked.clear()
        life.world.kill("store-dc1-b-1")
        await life.ended("weekly")


@virtual_time
async def test_a_ring_change_waits_for_the_member_that_is_at_work_and_the_operation_for_the_change() -> None:
    async with living() as life:
        await at_rest(life)
        life.world.stuck.add("store-dc1-a-1")
        life.order("weekly", repair={"keyspaces": ["shop"]})
        await life.until(lambda: told(life)[-1:] == [("a-1", "shop")])
        life.scale(a=3)
        await life.until(lambda: "Operation weekly" in life.cluster.status.message)
        await asyncio.sleep(60)
        assert "store-dc1-a-2" not in life.roster.seats
        process = life.world.processes["store-dc1-a-1"]
        process.running = dict.fromkeys(process.running, 0)
        life.world.stuck.clear()
        await life.until(lambda: "store-dc1-a-2" in life.roster.seats)
        assert told(life) == [("a-0", "shop"), ("a-1", "shop")]
        await life.ready(*ALL, "a-2")
        await life.ended("weekly")

        assert told(life) == [(member, "shop") for member in ("a-0", "a-1", "a-2", "b-0", "b-1")]
        assert life.operation("weekly").status.progress.total == 5


@virtual_time
async def test_members_are_restarted_and_upgraded_between_pieces_and_not_in_their_midst() -> None:
    async with living() as life:
        await at_rest(life)
        life.world.slow = 6
        life.order("weekly", repair={})
        await life.until(lambda: told(life))
        life.edit(version="5.0.4")
        await life.until(lambda: life.world.started["store-dc1-b-1"] == 2, within=900)
        assert not life.operation("weekly").status.completed
        await life.ended("weekly", within=1800)
        await life.ready(*ALL)

        assert Counter(told(life)) == {(member, keyspace): 1 for member in ALL for keyspace in KEYSPACES}


@virtual_time
async def test_a_member_is_replaced_though_an_operation_is_under_way() -> None:
    async with living() as life:
        await at_rest(life)
        life.edit(claimRetention={"whenScaled": "Delete"})
        life.world.stuck.add("store-dc1-a-1")
        life.order("weekly", repair={"keyspaces": ["shop"]})
        await life.until(lambda: told(life)[-1:] == [("a-1", "shop")])
        host_id = life.roster.seats["store-dc1-a-1"].host_id
        life.world.blocked.add("store-dc1-a-1")
        life.world.lose("store-dc1-a-1")
        await life.until(lambda: turn(life) == "")
        life.edit(lostMembers=[{"member": "store-dc1-a-1", "hostID": host_id}])
        life.world.blocked.clear()
        life.world.stuck.clear()
        life.world.kill("store-dc1-a-1")
        await life.ended("weekly", within=1800)
        await life.ready(*ALL)

        assert life.roster.seats["store-dc1-a-1"].host_id != host_id


@virtual_time
async def test_a_pause_lets_the_keyspace_end_and_another_operation_go_first() -> None:
    async with living() as life:
        await at_rest(life)
        life.order("weekly", repair={})
        await life.until(lambda: ("a-1", "shop") in told(life))
        life.server.patch(OPERATIONS, NAMESPACE, "weekly", {"spec": {"paused": True}})
        await life.until(lambda: life.operation("weekly").status.phase == "Paused")
        count = len(told(life))
        assert turn(life) == ""
        life.order("tidy", cleanup={"keyspaces": ["shop"]})
        await life.ended("tidy")
        assert len(told(life)) == count
        life.server.patch(OPERATIONS, NAMESPACE, "weekly", {"spec": {"paused": False}})
        await life.ended("weekly")

        assert Counter(told(life)) == {(member, keyspace): 1 for member in ALL for keyspace in KEYSPACES}


@virtual_time
async def test_a_deadline_breaks_off_what_is_under_way() -> None:
    async with living() as life:
        await at_rest(life)
        life.world.stuck.add("store-dc1-a-1")
        life.order("late", repair={"keyspaces": ["shop"]}, deadlineSeconds=120)
        await life.ended("late", "Failed")

        assert "spec.deadlineSeconds" in life.operation("late").status.message
        assert [name for name, command in life.world.told if isinstance(command, StopRepairs)] == ["store-dc1-a-1"]
        assert told(life) == [("a-0", "shop"), ("a-1", "shop")]
        assert turn(life) == ""


@virtual_time
async def test_an_operation_that_is_deleted_is_broken_off_and_the_next_one_begins() -> None:
    async with living() as life:
        await at_rest(life)
        life.world.stuck.add("store-dc1-a-0")
        life.order("weekly", repair={"keyspaces": ["shop"]})
        await life.until(lambda: told(life))
        life.order("next", cleanup={"keyspaces": ["shop"]})
        await asyncio.sleep(5)
        life.world.stuck.clear()
        life.server.delete(OPERATIONS, NAMESPACE, "weekly")
        await life.until(lambda: life.server.find(OPERATIONS, NAMESPACE, "weekly") is None)
        await life.ended("next")

        assert told(life) == [("a-0", "shop")]


@virtual_time
async def test_a_cluster_that_waits_for_a_person_holds_nobody_up() -> None:
    async with living() as life:
        life.create(spec(a=2))
        await life.ready()
        life.scale(a=1)
        await life.until(lambda: "keyspace shop to ask for at most 1 copies" in life.cluster.status.message)
        life.order("weekly", repair={"keyspaces": ["shop"]})
        await life.ended("weekly")


@virtual_time
async def test_the_turn_of_an_operation_that_is_gone_ends() -> None:
    async with living() as life:
        await at_rest(life)
        annotation = {"metadata": {"annotations": {ANNOTATION: "gone/uid-of-it"}}}
        life.server.patch(CONFIG_MAP, NAMESPACE, f"{NAME}-members", annotation)
        await life.until(lambda: turn(life) == "")
        life.scale(a=3)
        await life.ready(*ALL, "a-2")


@virtual_time
async def test_an_operation_waits_for_its_cluster_and_fails_when_it_goes() -> None:
    async with living() as life:
        life.order("early", repair={"keyspaces": ["shop"]})
        await asyncio.sleep(30)
        assert life.operation("early").status.message == "waits for Cluster store to exist"
        await at_rest(life)
        await life.ended("early")
        life.world.told.clear()
        life.world.stuck.add("store-dc1-a-1")
        life.order("weekly", repair={"keyspaces": ["shop"]})
        await life.until(lambda: ("a-1", "shop") in told(life))
        life.server.delete(CLUSTERS, NAMESPACE, NAME)
        await asyncio.sleep(120)
        assert life.operation("weekly").status.message == "Cluster store does not exist any more"


@virtual_time
async def test_a_turn_that_only_a_cache_remembers_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    observe = Observer.observe

    async def behind(observer: Observer, operation: CassandraOperation, now: float) -> Observation:
        return replace(await observe(observer, operation, now), turn=holder_of(operation.metadata))

    monkeypatch.setattr(Observer, "observe", behind)
    async with living() as life:
        await at_rest(life)
        life.world.stuck.add("store-dc1-a-0")
        life.order("weekly", repair={"keyspaces": ["shop"]})
        await life.until(lambda: told(life))
        assert turn(life) == "weekly"


@virtual_time
async def test_nobody_leaves_while_another_one_is_at_work() -> None:
    async with living() as life:
        await at_rest(life)
        life.order("weekly", repair={})
        await life.until(lambda: told(life))
        life.scale(b=1)
        await life.ready("a-0", "a-1", "b-0", within=1800)
        await life.ended("weekly")

        assert [name for name, command in life.world.told if isinstance(command, Decommission)] == ["store-dc1-b-1"]


async def something_happens(life: Life, away: set[str]) -> None:
    """A member is killed, freezes or comes back, work fails, or the spec asks for other members or a version."""
    world, chance = life.world, life.world.chance
    name = f"store-dc1-{chance.choice(ALL)}"
    match chance.choice(("kill", "freeze", "thaw", "thaw", "fail", "scale", "scale", "upgrade", "pass", "pass")):
        case "kill":
            world.kill(name)
        case "freeze" if not away:
            away.add(name)
            world.frozen.add(name)
        case "thaw":
            away.clear()
            world.frozen.clear()
        case "fail":
            world.failing[name] = 1
        case "scale":
            life.scale(a=chance.choice((2, 3)), b=chance.choice((2, 3)))
        case "upgrade":
            life.edit(version="5.0.4")
        case _:
            pass
    await asyncio.sleep(chance.uniform(0, 30))


@virtual_time
@pytest.mark.parametrize("seed", range(2))
async def test_whatever_happens_one_thing_at_a_time_is_done_to_the_ring_and_every_operation_ends(seed: int) -> None:
    async with living(seed=seed, operated=False) as life:
        async with operator(life):
            await at_rest(life)
            life.edit(claimRetention={"whenScaled": "Delete"})
        away: set[str] = set()
        life.order("first", repair={})
        for number in range(12):
            async with operator(life):
                if number == 4:
                    life.order("second", cleanup={"keyspaces": ["shop"]})
                await something_happens(life, away)
            assert life.world.violations == []
        life.world.frozen.clear()
        life.world.failing.clear()
        async with operator(life):
            await life.until(
                lambda: all(life.operation(name).status.completed for name in ("first", "second")), within=7200
            )
            await life.ready(within=3600)

        assert life.operation("second").status.phase == "Succeeded"
        assert turn(life) == ""
