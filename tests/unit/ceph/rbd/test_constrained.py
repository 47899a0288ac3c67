"""The pools that a class lists for some nodes each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller.ceph.rbd.constrained import constrained_pools
from controller.ceph.rbd.volumes import describe
from controller.volumes.backend import Description, ParameterError
from tests.unit.ceph.rados_namespaces import a_namespace
from tests.unit.ceph.volumes import DRIVER, UID, storage_class

ZONE = f"topology.{DRIVER}/zone"


def pool(name: str, data: str = "", **segments: str) -> dict[str, Any]:
    found = [{"domainLabel": label, "value": value} for label, value in segments.items()]
    return {"poolName": name, "domainSegments": found, **({"dataPool": data} if data else {})}


def described(*pools: dict[str, Any], rados: Any = None, **parameters: str) -> Description:
    this = storage_class(DRIVER, topologyConstrainedPools=json.dumps(pools), **parameters)
    return describe(this, UID, lambda _: True, lambda _: rados)


def test_each_pool_is_a_choice_for_nodes_with_its_labels() -> None:
    found = described(
        pool("a", zone="east"), pool("b", "b-data", zone="west", rack="1"), dataPool="ec", mounter="rbd-nbd"
    )
    first, second = found.choices
    common = {"clusterID": "rook-ceph", "imageFormat": "2", "imageName": f"csi-vol-{UID}", "mounter": "rbd-nbd"}
    assert first.volume.attributes == {**common, "pool": "a"}
    assert second.volume.attributes == {**common, "pool": "b", "dataPool": "b-data"}
    assert (first.place, second.place) == ({ZONE: "east"}, {ZONE: "west", f"topology.{DRIVER}/rack": "1"})
    assert found.volume == first.volume
    assert found.unserved == ("dataPool",), "each pool names its own"


def test_the_pool_beside_them_is_not_needed() -> None:
    assert described(pool("a", zone="east"), pool="").volume.attributes["pool"] == "a"


def test_a_class_without_them_is_as_it_was() -> None:
    found = describe(storage_class(DRIVER), UID, lambda _: True, lambda _: None)
    assert (found.choices, found.place) == ((), {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[{", r"expected JSON such as \[.*\(.*\)"),
        ('[{"poolName": "a", "domainSegments": []},]', "expected JSON such as"),
        ('{"poolName": "a"}', r"Expected `array`, got `object`"),
        ('[{"pool": "a"}]', "unknown field `pool`"),
        ('[{"domainSegments": []}]', "missing required field `poolName`"),
        ("[]", "expected a pool at least"),
        (json.dumps([pool("a b")]), r"topologyConstrainedPools\[0\].poolName'\] is 'a b': expected a name without"),
        (json.dumps([pool("a"), pool("b", "x/y")]), r"Pools\[1\].dataPool'\] is 'x/y'"),
        (
            json.dumps([pool("a", **{"topology.kubernetes.io/zone": "east"})]),
            r"\[0\].domainSegments\[0\].domainLabel'\] is 'topology.kubernetes.io/zone': expected 'zone', without",
        ),
        (json.dumps([pool("a", zone="east,west")]), r"domainSegments\[0\].value'\] is 'east,west': expected the value"),
        (
            json.dumps([{"poolName": "a", "domainSegments": [{"domainLabel": "zone", "value": v} for v in "ab"]}]),
            r"domainSegments\[1\].domainLabel'\] is 'zone': expected each label once",
        ),
    ],
)
def test_what_is_wrong_is_named(text: str, told: str) -> None:
    with pytest.raises(ParameterError, match=f"StorageClass rbd: parameters.*{told}"):
        constrained_pools(storage_class(DRIVER, topologyConstrainedPools=text))


def test_pools_beside_a_rados_namespace_are_its_own() -> None:
    tenant = a_namespace()
    with pytest.raises(ParameterError, match=r"topologyConstrainedPools\[1\].poolName'\] is 'other'"):
        described(pool(tenant.spec.block_pool_name, zone="a"), pool("other", zone="b"), rados=tenant)
