"""Reads from the nearest OSD: where a node is, and from which release on nodes may be told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.apis.ceph import CephCluster
from controller.ceph.csi.affinity import crush_labels, location, problem_of
from controller.ceph.csi.users import part
from controller.ceph.csi.ways import Ways
from controller.ceph.part import Ground
from controller.ceph.releases import CephVersion, Running, Upgrade
from controller.framework.upgrade import Release
from tests.unit.ceph.rbd.test_backend import Clusters, ConfigMaps

ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
NODE = {ZONE: "zone.a", HOST: "n1.example.com", "topology.rook.io/rack": "r1", "example.com/floor": "2"}


def cluster(*, version: str = "", enabled: bool = True, labels: tuple[str, ...] = ()) -> CephCluster:
    affinity = {"enabled": enabled, "crushLocationLabels": list(labels)}
    status = {"version": {"version": version}} if version else {}
    metadata = {"namespace": "rook-ceph", "name": "c"}
    spec = {"csi": {"readAffinity": affinity}}
    return msgspec.convert({"metadata": metadata, "spec": spec, "status": status}, CephCluster)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((), "zone:zone-a|rack:r1|host:n1-example-com"),
        ((ZONE,), "zone:zone-a"),
        (("example.com/floor", HOST), "floor:2|host:n1-example-com"),
        (("topology.kubernetes.io/region",), ""),
    ],
)
def test_where_a_node_is(labels: tuple[str, ...], expected: str) -> None:
    assert location(crush_labels(cluster(labels=labels)), NODE) == expected


def test_it_is_off_unless_it_is_asked_for() -> None:
    assert crush_labels(cluster(enabled=False, labels=(ZONE,))) == ()


@pytest.mark.parametrize(
    ("versions", "told"),
    [
        (("18.2.7",), ""),
        (("19.2.3", "20.2.2"), ""),
        (("20.2.4",), ""),
        (("20.2.1",), "Ceph 20.2.1-0 may lose data with it; 20.2.2 does not"),
        (("19.2.3", "20.2.0", "20.2.4"), "Ceph 20.2.0-0 may lose data"),
    ],
)
def test_releases_that_lose_data_with_it(versions: tuple[str, ...], told: str) -> None:
    found = problem_of({"overall": {f"ceph version {text} (abc) x (stable)": 1 for text in versions}})
    assert found.startswith(told) if told else found == ""


class Mons:
    """A cluster whose daemons run one version."""

    def __init__(self, version: str) -> None:
        self.version = version

    async def mon(self, prefix: str, **_: Any) -> Any:
        if prefix == "versions":
            return {"overall": {f"ceph version {self.version} (abc) x (stable)": 9}}
        mon = {"public_addrs": {"addrvec": [{"type": "v1", "addr": "10.0.0.1:6789"}]}}
        return {"fsid": "f", "mons": [mon]}


@pytest.mark.parametrize(
    ("running", "wanted", "told"),
    [
        ("18.2.7", "18.2.7-0", "zone:zone-a"),
        ("20.2.2", "20.2.2-0", "zone:zone-a"),
        ("20.2.0", "20.2.2-0", ""),  # not before each daemon runs another
        ("19.2.3", "20.2.0-0", ""),  # nor when an upgrade to it has begun
        ("20.2.1", "", ""),
    ],
)
async def test_a_node_is_told_where_it_is(running: str, wanted: str, told: str) -> None:
    clusters: Any = Clusters(cluster(version=wanted, labels=(ZONE,)))
    config_maps: Any = ConfigMaps()
    ceph: Any = Mons(running)
    way = await Ways(clusters, config_maps).to(ceph, "rook-ceph", "image p/i")
    assert way.told(NODE).get("crushLocation", "") == told
    assert "crushLocation" not in way.told({HOST: "n1"}), "it has none of the labels"


async def test_a_change_of_the_spec_is_told_at_once() -> None:
    clusters = Clusters(cluster(enabled=False))
    known: Any = clusters
    config_maps: Any = ConfigMaps()
    ceph: Any = Mons("18.2.7")
    ways = Ways(known, config_maps)
    assert "crushLocation" not in (await ways.to(ceph, "rook-ceph", "v")).told(NODE)
    clusters.clusters = (cluster(labels=(ZONE,)),)
    assert (await ways.to(ceph, "rook-ceph", "v")).told(NODE)["crushLocation"] == "zone:zone-a"


@pytest.mark.parametrize(
    ("enabled", "running", "wanted", "told"),
    [
        (True, "20.2.1", "20.2.2", "csi.readAffinity has no effect: Ceph 20.2.1-0 may lose data with it"),
        (True, "19.2.3", "20.2.0", "csi.readAffinity has no effect: Ceph 20.2.0-0 may lose data with it"),
        (True, "20.2.2", "20.2.2", f"csi.readAffinity has nodes read from the nearest OSD, by {ZONE}"),
        (False, "20.2.1", "20.2.1", ""),
    ],
)
def test_the_status_says_whether_it_has_an_effect(enabled: bool, running: str, wanted: str, told: str) -> None:
    version = CephVersion.parse(running)
    upgrade = Upgrade(
        wanted=Release(image="i", version=CephVersion.parse(wanted)), running=Running(oldest=version, newest=version)
    )
    ground = Ground(cluster=cluster(enabled=enabled, labels=(ZONE,)), now=0.0, upgrade=upgrade)
    caches: Any = None
    found = part(caches, caches).report(ground, False).beside
    assert found.startswith(told) if told else found == ""
