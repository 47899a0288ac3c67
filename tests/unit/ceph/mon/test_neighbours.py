"""Nodes that mons of other clusters keep a new one from."""

from __future__ import annotations

from typing import Any

import pytest

from controller.apis.ceph import CephCluster
from controller.apis.meta import ObjectMeta
from controller.ceph.access.mons import Endpoints, Mon
from controller.ceph.mon.neighbours import occupied
from tests.unit.ceph.cases import a_cluster

ENDPOINTS = Endpoints((Mon("a", "10.0.0.1", "n1", "n1"), Mon("b", "10.0.0.2"), Mon("c", "10.0.0.3", "n3", "n3", True)))
"""On a node; on a claim and no node; on a claim, at the address of a node."""


def cluster(namespace: str, **spec: Any) -> CephCluster:
    found = a_cluster(spec)
    return CephCluster(metadata=ObjectMeta(namespace=namespace, name="rook-ceph"), spec=found.spec)


@pytest.mark.parametrize(
    ("mine", "theirs", "nodes"),
    [
        ({}, {}, {"n1"}),
        ({"dataDirHostPath": "/var/lib/rook/"}, {}, {"n1"}),
        ({"dataDirHostPath": "/var/lib/second"}, {}, set()),
        ({"mon": {"volumeClaimTemplate": {"spec": {}}}}, {}, set()),
        ({"network": {"provider": "host"}, "dataDirHostPath": "/x"}, {}, set()),
        ({"network": {"provider": "host"}, "dataDirHostPath": "/x"}, {"network": {"provider": "host"}}, {"n1", "n3"}),
        ({"network": {"hostNetwork": True}, "dataDirHostPath": "/x"}, {"network": {"hostNetwork": True}}, {"n1", "n3"}),
    ],
)
def test_a_directory_or_the_ports_of_a_node_are_one_clusters(
    mine: dict[str, Any], theirs: dict[str, Any], nodes: set[str]
) -> None:
    other = cluster("other", **({"dataDirHostPath": "/var/lib/rook"} | theirs))
    own = cluster("own", **({"dataDirHostPath": "/var/lib/rook"} | mine))
    found = occupied(own, [(other, ENDPOINTS)])
    assert set(found) == nodes
    assert all("of the cluster in namespace other" in why for why in found.values())
