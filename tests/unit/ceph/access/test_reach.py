"""Whether a cluster can be asked, by what its CephCluster shows."""

from __future__ import annotations

from typing import Any

import pytest

from controller.apis.ceph import CephCluster
from controller.ceph.access.reach import reach
from tests.unit.ceph.cases import a_cluster

WAITS = "CephCluster my-cluster to answer"


class Clusters:
    def __init__(self, *clusters: CephCluster) -> None:
        self._clusters = clusters

    def list(self, _: str) -> list[CephCluster]:
        return list(self._clusters)


def shown(health: str, connected: str) -> CephCluster:
    conditions = [{"type": "Connected", "status": connected, "reason": "x", "message": ""}] if connected else []
    return a_cluster(status={"ceph": {"health": health}, "conditions": conditions})


@pytest.mark.parametrize(
    ("health", "connected", "waits"),
    [
        ("HEALTH_OK", "True", ""),
        ("HEALTH_ERR", "True", ""),
        ("HEALTH_OK", "", ""),
        ("", "True", WAITS),
        # Its health is that of when it answered last.
        ("HEALTH_OK", "False", WAITS),
    ],
)
def test_a_cluster_whose_mons_do_not_answer_is_asked_by_nobody_else(health: str, connected: str, waits: str) -> None:
    ceph = object()
    clusters: Any = Clusters(shown(health, connected))
    connections: Any = {"rook-ceph": ceph}
    way = reach(clusters, connections, "rook-ceph")
    assert way.waits_for == waits
    assert way.ceph is (None if waits else ceph)
