"""What is planned for an object store, by table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from controller.ceph.access.config import ConfigState, SetConfig, UnsetConfig
from controller.ceph.access.users import CreateKeyring
from controller.ceph.objectstore.act import CreateAdminKeys, RemoveUser, StopGateway
from controller.ceph.objectstore.analyze import analyze, kept
from controller.ceph.objectstore.health import Checked
from controller.ceph.objectstore.observe import StoreObservation
from controller.ceph.pools.act import CreatePool, SetValue
from controller.ceph.rgw.budget import Budget
from controller.ceph.rgw.names import Place
from controller.framework.children import Apply, Delete
from controller.framework.jobs import Phase, Run, RunJob
from controller.framework.plan import AT_REST, WHILE_WAITING
from tests.unit.ceph import objectstores as stores
from tests.unit.ceph.objectstores import NEWER, a_context, a_job, a_store, gateway, pool_states, running

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStore
    from controller.framework.plan import Step

POOLS = (
    ".rgw.root",
    "s.rgw.control",
    "s.rgw.meta",
    "s.rgw.log",
    "s.rgw.buckets.index",
    "s.rgw.buckets.non-ec",
    "s.rgw.otp",
    "s.rgw.buckets.data",
)


def acts(steps: tuple[Step, ...], *kinds: type) -> list[object]:
    """The actions of these types that may be carried out now."""
    return [step.action for step in steps if step.held_by is None and isinstance(step.action, kinds)]


def waits(steps: tuple[Step, ...]) -> list[str]:
    return [f"{step.subject}: {step.waits_for}" for step in steps if step.waits_for]


def gateways_applied(steps: tuple[Step, ...]) -> list[str]:
    found = acts(steps, Apply)
    names = [action.obj["metadata"]["name"] for action in found if isinstance(action, Apply)]
    return [name for name, action in zip(names, found, strict=True) if action.obj["kind"] == "Deployment"]  # type: ignore[attr-defined]


def without_pools(store: CephObjectStore) -> StoreObservation:
    """A store of which nothing is there, in a cluster with room for it."""
    return StoreObservation(
        context=a_context(store),
        image="rook:1",
        place=running(store).place,
        pools=pool_states(store, *POOLS),
        budget=Budget(osds=3),
    )


class TestCreation:
    def test_nothing_is_to_be_done_where_all_is_there(self) -> None:
        plan = analyze(a_store(), running(a_store()))

        assert (plan.steps, plan.look_again) == ((), AT_REST)

    def test_it_waits_for_its_cluster(self) -> None:
        plan = analyze(a_store(), StoreObservation(waits_for="CephCluster c to answer"))

        assert waits(plan.steps) == ["object store s: CephCluster c to answer"]
        assert plan.look_again == WHILE_WAITING

    def test_pools_come_first_and_then_keys_and_no_zone_yet(self) -> None:
        store = a_store()
        steps = analyze(store, without_pools(store)).steps

        pools = [action for action in acts(steps, CreatePool) if isinstance(action, CreatePool)]
        assert tuple(action.pool for action in pools) == POOLS
        assert {action.pg_num for action in pools[:-1]} == {"8"}
        assert pools[-1].pg_num == ""
        assert acts(steps, CreateAdminKeys) == [CreateAdminKeys("rgw-admin-ops-user-s")]
        assert len(acts(steps, CreateKeyring)) == 2
        assert acts(steps, RunJob) == []
        assert gateways_applied(steps) == []

    @pytest.mark.parametrize(("asked", "number"), [({}, "8"), ({"pg_num": "4"}, "4"), ({"pg_num_min": "16"}, "16")])
    def test_the_autoscaler_leaves_pools_for_metadata_small(self, asked: dict[str, str], number: str) -> None:
        store = a_store({"metadataPool": {"replicated": {"size": 3}, "parameters": asked}})
        values = [
            action
            for action in acts(analyze(store, without_pools(store)).steps, SetValue)
            if isinstance(action, SetValue)
        ]

        assert {action.value for action in values if action.name == "pg_num_min"} == {number}
        assert {action.pool for action in values if action.name == "pg_num_min"} == set(POOLS[:-1])

    def test_a_zone_is_made_once_pools_and_keys_are_there(self) -> None:
        store = a_store()
        seen = running(store, setup=Run(), deployments={}, config=ConfigState())

        (action,) = acts(analyze(store, seen).steps, RunJob)
        assert isinstance(action, RunJob)
        assert action.job["metadata"]["name"] == "rook-ceph-rgw-s-setup"
        assert gateways_applied(analyze(store, seen).steps) == []

    def test_no_gateway_before_the_zone_is_there(self) -> None:
        store = a_store()
        seen = running(store, deployments={}, setup=a_job(store, a_context(store), phase=Phase.RUNNING))
        seen = replace(seen, live={key: obj for key, obj in seen.live.items() if key[0] != "Deployment"})
        steps = analyze(store, seen).steps
        assert (gateways_applied(steps), acts(steps, SetConfig)) == ([], [])

        steps = analyze(store, replace(seen, setup=a_job(store, a_context(store)))).steps
        assert gateways_applied(steps) == ["rook-ceph-rgw-s-a", "rook-ceph-rgw-s-b"]

    def test_no_pool_where_not_all_fit(self) -> None:
        store = a_store()
        few = Budget(per_osd=60, osds=3, present=10)
        seen = running(store, pools=pool_states(store, *POOLS), budget=few)
        steps = analyze(store, seen).steps

        assert acts(steps, CreatePool) == []
        assert "264 placement groups more" in waits(steps)[0]
        assert "the 180 that 3 OSDs may have (mon_max_pg_per_osd is 60)" in waits(steps)[0]
        assert acts(analyze(store, replace(seen, budget=replace(few, per_osd=100))).steps, CreatePool) != []

    def test_a_pool_that_another_store_made_is_left_as_it_is(self) -> None:
        store = a_store({"metadataPool": {"replicated": {"size": 2}}})
        pools = pool_states(a_store())
        own = {name: pool for name, pool in pool_states(store).items() if name != ".rgw.root"}
        steps = analyze(store, running(store, pools={".rgw.root": pools[".rgw.root"], **own})).steps

        assert not [step for step in steps if ".rgw.root" in step.subject]

    def test_a_pool_of_strangers_is_not_taken(self) -> None:
        store = a_store()
        pools = pool_states(store)
        state = pools["s.rgw.meta"].state
        assert state is not None
        pools["s.rgw.meta"] = replace(pools["s.rgw.meta"], state=replace(state, applications=frozenset({"rbd"})))

        assert "pool s.rgw.meta: it to be renamed, or the store to get another name" in waits(
            analyze(store, running(store, pools=pools)).steps
        )

    @pytest.mark.parametrize(
        "spec",
        [
            {"security": {"kms": {"connectionDetails": {"KMS_PROVIDER": "vault"}}}},
            {"auth": {"keystone": {"url": "u", "acceptedRoles": ["a"], "serviceUserSecretName": "k"}}},
            gateway(externalRgwEndpoints=[{"ip": "192.0.2.1"}]),
        ],
    )
    def test_what_is_not_served_and_matters_is_waited_for(self, spec: dict[str, object]) -> None:
        assert any(
            "to be taken out of the spec" in line for line in waits(analyze(a_store(spec), running(a_store())).steps)
        )


class TestGateways:
    def test_more_are_made_at_once_with_their_keys_and_settings(self) -> None:
        two, four = a_store(), a_store(gateway(instances=4))
        seen = running(four, made_for=two, config=stores.configured(two))
        steps = analyze(four, seen).steps

        assert gateways_applied(steps) == ["rook-ceph-rgw-s-c", "rook-ceph-rgw-s-d"]
        assert {action.entity for action in acts(steps, CreateKeyring) if isinstance(action, CreateKeyring)} == {
            "client.rgw.s.c",
            "client.rgw.s.d",
        }
        assert {action.who for action in acts(steps, SetConfig) if isinstance(action, SetConfig)} == {
            "client.rgw.s.c",
            "client.rgw.s.d",
        }

    def test_surplus_goes_while_the_others_serve_and_its_keys_last(self) -> None:
        three, one = a_store(gateway(instances=3)), a_store(gateway(instances=1))
        seen = running(one, made_for=three, config=stores.configured(three))
        steps = analyze(one, seen).steps
        assert [action.gateway for action in acts(steps, StopGateway) if isinstance(action, StopGateway)] == [
            "s-b",
            "s-c",
        ]
        assert acts(steps, RemoveUser) == []
        assert {action.who for action in acts(steps, UnsetConfig) if isinstance(action, UnsetConfig)} == {
            "client.rgw.s.b",
            "client.rgw.s.c",
        }

        gone = replace(seen, deployments={"s-a": seen.deployments["s-a"]})
        steps = analyze(one, gone).steps
        assert acts(steps, RemoveUser) == [RemoveUser("client.rgw.s.b"), RemoveUser("client.rgw.s.c")]
        assert len(acts(steps, Delete)) == 2

    def test_surplus_stays_while_those_that_stay_do_not_serve(self) -> None:
        three, one = a_store(gateway(instances=3)), a_store(gateway(instances=1))
        steps = analyze(one, running(one, made_for=three, unready=("a",))).steps

        assert acts(steps, StopGateway) == []
        assert "gateway s-b: gateway s-a to be ready" in waits(steps)

    def test_none_at_all_is_asked_for(self) -> None:
        none = a_store(gateway(instances=0))
        steps = analyze(none, running(none, made_for=a_store(gateway(instances=1)))).steps

        assert [type(action) for action in acts(steps, StopGateway)] == [StopGateway]

    def test_one_is_restarted_at_a_time(self) -> None:
        before, now = a_store(gateway(instances=3)), a_store(gateway(instances=3, labels={"a": "b"}))
        assert gateways_applied(analyze(now, running(now, made_for=before)).steps) == ["rook-ceph-rgw-s-a"]
        assert gateways_applied(analyze(now, running(now, made_for=before, unready=("c",))).steps) == [
            "rook-ceph-rgw-s-c"
        ]

    @pytest.mark.parametrize("hold", ["hold_upgrade", "hold_restart"])
    def test_a_release_waits_for_the_osds_and_for_room(self, hold: str) -> None:
        store = a_store(gateway(instances=1))
        seen = running(store, wanted=NEWER)
        assert gateways_applied(analyze(store, seen).steps) == ["rook-ceph-rgw-s-a"]

        held = (
            replace(seen, hold_upgrade="osd 2 to run it")
            if hold == "hold_upgrade"
            else replace(seen, hold_restart="room")
        )
        assert gateways_applied(analyze(store, held).steps) == []

    def test_another_setting_is_no_matter_of_a_release(self) -> None:
        before, now = a_store(gateway()), a_store(gateway(labels={"a": "b"}))
        seen = running(now, made_for=before, hold_upgrade="osd 2 to run it")

        assert gateways_applied(analyze(now, seen).steps) == ["rook-ceph-rgw-s-a"]

    def test_another_certificate_restarts_them(self) -> None:
        store = a_store(gateway(securePort=443, sslCertificateRef="tls"))
        seen = running(store)
        steps = analyze(store, replace(seen, certificate="other", separate_key=True)).steps

        assert gateways_applied(steps) == ["rook-ceph-rgw-s-a"]

    def test_a_secret_that_is_missing_keeps_those_that_run(self) -> None:
        store = a_store(gateway(securePort=443, sslCertificateRef="tls"))
        seen = running(store, missing_secrets=("key tls.crt of Secret tls",))
        steps = analyze(store, seen).steps

        assert waits(steps) == ["gateways: key tls.crt of Secret tls to exist"]
        assert acts(steps, Apply, StopGateway) == []

    def test_a_changed_endpoint_is_told_to_ceph_while_gateways_run_on(self) -> None:
        store = a_store(gateway(port=81), status={"info": {"zone": "s"}})
        seen = running(store, setup=a_job(a_store(gateway()), a_context(a_store(gateway()))))
        (action,) = acts(analyze(store, seen).steps, RunJob)

        assert isinstance(action, RunJob)
        assert action.attempt.replaces == "j1"

    def test_one_that_somebody_works_on_is_left_alone(self) -> None:
        before, now = a_store(gateway()), a_store(gateway(labels={"a": "b"}))
        seen = running(now, made_for=before)
        deployment = seen.deployments["s-a"]
        deployment.metadata.labels["ceph.rook.io/do-not-reconcile"] = ""

        assert gateways_applied(analyze(now, seen).steps) == []

    def test_a_gateway_that_does_not_come_up_is_told_of(self) -> None:
        store = a_store()
        assert waits(analyze(store, running(store, unready=("b",))).steps) == ["gateway s-b: it to be ready"]

    def test_requests_that_fail_are_told_of(self) -> None:
        store = a_store()
        steps = analyze(store, running(store, checked=Checked("503"))).steps

        assert waits(steps) == ["object store s: its gateways to put, get and delete an object: 503"]


class TestZones:
    STORE = a_store({"zone": {"name": "z"}})

    def test_a_store_in_a_zone_waits_for_it(self) -> None:
        seen = replace(running(self.STORE), place=None, place_waits_for="CephObjectZone z to be Ready", pools={})
        steps = analyze(self.STORE, seen).steps

        assert waits(steps) == ["object store s: CephObjectZone z to be Ready"]
        assert acts(steps, RunJob, CreatePool, CreateAdminKeys) == []

    def test_its_gateways_serve_it_and_nothing_else_is_made(self) -> None:
        place = Place("r", "zg", "z")
        seen = running(self.STORE, place=place, setup=Run(), pools={})
        assert analyze(self.STORE, seen).steps == ()

        args = seen.live["Deployment", "rook-ceph-rgw-s-a"]["spec"]["template"]["spec"]["containers"][0]["args"]
        assert {"--rgw-realm=r", "--rgw-zonegroup=zg", "--rgw-zone=z"} <= set(args)


def test_a_pool_that_cannot_be_changed_is_told_of() -> None:
    store = a_store({"dataPool": {"erasureCoded": {"dataChunks": 2, "codingChunks": 1}}})

    (told,) = kept(store, running(store))
    assert told.startswith("dataPool (pool s.rgw.buckets.data): the pool is replicated, which cannot be changed")
