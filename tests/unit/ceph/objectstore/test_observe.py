"""What is taken together of a store, from caches and a cluster that answers as it did in truth."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import msgspec
import pytest

from controller.apis.ceph import CephBlockPool
from controller.ceph.access.rados import CephError
from controller.ceph.objectstore.analyze import analyze
from controller.ceph.objectstore.health import Checked
from controller.ceph.objectstore.observe import Observer, is_gateway
from controller.ceph.rgw import budget
from controller.ceph.rgw.budget import Budget
from controller.ceph.rgw.contents import contents_of, other_realms, purge, remains
from controller.ceph.rgw.zones import NoZones
from controller.framework.deletion import Dependents
from controller.runtime.kube import Secret
from tests.unit.ceph.answers import FakeCeph
from tests.unit.ceph.objectstores import a_store, cluster, gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephCluster, CephObjectStore
    from controller.ceph.access.rados import RadosCluster
    from controller.ceph.objectstore.observe import StoreObservation


def a_pool(name: str, number: int) -> dict[str, Any]:
    return {
        "pool_name": name,
        "pool_id": number,
        "size": 3,
        "crush_rule": 0,
        "erasure_code_profile": "",
        "application_metadata": {"rgw": {}},
        "pg_num_target": 8,
        "pg_placement_num_target": 8,
        "quota_max_bytes": 0,
        "quota_max_objects": 0,
    }


ANSWERS: dict[str, Any] = {
    "osd pool ls": [a_pool(".rgw.root", 1), a_pool("s.rgw.meta", 2), a_pool("s.rgw.buckets.data", 3)],
    "osd pool get": {"size": 3},
    "osd crush rule dump": [],
    "osd crush class ls": ["ssd"],
    "config-key dump": {},
    "config dump": [
        {"section": "client.rgw.s.a", "name": "rgw_enable_usage_log", "value": "true"},
        {"section": "client.rgw.s.t.a", "name": "rgw_enable_usage_log", "value": "true"},
    ],
    "config show": 300,
    "status": {"quorum_names": ["b"], "osdmap": {"num_in_osds": 4}},
}


class Objects:
    """RADOS objects by pool, as (namespace, name), through an `ioctx` of librados."""

    def __init__(self, pools: dict[str, list[tuple[str, str]]]) -> None:
        self.pools = pools

    def open_ioctx(self, pool: str) -> Any:
        outer = self

        class Opened:
            namespace: str = ""

            def __enter__(self) -> Opened:
                return self

            def __exit__(self, *_: object) -> None: ...

            def set_namespace(self, namespace: str) -> None:
                self.namespace = namespace

            def set_locator_key(self, _: str) -> None: ...

            def list_objects(self) -> Iterator[Any]:
                for namespace, name in list(outer.pools[pool]):
                    if self.namespace in ("*", namespace):
                        yield SimpleNamespace(nspace=namespace, key=name, locator_key="")

            def remove_object(self, name: str) -> None:
                outer.pools[pool].remove((self.namespace, name))

        return Opened()


class Ceph(FakeCeph):
    """A cluster with objects in it."""

    def __init__(
        self, answers: dict[str, Any] | None = None, pools: dict[str, list[tuple[str, str]]] | None = None
    ) -> None:
        super().__init__({**ANSWERS, **(answers or {})})
        self.objects = Objects(pools or {})

    async def use(self, function: Any, **_: Any) -> Any:
        return function(self.objects)


IN_USE = {
    "s.rgw.meta": [
        ("root", "photos"),
        ("root", ".bucket.meta.photos:z.1"),
        ("root", "rook-ceph-bucket-checker-s-1"),
        ("users.uid", "anna"),
        ("users.uid", "anna.buckets"),
        ("users.uid", "rgw-admin-ops-user"),
        ("users.keys", "AK"),
    ],
    ".rgw.root": [("", "realms_names.s"), ("", "realms_names.t"), ("", "zone_names.s")],
}


@pytest.fixture(autouse=True)
def _librados(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("rados")
    module.LIBRADOS_ALL_NSPACES = "*"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rados", module)


class Store:
    """A cache with these objects."""

    def __init__(self, *objects: Any, resource: Any = None) -> None:
        self._objects, self.resource = objects, resource

    def get(self, _: str, name: str) -> Any:
        return next((obj for obj in self._objects if obj.metadata.name == name), None)

    def keys(self, _: str) -> list[tuple[str, str]]:
        return [("rook-ceph", obj.metadata.name) for obj in self._objects]

    def list(self, _: str | None = None) -> list[Any]:
        return list(self._objects)


async def observed(
    store: CephObjectStore,
    ceph: Ceph | None,
    *,
    clusters: tuple[CephCluster, ...] | None = None,
    secrets: tuple[Secret, ...] = (),
    stores: tuple[CephObjectStore, ...] = (),
    pools: tuple[CephBlockPool, ...] = (),
) -> StoreObservation:
    caches: Any = SimpleNamespace(
        deployments=Store(), pods=Store(), events=Store(), secrets=Store(*secrets), children=()
    )
    observer = Observer(
        caches,
        cast("Any", Store(store, *stores)),
        cast("Any", Store(*pools)),
        cast("Any", Store(*((cluster(),) if clusters is None else clusters))),
        cast("Any", SimpleNamespace(get=lambda _: ceph)),
        cast("Any", SimpleNamespace(held=lambda *_: None)),
        Dependents(()),
        NoZones(),
        cast("Any", SimpleNamespace(check=AsyncMock(return_value=Checked()))),
        "rook:1",
    )
    return await observer.observe(store, 1.0)


async def test_without_a_cluster_and_without_an_answer() -> None:
    assert (await observed(a_store(), Ceph(), clusters=())).cluster_gone
    assert (await observed(a_store(), None)).waits_for == "CephCluster my-cluster to answer"
    failing = Ceph({"config dump": CephError(110, "late")})
    assert (await observed(a_store(), failing)).waits_for == "CephCluster my-cluster to answer"


async def test_what_there_is_of_a_store() -> None:
    seen = await observed(a_store(), Ceph())

    assert {name for name, pool in seen.pools.items() if pool.state is not None} == {
        ".rgw.root",
        "s.rgw.meta",
        "s.rgw.buckets.data",
    }
    assert seen.budget == Budget(per_osd=300, osds=4, present=72, default=300)
    assert list(seen.config.values) == [("client.rgw.s.a", "rgw_enable_usage_log")]
    assert (seen.place.zone if seen.place else "", seen.image, seen.contents) == ("s", "rook:1", ())


async def test_pools_of_a_zone_that_nobody_asked_for() -> None:
    strays = ("default.rgw.control", "default.rgw.log")
    present = [*ANSWERS["osd pool ls"], *(a_pool(name, 7) for name in strays)]
    ceph = Ceph({"osd pool ls": present}, pools=IN_USE)

    assert (await observed(a_store(), ceph)).strays == strays
    assert (await observed(a_store(), ceph, stores=(a_store(name="default"),))).strays == ()
    assert (await observed(a_store(), Ceph())).strays == ()
    # They are nobody's to remove, whatever store goes.
    leaving = await observed(a_store(deleting=True), ceph)
    assert not [step for step in analyze(a_store(deleting=True), leaving).steps if "default.rgw" in step.subject]


async def test_a_zone_that_nobody_serves_is_waited_for() -> None:
    seen = await observed(a_store({"zone": {"name": "z"}}), Ceph())

    assert (seen.place, seen.pools) == (None, {})
    assert seen.place_waits_for == "CephObjectZone z in namespace rook-ceph to be served"


async def test_what_is_in_a_store_that_is_to_go() -> None:
    other = a_store(name="t")
    named = msgspec.convert({"metadata": {"name": "root"}, "spec": {"name": ".rgw.root"}}, CephBlockPool)
    seen = await observed(a_store(deleting=True), Ceph(pools=IN_USE), stores=(other,), pools=(named,))

    assert seen.contents == ("bucket photos", "user anna")
    assert seen.others == ("realm t", "CephObjectStore t", "CephBlockPool root")
    assert seen.has_root


async def test_a_full_cluster_holds_restarts() -> None:
    full = cluster(OSD_FULL="1 full osd(s)")
    seen = await observed(a_store(), Ceph(), clusters=(full,))

    assert seen.hold_restart == "the cluster to have room again: OSD_FULL (1 full osd(s))"


def a_secret(name: str, **data: bytes) -> Secret:
    return Secret(
        metadata=a_store(name=name).metadata, data={key.replace("_", "."): value for key, value in data.items()}
    )


async def test_secrets_of_a_store() -> None:
    from_secret = {"rgw_x": {"name": "more", "key": "x"}, "rgw_y": {"name": "more", "key": "y", "optional": True}}
    store = a_store(gateway(securePort=443, sslCertificateRef="tls", rgwConfigFromSecret=from_secret))
    seen = await observed(store, Ceph())
    assert set(seen.missing_secrets) == {
        "key tls.crt of Secret tls",
        "key tls.key of Secret tls",
        "key x of Secret more",
    }

    pair = a_secret("tls", tls_crt=b"c", tls_key=b"k")
    first = await observed(store, Ceph(), secrets=(pair, a_secret("more", x=b"1")))
    assert (first.missing_secrets, first.secret_values, first.separate_key) == ((), {"rgw_x": "1"}, True)
    second = await observed(
        store, Ceph(), secrets=(a_secret("tls", tls_crt=b"d", tls_key=b"k"), a_secret("more", x=b"1"))
    )
    assert first.certificate != second.certificate
    joined = await observed(store, Ceph(), secrets=(a_secret("tls", cert=b"c"), a_secret("more", x=b"1")))
    assert (joined.missing_secrets, joined.separate_key) == ((), False)
    assert "b'k'" not in repr(first)


@pytest.mark.parametrize(
    ("entity", "store", "is_one"),
    [
        ("client.rgw.my.store.a", "my-store", True),
        ("client.rgw.my.store.aa", "my-store", True),
        ("client.rgw.my.store.a", "my", False),
        ("client.rgw.my.a", "my-store", False),
        ("client.admin", "my-store", False),
    ],
)
def test_whose_gateway_a_user_is(entity: str, store: str, is_one: bool) -> None:
    assert is_gateway(entity, store) == is_one


class TestContents:
    def ceph(self, pools: dict[str, list[tuple[str, str]]]) -> RadosCluster:
        return cast("RadosCluster", Ceph(pools=pools))

    async def test_buckets_and_users_but_for_the_operators_own(self) -> None:
        assert await contents_of(self.ceph(IN_USE), "s.rgw.meta", "") == ("bucket photos", "user anna")

    async def test_of_a_shared_pool_its_own_namespaces_count(self) -> None:
        shared = {"meta": [("s.meta.root", "photos"), ("t.meta.root", "music"), ("s.meta.users.uid", "anna")]}

        assert await contents_of(self.ceph(shared), "meta", "s.meta") == ("bucket photos", "user anna")

    async def test_who_cannot_look_does_not_know_that_there_is_nothing(self) -> None:
        ceph = Ceph()
        ceph.use = AsyncMock(side_effect=CephError(110, "late"))  # type: ignore[method-assign]

        assert await contents_of(cast("RadosCluster", ceph), "p", "") == ("buckets that cannot be listed (late)",)

    async def test_other_realms(self) -> None:
        assert await other_realms(self.ceph(IN_USE), ".rgw.root", "s") == ("t",)

    async def test_a_purge_leaves_what_is_others(self) -> None:
        pools = {"data": [("s.buckets.data", "1"), ("s.buckets.data", "2"), ("st.buckets.data", "3"), ("", "4")]}
        ceph = self.ceph(pools)

        assert await remains(ceph, "data", "s.")
        assert await purge(ceph, "data", "s.")
        assert pools == {"data": [("st.buckets.data", "3"), ("", "4")]}
        assert not await remains(ceph, "data", "s.")


class TestBudget:
    async def test_an_option_that_no_mon_tells_is_asked_of_the_database(self) -> None:
        ceph = Ceph({"config show": CephError(2, "no such daemon"), "config get": 60})
        assert (await budget.read(ceph)).per_osd == 60
        neither = Ceph({"config show": CephError(2, "no"), "config get": CephError(2, "no")})
        assert (await budget.read(neither)).per_osd == 250

    def test_what_fits(self) -> None:
        spec = a_store().spec
        coded = a_store({"dataPool": {"erasureCoded": {"dataChunks": 4, "codingChunks": 2}}}).spec.data_pool

        assert Budget(per_osd=32, osds=3).shortage([spec.data_pool]) == ""
        assert Budget(per_osd=32, osds=3, present=1).shortage([spec.data_pool]) != ""
        assert Budget(per_osd=63, osds=3).shortage([coded]) != ""
        assert Budget(per_osd=64, osds=3).shortage([coded]) == ""
        assert Budget(per_osd=0).shortage([]) == ""
