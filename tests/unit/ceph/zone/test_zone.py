"""Zones: plans by table, who becomes master and by which consent, deletion, and the status."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import msgspec
import pytest

from controller.apis.ceph import CEPH_OBJECT_ZONE
from controller.apis.ceph.object_multisite_status import SyncStatus
from controller.ceph.crush import Rule
from controller.ceph.multisite.ground import Ground
from controller.ceph.multisite.keys import Keys
from controller.ceph.multisite.sync import BEHIND, CAUGHT_UP, MASTER, UNKNOWN, Replication
from controller.ceph.multisite.work import PROMOTE, REMOVE_ZONE, ZONE, work_of
from controller.ceph.pools.act import DeletePool
from controller.ceph.pools.observe import PoolObservation, PoolState
from controller.ceph.rgw.budget import Budget
from controller.ceph.zone.act import Promote, RemovePools, handlers
from controller.ceph.zone.analyze import analyze, kept
from controller.ceph.zone.observe import ZoneObservation
from controller.ceph.zone.spec import (
    LOSS_ANNOTATION,
    PROMOTE_ANNOTATION,
    endpoints_of,
    place_of,
    pools_of,
    problems,
    unserved,
    wanted,
)
from controller.ceph.zone.status import show
from controller.framework.consent import NoConsentError
from controller.framework.jobs import Attempt, Phase, RunJob
from controller.framework.kind import Look
from controller.framework.owned import Owned
from controller.framework.plan import APPLY, preview
from tests.unit.ceph.answers import FakeCeph
from tests.unit.ceph.multisite.scene import DELETED, a_ground, a_period, a_run, a_store, a_zone, told

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectZone
    from controller.framework.jobs import Run
    from informers import Client, JsonObject

SERVICE = ("http://rook-ceph-rgw-s.rook-ceph.svc:80",)
STORES = (a_store(),)
RULE = Rule("default", "host", "")
IN_SYNC = Replication(metadata=SyncStatus(source="a", state=CAUGHT_UP))
CODED = {"erasureCoded": {"dataChunks": 2, "codingChunks": 1}}
CONSENT = {PROMOTE_ANNOTATION: "a@2"}


def pools(zone: CephObjectZone, *missing: str) -> dict[str, PoolObservation]:
    """The zone's pools as they should be, but for those that are missing."""
    found = {}
    for pool in pools_of(zone):
        values = {"size": 3, "pg_num": 8, "pg_num_min": 8}
        state = PoolState(pool_id=1, rule=pool.name, applications=frozenset({"rgw"}), values=values)
        present = state if pool.name not in missing and "all" not in missing else None
        owned = {} if pool.path == "dataPool" else {"pg_num": Owned("8", ""), "pg_num_min": Owned("8", "8")}
        found[pool.name] = PoolObservation(state=present, rules={pool.name: RULE}, owned=owned)
    return found


def seen(zone: CephObjectZone | None = None, run: Run | None = None, **fields: Any) -> ZoneObservation:
    """A zone that can be made, or `run` has made."""
    names = ("exists", "waits_for_cluster", "live", "context")
    ground = {name: fields.pop(name) for name in names if name in fields}
    whole: dict[str, Any] = {
        "ground": a_ground(CEPH_OBJECT_ZONE, "b", run=run, **ground),
        "realm": "r",
        "keys": Keys(present=True, version="7"),
        "stores": STORES,
        "pools": pools(zone or a_zone()),
    }
    return ZoneObservation(**whole | fields)


def work(zone: CephObjectZone, what: str = ZONE, endpoints: tuple[str, ...] = SERVICE, **more: Any) -> Any:
    context = seen().ground.context
    assert context is not None
    given = wanted(zone, endpoints, "7") if what == ZONE else more.pop("given", {})
    credentials = "" if what == PROMOTE else "r-keys"
    return work_of(context, what, place_of(zone, "r"), given, credentials=credentials, **more)


def done(zone: CephObjectZone, **more: Any) -> Run:
    return a_run(work(zone), **more)


def plan(zone: CephObjectZone, found: ZoneObservation) -> list[str]:
    return told(analyze(zone, found, "rook:1"))


class TestPlan:
    def test_pools_come_first(self) -> None:
        zone = a_zone()
        missing = plan(zone, seen(pools=pools(zone, "all"), exists=False, budget=Budget(osds=3)))
        names = [pool.name for pool in pools_of(zone)]
        assert names[:2] == [".rgw.root", "b.rgw.control"]
        assert names[-1] == "b.rgw.buckets.data"
        assert missing.count("CreatePool") == len(names) == 8
        assert missing[-1] == f"its pools: {', '.join(names)}"

    def test_then_it_is_made_in_its_zone_group(self) -> None:
        (action,) = (step.action for step in analyze(a_zone(), seen(exists=False), "rook:1").steps)
        assert isinstance(action, RunJob)
        spec = action.job["spec"]["template"]["spec"]
        assert spec["containers"][0]["command"][-1] == "zone"
        assert {"name": "credentials", "secret": {"secretName": "r-keys"}} in spec["volumes"]

    def test_at_rest_nothing_is_done(self) -> None:
        zone = a_zone()
        assert plan(zone, seen(zone, done(zone), period=a_period(), replication=IN_SYNC)) == []

    def test_a_shared_root_pool_is_left_alone(self) -> None:
        zone = a_zone()
        found = pools(zone)
        state = PoolState(pool_id=9, rule="other", values={"size": 2})
        found[".rgw.root"] = replace(found[".rgw.root"], state=state)
        assert plan(zone, seen(zone, done(zone), pools=found)) == []
        assert kept(zone, seen(zone, pools=found)) == ()

    def test_a_pool_of_somebody_else_is_not_taken(self) -> None:
        zone, found = a_zone(), pools(a_zone())
        state = found["b.rgw.log"].state
        assert state is not None
        found["b.rgw.log"] = replace(found["b.rgw.log"], state=replace(state, applications=frozenset({"rbd"})))
        assert "the CephObjectZone to get another name" in plan(zone, seen(zone, done(zone), pools=found))

    def test_no_pool_is_made_where_not_all_fit(self) -> None:
        full = Budget(osds=1, present=740)
        (step,) = analyze(a_zone(), seen(pools=pools(a_zone(), "all"), budget=full, exists=False), "rook:1").steps
        assert step.waits_for.startswith("room for them: ")
        assert "mon_max_pg_per_osd is 250" in step.waits_for

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"ground": Ground(waits_for="a CephCluster")}, "a CephCluster"),
            ({"waits_for": "CephObjectZoneGroup zg to be ready"}, "CephObjectZoneGroup zg to be ready"),
            ({"keys": Keys()}, "Secret r-keys with the keys"),
            ({"keys": Keys(present=True, missing="access-key")}, "Secret r-keys with access-key"),
            ({"missing": ("meta-pool",)}, "pool meta-pool to be made"),
        ],
    )
    def test_what_it_waits_for(self, fields: dict[str, Any], expected: str) -> None:
        assert plan(a_zone(), seen(**fields)) == [expected]

    def test_what_says_where_data_goes_and_is_not_served_holds_it_up(self) -> None:
        zone = a_zone({"dataPool": {"replicated": {"size": 3, "subFailureDomain": "rack"}}})
        (step,) = analyze(zone, seen(zone, exists=False), "rook:1").steps
        assert "dataPool.replicated.subFailureDomain" in step.reason

    def test_shared_pools_are_placed_in_the_zone(self) -> None:
        zone = a_zone({"sharedPools": {"metadataPoolName": "m", "dataPoolName": "d"}})
        given = wanted(zone, SERVICE, "7")
        assert (given["sharedPool"], pools_of(zone), unserved({"sharedPools": {"dataPoolName": "d"}})) == ("m", (), ())
        assert given["placements"]["default-placement"]["index_pool"] == "m:b.buckets.index"
        assert plan(zone, seen(zone, exists=False, pools={})) == ["RunJob"]

    @pytest.mark.parametrize(
        ("spec", "stores", "expected"),
        [
            ({}, STORES, SERVICE),
            ({}, (), ()),
            ({"customEndpoints": ["http://b.example.com"]}, STORES, ("http://b.example.com",)),
            ({}, (a_store("t"), a_store("s")), (*SERVICE, "http://rook-ceph-rgw-t.rook-ceph.svc:80")),
            ({}, (a_store("t", disableMultisiteSyncTraffic=True), a_store("s")), SERVICE),
            ({}, (a_store("s", disableMultisiteSyncTraffic=True),), SERVICE),
        ],
        ids=["service", "no store", "custom", "two stores", "one takes no part", "none takes part"],
    )
    def test_endpoints(self, spec: JsonObject, stores: Any, expected: tuple[str, ...]) -> None:
        assert endpoints_of(a_zone(spec), stores) == expected

    def test_another_endpoint_or_other_keys_are_other_work(self) -> None:
        zone = a_zone()
        assert plan(zone, seen(zone, done(zone), stores=(a_store("t"),))) == ["RunJob"]
        assert plan(zone, seen(zone, done(zone), keys=Keys(present=True, version="8"))) == ["RunJob"]

    @pytest.mark.parametrize(
        ("period", "ended", "expected"),
        [
            (a_period(b=("http://x:80",)), "2027-01-01T00:00:00Z", ["RunJob"]),
            (a_period(), "2027-01-01T00:00:00Z", []),
            (None, "2027-01-01T00:00:00Z", []),
            # 30 seconds ago: its gateways may not have heard of it.
            (a_period(b=("http://x:80",)), "2027-01-15T07:59:30Z", []),
        ],
    )
    def test_what_somebody_else_changed_is_put_back(self, period: Any, ended: str, expected: list[str]) -> None:
        zone = a_zone()
        assert plan(zone, seen(zone, done(zone, ended=ended), period=period)) == expected

    def test_what_is_gone_is_made_again(self) -> None:
        zone = a_zone()
        assert plan(zone, seen(zone, done(zone), exists=False)) == ["RunJob"]

    @pytest.mark.parametrize(
        ("spec", "annotations", "expected"),
        [
            ({"zoneGroup": ""}, {}, "zoneGroup is empty"),
            ({"customEndpoints": ["b:80"]}, {}, "customEndpoints[0] is 'b:80': expected a URL"),
            ({"customEndpoints": ["http://a,http://b"]}, {}, "customEndpoints[0] is 'http://a,http://b'"),
            (
                {"metadataPool": {"erasureCoded": {"dataChunks": 2, "codingChunks": 1}}},
                {},
                "spec.metadataPool has erasure",
            ),
            ({"dataPool": {}}, {}, "spec.dataPool: spec has neither"),
            ({}, {PROMOTE_ANNOTATION: "a"}, f"annotation {PROMOTE_ANNOTATION} is 'a': expected status.master.term"),
        ],
    )
    def test_a_spec_that_cannot_be(self, spec: JsonObject, annotations: dict[str, str], expected: str) -> None:
        (problem,) = problems(a_zone(spec, annotations=annotations))
        assert problem.startswith(expected)


class TestMaster:
    def steps(self, annotations: dict[str, str], **fields: Any) -> Any:
        zone = a_zone(annotations=annotations)
        return analyze(
            zone, seen(zone, done(zone), **{"period": a_period(), "replication": IN_SYNC} | fields), "rook:1"
        ).steps

    def test_one_that_has_all_takes_over(self) -> None:
        (step,) = self.steps(CONSENT)
        assert (step.consent, step.action.over, step.action.lossy) == ("", "a@2", False)
        assert step.action.job["metadata"]["name"] == "rook-ceph-object-zone-b-promote"

    @pytest.mark.parametrize(
        ("annotations", "period"),
        [
            ({}, a_period()),
            (CONSENT, a_period("b", 3)),
            (CONSENT, a_period("a", 4)),
            (CONSENT, a_period("c", 3, c=())),
        ],
        ids=["not asked", "it is the master", "of an earlier term of the same", "of an earlier term of another"],
    )
    def test_what_is_past_has_no_effect(self, annotations: dict[str, str], period: Any) -> None:
        assert self.steps(annotations, period=period) == ()

    @pytest.mark.parametrize("over", ["c@2", "a@3"])
    def test_what_never_was_is_named(self, over: str) -> None:
        (step,) = self.steps({PROMOTE_ANNOTATION: over})
        assert step.waits_for == f"annotation {PROMOTE_ANNOTATION} to be a@2, or to be taken away"

    def test_who_is_master_has_to_be_known(self) -> None:
        (step,) = self.steps(CONSENT, period=None)
        assert step.waits_for == "a gateway of the zone to tell who is master"

    @pytest.mark.parametrize(
        ("metadata", "expected"),
        [
            (
                SyncStatus(source="a", state=BEHIND, behind_shards=2, oldest="2026-11-30T18:00:41Z"),
                "Behind, 2 parts of its log are ahead, of 2026-11-30T18:00:41Z and later",
            ),
            (SyncStatus(source="a", state=UNKNOWN, message="Unreachable"), "nobody can tell which (Unreachable)"),
        ],
    )
    def test_what_is_lost_needs_another_word(self, metadata: SyncStatus, expected: str) -> None:
        replication = Replication(metadata=metadata)
        (step,) = self.steps(CONSENT, replication=replication)
        assert step.consent == f'annotation {LOSS_ANNOTATION}: "a@2"'
        assert "changes of users and buckets that were made in zone a and have not come here are lost" in step.reason
        assert expected in step.reason

        (step,) = self.steps({**CONSENT, LOSS_ANNOTATION: "a@2"}, replication=replication)
        assert (step.consent, step.action.lossy) == ("", True)
        (step,) = self.steps({**CONSENT, LOSS_ANNOTATION: "a@1"}, replication=replication)
        assert step.consent

    def test_its_job_is_waited_for_and_then_its_gateways(self) -> None:
        given = {"over": "a@2", "lossy": False, "endpoints": list(SERVICE)}
        own = work(a_zone(), PROMOTE, given=given, act=PROMOTE)
        (step,) = self.steps(CONSENT, promoting=a_run(own, Phase.RUNNING))
        assert step.waits_for == "Job rook-ceph-object-zone-b-promote to end"
        (step,) = self.steps(CONSENT, promoting=a_run(own))
        assert step.waits_for == "the gateways of the zone to go by it"

    @pytest.mark.parametrize(
        ("fresh", "state", "lossy", "refusal"),
        [
            (CONSENT, CAUGHT_UP, False, ""),
            (CONSENT, BEHIND, False, "it lacks changes of a by now"),
            ({}, CAUGHT_UP, False, "rook.io/promote-over is not a@2 by now"),
            ({PROMOTE_ANNOTATION: "a@3"}, CAUGHT_UP, False, "rook.io/promote-over is not a@2 by now"),
            (CONSENT, UNKNOWN, True, "rook.io/accept-metadata-loss is not a@2 by now"),
            ({**CONSENT, LOSS_ANNOTATION: "a@2"}, UNKNOWN, True, ""),
        ],
    )
    async def test_consent_is_asked_again_at_the_act(
        self, fresh: dict[str, str], state: str, lossy: bool, refusal: str
    ) -> None:
        client = an_api(fresh)
        in_sync = AsyncMock(return_value=SyncStatus(source="a", state=state))
        act = handlers(a_zone(), cast("Client", client), FakeCeph(), in_sync, AsyncMock())[Promote]
        job = {"metadata": {"namespace": "rook-ceph", "name": "j"}}
        action = Promote("a@2", lossy, job, Attempt())
        if refusal:
            with pytest.raises(NoConsentError, match=refusal):
                await act(action)
            client.create.assert_not_awaited()
        else:
            await act(action)
            client.create.assert_awaited_once()


def an_api(annotations: dict[str, str], spec: JsonObject | None = None, **meta: Any) -> Any:
    found = {"metadata": {"uid": "uid-b", "name": "b", "annotations": annotations, **meta}, "spec": spec or {}}
    return SimpleNamespace(get=AsyncMock(return_value=found), create=AsyncMock(), delete=AsyncMock())


class TestDeletion:
    def plan(
        self, spec: JsonObject | None = None, *, forced: bool = False, run: Run | None = None, **fields: Any
    ) -> Any:
        annotations = {"rook.io/force-deletion": "true"} if forced else {}
        zone = a_zone(spec, deleting=True, annotations=annotations)
        return plan(zone, seen(zone, run, **fields))

    def test_stores_hold_it_back(self) -> None:
        assert self.plan(users=("CephObjectStore s",)) == ["CephObjectStore s to be deleted"]

    def test_pools_stay_where_nothing_else_is_said(self) -> None:
        going = a_zone(deleting=True)
        assert self.plan(contents=("bucket b",)) == ["RunJob"]
        assert self.plan(contents=("bucket b",), exists=False) == ["RemoveUser", "LetGo"]
        assert self.plan(run=a_run(work(going, REMOVE_ZONE))) == ["RemoveUser", "LetGo"]

    def test_pools_go_after_the_zone_and_with_consent_where_something_is_in_them(self) -> None:
        spec = {"preservePoolsOnDelete": False}
        consent = 'annotation rook.io/force-deletion: "true", which destroys all that is in it'
        assert self.plan(spec) == ["RunJob"]
        assert self.plan(spec, exists=False) == ["RemovePools", "RemoveUser", "LetGo"]
        assert self.plan(spec, contents=("bucket b",)) == [consent]
        assert self.plan(spec, contents=("bucket b",), exists=False) == [consent]
        assert self.plan(spec, contents=("bucket b",), forced=True) == ["RunJob"]
        assert self.plan(spec, contents=("bucket b",), forced=True, exists=False)[0] == "RemovePools"

    def test_only_its_own_pools_go(self) -> None:
        zone = a_zone({"preservePoolsOnDelete": False}, deleting=True)
        found = pools(zone)
        state = found["b.rgw.log"].state
        assert state is not None
        found["b.rgw.log"] = replace(found["b.rgw.log"], state=replace(state, applications=frozenset({"rgw", "x"})))
        steps = analyze(zone, seen(zone, pools=found, exists=False), "rook:1").steps
        assert isinstance(steps[0].action, RemovePools)
        names = [pool.pool for pool in steps[0].action.pools]
        assert ".rgw.root" not in names
        assert "b.rgw.log" not in names
        assert len(names) == 6

    def test_without_a_cluster_it_is_let_go(self) -> None:
        assert self.plan(ground=Ground(cluster_gone=True)) == ["LetGo"]

    @pytest.mark.parametrize(
        ("meta", "spec", "contents", "forced", "refusal"),
        [
            ({"deletionTimestamp": DELETED}, {"preservePoolsOnDelete": False}, (), False, ""),
            ({}, {"preservePoolsOnDelete": False}, (), False, "is not being deleted"),
            ({"deletionTimestamp": DELETED}, {}, (), False, "preservePoolsOnDelete is set by now"),
            ({"deletionTimestamp": DELETED}, {"preservePoolsOnDelete": False}, ("bucket x",), False, "has bucket x"),
            ({"deletionTimestamp": DELETED}, {"preservePoolsOnDelete": False}, (), True, "consent to delete it"),
        ],
    )
    async def test_consent_is_asked_again_at_the_act(
        self, meta: JsonObject, spec: JsonObject, contents: tuple[str, ...], forced: bool, refusal: str
    ) -> None:
        ceph = FakeCeph({"config-key dump": {}})
        client = cast("Client", an_api({}, spec, **meta))
        act = handlers(a_zone(deleting=True), client, ceph, AsyncMock(), AsyncMock(return_value=contents))[RemovePools]
        action = RemovePools((DeletePool("b.rgw.log", rule="b.rgw.log", profile=""),), forced=forced)
        if refusal:
            with pytest.raises(NoConsentError, match=refusal):
                await act(action)
            assert ceph.asked == []
        else:
            await act(action)
            assert ceph.asked[0][0] == "osd pool delete"


class TestStatus:
    def shown(self, zone: CephObjectZone, found: ZoneObservation) -> Any:
        outcome = preview(analyze(zone, found, "rook:1"))
        return show(Look(obj=zone, spec={}, mode=APPLY, now=0.0), found, outcome)

    def sync(self, replication: Replication | None) -> Any:
        zone = a_zone()
        found = seen(zone, done(zone), period=a_period(), replication=replication)
        return next((c for c in self.shown(zone, found).conditions if c.type == "InSync"), None)

    def test_tells_who_is_master(self) -> None:
        zone = a_zone()
        made = self.shown(zone, seen(zone, done(zone, result='{"id": "z-1", "master": "a", "epoch": 2}')))
        assert (made.phase, made.id, made.master.term, made.endpoints) == ("Ready", "z-1", "a@2", SERVICE)
        later = msgspec.structs.replace(zone, status=made)
        found = seen(zone, done(zone), period=a_period("b", 3), replication=IN_SYNC)
        assert self.shown(later, found).master.term == "b@3"
        assert self.shown(later, seen(zone, done(zone))).master.term == "a@2"

    @pytest.mark.parametrize(
        ("metadata", "data", "expected"),
        [
            (CAUGHT_UP, CAUGHT_UP, ("True", "CaughtUp", "the zone has all that the others have")),
            (MASTER, CAUGHT_UP, ("True", "CaughtUp", "the zone has all that the others have")),
            (BEHIND, CAUGHT_UP, ("False", "Behind", "users and buckets of a: Behind")),
            (CAUGHT_UP, BEHIND, ("False", "Behind", "objects of a: Behind")),
            (MASTER, UNKNOWN, ("Unknown", "NotAnswered", "objects of a: down")),
            (BEHIND, UNKNOWN, ("False", "Behind", "users and buckets of a: Behind; objects of a: down")),
        ],
    )
    def test_whether_it_is_in_sync(self, metadata: str, data: str, expected: tuple[str, ...]) -> None:
        def of(state: str) -> SyncStatus:
            return SyncStatus(source="a", state=state, message="down" if state == UNKNOWN else "")

        found = self.sync(Replication(metadata=of(metadata), data=(of(data),)))
        assert (found.status, found.reason, found.message) == expected

    def test_one_that_is_alone_is_in_sync_with_nobody(self) -> None:
        assert self.sync(Replication(metadata=SyncStatus(state=MASTER))) is None
        assert self.sync(None) is None

    def test_another_master_is_told_of(self) -> None:
        found = self.sync(Replication(newer="b@5", newer_at="http://b:80"))
        assert (found.status, found.reason) == ("False", "OtherMaster")
        assert found.message == (
            "b@5 is the realm's master by what http://b:80 says, and this cluster goes by an earlier one: "
            "have the CephObjectRealm here pull from there"
        )
