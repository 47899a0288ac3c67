"""Mirrored file systems: specs, plans by table, and two clusters from the first token to the end of it."""

from __future__ import annotations

import base64
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.apis.ceph import CEPH_FILESYSTEM, CephFilesystemStatus
from controller.apis.ceph.filesystem_status import MirrorDaemon
from controller.ceph.access.filesystems import parse
from controller.ceph.access.modules import EnableModule
from controller.ceph.filesystem.analyze import analyze as analyze_filesystem
from controller.ceph.filesystem.mirroring import act, analyze, observe, schedules, status
from controller.ceph.filesystem.mirroring.act import (
    DisableMirroring,
    EnableMirroring,
    ImportFilesystemPeer,
    LeaveMirroring,
    RemoveFilesystemPeer,
    WriteFilesystemToken,
    remote_of,
)
from controller.ceph.filesystem.mirroring.observe import ENABLED, MirroringObservation, peer_record
from controller.ceph.filesystem.mirroring.schedules import Live, Plan, Retention, Schedule
from controller.ceph.filesystem.mirroring.wanted import Wanted, of, problems
from controller.ceph.filesystem.status import show
from controller.ceph.mirroring import tokens
from controller.ceph.mirroring.sources import Offer, Source
from controller.framework.children import Delete
from controller.framework.kind import Look
from controller.framework.owned import Owned
from controller.framework.plan import APPLY, execute, preview
from controller.framework.plan import Plan as Steps
from controller.framework.workload import Owner
from controller.runtime.kube import SECRET, Secret
from tests.unit.ceph.filesystems import a_filesystem, a_state, running
from tests.unit.ceph.fs_mirrors import FSIDS, NAME, ON, Site, a_token, seen

if TYPE_CHECKING:
    from controller.ceph.access.filesystems import FilesystemState
    from controller.ceph.access.rados import RadosCluster
    from controller.runtime.apply import Applier
    from informers import Client, Informer, JsonObject

TOKEN = a_token("b")
REMOTE = remote_of(TOKEN)
MIRRORED = a_state("myfs-a", mirrored=True)
WITH_PEER = replace(MIRRORED, peers={"u1": REMOTE})
OURS = {ENABLED: Owned("true", ""), peer_record(REMOTE): Owned("peer", "")}
PLAIN = Wanted(enabled=True)
PEER = Wanted(enabled=True, secrets=("peer",))


def mirrored(**spec: Any) -> Any:
    return a_filesystem({"mirroring": {"enabled": True, **spec}})


def plan(wanted: Wanted, state: FilesystemState, found: MirroringObservation) -> list[Any]:
    return list(analyze.steps(a_filesystem().metadata, wanted, state, found, key_type="aes"))


def actions(wanted: Wanted, state: FilesystemState, found: MirroringObservation) -> list[object]:
    return [step.action for step in plan(wanted, state, found) if step.held_by is None]


def waits(wanted: Wanted, state: FilesystemState, found: MirroringObservation) -> list[str]:
    return [step.waits_for for step in plan(wanted, state, found) if step.waits_for]


class TestSpec:
    def test_times_and_counts_get_ceph_s_own_form(self) -> None:
        found = of(
            mirrored(
                snapshotSchedules=[
                    {"path": "/shared/", "interval": "24h", "startTime": "14:00:00-05:00"},
                    {"path": "/", "interval": "1h"},
                    {"path": "/", "interval": "1d", "startTime": "2026-03-01T02:30:00"},
                ],
                snapshotRetention=[{"path": "/shared", "duration": "h 24"}, {"path": "/", "duration": "7d4w"}],
                directories=["/shared/", "/shared"],
            )
        )
        assert found.snapshots.schedules == (
            Schedule("/", "1d", "2026-03-01T02:30:00"),
            Schedule("/", "1h"),
            Schedule("/shared", "24h", "2020-01-01T19:00:00"),
        )
        assert found.snapshots.retention == (
            Retention("/", "d", 7),
            Retention("/", "w", 4),
            Retention("/shared", "h", 24),
        )
        assert found.directories == ("/shared",)
        assert of(a_filesystem({"mirroring": {"directories": ["/a"]}})) == Wanted()

    @pytest.mark.parametrize(
        ("spec", "problem"),
        [
            ({"snapshotSchedules": [{"interval": "1h"}]}, "snapshotSchedules[0].path is ''"),
            ({"snapshotSchedules": [{"path": "/", "interval": "0h"}]}, "snapshotSchedules[0].interval is '0h'"),
            ({"snapshotSchedules": [{"path": "/", "interval": "1h", "startTime": "noon"}]}, "startTime is 'noon'"),
            ({"snapshotRetention": [{"path": "/a", "duration": "1h"}]}, "expected one of snapshotSchedules"),
            ({"snapshotRetention": [{"path": "a", "duration": "1h"}]}, "snapshotRetention[0].path is 'a'"),
            (
                {"snapshotSchedules": [{"path": "/", "interval": "1h"}], "snapshotRetention": [{"path": "/"}]},
                "snapshotRetention[0].duration is ''",
            ),
            (
                {
                    "snapshotSchedules": [{"path": "/", "interval": "1h"}],
                    "snapshotRetention": [{"path": "/", "duration": "1h"}, {"path": "/", "duration": "2h"}],
                },
                "snapshotRetention[1].duration is '2h': / has another count of h before it",
            ),
            ({"peers": {"secretNames": ["x", "y"]}}, "peers.secretNames has 2 names"),
            ({"directories": ["a"]}, "spec.mirroring.directories[0] is 'a'"),
            ({"directories": ["/a/b", "/a"]}, "directories has /a/b, which is in /a"),
            ({"directories": ["/a", "/"]}, "directories has /a, which is in /"),
        ],
    )
    def test_what_cannot_be_is_told(self, spec: JsonObject, problem: str) -> None:
        assert problem in "; ".join(problems(mirrored(**spec)))
        off = a_filesystem({"mirroring": {"enabled": False, **spec}})
        assert list(problems(off)) == []

    def test_a_name_that_no_peer_s_user_may_have(self) -> None:
        dotted = a_filesystem({"mirroring": {"enabled": True}}, name="my.fs")
        assert "has a dot" not in "; ".join(problems(a_filesystem(name="my.fs")))
        assert "the mgr takes no peer whose user has a dot" in "; ".join(problems(dotted))

    def test_an_interval_that_is_none(self) -> None:
        spec = {"mirroring": {"enabled": True}, "statusCheck": {"mirror": {"interval": "often"}}}
        assert "spec.statusCheck.mirror.interval" in "; ".join(problems(a_filesystem(spec)))

    @given(st.lists(st.tuples(st.integers(1, 999), st.sampled_from("nmhdwMy")), min_size=1, unique_by=lambda p: p[1]))
    def test_counts_of_ceph_s_form_are_read_back(self, counts: list[tuple[int, str]]) -> None:
        text = "".join(f"{count}{period}" for count, period in counts)
        found = of(
            mirrored(
                snapshotSchedules=[{"path": "/", "interval": "1h"}],
                snapshotRetention=[{"path": "/", "duration": text}],
            )
        )
        assert {keep.spec for keep in found.snapshots.retention} == {f"{count}{period}" for count, period in counts}


class TestPlan:
    def test_nothing_is_asked_for_and_nothing_is_ours(self) -> None:
        assert plan(Wanted(), MIRRORED, observe.NOTHING) == []
        assert plan(Wanted(), WITH_PEER, MirroringObservation(known=False)) == []
        assert waits(PLAIN, WITH_PEER, MirroringObservation(known=False)) == ["the cluster to answer"]

    def test_modules_come_first(self) -> None:
        scheduled = replace(PLAIN, snapshots=Plan((Schedule("/", "1h"),)))
        without = seen(PLAIN, TOKEN, modules=frozenset())
        assert actions(PLAIN, a_state("myfs-a"), without) == [EnableModule("mirroring")]
        both = [EnableModule("mirroring"), EnableModule("snap_schedule")]
        assert actions(scheduled, a_state("myfs-a"), without) == both

    def test_then_mirroring_and_what_somebody_switched_on_becomes_ours(self) -> None:
        for state in (a_state("myfs-a"), MIRRORED):
            assert actions(PLAIN, state, seen(PLAIN, TOKEN, owned={})) == [EnableMirroring(NAME)]

    def test_then_the_token(self) -> None:
        write = WriteFilesystemToken(NAME, "aes")
        assert actions(PLAIN, MIRRORED, seen(PLAIN, TOKEN, offer=Offer())) == [write]
        assert actions(PLAIN, MIRRORED, seen(PLAIN, TOKEN, offer=Offer("s1"))) == [write]
        (waiting,) = waits(PLAIN, MIRRORED, seen(PLAIN, TOKEN, offer=Offer(stranger=True)))
        assert waiting == "it to be deleted, as it is not this CephFilesystem's"

    def test_a_peer_is_imported_once(self) -> None:
        assert actions(PEER, MIRRORED, seen(PEER, TOKEN)) == [ImportFilesystemPeer(NAME, "peer")]
        assert actions(PEER, WITH_PEER, seen(PEER, TOKEN)) == [ImportFilesystemPeer(NAME, "peer")]
        assert plan(PEER, WITH_PEER, seen(PEER, TOKEN, owned=OURS)) == []

    def test_one_that_is_reached_in_another_way_is_imported_anew(self) -> None:
        moved = a_token("b", host="[v2:10.0.0.77:3300]")
        assert actions(PEER, WITH_PEER, seen(PEER, moved, owned=OURS, ways={"u1": TOKEN.way_digest})) == [
            ImportFilesystemPeer(NAME, "peer", "u1")
        ]

    def test_what_left_the_spec_goes_and_what_others_imported_stays(self) -> None:
        remove = RemoveFilesystemPeer(NAME, "u1", REMOTE)
        assert actions(PLAIN, WITH_PEER, seen(PLAIN, TOKEN, owned=OURS)) == [remove]
        assert actions(PLAIN, WITH_PEER, seen(PLAIN, TOKEN)) == []

    def test_a_secret_with_the_token_of_another_cluster(self) -> None:
        other = a_token("b", filesystem="other")
        assert actions(PEER, WITH_PEER, seen(PEER, other, owned=OURS)) == [
            RemoveFilesystemPeer(NAME, "u1", REMOTE),
            ImportFilesystemPeer(NAME, "peer"),
        ]

    def test_the_daemon_never_finds_two_peers(self) -> None:
        other = a_token("b", filesystem="other")
        (waiting,) = waits(PEER, WITH_PEER, seen(PEER, other))
        assert waiting.startswith(f"peer myfs of cluster {FSIDS['b']} to be removed (`ceph fs snapshot mirror peer_rem")
        removal, imported = plan(PEER, WITH_PEER, seen(PEER, other, owned=OURS))
        assert removal.lane == imported.lane

    def test_a_secret_that_is_not_there_costs_no_peer(self) -> None:
        lost = seen(PEER, TOKEN, owned=OURS, sources=(Source("peer", problem="Secret peer with the token"),))
        assert actions(PEER, WITH_PEER, lost) == []
        assert waits(PEER, WITH_PEER, lost) == ["Secret peer with the token"]

    @pytest.mark.parametrize(
        ("token", "problem"),
        [
            (a_token("a"), "it is that of this one"),
            (replace(TOKEN, filesystem=""), "to have the token of a file system, not of a pool"),
        ],
    )
    def test_tokens_that_are_of_no_use(self, token: tokens.Token, problem: str) -> None:
        assert actions(PEER, MIRRORED, seen(PEER, token)) == []
        assert problem in "; ".join(waits(PEER, MIRRORED, seen(PEER, token)))

    def test_a_file_system_of_the_same_cluster_may_be_a_peer(self) -> None:
        token = a_token("a", filesystem="other")
        assert actions(PEER, MIRRORED, seen(PEER, token)) == [ImportFilesystemPeer(NAME, "peer")]

    def test_who_does_not_list_is_waited_for(self) -> None:
        wanted = replace(PLAIN, snapshots=Plan((Schedule("/", "1h"),)), directories=("/a",))
        found = seen(wanted, TOKEN, live=None, directories=None)
        assert waits(wanted, MIRRORED, found) == [
            "mgr module mirroring to list them",
            "mgr module snap_schedule to list their schedules",
        ]

    def test_a_schedule_without_a_start_is_any_of_its_interval(self) -> None:
        there = Schedule("/", "1h", "2024-05-01T00:00:00")
        wanted = Plan((Schedule("/", "1h"),))
        assert schedules.settled(wanted, [Live(there)]).schedules == (there,)
        assert schedules.settled(wanted, []).schedules == (Schedule("/", "1h", "2020-01-01T00:00:00"),)
        both = Plan((Schedule("/", "1h"), there))
        found = schedules.settled(both, [Live(there)]).schedules
        assert found == (Schedule("/", "1h", "2020-01-01T00:00:00"), there)

    def test_before_a_file_system_goes_its_keys_of_others_go(self) -> None:
        filesystem = a_filesystem(deleting=True)
        there = running(filesystem, WITH_PEER, mirroring=seen(PLAIN, TOKEN, owned=OURS))
        found = [step.action for step in analyze_filesystem(filesystem, there).steps]
        assert [type(action).__name__ for action in found[:2]] == ["LeaveMirroring", "RemoveFilesystem"]
        full = replace(there, contents=("subvolume v",))
        first, second = analyze_filesystem(filesystem, full).steps[:2]
        assert first.action == LeaveMirroring(NAME)
        assert first.consent == second.consent != ""
        plain = running(filesystem, a_state("myfs-a"))
        assert not any(isinstance(step.action, LeaveMirroring) for step in analyze_filesystem(filesystem, plain).steps)


DAEMON: JsonObject = {
    "daemon_id": 4363,
    "filesystems": [
        {
            "filesystem_id": 1,
            "name": NAME,
            "directory_count": 1,
            "peers": [
                {
                    "uuid": "u1",
                    "remote": {"client_name": "client.mirror-myfs", "cluster_name": "b", "fs_name": NAME},
                    "stats": {"failure_count": 2, "recovery_count": 1},
                }
            ],
        }
    ],
}


class TestStatus:
    def test_is_written_only_where_it_changed(self) -> None:
        daemons = msgspec.convert([DAEMON], tuple[MirrorDaemon, ...])
        row = {"fs": NAME, "subvol": None, "rel_path": "/", "active": True, "created_count": 3, "first": None}
        live = (Live(Schedule("/", "1h", "2020-01-01T00:00:00"), {"h": 24}, row),)
        found = seen(PLAIN, TOKEN, daemons=daemons, live=live, directories=("/a",))
        first = status.fields(CephFilesystemStatus(), PLAIN, found, "2027-01-15T08:00:00Z")
        shown = msgspec.structs.replace(CephFilesystemStatus(), **first)
        (daemon,) = shown.mirroring_status.daemons_status or ()
        assert daemon.filesystems[0].peers[0].stats.failure_count == 2
        (schedule,) = shown.snapshot_schedule_status.snapshot_schedules or ()
        assert (schedule.path, schedule.schedule, schedule.retention.created_count) == ("/", "1h", 3)
        assert shown.mirroring_status.details == ""
        later = status.fields(shown, PLAIN, found, "2027-01-15T09:00:00Z")
        assert msgspec.structs.replace(shown, **later) == shown
        unknown = status.fields(shown, PLAIN, replace(found, daemons=None, live=None, details="no answer"), "x")
        assert unknown["mirroring_status"].daemons_status == daemons
        assert unknown["mirroring_status"].details == "no answer"
        assert status.fields(shown, Wanted(), observe.NOTHING, "x") == {
            "mirroring_status": CephFilesystemStatus().mirroring_status,
            "snapshot_schedule_status": CephFilesystemStatus().snapshot_schedule_status,
        }

    @pytest.mark.parametrize(
        ("daemons", "directories", "details"),
        [((), ("/a",), status.NO_DAEMON), ((MirrorDaemon(),), (), status.IDLE)],
    )
    def test_why_nothing_is_copied(self, daemons: Any, directories: Any, details: str) -> None:
        found = seen(PLAIN, TOKEN, daemons=daemons, directories=directories)
        fields = status.fields(CephFilesystemStatus(), PLAIN, found, "x")
        assert fields["mirroring_status"].details == details

    def test_the_secret_is_named_while_it_is_mirrored(self) -> None:
        filesystem = mirrored()
        found = running(filesystem, MIRRORED, mirroring=seen(PLAIN, TOKEN))
        look = Look(obj=filesystem, spec={}, mode=APPLY, now=0.0)
        shown = show(look, found, preview(analyze_filesystem(filesystem, found)))
        assert (shown.phase, shown.info) == (
            "Ready",
            {"fscid": "1", "fsMirrorBootstrapPeerSecretName": "fs-peer-token-myfs"},
        )
        later = msgspec.structs.replace(a_filesystem(), status=shown)
        assert status.info(later, Wanted()) == {"fscid": "1"}


class World:
    """Two clusters, each with a CephFilesystem that is looked at until there is nothing left to do."""

    def __init__(self) -> None:
        self.network: dict[str, Site] = {}
        self.sites = {name: Site(name, self.network) for name in "ab"}
        self.secrets: dict[str, dict[str, Secret]] = {name: {} for name in "ab"}

    async def look(self, site: str, spec: JsonObject) -> list[str]:
        """One look: what was done, in the order of the plan; what is left is said too."""
        ceph, secrets = cast("RadosCluster", self.sites[site]), self.secrets[site]
        filesystem = a_filesystem({"mirroring": spec})
        assert list(problems(filesystem)) == []
        cache = cast("Informer[Secret]", SimpleNamespace(get=lambda _, name: secrets.get(name)))
        wanted, state = of(filesystem), parse(await ceph.mon("fs dump")).filesystems[NAME]
        found = await observe.observe(ceph, filesystem.metadata, wanted, cache, mirrored=state.mirrored)
        steps = tuple(analyze.steps(filesystem.metadata, wanted, state, found, key_type=""))
        outcome = await execute(Steps(steps=steps), self.handlers(site))
        return [f"{r.step.title}: {r.error or r.state}" for r in outcome.results]

    def handlers(self, site: str) -> dict[type, Any]:
        secrets, ceph = self.secrets[site], cast("RadosCluster", self.sites[site])

        async def get(_: object, __: str, name: str) -> JsonObject:
            return cast("JsonObject", msgspec.to_builtins(secrets[name]))

        async def apply(obj: JsonObject, **_: Any) -> None:
            meta = {**obj["metadata"], "uid": "s1"}
            secrets[meta["name"]] = msgspec.convert({**obj, "metadata": meta}, Secret)

        async def delete(action: Delete) -> None:
            secrets.pop(action.name)

        owner = Owner.of(CEPH_FILESYSTEM, a_filesystem().metadata)
        client, applier = cast("Client", SimpleNamespace(get=get)), cast("Applier", SimpleNamespace(apply=apply))
        return {**act.handlers(owner, client, applier, ceph), Delete: delete}

    async def settle(self, site: str, spec: JsonObject) -> None:
        for _ in range(6):
            if not await self.look(site, spec):
                return
        raise AssertionError(f"{site} does not come to rest")

    def hand_over(self, site: str) -> None:
        """The token of the other site gets here."""
        other = "b" if site == "a" else "a"
        data = self.secrets[other]["fs-peer-token-myfs"].data
        assert data["fs"] == NAME.encode()
        encoded = {"token": base64.b64encode(data["token"]).decode()}
        self.secrets[site]["peer"] = msgspec.convert({"metadata": {"name": "peer"}, "data": encoded}, Secret)

    async def joined(self, spec: JsonObject) -> None:
        """Has `a` mirrored with `b`."""
        await self.settle("b", JUST_ON)
        self.hand_over("a")
        await self.settle("a", spec)


JUST_ON: JsonObject = {"enabled": True}
JOINED: JsonObject = {**JUST_ON, "peers": {"secretNames": ["peer"]}}
FULL: JsonObject = {
    **JOINED,
    "snapshotSchedules": [{"path": "/shared", "interval": "15m"}, {"path": "/shared", "interval": "1d"}],
    "snapshotRetention": [{"path": "/shared", "duration": "24h"}],
    "directories": ["/shared"],
}


@pytest.fixture
def world() -> World:
    return World()


class TestTwoClusters:
    async def test_from_the_first_token_to_the_end(self, world: World) -> None:
        a, b = world.sites["a"], world.sites["b"]
        await world.joined(FULL)
        (peer,) = a.peers.values()
        assert peer["remote"] == {"client_name": "client.mirror-myfs", "cluster_name": FSIDS["b"], "fs_name": NAME}
        assert (b.mark, a.modules, a.directories) == (FSIDS["a"], set(ON), ["/shared"])
        assert {(row["schedule"], row["start"]) for row in a.rows} == {
            ("15m", "2020-01-01T00:00:00"),
            ("1d", "2020-01-01T00:00:00"),
        }
        assert a.kept == {"/shared": {"h": 24}}
        assert b.users["client.mirror-myfs"]["caps"]["mds"] == "allow rwps fsname=myfs"

        a.asked()
        assert await world.look("a", FULL) == []
        assert a.asked() == [], "a look at rest writes nothing"

        a.directories.append("/by-hand")
        await world.settle("a", {"enabled": False})
        assert (a.mirrored, a.peers, a.keys, a.rows, a.users, b.mark) == (False, {}, {}, [], {}, "")
        assert set(world.secrets["a"]) == {"peer"}
        assert a.directories == ["/shared", "/by-hand"], "they count again where it is mirrored again"

    async def test_what_changes_in_the_spec_is_changed_and_the_work_of_others_stays(self, world: World) -> None:
        a = world.sites["a"]
        await world.joined(FULL)
        by_hand = {"path": "/shared", "snap_schedule": "1w", "start": "2026-01-01T00:00:00"}
        await a.mgr("fs snap-schedule add", **by_hand)
        await a.mgr("fs snap-schedule retention add", path="/shared", retention_spec_or_period="4w")
        await a.mgr("fs snapshot mirror add", path="/by-hand")
        fewer = {
            **JOINED,
            "snapshotSchedules": [{"path": "/shared", "interval": "1d", "startTime": "03:00:00"}],
            "snapshotRetention": [{"path": "/shared", "duration": "12h"}],
            "directories": ["/other"],
        }
        await world.settle("a", fewer)
        assert sorted(row["schedule"] for row in a.rows) == ["1d", "1w"]
        assert a.kept == {"/shared": {"h": 12, "w": 4}}
        assert a.directories == ["/by-hand", "/other"]
        await world.settle("a", JOINED)
        assert [row["schedule"] for row in a.rows] == ["1w"]
        assert (a.kept, a.directories) == ({"/shared": {"w": 4}}, ["/by-hand"])
        await world.settle("a", JUST_ON)
        assert (a.peers, world.sites["b"].mark) == ({}, "")

    @pytest.mark.parametrize("change", [Site.rotate, Site.move])
    async def test_a_cluster_that_is_reached_in_another_way_by_now(self, world: World, change: Any) -> None:
        a, b = world.sites["a"], world.sites["b"]
        await world.joined(JOINED)
        (before,) = a.peers
        change(b)
        assert await world.look("b", JUST_ON) == ["WriteFilesystemToken: Done"]
        world.hand_over("a")
        await world.settle("a", JOINED)
        (after,) = a.peers
        assert (before != after, b.mark) == (True, FSIDS["a"])
        assert [key for key in a.keys if key.startswith("cephfs/")] == [f"cephfs/mirror/peer/myfs/{after}"]

    async def test_a_cluster_that_is_lost_keeps_its_peer_until_somebody_says_so(self, world: World) -> None:
        a = world.sites["a"]
        await world.joined(JOINED)
        world.network.clear()
        (told,) = await world.look("a", JUST_ON)
        (uuid,) = a.peers
        assert f"`ceph fs mirror peer_remove myfs {uuid}`" in told
        assert f"`ceph config-key rm cephfs/mirror/peer/myfs/{uuid}`" in told
        await a.mon("fs mirror peer_remove", fs_name=NAME, uuid=uuid)
        await world.settle("a", JUST_ON)

    async def test_but_a_file_system_goes_without_it(self, world: World) -> None:
        a = world.sites["a"]
        await world.joined(FULL)
        world.network.clear()
        await world.handlers("a")[LeaveMirroring](LeaveMirroring(NAME))
        assert (a.peers, a.keys, a.users) == ({}, {}, {})

    async def test_who_dies_half_way_comes_to_rest_all_the_same(self, world: World) -> None:
        a = world.sites["a"]
        await world.settle("b", JUST_ON)
        world.hand_over("a")
        after = 0
        while True:
            after += 1
            budget = [after]
            plain_mon, plain_mgr = type(a).mon, type(a).mgr

            async def mon(prefix: str, /, _plain: Any = plain_mon, _left: Any = budget, **args: Any) -> Any:
                return await _counted(_left, _plain, prefix, args)

            async def mgr(prefix: str, /, _plain: Any = plain_mgr, _left: Any = budget, **args: Any) -> Any:
                return await _counted(_left, _plain, prefix, args)

            async def _counted(left: list[int], plain: Any, prefix: str, args: JsonObject) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    raise GoneError
                return await plain(a, prefix, **args)

            a.mon, a.mgr = mon, mgr  # type: ignore[method-assign]
            try:
                await world.settle("a", FULL)
                await world.settle("a", {"enabled": False})
            except (GoneError, AssertionError):
                pass
            died = budget[0] <= 0
            del a.mon, a.mgr
            await world.settle("a", FULL)
            assert (len(a.peers), len(a.rows), a.kept, a.directories) == (1, 2, {"/shared": {"h": 24}}, ["/shared"])
            await world.settle("a", {"enabled": False})
            assert (a.peers, a.keys, a.rows) == ({}, {}, [])
            if not died:
                return

    async def test_a_mgr_that_does_not_answer_is_told_of(self, world: World) -> None:
        await world.joined(FULL)
        world.sites["a"].mgr_down = True
        told = await world.look("a", FULL)
        assert told == ["Wait: Waiting", "Wait: Waiting"]
        world.sites["a"].down = True
        found = await observe.observe(
            cast("RadosCluster", world.sites["a"]),
            a_filesystem().metadata,
            PLAIN,
            cast("Informer[Secret]", SimpleNamespace(get=lambda *_: None)),
            mirrored=True,
        )
        assert (found.known, "no answer" in found.details) == (False, True)

    async def test_no_key_is_told(self, world: World) -> None:
        await world.joined(JOINED)
        found = await observe.observe(
            cast("RadosCluster", world.sites["a"]),
            a_filesystem().metadata,
            of(a_filesystem({"mirroring": JOINED})),
            cast("Informer[Secret]", SimpleNamespace(get=lambda _, name: world.secrets["a"].get(name))),
            mirrored=True,
        )
        assert "key-" not in repr(found)


class GoneError(Exception):
    """A command is not carried out any more."""


def test_what_ends_is_only_what_is_ours() -> None:
    found = seen(Wanted(), TOKEN, owned=OURS)
    assert actions(Wanted(), WITH_PEER, found) == [
        RemoveFilesystemPeer(NAME, "u1", REMOTE),
        Delete(SECRET, "rook-ceph", "fs-peer-token-myfs", "s1"),
        DisableMirroring(NAME),
    ]
    assert actions(Wanted(), WITH_PEER, replace(found, owned={})) == []
