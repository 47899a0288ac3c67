"""The network of mons that run outlasts what the spec says of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.ceph.access.mons import Mon
from controller.ceph.cluster.network import Network, kept, network_of
from controller.runtime.kube import Node, Service
from tests.unit.ceph.cases import a_cluster, a_node
from tests.unit.ceph.cluster.test_kind import NOW
from tests.unit.ceph.observed import analyze
from tests.unit.ceph.scenes import SCENES

PODS, HOSTS = Network(host=False, family="IPv4", example="mon a: 10.0.0.1"), Network(True, "IPv4", "mon a: 192.0.2.9")
NODE = a_node("n1")
AT_NODE = NODE.status.addresses[0].address


def a_service(address: str) -> Service:
    return msgspec.convert({"metadata": {"name": "rook-ceph-mon-a"}, "spec": {"clusterIP": address}}, Service)


@pytest.mark.parametrize(
    ("mon", "service", "node", "found"),
    [
        pytest.param(Mon("a", "10.0.0.1", "n1"), "10.0.0.1", NODE, (False, "IPv4"), id="at its Service"),
        pytest.param(Mon("a", "fd00::1", "n1"), "fd00::1", NODE, (False, "IPv6"), id="by IPv6"),
        pytest.param(Mon("a", AT_NODE, "n1"), "", NODE, (True, "IPv4"), id="at its node"),
        pytest.param(Mon("a", AT_NODE, "n1"), "10.0.0.7", NODE, (True, "IPv4"), id="a Service that was made later"),
        pytest.param(Mon("a", "10.0.0.1"), "", None, (False, "IPv4"), id="bound to no node, its Service deleted"),
        pytest.param(Mon("a", "10.0.0.1", "n1"), "", NODE, None, id="neither: its Service deleted, or its node's"),
        pytest.param(Mon("a", "10.0.0.1", "n1"), "", None, None, id="its node is gone"),
    ],
)
def test_the_network_is_told_by_where_a_mons_address_is(
    mon: Mon, service: str, node: Node | None, found: tuple[bool, str] | None
) -> None:
    services = {"rook-ceph-mon-a": a_service(service)} if service else {}
    network = network_of([mon], services, {"n1": node})
    assert (network and (network.host, network.family)) == found


def test_the_first_mon_that_can_be_told_says_it_for_all() -> None:
    mons = [Mon("a", "192.0.2.77", "gone"), Mon("b", AT_NODE, "n1")]
    assert network_of(mons, {}, {"n1": NODE}) == Network(True, "IPv4", f"mon b: {AT_NODE}")
    assert network_of([], {}, {}) is None


IN_PODS = "but the mons have the pod network, which cannot be changed while they run (mon a: 10.0.0.1)"
AT_HOSTS = "but the mons have the network of their nodes, which cannot be changed while they run (mon a: 192.0.2.9)"
BY_IPV4 = "but the mons have addresses of IPv4, which cannot be changed while they run (mon a: 10.0.0.1)"
NO_HOST = "set network.provider empty"


@pytest.mark.parametrize(
    ("spec", "network", "told"),
    [
        ({}, None, ""),
        ({}, PODS, ""),
        ({"provider": "host"}, None, ""),
        ({"provider": "host"}, HOSTS, ""),
        ({"hostNetwork": True}, HOSTS, ""),
        ({"provider": "host"}, PODS, f"network.provider: it is 'host', {IN_PODS}: {NO_HOST}"),
        (
            {"hostNetwork": True},
            PODS,
            f"network.hostNetwork: it is true, {IN_PODS}: {NO_HOST} and network.hostNetwork false",
        ),
        ({}, HOSTS, f"network.provider: it is '', {AT_HOSTS}: set network.provider 'host'"),
        ({"ipFamily": "IPv6"}, PODS, f"network.ipFamily: it is IPv6, {BY_IPV4}: set IPv4"),
    ],
)
def test_what_the_spec_has_otherwise_is_told_with_what_would_be_right(
    spec: dict[str, Any], network: Network | None, told: str
) -> None:
    _, problems = kept(a_cluster({"network": spec}), network)
    assert "; ".join(problems) == told


@pytest.mark.parametrize("spec", [{"provider": "host"}, {"hostNetwork": True}, {"ipFamily": "IPv6"}])
async def test_a_network_that_is_changed_under_a_running_cluster_changes_nothing(spec: dict[str, Any]) -> None:
    scene = SCENES["at rest"]
    changed = scene.cluster({**scene.full_spec, "network": spec})
    seen = await scene.seen(changed)
    assert analyze(changed, seen, NOW).steps, "or this test would show nothing"
    as_it_is, _ = kept(changed, PODS)
    assert analyze(as_it_is, await scene.seen(as_it_is), NOW).steps == ()


def test_multus_is_still_refused_as_what_it_is() -> None:
    wanted = a_cluster({"network": {"provider": "multus", "selectors": {"public": "x"}, "ipFamily": "IPv6"}})
    as_it_is, _ = kept(wanted, PODS)
    assert (as_it_is.spec.network.provider, as_it_is.spec.network.ip_family) == ("multus", "IPv4")
