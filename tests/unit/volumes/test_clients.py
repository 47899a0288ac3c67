"""Which node a client is on: as its agent reports it, else by an address that one node alone says is its own."""

from __future__ import annotations

import pytest

from controller.apis.rook.node_report import NodeReport
from controller.runtime.kube import Node
from controller.volumes.backend import Holder
from controller.volumes.clients import handle_of, locate, mapped_by, reported_for
from tests.unit.volumes.objects import node, report, volume

TUNNEL = Holder(address="192.168.5.1", client="192.168.5.1:0/77")
OWN = Holder(address="10.0.0.1", client="10.0.0.1:0/1")
A, B = node("a", "10.0.0.1"), node("b", "10.0.0.2")


@pytest.mark.parametrize(
    ("holder", "reports", "nodes", "expected"),
    [
        (TUNNEL, [], [A, B], set()),
        (TUNNEL, [report("a", "192.168.5.1:0/78")], [A, B], set()),  # another client of the same tunnel
        (TUNNEL, [report("a", TUNNEL.client), report("b")], [A, B], {"a"}),
        (TUNNEL, [report("a", TUNNEL.client), report("b", TUNNEL.client)], [A, B], {"a", "b"}),
        (OWN, [], [A, B], {"a"}),
        (OWN, [], [A, node("b", "10.0.0.1")], set()),  # translated, or one of the two is not what it says
        (OWN, [report("b", OWN.client)], [A, B], {"b"}),
        (OWN, [report("gone", OWN.client)], [B], {"gone"}),
    ],
)
def test_where_a_client_is(holder: Holder, reports: list[NodeReport], nodes: list[Node], expected: set[str]) -> None:
    (found,) = locate([holder], reports, nodes)
    assert found.nodes == expected
    assert (found.client, found.address) == (holder.client, holder.address)


def test_what_a_node_has_mapped() -> None:
    found = report("a", "10.0.0.1:0/1", "10.0.0.1:0/2")
    assert set(mapped_by(found)) == {handle_of(volume())}
    assert reported_for(volume(), found) == ("10.0.0.1:0/1", "10.0.0.1:0/2")
    assert reported_for(volume(), report("a", "10.0.0.1:0/1", handle="another")) == ()
    assert reported_for(None, found) == ()
