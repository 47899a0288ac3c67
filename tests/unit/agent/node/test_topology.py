"""Where a node is, as the kubelet is told, and that it is told anew when that changes."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from controller.agent.node import csi_pb2
from controller.agent.node.calls import Operations
from controller.agent.node.driver import UnavailableError
from controller.agent.node.problems import Problems
from controller.agent.node.renewal import renew_if_changed
from controller.agent.node.service import NodeService
from controller.agent.node.topology import Topology
from informers import TransportError
from tests.unit.agent.standin import DRIVER, Labels, Tasks, unheard

ZONE, RACK = "topology.kubernetes.io/zone", "topology.rook.io/rack"
OWN_ZONE, OWN_RACK = f"topology.{DRIVER}/zone", f"topology.{DRIVER}/rack"


@pytest.mark.parametrize(
    ("labels", "told", "warned"),
    [
        ({ZONE: "a", RACK: "1"}, {OWN_ZONE: "a", OWN_RACK: "1"}, ""),
        ({ZONE: "a"}, {OWN_ZONE: "a"}, f"node has no label {RACK}"),
        ({}, {}, f"node has no label {ZONE}"),
        # What volumes have been made by stays until it is removed: the kubelet would refuse another value.
        ({ZONE: "b", RACK: "1", OWN_ZONE: "a"}, {OWN_ZONE: "a", OWN_RACK: "1"}, f"node has {ZONE}=b, but {OWN_ZONE}=a"),
        ({RACK: "1", OWN_ZONE: "a"}, {OWN_ZONE: "a", OWN_RACK: "1"}, f"node has {ZONE}=none, but {OWN_ZONE}=a"),
        ({ZONE: "a", RACK: "1", OWN_ZONE: "a"}, {OWN_ZONE: "a", OWN_RACK: "1"}, ""),
    ],
)
async def test_a_nodes_place_is_told_by_its_labels(labels: dict[str, str], told: dict[str, str], warned: str) -> None:
    topology = Topology(Labels(**labels), "node-a", (ZONE, RACK))
    with capture_logs() as logs:
        assert await topology.segments(DRIVER) == told
        assert await topology.segments(DRIVER) == told
    assert sum(warned in entry["event"] for entry in logs if warned) == bool(warned), "once"
    assert bool(logs) == bool(warned)


async def test_without_labels_to_tell_the_api_server_is_not_asked() -> None:
    labels = Labels()
    labels.problem = TransportError("down")
    assert await Topology(labels, "node-a").segments(DRIVER) == {}
    with pytest.raises(UnavailableError, match="labels of node node-a cannot be read: down"):
        await Topology(labels, "node-a", (ZONE,)).segments(DRIVER)


class Rooms:
    """A driver of which only the node's room for volumes is asked."""

    def __init__(self) -> None:
        self.room = 7

    async def max_volumes(self) -> int:
        return self.room


async def test_the_kubelet_is_told_anew_what_has_changed() -> None:
    labels, renewed = Labels(**{ZONE: "a"}), list[str]()
    driver: Any = Rooms()
    node = NodeService(
        "node-a", DRIVER, driver, Operations(Tasks()), Topology(labels, "node-a", (ZONE,)), Problems(unheard)
    )

    async def renew() -> None:
        renewed.append(DRIVER)
        await node.NodeGetInfo(csi_pb2.NodeGetInfoRequest(), None)  # as the kubelet does

    async def look() -> int:
        await renew_if_changed(DRIVER, node, renew)
        return len(renewed)

    assert await look() == 0, "it has not asked yet"
    told = await node.NodeGetInfo(csi_pb2.NodeGetInfoRequest(), None)
    assert (told.max_volumes_per_node, dict(told.accessible_topology.segments)) == (7, {OWN_ZONE: "a"})
    assert await look() == 0
    driver.room = 9
    assert (await look(), await look()) == (1, 1)
    assert node.told is not None
    assert node.told.max_volumes_per_node == 9
    labels.labels[ZONE] = "b"
    assert await look() == 2
