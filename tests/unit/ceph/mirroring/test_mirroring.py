"""Pools and RADOS namespaces that are mirrored: plans by table, and the whole way between two clusters."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from controller.apis.ceph import CEPH_BLOCK_POOL, CephBlockPool
from controller.apis.ceph.status import CephBlockPoolStatus
from controller.ceph.access.rados import CephError
from controller.ceph.mirroring import act, analyze, health, observe, status
from controller.ceph.mirroring.act import (
    EndMirroring,
    Forget,
    ImportPeer,
    RemovePeer,
    SetMode,
    SetRemoteNamespace,
    SetSchedules,
    WriteToken,
)
from controller.ceph.mirroring.health import Health
from controller.ceph.mirroring.images import MirrorState, Peer
from controller.ceph.mirroring.observe import MirrorObservation
from controller.ceph.mirroring.place import ImageState, Mode, Place
from controller.ceph.mirroring.schedules import Schedule, Scheduled
from controller.ceph.mirroring.sources import Offer, Source, source, sources
from controller.ceph.mirroring.wanted import (
    Wanted,
    of_namespace,
    of_pool,
    problems_of_namespace,
    problems_of_pool,
    too_new,
)
from controller.ceph.releases import CephVersion
from controller.framework.children import Delete
from controller.framework.owned import Owned
from controller.framework.plan import Plan, execute
from controller.framework.workload import Owner
from tests.unit.ceph import mirrors
from tests.unit.ceph.mirrors import DAEMONS, FSIDS, Site, a_secret, reports
from tests.unit.ceph.pools import pool, replicated
from tests.unit.ceph.rados_namespaces import a_namespace

if TYPE_CHECKING:
    from controller.ceph.access.rados import RadosCluster
    from controller.framework.plan import Step
    from controller.runtime.apply import Applier
    from controller.runtime.kube import Secret
    from informers import Client, Informer, JsonObject

POOL, PART = Place("replicapool"), Place("replicapool", "team-a")
IMAGE = Wanted(mode=Mode.IMAGE)
OURS = {"mode": Owned("image", "image")}
MIRRORED = MirrorState(mode=Mode.IMAGE, pool_mode=Mode.IMAGE)
HOURLY, DAILY = Schedule("1h"), Schedule("1d", "14:00:00-05:00")


def seen(state: MirrorState | None = MIRRORED, **fields: Any) -> MirrorObservation:
    return MirrorObservation(**{"state": state, "owned": OURS, "scheduled": (), **fields})


def actions(steps: Any) -> list[object]:
    return [step.action for step in steps if step.held_by is None]


def waits(steps: Any) -> list[str]:
    return [step.waits_for for step in steps if step.waits_for]


class TestMode:
    def test_at_rest_nothing_is_done(self) -> None:
        assert list(analyze.steps(POOL, IMAGE, seen())) == []
        assert list(analyze.steps(POOL, Wanted(), MirrorObservation())) == []

    def test_is_set_and_what_was_there_becomes_ours(self) -> None:
        assert actions(analyze.steps(POOL, IMAGE, seen(MirrorState(), owned={}))) == [SetMode(POOL, Mode.IMAGE)]
        assert actions(analyze.steps(POOL, IMAGE, seen(owned={}))) == [SetMode(POOL, Mode.IMAGE)]

    def test_mirroring_ends_once_no_image_is_mirrored(self) -> None:
        peer = Peer(uuid="u", site_name="site-b")
        with_images = seen(replace(MIRRORED, images=("csi-vol-1",), peers=(peer,)))
        assert actions(analyze.steps(POOL, Wanted(), with_images)) == []
        (waiting,) = waits(analyze.steps(POOL, Wanted(), with_images))
        assert waiting.startswith("mirroring of csi-vol-1 to be ended by `rbd mirror image disable`")
        without = seen(replace(MIRRORED, peers=(peer,)), owned={**OURS, "schedules": Owned("1h", "")})
        assert actions(analyze.steps(POOL, Wanted(), without)) == [
            SetSchedules(POOL, ()),
            RemovePeer(POOL, "u"),
            EndMirroring(POOL),
        ]

    def test_only_namespaces_mirrored_from_now_on(self) -> None:
        wanted = Wanted(mode=Mode.INIT_ONLY)
        assert waits(analyze.steps(POOL, wanted, seen(replace(MIRRORED, images=("i",)))))
        assert actions(analyze.steps(POOL, wanted, seen())) == [SetMode(POOL, Mode.INIT_ONLY)]

    def test_a_namespace_waits_for_its_pool_and_is_mirrored_with_another(self) -> None:
        state = MirrorState(mode=Mode.IMAGE)
        assert waits(analyze.steps(PART, IMAGE, seen(state))) == ["mirroring of CephBlockPool replicapool"]
        elsewhere = Wanted(mode=Mode.IMAGE, remote_namespace="team-b")
        assert actions(analyze.steps(PART, elsewhere, seen())) == [SetRemoteNamespace(PART, "team-b")]
        assert actions(analyze.steps(PART, elsewhere, seen(replace(MIRRORED, remote_namespace="team-b")))) == []

    def test_a_cluster_that_does_not_answer(self) -> None:
        assert waits(analyze.steps(POOL, IMAGE, MirrorObservation(details="no answer"))) == ["the cluster to answer"]

    def test_before_a_pool_goes_with_its_images_their_copies_are_let_be(self) -> None:
        observation = seen(replace(MIRRORED, peers=(Peer(uuid="u", site_name="b"),), images=("i",)))
        steps = list(analyze.leaving(POOL, observation, "going", lane="pool", consent="a word"))
        assert [step.action for step in steps] == [RemovePeer(POOL, "u"), Forget(POOL)]
        assert {(step.lane, step.consent) for step in steps} == {("pool", "a word")}


class TestSchedules:
    wanted = Wanted(mode=Mode.IMAGE, schedules=(HOURLY,))

    @pytest.mark.parametrize(
        ("live", "ours", "expected"),
        [
            ((), "", [SetSchedules(POOL, (HOURLY,))]),
            ((HOURLY,), "1h", []),
            ((HOURLY,), "", [SetSchedules(POOL, (HOURLY,))]),
            ((HOURLY, DAILY), "1h", []),
            ((HOURLY, DAILY), "1h,1d@14:00:00-05:00", [SetSchedules(POOL, (HOURLY,))]),
        ],
        ids=["missing", "there", "adopted", "another's stays", "left the spec"],
    )
    def test_ours_follow_the_spec(self, live: tuple[Schedule, ...], ours: str, expected: list[object]) -> None:
        owned = {**OURS, **({"schedules": Owned(ours, "")} if ours else {})}
        observation = seen(scheduled=(Scheduled("replicapool/", live),), owned=owned)
        assert actions(analyze.steps(POOL, self.wanted, observation)) == expected

    def test_wait_for_the_mgr(self) -> None:
        assert waits(analyze.steps(POOL, self.wanted, seen(scheduled=None))) == ["mgr module rbd_support to list them"]


class TestPeers:
    token = source(a_secret("peer", {"token": Site("b", {}).token("k")}), "peer")
    peer = Peer(uuid="u", site_name=FSIDS["b"], key_digest=token.token.key_digest if token.token else "")

    def steps(self, *peers: Peer, noted: str = "", source: Source | None = token) -> list[Step]:
        owned = {**OURS, **({"peer": Owned("peer", noted)} if noted else {})}
        sources = () if source is None else (source,)
        observation = seen(replace(MIRRORED, peers=peers), owned=owned, sources=sources)
        wanted = replace(IMAGE, secrets=tuple(found.secret for found in sources))
        return list(analyze.peers(POOL, wanted, observation))

    def test_are_imported_once_for_each_token(self) -> None:
        assert self.token.token is not None
        digest = self.token.token.digest
        assert actions(self.steps()) == [ImportPeer(POOL, "peer")]
        assert actions(self.steps(self.peer, noted=digest)) == []
        assert actions(self.steps(self.peer, noted="of an older token")) == [ImportPeer(POOL, "peer")]
        assert actions(self.steps(self.peer)) == [ImportPeer(POOL, "peer")]
        assert actions(self.steps(noted=digest)) == [ImportPeer(POOL, "peer")]

    def test_a_secret_that_is_no_token_is_named(self) -> None:
        assert waits(self.steps(source=source(None, "peer"))) == ["Secret peer with the token of the other cluster"]
        (waiting,) = waits(self.steps(source=source(a_secret("peer", {}), "peer")))
        assert waiting.startswith("Secret peer to have a token: key token is missing")

    def test_of_two_clusters_the_one_that_somebody_set_stays(self) -> None:
        other = Peer(uuid="o", site_name="site-c")
        (waiting,) = waits(self.steps(other))
        assert waiting.startswith("peer site-c to be removed (rbd mirror pool peer remove)")
        assert actions(self.steps(other, noted="ours")) == [RemovePeer(POOL, "o"), ImportPeer(POOL, "peer")]

    def test_one_that_left_the_spec_goes_if_it_was_ours(self) -> None:
        assert actions(self.steps(self.peer, source=None)) == []
        assert actions(self.steps(self.peer, noted="x", source=None)) == [RemovePeer(POOL, "u")]


class TestToken:
    def steps(self, wanted: Wanted = IMAGE, **fields: Any) -> list[Step]:
        return list(analyze.token(wanted, seen(**fields), "rook-ceph", "replicapool", key_type="aes"))

    def test_is_written_where_it_is_not_right(self) -> None:
        assert actions(self.steps()) == [WriteToken("aes")]
        assert actions(self.steps(offer=Offer("u"))) == [WriteToken("aes")]
        assert self.steps(offer=Offer("u", current=True)) == []

    def test_of_a_pool_that_is_not_mirrored_goes(self) -> None:
        (step,) = self.steps(Wanted(), offer=Offer("u"))
        assert cast("Any", step.action).name == "pool-peer-token-replicapool"

    def test_another_of_its_name_stays(self) -> None:
        assert waits(self.steps(offer=Offer(stranger=True)))
        assert self.steps(Wanted(), offer=Offer(stranger=True)) == []


class TestSpec:
    def test_of_a_pool(self) -> None:
        spec = pool(
            replicated(
                mirroring={
                    "enabled": True,
                    "mode": "pool",
                    "peers": {"secretNames": ["s"]},
                    "snapshotSchedules": [{"interval": "24h", "startTime": "14:00:00-05:00"}],
                },
                statusCheck={"mirror": {"interval": "30s"}},
            )
        ).spec
        assert of_pool(spec) == Wanted(mode=Mode.POOL, schedules=(DAILY,), secrets=("s",), interval=30.0)
        assert of_pool(pool(replicated(mirroring={"enabled": True})).spec).mode is Mode.IMAGE
        assert of_pool(pool(replicated(mirroring={"mode": "image"})).spec) == Wanted()
        silent = replicated(mirroring={"enabled": True}, statusCheck={"mirror": {"disabled": True, "interval": "?"}})
        assert not of_pool(pool(silent).spec).watched

    def test_what_cannot_be(self) -> None:
        mirroring = {"enabled": True, "peers": {"secretNames": ["a", "b"]}, "snapshotSchedules": [{"interval": "x"}]}
        found = problems_of_pool(pool(replicated(mirroring=mirroring)).spec)
        assert (
            found[0] == "mirroring.peers.secretNames has 2 names: expected one, as Ceph mirrors a pool with one cluster"
        )
        assert found[1].startswith("mirroring.snapshotSchedules[0].interval is 'x'")
        assert problems_of_pool(pool(replicated(mirroring={**mirroring, "enabled": False})).spec) == ()
        odd = replicated(mirroring={"enabled": True}, statusCheck={"mirror": {"interval": "often"}})
        (told,) = problems_of_pool(pool(odd).spec)
        assert told.startswith("statusCheck.mirror.interval: 'often' is not a duration")

    def test_of_a_namespace(self) -> None:
        def wanted(**mirroring: Any) -> Wanted:
            return of_namespace(a_namespace({"mirroring": {"mode": "image", **mirroring}}))

        assert wanted() == Wanted(mode=Mode.IMAGE)
        assert wanted(remoteNamespace="namespace-a").remote_namespace is None
        assert wanted(remoteNamespace="<implicit>").remote_namespace == ""
        assert of_namespace(a_namespace()) == Wanted()
        (told,) = problems_of_namespace(a_namespace({"name": "<implicit>", "mirroring": {"mode": "image"}}))
        assert told.startswith("mirroring is set for the implicit namespace")

    def test_what_older_releases_do_not_know(self) -> None:
        old, new = CephVersion(18, 2, 7), CephVersion(20, 2, 0)
        assert "mirroring.mode init-only is newer than 18.2.7-0" in too_new(Wanted(mode=Mode.INIT_ONLY), old)
        assert "mirroring.remoteNamespace" in too_new(Wanted(mode=Mode.IMAGE, remote_namespace="x"), old)
        assert too_new(Wanted(mode=Mode.INIT_ONLY), new) == ""


class TestHealth:
    @pytest.mark.parametrize(
        ("found", "expected"),
        [
            (reports(7), Health.OK),
            (reports(7, leader=False), Health.WARNING),
            (reports(7, level="warning"), Health.WARNING),
            (reports(7, level="error"), Health.ERROR),
            (reports(8), Health.ERROR),
            ({"rbd-mirror": {"41": {"status": None}}}, Health.ERROR),
            ({"rbd-mirror": {}}, Health.ERROR),
        ],
    )
    def test_of_daemons(self, found: JsonObject, expected: Health) -> None:
        assert health.daemons_health(list(found["rbd-mirror"].values()), 7) is expected

    @pytest.mark.parametrize(
        ("counts", "images", "overall"),
        [
            ({}, "OK", "OK"),
            ({ImageState.REPLAYING: 3, ImageState.STOPPED: 1}, "OK", "OK"),
            ({ImageState.SYNCING: 1}, "WARNING", "WARNING"),
            ({ImageState.SYNCING: 1, ImageState.ERROR: 1}, "ERROR", "ERROR"),
        ],
    )
    def test_of_images(self, counts: dict[ImageState, int], images: str, overall: str) -> None:
        found = health.summary(Health.OK, counts)
        assert (found.image_health, found.health) == (images, overall)
        assert health.summary(Health.UNKNOWN, {}).health == "OK"
        assert found.image_states is not None
        assert found.image_states.error == counts.get(ImageState.ERROR, 0)


class TestStatus:
    def test_is_written_only_where_it_changed(self) -> None:
        observation = seen(
            scheduled=(Scheduled("replicapool/team-a/i", (DAILY,)),), summary=health.summary(Health.OK, {})
        )
        first = status.fields(CephBlockPoolStatus(), IMAGE, observation, "2027-01-15T08:00:00Z")
        shown = msgspec.structs.replace(CephBlockPoolStatus(), **first)
        assert shown.mirroring_info.mode == "image"
        (row,) = shown.snapshot_schedule_status.snapshot_schedules or ()
        assert (row.pool, row.namespace, row.image, row.items[0].start_time) == (
            "replicapool",
            "team-a",
            "i",
            "14:00:00-05:00",
        )
        later = status.fields(shown, IMAGE, observation, "2027-01-15T09:00:00Z")
        assert msgspec.structs.replace(shown, **later) == shown
        worse = replace(observation, summary=health.summary(Health.ERROR, {}))
        changed = status.fields(shown, IMAGE, worse, "2027-01-15T09:00:00Z")
        assert changed["mirroring_status"].last_changed == "2027-01-15T09:00:00Z"
        assert changed["mirroring_info"] == shown.mirroring_info
        assert status.fields(shown, IMAGE, MirrorObservation(), "x") == {}
        assert (
            msgspec.structs.replace(shown, **status.fields(shown, Wanted(), MirrorObservation(), "x"))
            == CephBlockPoolStatus()
        )


class World:
    """Two clusters, each with a CephBlockPool that is looked at until there is nothing left to do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.network: dict[str, Site] = {}
        self.sites = {name: Site(name, self.network) for name in "ab"}
        self.secrets: dict[str, dict[str, Secret]] = {name: {} for name in "ab"}
        mirrors.install(monkeypatch, self.network)

    async def look(self, site: str, mirroring: JsonObject) -> list[str]:
        """One look: what was done, in the order of the plan; what is left is said too."""
        ceph, secrets, found = self.sites[site], self.secrets[site], pool(replicated(mirroring=mirroring))
        cache = cast("Informer[Secret]", SimpleNamespace(get=lambda _, name: secrets.get(name)))
        rados, wanted = cast("RadosCluster", ceph), of_pool(found.spec)
        state = await observe.observe(rados, POOL, wanted)
        state = await observe.with_token(rados, state, cache, "rook-ceph", "replicapool", "p1")
        state = replace(state, sources=sources(cache, "rook-ceph", wanted.secrets))
        steps = [
            *analyze.steps(POOL, wanted, state),
            *analyze.token(wanted, state, "rook-ceph", "replicapool", key_type=""),
            *analyze.peers(POOL, wanted, state),
        ]
        outcome = await execute(Plan(steps=tuple(steps)), self._handlers(site, found, rados))
        return [f"{r.step.title}: {r.error or r.state}" for r in outcome.results]

    def _handlers(self, site: str, found: CephBlockPool, rados: RadosCluster) -> dict[type, Any]:
        secrets = self.secrets[site]

        async def get(_: object, __: str, name: str) -> JsonObject:
            return cast("JsonObject", msgspec.to_builtins(secrets[name]))

        async def apply(obj: JsonObject, **_: Any) -> None:
            name = obj["metadata"]["name"]
            secrets[name] = msgspec.convert(
                {**obj, "metadata": {**obj["metadata"], "uid": "s1"}}, type(a_secret("", {}))
            )

        async def delete(action: Any) -> None:
            secrets.pop(action.name)

        owner = Owner.of(CEPH_BLOCK_POOL, found.metadata)
        client, applier = cast("Client", SimpleNamespace(get=get)), cast("Applier", SimpleNamespace(apply=apply))
        ways = {**act.handlers(rados), **act.peer_handlers(owner, client, applier, rados)}
        return {**ways, Delete: delete}

    async def settle(self, site: str, mirroring: JsonObject) -> None:
        for _ in range(4):
            if not await self.look(site, mirroring):
                return
        raise AssertionError(f"{site} does not come to rest")

    def hand_over(self, site: str) -> None:
        """The token of the other site gets here."""
        other = "b" if site == "a" else "a"
        token = self.secrets[other]["pool-peer-token-replicapool"].data["token"].decode()
        self.secrets[site]["peer"] = a_secret("peer", {"token": token, "pool": "replicapool"})


ON = {"enabled": True, "mode": "image"}
WITH_PEER = {**ON, "peers": {"secretNames": ["peer"]}, "snapshotSchedules": [{"interval": "1h"}]}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


class TestTwoClusters:
    async def test_from_the_first_token_to_the_end(self, world: World) -> None:
        a, b = world.sites["a"], world.sites["b"]
        await world.settle("a", ON)
        await world.settle("b", ON)
        for site in "ab":
            world.hand_over(site)
        await world.settle("b", WITH_PEER)
        await world.settle("a", WITH_PEER)
        await world.settle("b", WITH_PEER)
        assert (a.place().peers[0]["site_name"], b.place().peers[0]["site_name"]) == (b.fsid, a.fsid)
        assert a.schedules["replicapool/"] == [{"interval": "1h", "start_time": None}]

        written = len(a.commands)
        assert await world.look("a", WITH_PEER) == []
        assert len(a.commands) == written, "a look at rest writes nothing"

        a.place().images.append("csi-vol-1")
        assert await world.look("a", {"enabled": False}) == ["Wait: Waiting", "Delete: Done"]
        a.place().images.clear()
        await world.settle("a", {"enabled": False})
        assert (a.place().mode, a.place().peers, a.keys) == (0, [], {})
        assert a.schedules["replicapool/"] == []
        assert set(world.secrets["a"]) == {"peer"}

    async def test_mons_that_moved_are_told_of_once(self, world: World) -> None:
        b = world.sites["b"]
        await world.settle("a", ON)
        await world.settle("b", ON)
        world.hand_over("b")
        await world.settle("b", WITH_PEER)
        old, world.sites["a"].host = world.sites["a"].host, "[v2:10.0.0.200:3300]"
        world.network[world.sites["a"].host] = world.network.pop(old)
        assert "WriteToken: Done" in await world.look("a", ON)
        world.hand_over("b")
        await world.settle("b", WITH_PEER)
        assert b.place().attributes["uuid-5f6a"]["mon_host"] == "[v2:10.0.0.200:3300]"

    @pytest.mark.parametrize(
        ("case", "error"),
        [
            ("own", "the token is of this cluster itself"),
            ("away", "does not let client.rbd-mirror-peer in, or does not answer"),
            ("no pool", "has no pool replicapool"),
            ("not mirrored", "does not mirror its pool replicapool"),
            ("moved", "answers at"),
        ],
    )
    async def test_what_is_wrong_with_a_token_is_said(self, world: World, case: str, error: str) -> None:
        a = world.sites["a"]
        await world.settle("a", ON)
        await world.settle("b", ON)
        world.hand_over("b")
        match case:
            case "own":
                world.secrets["b"]["peer"] = world.secrets["b"]["pool-peer-token-replicapool"]
            case "away":
                a.down = True
            case "no pool":
                del a.pools["replicapool"]
            case "not mirrored":
                a.place().mode = 0
            case "moved":
                a.fsid = "0" * 8
        (told,) = [line for line in await world.look("b", WITH_PEER) if line.startswith("ImportPeer")]
        assert error in told
        assert "key-1" not in told

    async def test_an_operator_that_died_before_its_note_begins_again(self, world: World) -> None:
        await world.settle("a", {**ON, "snapshotSchedules": [{"interval": "1h"}]})
        a = world.sites["a"]
        a.keys = {key: value for key, value in a.keys.items() if "schedules" not in key}
        await world.settle("a", {**ON, "snapshotSchedules": [{"interval": "1h"}]})
        await world.settle("a", ON)
        assert a.schedules["replicapool/"] == []

    async def test_a_mgr_that_does_not_answer_hides_only_what_it_knows(self, world: World) -> None:
        await world.settle("a", ON)
        a = world.sites["a"]
        a.mgr_down = True
        found = await observe.observe(cast("RadosCluster", a), POOL, IMAGE)
        assert (found.scheduled, found.details) == (None, "no mgr answers (ETIMEDOUT)")
        found = await observe.with_health(cast("RadosCluster", a), found, 7)
        assert found.summary is None
        a.mgr_down, a.services, a.reports = False, DAEMONS, reports(7)
        found = await observe.with_health(cast("RadosCluster", a), found, 7)
        assert found.summary is not None
        assert found.summary.health == "OK"


class TestOneCluster:
    @pytest.fixture
    def site(self, monkeypatch: pytest.MonkeyPatch) -> Site:
        network: dict[str, Site] = {}
        mirrors.install(monkeypatch, network)
        found = Site("a", network, release=20)
        found.pools["replicapool"]["team-a"] = mirrors.Place()
        return found

    async def do(self, site: Site, action: object) -> None:
        await act.handlers(cast("RadosCluster", site))[type(action)](action)

    async def test_mode_of_which_librbd_does_not_know(self, site: Site) -> None:
        site.place().images.append("i")
        with pytest.raises(CephError, match="replicapool has images that are mirrored"):
            await self.do(site, SetMode(POOL, Mode.INIT_ONLY))
        site.place().images.clear()
        await self.do(site, SetMode(POOL, Mode.INIT_ONLY))
        found = await observe.observe(cast("RadosCluster", site), POOL, Wanted(mode=Mode.INIT_ONLY))
        assert found.state is not None
        assert found.state.mode is Mode.INIT_ONLY

    async def test_namespace_of_another_name(self, site: Site) -> None:
        await self.do(site, SetMode(PART, Mode.IMAGE))
        await self.do(site, SetRemoteNamespace(PART, "team-b"))
        found = await observe.observe(cast("RadosCluster", site), PART, IMAGE)
        assert found.state is not None
        assert (found.state.remote_namespace, found.state.pool_mode) == ("team-b", Mode.DISABLED)
        site.release = 18
        found = await observe.observe(cast("RadosCluster", site), PART, IMAGE)
        assert found.state is not None
        assert found.state.remote_namespace is None

    async def test_an_image_that_is_mirrored_by_then_keeps_the_mirroring(self, site: Site) -> None:
        await self.do(site, SetMode(POOL, Mode.IMAGE))
        site.place().images.append("i")
        with pytest.raises(CephError, match="replicapool has images that are mirrored by now"):
            await self.do(site, EndMirroring(POOL))
        site.place().images.clear()
        site.place().peers.append({"uuid": "u", "site_name": "b"})
        with pytest.raises(CephError, match="replicapool has peers by now"):
            await self.do(site, EndMirroring(POOL))
        assert site.keys, "what is ours is not forgotten"
