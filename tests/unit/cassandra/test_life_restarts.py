"""Restarts in the life of a cluster: configurations, versions, files, and what other operators make otherwise."""

from __future__ import annotations

import asyncio

import pytest

from controller.cassandra.access.answers import (
    TakeSnapshot,
    UpgradeSSTables,
)
from controller.cassandra.member import objects
from controller.runtime.kube import CONFIG_MAP, POD
from controller.testkit import virtual_time
from tests.unit.cassandra.life import NAME, living, operator, spec
from tests.unit.cassandra.world import NAMESPACE


@virtual_time
async def test_a_correction_of_the_spec_reaches_who_cannot_join() -> None:
    async with living() as life:
        life.create(spec(a=2))
        await life.ready("a-0", "a-1")
        life.world.blocked.add("store-dc1-a-2")
        life.scale(a=3)

        def newcomer() -> str:
            """The uid of its pod."""
            found = life.server.find(POD, NAMESPACE, "store-dc1-a-2")
            return str(found["metadata"]["uid"]) if found is not None else ""

        await life.until(newcomer)
        before, started = newcomer(), life.world.started
        life.edit(priorityClassName="high")
        await life.until(lambda: newcomer() not in ("", before))
        assert life.world.started == started
        life.world.blocked.clear()
        life.world.kill("store-dc1-a-2")
        await life.ready("a-0", "a-1", "a-2")


@virtual_time
async def test_a_configuration_goes_through_the_members_one_at_a_time() -> None:
    async with living() as life:
        life.create(spec(a=2, b=1))
        await life.ready("a-0", "a-1", "b-0")
        before = dict(life.world.started)
        life.edit(config={"concurrent_reads": 16})
        await life.ready("a-0", "a-1", "b-0")
        order = [name for name, _ in life.world.starts[-3:]]
        assert order == ["store-dc1-a-1", "store-dc1-a-0", "store-dc1-b-0"]
        assert {name: count + 1 for name, count in before.items()} == life.world.started
        assert life.world.most_down == 1


@virtual_time
async def test_an_upgrade_takes_snapshots_goes_rack_by_rack_and_rewrites_files() -> None:
    async with living() as life:
        life.create(spec("4.1.7", a=2, b=1))
        await life.ready("a-0", "a-1", "b-0")
        life.edit(upgrade={"canary": 1, "soakSeconds": 2}, version="5.0.3")
        await life.until(lambda: "spec.upgrade.canary to be 0" in str(life.cluster.status.plan.steps))
        await life.until(lambda: life.cluster.status.version == "4.1.7 to 5.0.3")
        life.scale(b=2)
        await life.until(lambda: "members to run 5.0.3" in str(life.cluster.status.plan.steps))
        assert "store-dc1-b-1" not in life.roster.seats
        life.edit(upgrade={"canary": 0, "soakSeconds": 2})
        await life.ready("a-0", "a-1", "b-0", "b-1")
        told = [(name, type(command)) for name, command in life.world.told]
        for name in ("store-dc1-a-0", "store-dc1-a-1", "store-dc1-b-0"):
            assert (name, TakeSnapshot) in told
            assert (name, UpgradeSSTables) in told
        assert life.cluster.status.version == "5.0.3"
        life.edit(version="4.1.7")
        await life.until(lambda: life.condition("Degraded")[1] == "InvalidSpec")
        assert "files of 5.0.3" in life.condition("Degraded")[2]


@virtual_time
async def test_an_upgrade_may_be_taken_back_while_it_has_not_ended() -> None:
    async with living() as life:
        life.create(spec("4.1.7", a=2))
        await life.ready("a-0", "a-1")
        life.edit(upgrade={"canary": 1, "soakSeconds": 2}, version="5.0.3")
        await life.until(lambda: life.cluster.status.version == "4.1.7 to 5.0.3")
        life.edit(upgrade={"canary": 0, "soakSeconds": 2}, version="4.1.7")
        await life.ready("a-0", "a-1")
        assert life.cluster.status.version == "4.1.7"


@virtual_time
async def test_files_are_written_in_one_mode_after_the_other_by_all_members() -> None:
    async with living() as life:
        life.create(spec("4.1.7", a=2, b=1))
        await life.ready("a-0", "a-1", "b-0")
        life.edit(version="5.0.3", storageCompatibility="UPGRADING")
        await life.until(lambda: "all members to run 5.0" in str(life.cluster.status.plan.steps))
        await life.until(lambda: life.cluster.status.storage_compatibility == "UPGRADING")
        assert life.cluster.status.version == "5.0.3"
        assert [type(command) for _, command in life.world.told].count(UpgradeSSTables) == 12
        life.scale(b=2)
        await life.until(lambda: "all members to write files as UPGRADING" in str(life.cluster.status.plan.steps))
        life.edit(storageCompatibility="NONE")  # before all run with the mode before
        await life.ready("a-0", "a-1", "b-0", "b-1")
        assert life.roster.storage_mode == "NONE"
        assert {process.storage for process in life.world.processes.values()} == {"NONE"}
        life.edit(storageCompatibility="UPGRADING")
        await life.ready("a-0", "a-1", "b-0", "b-1")
        assert {process.storage for process in life.world.processes.values()} == {"UPGRADING"}
        before = dict(life.world.started)
        life.edit(storageCompatibility="CASSANDRA_4")
        await life.until(lambda: "there is no way back; set it to UPGRADING" in life.condition("Degraded")[2])
        life.edit(storageCompatibility="UPGRADING", version="4.1.7")
        await life.until(lambda: "files of 5.0.3" in life.condition("Degraded")[2])
        assert life.world.started == before


@virtual_time
async def test_a_new_ring_writes_files_as_the_spec_says() -> None:
    async with living() as life:
        life.create(spec(a=2) | {"storageCompatibility": "NONE"})
        await life.ready("a-0", "a-1")
        assert {process.storage for process in life.world.processes.values()} == {"NONE"}
        life.server.delete(CONFIG_MAP, NAMESPACE, f"{NAME}-members")
        await life.until(lambda: life.roster.seats)
        await life.ready("a-0", "a-1")
        assert life.roster.storage_mode == "NONE"


@virtual_time
async def test_a_member_that_is_lost_amid_an_upgrade_is_replaced_after_it() -> None:
    async with living() as life:
        life.create(spec("4.1.7", a=4))
        await life.ready("a-0", "a-1", "a-2", "a-3")
        host_id = life.roster.seats["store-dc1-a-1"].host_id
        life.edit(upgrade={"canary": 1, "soakSeconds": 2}, version="5.0.3")
        await life.until(lambda: life.cluster.status.version == "4.1.7 to 5.0.3")
        life.world.lose("store-dc1-a-1")
        life.edit(upgrade={"canary": 0, "soakSeconds": 2})
        await life.until(lambda: life.condition("Degraded")[1] == "MemberDown")
        await asyncio.sleep(60)
        assert life.cluster.status.version == "4.1.7 to 5.0.3"
        life.edit(lostMembers=[{"member": "store-dc1-a-1", "hostID": host_id}])
        await life.ready("a-0", "a-1", "a-2", "a-3")
        assert life.cluster.status.version == "5.0.3"
        assert life.roster.seats["store-dc1-a-1"].host_id != host_id


@virtual_time
async def test_a_newer_operator_restarts_nobody() -> None:
    async with living(operated=False) as life:
        async with operator(life):
            life.create(spec(a=2))
            await life.ready("a-0", "a-1")
        before = dict(life.world.started)
        async with operator(life, image="rook/operator:2"):
            life.scale(a=3)
            await life.ready("a-0", "a-1", "a-2")
        assert {name: count for name, count in life.world.started.items() if name in before} == before


@virtual_time
async def test_what_another_operator_would_make_is_told_and_waits_for_somebody_to_ask_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with living(operated=False) as life:
        async with operator(life):
            life.create(spec(a=2))
            await life.ready("a-0", "a-1")
            assert life.condition("UpdateAvailable")[:2] == ("False", "UpToDate")
        before = dict(life.world.started)
        async with operator(life, image="rook/operator:2"):  # which makes the same
            await asyncio.sleep(120)
            assert life.condition("UpdateAvailable")[0] == "False"
        monkeypatch.setattr(objects, "program_digest", lambda: "another")
        async with operator(life, image="rook/operator:3"):
            await life.until(lambda: life.condition("UpdateAvailable")[0] == "True")
            assert (
                "store-dc1-a-0, store-dc1-a-1 run what an earlier operator made" in life.condition("UpdateAvailable")[2]
            )
            await asyncio.sleep(900)
            assert life.world.started == before
            assert life.cluster.status.phase == "Ready"
            life.edit(upgrade={"restart": "operator 3", "soakSeconds": 2})
            await life.until(lambda: life.world.started == {name: count + 1 for name, count in before.items()})
            await life.until(lambda: life.condition("UpdateAvailable")[:2] == ("False", "UpToDate"))
            await life.ready("a-0", "a-1")


@virtual_time
async def test_a_rollout_that_stopped_is_told_and_goes_on_with_a_correction() -> None:
    async with living() as life:
        life.create(spec(a=3))
        await life.ready("a-0", "a-1", "a-2")
        life.world.blocked.add("store-dc1-a-2")
        life.edit(priorityClassName="high")
        await life.until(lambda: life.condition("RolloutStopped")[0] == "True", within=3600)
        assert life.condition("RolloutStopped")[1] == "MemberNotBack"
        told = life.condition("RolloutStopped")[2]
        assert "the rollout waits for store-dc1-a-2 to come back, down for more than 1800 s" in told
        assert [name for name, count in life.world.started.items() if count > 1] == []
        life.world.blocked.clear()
        life.edit(priorityClassName="higher")
        await life.ready("a-0", "a-1", "a-2")
        assert life.condition("RolloutStopped")[:2] == ("False", "NotStopped")
