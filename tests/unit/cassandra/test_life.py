"""The life of a cluster: the whole operator against a world that follows Cassandra's rules."""

from __future__ import annotations

import asyncio

from controller.cassandra.access.answers import (
    Decommission,
    Keyspace,
    RemoveNode,
    Repair,
)
from controller.cassandra.cluster.act import CLUSTERS
from controller.cassandra.member.roster import Roster
from controller.runtime.kube import CONFIG_MAP, PVC, STATEFULSET, STORAGE_CLASS
from controller.testkit import virtual_time
from tests.unit.cassandra.life import NAME, Life, living, spec
from tests.unit.cassandra.world import NAMESPACE


def claims(life: Life) -> set[str]:
    """The names of all volumes' claims."""
    return {claim["metadata"]["name"] for claim in life.server.list(PVC, NAMESPACE)}


@virtual_time
async def test_a_cluster_is_made_and_its_members_join_one_at_a_time() -> None:
    async with living() as life:
        life.create(spec(a=2, b=2))
        await life.ready("a-0", "a-1", "b-0", "b-1")
        assert life.world.rings == 1
        assert life.cluster.status.founded


@virtual_time
async def test_members_leave_with_their_data_and_keep_their_volumes() -> None:
    async with living() as life:
        life.create(spec(a=2, b=2))
        await life.ready("a-0", "a-1", "b-0", "b-1")
        life.scale(a=3)
        await life.ready("a-0", "a-1", "a-2", "b-0", "b-1")
        life.scale(a=2, b=1)
        await life.ready("a-0", "a-1", "b-0")
        left = [command for _, command in life.world.told if isinstance(command, Decommission)]
        assert left == [Decommission(), Decommission()]
        assert claims(life) == {f"data-store-dc1-{name}" for name in ("a-0", "a-1", "a-2", "b-0", "b-1")}
        assert life.world.keyspaces["system_auth"].factors == {"dc1": 3}


@virtual_time
async def test_a_member_does_not_leave_while_a_keyspace_wants_its_copies() -> None:
    async with living(copies=3) as life:
        life.create(spec(a=3))
        await life.ready("a-0", "a-1", "a-2")
        life.scale(a=2)
        await life.until(lambda: "keyspace shop to ask for at most 2 copies" in life.cluster.status.message)
        assert not [command for _, command in life.world.told if isinstance(command, Decommission)]
        life.world.keyspaces["shop"] = Keyspace("shop", "NetworkTopologyStrategy", {"dc1": 2})
        await life.ready("a-0", "a-1")


@virtual_time
async def test_copies_are_given_up_only_where_that_is_said() -> None:
    async with living(copies=3) as life:
        life.create(spec(a=3))
        await life.ready("a-0", "a-1", "a-2")
        life.scale(a=2)
        life.edit(loseCopies=["shop"])
        await life.ready("a-0", "a-1")
        assert [command for _, command in life.world.told if isinstance(command, Decommission)] == [
            Decommission(force=True)
        ]


@virtual_time
async def test_volumes_of_members_that_left_go_with_consent_and_make_room_for_others() -> None:
    async with living() as life:
        life.create(spec(a=3))
        await life.ready("a-0", "a-1", "a-2")
        life.scale(a=2)
        await life.ready("a-0", "a-1")
        life.scale(a=3)
        await life.until(lambda: "needs spec.claimRetention.whenScaled: Delete" in life.cluster.status.message)
        assert claims(life) == {f"data-store-dc1-a-{number}" for number in range(3)}
        life.edit(claimRetention={"whenScaled": "Delete"})
        await life.ready("a-0", "a-1", "a-2")
        life.scale(a=2)
        await life.until(lambda: claims(life) == {"data-store-dc1-a-0", "data-store-dc1-a-1"})


@virtual_time
async def test_the_last_member_does_not_leave() -> None:
    async with living(copies=1) as life:
        life.create(spec(a=1))
        await life.ready("a-0")
        life.scale(a=0)
        await life.until(lambda: "the last member has nobody to hand its data to" in life.cluster.status.message)


@virtual_time
async def test_a_lost_member_is_replaced_when_its_host_id_is_given_up() -> None:
    async with living() as life:
        life.create(spec(a=3))
        await life.ready("a-0", "a-1", "a-2")
        host_id = life.cluster.status.members["store-dc1-a-1"].host_id
        life.world.lose("store-dc1-a-1")
        await life.until(lambda: life.condition("Degraded")[1] == "MemberDown")
        assert f"hostID: {host_id}" in life.condition("Degraded")[2]
        await life.until(lambda: life.cluster.status.phase == "Degraded")
        assert life.condition("Ready")[:2] == ("False", "MemberDown")
        assert f"hostID: {host_id}" in life.cluster.status.message
        await life.until(lambda: "the volume is empty" in life.cluster.status.members["store-dc1-a-1"].message)
        life.edit(lostMembers=[{"member": "store-dc1-a-1", "hostID": host_id}])
        await life.ready("a-0", "a-1", "a-2")
        assert life.cluster.status.members["store-dc1-a-1"].host_id != host_id
        assert ("store-dc1-a-1", Repair("shop", primary=False)) in life.world.told


@virtual_time
async def test_a_member_that_is_alive_is_never_given_up() -> None:
    async with living() as life:
        life.create(spec(a=3))
        await life.ready("a-0", "a-1", "a-2")
        host_id = life.cluster.status.members["store-dc1-a-1"].host_id
        uids = claims(life)
        life.edit(lostMembers=[{"member": "store-dc1-a-1", "hostID": host_id}])
        await life.until(lambda: "it answers, and is not lost" in life.cluster.status.message)
        assert claims(life) == uids


@virtual_time
async def test_a_lost_member_is_taken_out_of_the_ring_where_fewer_are_wanted() -> None:
    async with living() as life:
        life.create(spec(a=4))
        await life.ready("a-0", "a-1", "a-2", "a-3")
        host_id = life.cluster.status.members["store-dc1-a-3"].host_id
        life.world.lose("store-dc1-a-3")
        life.scale(a=3)
        life.edit(lostMembers=[{"member": "store-dc1-a-3", "hostID": host_id}])
        await life.ready("a-0", "a-1", "a-2")
        assert RemoveNode(host_id) in [command for _, command in life.world.told]


@virtual_time
async def test_a_member_that_somebody_decommissioned_leaves_the_roster_where_fewer_are_wanted() -> None:
    async with living() as life:
        life.create(spec(a=4))
        await life.ready("a-0", "a-1", "a-2", "a-3")
        life.world.decommission("store-dc1-a-3")
        await life.until(lambda: life.condition("Degraded")[1] == "MemberLeft")
        assert claims(life) == {f"data-store-dc1-a-{number}" for number in range(4)}
        life.scale(a=3)
        await life.ready("a-0", "a-1", "a-2")


@virtual_time
async def test_a_member_that_somebody_decommissioned_is_made_anew_when_its_host_id_is_given_up() -> None:
    async with living() as life:
        life.create(spec(a=4))
        await life.ready("a-0", "a-1", "a-2", "a-3")
        host_id = life.roster.seats["store-dc1-a-1"].host_id
        life.world.decommission("store-dc1-a-1")
        await life.until(lambda: life.condition("Degraded")[1] == "MemberLeft")
        life.edit(lostMembers=[{"member": "store-dc1-a-1", "hostID": host_id}])
        await life.ready("a-0", "a-1", "a-2", "a-3")
        assert life.roster.seats["store-dc1-a-1"].host_id != host_id


@virtual_time
async def test_a_roster_that_somebody_deleted_is_written_anew() -> None:
    async with living() as life:
        life.create(spec(a=2, b=1))
        await life.ready("a-0", "a-1", "b-0")
        before = life.roster
        life.server.delete(CONFIG_MAP, NAMESPACE, f"{NAME}-members")
        await life.until(lambda: life.roster.seats)
        await life.ready("a-0", "a-1", "b-0")
        assert life.roster.seats == before.seats


@virtual_time
async def test_all_members_die_at_once_and_nobody_makes_another_ring() -> None:
    async with living() as life:
        life.create(spec(a=2, b=2))
        await life.ready("a-0", "a-1", "b-0", "b-1")
        before = {name: seat.host_id for name, seat in life.roster.members.items()}
        for name in list(life.world.processes):
            life.world.kill(name)
        await life.until(lambda: life.condition("Degraded")[0] == "True")
        await life.ready("a-0", "a-1", "b-0", "b-1")
        assert {name: seat.host_id for name, seat in life.roster.members.items()} == before
        assert life.world.rings == 1


@virtual_time
async def test_nobody_joins_or_leaves_while_a_member_is_not_well() -> None:
    async with living() as life:
        life.create(spec(a=3))
        await life.ready("a-0", "a-1", "a-2")
        life.world.frozen.add("store-dc1-a-1")
        for count in (4, 2):
            life.scale(a=count)
            await life.until(lambda: "store-dc1-a-1 does not answer" in life.cluster.status.message)
        assert set(life.roster.seats) == {f"store-dc1-a-{number}" for number in range(3)}
        life.world.frozen.clear()
        await life.ready("a-0", "a-1")


@virtual_time
async def test_one_member_that_hangs_keeps_nobody_from_being_seen_and_from_getting_new_seeds() -> None:
    async with living() as life:
        life.create(spec(a=4))
        await life.ready("a-0", "a-1", "a-2", "a-3")
        hangs, others = "store-dc1-a-1", [f"store-dc1-a-{number}" for number in (0, 2, 3)]
        members = life.cluster.status.members
        life.world.frozen.add(hangs)
        life.world.hanging.add(hangs)
        await life.until(lambda: life.cluster.status.members[hangs].state == "Down", within=60)
        assert "no answer within" in life.cluster.status.members[hangs].message
        assert {life.cluster.status.members[name].state for name in others} == {"Normal"}

        life.edit(lostMembers=[{"member": hangs, "hostID": members[hangs].host_id}])
        wanted = [members[name].address for name in others]
        await life.until(lambda: [life.seeds(name) for name in others] == [wanted] * 3, within=60)


@virtual_time
async def test_a_member_that_does_not_start_keeps_no_other_from_starting_and_who_joins_waits_for_it() -> None:
    """Where pods start in order, a first one without room keeps all others down for ever."""
    async with living() as life:
        life.create(spec(a=3))
        await life.ready("a-0", "a-1", "a-2")
        world, (first, second, third, fourth) = life.world, (f"store-dc1-a-{number}" for number in range(4))
        world.blocked.add(first)
        for name in (first, second, third):
            world.kill(name)
        await life.until(
            lambda: all(name in world.processes and world.processes[name].serves for name in (second, third))
        )
        life.scale(a=4)
        await life.until(lambda: f"{first} does not answer" in life.cluster.status.message)
        assert fourth not in world.processes
        assert life.roster.moving is None

        world.blocked.clear()
        world.kill(first)
        await life.ready("a-0", "a-1", "a-2", "a-3")


@virtual_time
async def test_a_stateful_set_that_somebody_scales_down_is_put_back() -> None:
    async with living() as life:
        life.create(spec(a=3))
        await life.ready("a-0", "a-1", "a-2")
        life.server.patch(STATEFULSET, NAMESPACE, "store-dc1-a", {"spec": {"replicas": 1}})
        await life.until(lambda: life.server.get(STATEFULSET, NAMESPACE, "store-dc1-a")["spec"]["replicas"] == 3)
        await life.ready("a-0", "a-1", "a-2")
        assert not [command for _, command in life.world.told if isinstance(command, Decommission)]


@virtual_time
async def test_more_members_are_wanted_while_one_leaves() -> None:
    async with living() as life:
        life.world.slow = 30
        life.create(spec(a=3) | {"claimRetention": {"whenScaled": "Delete"}})
        await life.ready("a-0", "a-1", "a-2")
        life.scale(a=2)
        await life.until(lambda: life.roster.moving is not None)
        life.scale(a=4)
        await life.ready("a-0", "a-1", "a-2", "a-3")


@virtual_time
async def test_a_join_that_found_no_node_is_taken_back() -> None:
    async with living() as life:
        life.create(spec(a=2))
        await life.ready("a-0", "a-1")
        life.world.blocked.add("store-dc1-a-2")
        life.scale(a=3)
        await life.until(lambda: life.roster.moving is not None)
        life.scale(a=2)
        await life.ready("a-0", "a-1")


@virtual_time
async def test_a_member_that_is_lost_before_it_joined_is_given_up_by_its_claim() -> None:
    async with living() as life:
        life.create(spec(a=2))
        await life.ready("a-0", "a-1")
        life.world.blocked.add("store-dc1-a-2")
        life.scale(a=3)
        await life.until(lambda: "claimUID: " in life.cluster.status.message)

        def claim() -> str:
            """The uid of its claim."""
            found = life.server.find(PVC, NAMESPACE, "data-store-dc1-a-2")
            return str(found["metadata"]["uid"]) if found is not None else ""

        uid = claim()
        assert f"{{member: store-dc1-a-2, claimUID: {uid}}}" in life.cluster.status.message
        life.edit(lostMembers=[{"member": "store-dc1-a-2", "claimUID": uid}])
        await life.until(lambda: claim() not in ("", uid))
        life.world.blocked.clear()
        life.world.kill("store-dc1-a-2")
        await life.ready("a-0", "a-1", "a-2")


def sized(life: Life, size: str) -> None:
    """The spec asks for volumes of another size."""
    (rack,) = life.server.get(CLUSTERS, NAMESPACE, NAME)["spec"]["datacenter"]["racks"]
    claim = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}}
    racks = [{**rack, "storage": {"volumeClaimTemplates": [claim]}}]
    life.edit(datacenter={"name": "dc1", "racks": racks})


@virtual_time
async def test_volumes_grow_and_nobody_is_restarted() -> None:
    async with living() as life:
        life.server.create(
            STORAGE_CLASS, {"metadata": {"name": "fast"}, "provisioner": "x", "allowVolumeExpansion": True}
        )
        life.create(spec(a=2))
        await life.ready("a-0", "a-1")
        before = dict(life.world.started)
        sized(life, "2Gi")
        await life.ready("a-0", "a-1")
        found = [claim["spec"]["resources"]["requests"]["storage"] for claim in life.server.list(PVC, NAMESPACE)]
        assert found == ["2Gi", "2Gi"]
        (template,) = life.server.get(STATEFULSET, NAMESPACE, "store-dc1-a")["spec"]["volumeClaimTemplates"]
        assert template["spec"]["resources"]["requests"]["storage"] == "2Gi"
        assert life.world.started == before
        sized(life, "1Gi")
        await life.until(lambda: "they never shrink; set 2Gi or more" in life.condition("Degraded")[2])
        assert life.world.started == before


@virtual_time
async def test_volumes_outlive_the_cluster_and_its_namesake_has_the_data_again() -> None:
    async with living() as life:
        life.create(spec(a=2))
        await life.ready("a-0", "a-1")
        before = {name: seat.host_id for name, seat in life.roster.members.items()}
        life.server.delete(CLUSTERS, NAMESPACE, NAME)
        await life.until(lambda: life.server.find(CLUSTERS, NAMESPACE, NAME) is None and not life.world.processes)
        assert claims(life) == {"data-store-dc1-a-0", "data-store-dc1-a-1"}
        life.create(spec(a=2))
        await life.ready("a-0", "a-1")
        assert {name: seat.host_id for name, seat in life.roster.members.items()} == before
        assert life.world.rings == 1


@virtual_time
async def test_volumes_go_with_the_cluster_where_that_is_said() -> None:
    async with living() as life:
        life.create(spec(a=2) | {"claimRetention": {"whenDeleted": "Delete"}})
        await life.ready("a-0", "a-1")
        life.server.delete(CLUSTERS, NAMESPACE, NAME)
        await life.until(lambda: life.server.find(CLUSTERS, NAMESPACE, NAME) is None)
        assert claims(life) == set()
        assert life.roster == Roster()


@virtual_time
async def test_the_well_known_superuser_is_locked_and_the_secret_s_is_let_in() -> None:
    async with living() as life:
        life.create(spec(a=1))
        await life.ready("a-0")
        await life.until(lambda: list(life.world.roles) == ["store-superuser"])
        await life.until(lambda: life.condition("Degraded")[0] == "False")


@virtual_time
async def test_an_idle_operator_writes_and_tells_nothing() -> None:
    async with living() as life:
        life.create(spec(a=2))
        await life.ready("a-0", "a-1")
        await asyncio.sleep(120)
        told, version = len(life.world.told), life.server.storage.version
        await asyncio.sleep(900)
        assert len(life.world.told) == told
        assert life.server.storage.version == version
