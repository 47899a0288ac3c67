"""Who the members are, and how that is found out where their list is lost."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from controller.ceph.access.mons import Endpoints, Mon, MonState, id_name, id_number, parse_endpoints, render_endpoints
from controller.ceph.mon.analyze import analyze
from controller.ceph.mon.objects import config_secret, mon_deployment
from controller.ceph.mon.observe import MonObservation, recover
from controller.framework.children import Apply
from tests.unit.ceph.cases import (
    a_cluster,
    a_context,
    a_node,
    deployment_view,
    live_objects,
    live_services,
    member,
    nodes,
    running_mons,
)
from tests.unit.ceph.mon.plans import plan

if TYPE_CHECKING:
    pass


@pytest.mark.parametrize(("number", "name"), [(0, "a"), (25, "z"), (26, "aa"), (27, "ab"), (701, "zz"), (702, "aaa")])
def test_ids_are_counted_in_letters(number: int, name: str) -> None:
    assert id_name(number) == name
    assert id_number(name) == number


@pytest.mark.parametrize("address", ["10.1.2.3", "fd00::7"])
def test_endpoints_survive_the_config_map(address: str) -> None:
    endpoints = Endpoints((Mon("a", address, "n1", "n1.example"), Mon("c", "10.0.0.9")), 4)
    assert parse_endpoints(render_endpoints(endpoints, "rook-ceph", a_cluster().spec.network)) == endpoints


def test_upstreams_config_map_is_understood() -> None:
    data = {
        "data": "b=10.96.0.5:3300,a=10.96.0.4:3300",
        "maxMonId": "1",
        "mapping": '{"node":{"a":{"Name":"w1","Hostname":"w1.example","Address":"192.0.2.1"},"b":null}}',
    }
    assert parse_endpoints(data) == Endpoints((Mon("b", "10.96.0.5"), Mon("a", "10.96.0.4", "w1", "w1.example")), 1)


def test_members_are_found_again_when_the_config_map_was_deleted() -> None:
    cluster = a_cluster()
    seen = running_mons(cluster, "abc")
    nodes_with_members = {m: a_node(m) for m in ("n1", "n2", "n3")}
    assert recover(replace(seen, endpoints=None, nodes=nodes_with_members)) == seen.endpoints


@pytest.mark.parametrize("known_by", ["Secret", "PersistentVolumeClaim", "Deployment"])
def test_an_id_that_was_given_before_the_config_map_was_deleted_is_not_given_again(known_by: str) -> None:
    """Mon d was removed, and its store may still be on its node."""
    cluster = a_cluster()
    seen = running_mons(cluster, "abc")
    live, deployments = dict(seen.live), dict(seen.deployments)
    if known_by == "Secret":
        assert seen.endpoints is not None
        live |= live_objects(config_secret(a_context(cluster), replace(seen.endpoints, max_id=3), ()))
    elif known_by == "PersistentVolumeClaim":
        live |= live_objects({"kind": known_by, "metadata": {"name": "rook-ceph-mon-d", "namespace": "rook-ceph"}})
    else:
        deployments["d"] = deployment_view(mon_deployment(cluster.spec.mon, a_context(cluster), member("d")))
    found = recover(replace(seen, endpoints=None, live=live, deployments=deployments))
    assert (found.ids, found.max_id) == (("a", "b", "c"), 3)


def test_the_list_of_members_outlives_a_mistaken_deletion() -> None:
    cluster = a_cluster()
    seen = running_mons(cluster, "abc")
    key = ("ConfigMap", "rook-ceph-mon-endpoints")
    without = {k: v for k, v in seen.live[key]["metadata"].items() if k != "finalizers"}
    live = {**seen.live, key: {**seen.live[key], "metadata": without}}
    (step,) = analyze(cluster.spec.mon, a_context(cluster), replace(seen, live=live))
    assert isinstance(step.action, Apply), "one that was made before there was the finalizer gets it"
    assert step.action.obj["metadata"]["finalizers"] == ["ceph.rook.io/disaster-protection"]


def test_a_mon_that_joined_is_noted_and_not_forgotten_while_it_is_out() -> None:
    cluster = a_cluster()
    (step,) = analyze(cluster.spec.mon, a_context(cluster), running_mons(cluster, "abc", joined="ab"))
    assert isinstance(step.action, Apply)
    assert base64.b64decode(step.action.obj["data"]["mons_joined"]) == b"a,b,c"
    out = analyze(cluster.spec.mon, a_context(cluster), running_mons(cluster, "abc", quorum="ab"))
    assert not [s for s in out if s.subject == "mons"]


EMPTIED = Endpoints((), 2)


@pytest.mark.parametrize(
    ("changes", "known_by"),
    [
        (
            {"endpoints": EMPTIED},
            "id c (by ConfigMap rook-ceph-mon-endpoints, Secret rook-ceph-config or what is left of it)",
        ),
        ({"endpoints": None, "remnants": ("Deployment rook-ceph-osd-0",)}, "Deployment rook-ceph-osd-0"),
        (
            {"endpoints": Endpoints(), "remnants": ("osd.0 on /dev/sdb of node n1",)},
            "osd.0 on /dev/sdb of node n1",
        ),
    ],
)
def test_no_first_mon_is_made_where_there_were_mons_before(changes: dict[str, Any], known_by: str) -> None:
    """It would make an empty map of OSDs for the same fsid, to which the OSDs that there are do not belong."""
    cluster = a_cluster()
    seen = MonObservation(nodes=nodes("n1", "n2", "n3"), live=live_services(cluster, "a"), **changes)
    (step,) = analyze(cluster.spec.mon, a_context(cluster), seen)
    assert step.action is None
    assert step.waits_for.endswith(f"there were mons before, by {known_by}")


def test_members_that_run_are_found_again_whatever_else_there_is() -> None:
    cluster = a_cluster()
    seen = replace(running_mons(cluster, "abc"), endpoints=None, remnants=("Deployment rook-ceph-osd-0",))
    assert plan(cluster, replace(seen, nodes={m: a_node(m) for m in ("n1", "n2", "n3")})) == []


def test_quorum_is_read_from_the_mons_answer() -> None:
    answer = {
        "quorum_names": ["a", "c"],
        "monmap": {
            "mons": [
                {"name": "a", "public_addrs": {"addrvec": [{"type": "v2", "addr": "10.0.0.1:3300", "nonce": 0}]}},
                {"name": "b", "addr": "10.0.0.2:6789/0"},
                {"name": "c", "public_addrs": {"addrvec": [{"type": "v2", "addr": "[fd00::3]:3300"}]}},
            ]
        },
    }
    assert MonState.parse(answer) == MonState({"a": "10.0.0.1", "b": "10.0.0.2", "c": "fd00::3"}, frozenset({"a", "c"}))
