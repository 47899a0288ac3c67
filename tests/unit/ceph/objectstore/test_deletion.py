"""How an object store goes: in order, by consent, and not while anything uses it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import msgspec
import pytest

from controller.ceph.access.config import UnsetConfig
from controller.ceph.objectstore.act import (
    Asked,
    CloseStore,
    PurgePool,
    RemovePlace,
    RemovePool,
    RemoveUser,
    StopGateway,
    removing,
)
from controller.ceph.objectstore.analyze import analyze
from controller.ceph.objectstore.deletion import removal_work
from controller.ceph.objectstore.observe import StoreObservation
from controller.ceph.pools.act import DeletePool
from controller.ceph.rgw.tool import WANTED_ANNOTATION
from controller.framework.consent import FORCE_ANNOTATION, NoConsentError
from controller.framework.jobs import FIRST, Phase, Run
from controller.framework.plan import WHILE_BLOCKED, StepState, UnderWayError, preview
from controller.runtime.kube import Job
from tests.unit.ceph.answers import FakeCeph
from tests.unit.ceph.objectstores import a_context, a_store, running

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStore
    from controller.framework.plan import Plan
    from informers import Client, JsonObject

FORCED = {FORCE_ANNOTATION: "true"}
SHARED = {"sharedPools": {"metadataPoolName": "meta", "dataPoolName": "data"}}


def going(spec: JsonObject | None = None, **more: Any) -> CephObjectStore:
    return a_store(spec, deleting=True, **more)


def removed(store: CephObjectStore) -> Run:
    """The Job that has removed the store's zone."""
    meta = {"name": "x", "uid": "j2", "annotations": {WANTED_ANNOTATION: removal_work(store, a_context(store)).digest}}
    return Run(job=msgspec.convert({"metadata": meta}, Job), phase=Phase.COMPLETE)


def closed(store: CephObjectStore, **more: Any) -> StoreObservation:
    """A store without gateways."""
    return running(store, **{"deployments": {}, **more})


def titles(plan: Plan) -> list[str]:
    """What is done or waited for, in order; what needs consent in brackets."""
    states = preview(plan).results
    return [f"[{r.step.title}]" if r.state is StepState.NEEDS_CONSENT else r.step.title for r in states]


class TestPlan:
    def test_without_a_cluster_it_is_let_go(self) -> None:
        assert titles(analyze(going(), StoreObservation(cluster_gone=True))) == ["LetGo"]

    def test_what_uses_it_is_waited_for(self) -> None:
        plan = analyze(going(), running(going(), users=("CephObjectStoreUser u", "ObjectBucketClaim app/b")))

        (step,) = plan.steps
        assert step.waits_for == "CephObjectStoreUser u, ObjectBucketClaim app/b to be deleted"

    def test_buckets_need_consent_and_gateways_serve_on(self) -> None:
        store = going()
        plan = analyze(store, running(store, contents=("bucket photos", "user anna")))

        assert titles(plan)[0] == "[CloseStore]"
        assert not [step for step in plan.steps if step.held_by is None and step.lane != plan.steps[0].lane]
        assert plan.steps[0].reason == "it has bucket photos, user anna"
        assert plan.look_again == WHILE_BLOCKED

    def test_it_goes_in_order(self) -> None:
        store = going()
        assert titles(analyze(store, running(store))) == ["CloseStore", "RemovePlace"]

        pods = closed(store, pods={"s-a": (cast("Any", object()),)})
        assert titles(analyze(store, pods)) == ["Wait"]
        assert titles(analyze(store, closed(store))) == ["RemovePlace"]

        plan = analyze(store, closed(store, removal=removed(store)))
        assert titles(plan) == [
            *["RemovePool"] * 8,
            *["UnsetConfig"] * 6,
            *["RemoveUser"] * 2,
            "LetGo",
        ]
        assert {step.lane or step.subject for step in plan.steps} == {"object store s"}

    def test_the_pool_of_all_stores_stays_while_another_needs_it(self) -> None:
        store = going()
        plan = analyze(store, closed(store, removal=removed(store), others=("realm t",)))

        pools = [step.action.pool.pool for step in plan.steps if isinstance(step.action, RemovePool)]
        assert (".rgw.root" in pools, len(pools)) == (False, 7)

    def test_pools_stay_where_that_is_asked_and_buckets_need_no_consent(self) -> None:
        store = going({"preservePoolsOnDelete": True})
        plan = analyze(store, closed(store, removal=removed(store), contents=("bucket photos",)))

        assert "RemovePool" not in titles(plan)
        assert titles(plan)[-1] == "LetGo"

    def test_with_consent_it_goes_with_its_buckets(self) -> None:
        store = going(annotations=FORCED)
        plan = analyze(store, running(store, contents=("bucket photos",)))

        assert titles(plan)[0] == "CloseStore"
        assert isinstance(plan.steps[0].action, CloseStore)
        assert plan.steps[0].action.forced

    def test_a_deletion_of_long_ago_needs_consent(self) -> None:
        store = going()
        plan = analyze(store, running(store, now=running(store).now + 25 * 3600))

        assert titles(plan)[0] == "[CloseStore]"

    def test_a_store_that_never_had_a_zone_goes(self) -> None:
        store = going()
        plan = analyze(store, closed(store, has_root=False))

        assert titles(plan)[-1] == "LetGo"

    def test_of_a_store_in_a_zone_only_gateways_and_keys_go(self) -> None:
        store = going({"zone": {"name": "z"}})
        assert titles(analyze(store, running(store, contents=("bucket photos",), pools={})))[0] == "CloseStore"

        plan = analyze(store, closed(store, pools={}))
        assert {*titles(plan)} == {"UnsetConfig", "RemoveUser", "LetGo"}

    def test_its_part_of_shared_pools_goes(self) -> None:
        store = going(SHARED)
        seen = closed(store, removal=removed(store), pools={}, remains={"meta": True, "data": False})
        plan = analyze(store, seen)
        assert [step.action for step in plan.steps if isinstance(step.action, PurgePool)] == [PurgePool("meta", "s.")]

        kept = going({"sharedPools": {**SHARED["sharedPools"], "preserveRadosNamespaceDataOnDelete": True}})
        assert "PurgePool" not in titles(analyze(kept, seen))

    def test_keys_that_an_earlier_number_of_gateways_left_go_too(self) -> None:
        three = a_store({"gateway": {"port": 80, "instances": 3}})
        store = going()
        seen = replace(running(store, made_for=three), deployments={}, removal=removed(store))

        users = {step.action for step in analyze(store, seen).steps if isinstance(step.action, RemoveUser)}
        assert users == {RemoveUser(f"client.rgw.s.{letter}") for letter in "abc"}
        assert any(isinstance(step.action, UnsetConfig) for step in analyze(store, seen).steps)


def a_client(store: CephObjectStore, **spec: Any) -> AsyncMock:
    """An API server that has the store as it is, with these fields of the spec changed."""
    obj = msgspec.to_builtins(store)
    obj["spec"] |= spec
    client = AsyncMock()
    client.get.return_value = obj
    return client


def asked(*contents: str, users: tuple[str, ...] = (), purged: bool = True) -> Asked:
    return Asked(AsyncMock(return_value=contents), AsyncMock(return_value=users), AsyncMock(return_value=purged))


STOP = StopGateway("s-a", "rook-ceph-rgw-s-a", "d1")
POOL = DeletePool("s.rgw.meta", rule="s.rgw.meta", profile="")
JOB: JsonObject = {"metadata": {"namespace": "rook-ceph", "name": "j"}}
ACTIONS = (CloseStore((STOP,)), RemovePlace(JOB, FIRST), RemovePool(POOL), PurgePool("meta", "s."))


async def act(store: CephObjectStore, client: AsyncMock, action: object, found: Asked) -> FakeCeph:
    ceph = FakeCeph({"config-key dump": {}})
    handlers = removing(store, cast("Client", client), ceph, found)
    await handlers[type(action)](action)
    return ceph


class TestConsent:
    @pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
    async def test_an_empty_store_goes(self, action: object) -> None:
        store, found = going(), asked()
        client = a_client(store)
        ceph = await act(store, client, action, found)

        done = client.delete.await_count + client.create.await_count + len(ceph.asked)
        assert done + cast("AsyncMock", found.purge).await_count > 0

    @pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
    @pytest.mark.parametrize(
        ("store", "found", "why"),
        [
            (a_store(), asked(), "is not being deleted"),
            (going(), asked("bucket photos"), "it has bucket photos by now"),
            (going(), asked(users=("CephObjectStoreUser u",)), "CephObjectStoreUser u uses it by now"),
        ],
        ids=["not deleted", "filled", "used"],
    )
    async def test_what_is_not_so_any_more_stops_it(
        self, action: object, store: CephObjectStore, found: Asked, why: str
    ) -> None:
        client = a_client(store)
        with pytest.raises(NoConsentError, match=why):
            await act(store, client, action, found)
        assert (client.delete.await_count, client.create.await_count) == (0, 0)

    async def test_a_consent_that_was_withdrawn_stops_it(self) -> None:
        with pytest.raises(NoConsentError, match="was withdrawn"):
            await act(going(), a_client(going()), CloseStore((STOP,), forced=True), asked("bucket photos"))

    async def test_pools_that_are_to_stay_by_now_stay(self) -> None:
        store = going()
        with pytest.raises(NoConsentError, match="preservePoolsOnDelete is set by now"):
            await act(store, a_client(store, preservePoolsOnDelete=True), RemovePool(POOL), asked())

    async def test_a_store_that_keeps_its_pools_is_closed_with_buckets_in_it(self) -> None:
        store = going({"preservePoolsOnDelete": True})
        client = a_client(store)
        await act(store, client, CloseStore((STOP,)), asked("bucket photos"))

        assert client.delete.await_count == 1

    async def test_objects_of_a_shared_pool_are_deleted_until_none_is_left(self) -> None:
        store = going(annotations=FORCED)
        with pytest.raises(UnderWayError, match="the rest of the store's objects in pool meta"):
            await act(store, a_client(store), PurgePool("meta", "s.", forced=True), asked("bucket b", purged=False))
