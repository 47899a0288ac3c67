"""What a CephObjectStore's spec asks for, and what of it cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import pytest

from controller.ceph.objectstore.act import CreateAdminKeys, handlers
from controller.ceph.objectstore.analyze import setup_work
from controller.ceph.objectstore.spec import (
    endpoints,
    instances,
    problems,
    unserved,
    wanted,
)
from controller.ceph.pods import Release
from controller.ceph.releases import CephVersion
from controller.ceph.rgw.pools import default_placement, metadata_location, shared_pool_names
from controller.runtime.kube import SECRET
from informers import ApiError
from tests.unit.ceph.answers import FakeCeph
from tests.unit.ceph.objectstores import PLAIN, a_context, a_store, gateway, running

if TYPE_CHECKING:
    from controller.ceph.access.rados import RadosCluster
    from informers import Client, JsonObject

FAST = {
    "name": "fast",
    "metadataPoolName": "meta",
    "dataPoolName": "ssd",
    "storageClasses": [{"name": "COLD", "dataPoolName": "hdd"}],
}
SHARED: JsonObject = {"sharedPools": {"metadataPoolName": "meta", "dataPoolName": "data", "poolPlacements": [FAST]}}


@pytest.mark.parametrize(
    ("spec", "name", "problem"),
    [
        ({}, "s", ""),
        ({}, "my.store", "its Service needs a name of small letters"),
        ({}, "x" * 42, "has 42 characters: at most 41 fit"),
        (gateway(securePort=443), "s", "sslCertificateRef is not"),
        (gateway(sslCertificateRef="tls"), "s", "securePort is not"),
        (
            gateway(
                securePort=443, service={"annotations": {"service.beta.openshift.io/serving-cert-secret-name": "c"}}
            ),
            "s",
            "",
        ),
        (
            {"metadataPool": {"erasureCoded": {"dataChunks": 2, "codingChunks": 1}}},
            "s",
            "metadata can only be replicated",
        ),
        ({"dataPool": {}}, "s", "spec.dataPool: spec has neither replicated.size nor erasureCoded"),
        ({"dataPool": {}, "zone": {"name": "z"}}, "s", ""),
        (SHARED, "s", ""),
        ({"sharedPools": {"metadataPoolName": "meta"}}, "s", "set metadataPoolName and dataPoolName"),
        ({"sharedPools": {"poolPlacements": [{**FAST, "default": True}]}}, "s", ""),
        (
            {"sharedPools": {"poolPlacements": [{**FAST, "default": True}, {**FAST, "default": True}]}},
            "s",
            "fast and fast are both the default",
        ),
    ],
)
def test_problems(spec: JsonObject, name: str, problem: str) -> None:
    found = "; ".join(problems(a_store(spec, name=name)))

    assert (problem in found) if problem else not found


@pytest.mark.parametrize(("count", "number"), [(None, 1), (0, 0), (3, 3)])
def test_how_many_gateways(count: int | None, number: int) -> None:
    assert instances(a_store({"gateway": {"port": 80, "instances": count}})) == number


def test_shared_pools_have_upstreams_namespaces() -> None:
    store = a_store(SHARED)
    zone = wanted(store)["zone"]

    assert zone["sharedPool"] == "meta"
    assert zone["placements"]["default-placement"] == {
        "index_pool": "meta:s.buckets.index",
        "data_extra_pool": "meta:s.buckets.non-ec",
        "storage_classes": {"STANDARD": {"data_pool": "data:s.buckets.data"}},
        "inline_data": True,
    }
    assert zone["placements"]["fast"]["storage_classes"] == {
        "STANDARD": {"data_pool": "ssd:s.fast.data"},
        "COLD": {"data_pool": "hdd:s.COLD"},
    }
    assert shared_pool_names(store.spec.shared_pools) == ("meta", "data", "ssd", "hdd")
    assert metadata_location("s", store.spec.shared_pools) == ("meta", "s.meta")
    assert default_placement(store.spec.shared_pools) == "default-placement"


def test_a_placement_may_be_the_default() -> None:
    store = a_store({"sharedPools": {"poolPlacements": [{**FAST, "default": True}]}})

    assert wanted(store)["zonegroup"]["fields"]["default_placement"] == "fast"
    assert set(wanted(store)["zone"]["placements"]) == {"fast"}
    assert metadata_location("s", store.spec.shared_pools) == ("meta", "s.meta")


def test_every_name_has_its_urls() -> None:
    hosting = {"advertiseEndpoint": {"dnsName": "lb", "port": 8443, "useTls": True}, "dnsNames": ["s3.example.org"]}
    store = a_store({**gateway(securePort=443, sslCertificateRef="tls"), "hosting": hosting})
    plain, tls = endpoints(store)

    assert plain == ("http://rook-ceph-rgw-s.rook-ceph.svc:80", "http://s3.example.org:80")
    assert tls == (
        "https://lb:8443",
        "https://rook-ceph-rgw-s.rook-ceph.svc:443",
        "https://s3.example.org:443",
    )


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({}, ()),
        ({"gateway": {"readAffinity": {"type": "localize"}}}, ("gateway.readAffinity.type",)),
        ({"security": {"ciphers": ["a"]}}, ("security.ciphers",)),
        ({"metadataPool": {"mirroring": {"enabled": True}}}, ("metadataPool.mirroring.enabled",)),
        (gateway(additionalVolumeMounts=[{"subPath": "x", "volumeSource": {}}]), ()),
        (gateway(type="s3", allNodes=False), ()),
        (gateway(type="swift", allNodes=True), ("gateway.type=swift", "gateway.allNodes")),
    ],
)
def test_what_is_not_served(spec: JsonObject, named: tuple[str, ...]) -> None:
    assert unserved({**PLAIN, **spec}) == named


def test_accounts_may_be_managed_where_there_are_any() -> None:
    store = a_store()
    newer = Release("ceph:v19", CephVersion(19, 2, 3))
    caps = [setup_work(store, a_context(store, r)).wanted["user"]["caps"] for r in (a_context(store).release, newer)]

    assert ["accounts" in each for each in caps] == [False, True]


class TestAdminKeys:
    async def made(self, client: AsyncMock) -> None:
        store = a_store()
        ceph = cast("RadosCluster", FakeCeph())
        ways: Any = handlers(store, cast("Client", client), ceph, AsyncMock(return_value=()), running(store))
        await ways[CreateAdminKeys](CreateAdminKeys("rgw-admin-ops-user-s"))

    async def test_they_are_new_each_time(self) -> None:
        client = AsyncMock()
        await self.made(client)
        await self.made(client)
        (kind, first), (_, second) = (call.args for call in client.create.await_args_list)

        assert (kind, first["metadata"]["name"]) == (SECRET, "rgw-admin-ops-user-s")
        assert set(first["data"]) == {"accessKey", "secretKey"}
        assert first["data"] != second["data"]

    async def test_those_that_are_there_stay(self) -> None:
        client = AsyncMock()
        client.create.side_effect = ApiError(409, "AlreadyExists", "there")
        await self.made(client)
