"""The objects that a mon is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.ceph.access.mons import Endpoints, Mon
from controller.ceph.mon.analyze import analyze, oversized
from controller.ceph.mon.objects import budgets, claim, mon_deployment, service
from controller.framework.children import Apply
from controller.framework.claims import GrowClaim
from controller.runtime.kube import PVC, StorageClass
from tests.unit.ceph.cases import a_cluster, a_context, member, running_mons
from tests.unit.ceph.mon.plans import ON_CLAIMS, on_claims, plan
from tests.unit.ceph.snapshot import assert_matches_snapshot

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster
    from controller.ceph.mon.observe import MonObservation


def test_mons_on_claims_are_spread_over_zones_by_the_scheduler() -> None:
    template = {"spec": {"storageClassName": "fast"}}
    pod = _pod(a_cluster({"mon": {"volumeClaimTemplate": template}}))
    (rule,) = pod["topologySpreadConstraints"]
    assert (rule["topologyKey"], rule["whenUnsatisfiable"]) == ("topology.kubernetes.io/zone", "ScheduleAnyway")
    assert rule["labelSelector"] == {"matchLabels": {"app": "rook-ceph-mon", "rook_cluster": "rook-ceph"}}


def test_mons_on_claims_run_in_the_named_zones_only_and_evenly() -> None:
    zones = [{"name": "y"}, {"name": "x"}]
    mon = {"volumeClaimTemplate": {"spec": {}}, "zones": zones, "failureDomainLabel": "room"}
    pod = _pod(a_cluster({"mon": mon}))
    (rule,) = pod["topologySpreadConstraints"]
    assert (rule["topologyKey"], rule["whenUnsatisfiable"], rule["maxSkew"]) == ("room", "DoNotSchedule", 1)
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchExpressions": [{"key": "room", "operator": "In", "values": ["x", "y"]}]}


def _pod(cluster: CephCluster) -> dict[str, Any]:
    pod: dict[str, Any] = mon_deployment(cluster.spec.mon, a_context(cluster), Mon("b", "10.0.0.2"))["spec"][
        "template"
    ]["spec"]
    return pod


def test_deployment_of_a_mon_on_a_node() -> None:
    spec = {
        "placement": {"all": {"tolerations": [{"key": "storage", "operator": "Exists"}]}},
        "resources": {"mon": {"limits": {"memory": "1Gi"}}},
        "annotations": {"mon": {"example": "yes"}},
        "priorityClassNames": {"all": "high"},
    }
    assert_matches_snapshot(
        mon_deployment(a_cluster(spec).spec.mon, a_context(a_cluster(spec)), member("a")), "mon-deployment"
    )


def test_deployment_of_a_mon_on_a_claim() -> None:
    cluster = a_cluster({"mon": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}})
    assert_matches_snapshot(
        mon_deployment(cluster.spec.mon, a_context(cluster), Mon("b", "10.0.0.2")), "mon-deployment-on-claim"
    )


def test_claims_of_mons_are_protected_from_deletion_and_one_of_before_is_made_so() -> None:
    cluster = a_cluster(ON_CLAIMS)
    assert [
        s
        for s in analyze(cluster.spec.mon, a_context(cluster), on_claims(cluster, "abc", "abc"))
        if "Claim" in s.reason
    ] == []
    unprotected = on_claims(cluster, "abc", "abc", finalizers=["kubernetes.io/pvc-protection"])
    steps = [
        s
        for s in analyze(cluster.spec.mon, a_context(cluster), unprotected)
        if "is not protected from deletion" in s.reason
    ]
    assert len(steps) == 3
    assert isinstance(steps[0].action, Apply)
    assert steps[0].action.obj["metadata"]["finalizers"] == ["ceph.rook.io/disaster-protection"]
    assert "spec" not in steps[0].action.obj


def on_storage(size: str) -> CephCluster:
    spec = {"storageClassName": "fast", "resources": {"requests": {"storage": size}}}
    return a_cluster({"mon": {"volumeClaimTemplate": {"spec": spec}}})


def bound(seen: MonObservation, size: str) -> MonObservation:
    """With claims that have got what they asked for."""
    live = {
        key: {**obj, "status": {"phase": "Bound", "capacity": {"storage": size}}} if key[0] == PVC.kind else obj
        for key, obj in seen.live.items()
    }
    growing = msgspec.convert({"metadata": {"name": "fast"}, "allowVolumeExpansion": True}, StorageClass)
    return replace(seen, live=live, classes={"fast": growing})


def test_claims_of_mons_grow_with_the_spec_and_do_not_shrink() -> None:
    before, larger, smaller = (on_storage(size) for size in ("10Gi", "20Gi", "5Gi"))
    seen = bound(on_claims(before, "abc", "abc"), "10Gi")
    assert [s for s in analyze(before.spec.mon, a_context(before), seen) if "Claim" in s.reason] == []
    steps = [s for s in analyze(larger.spec.mon, a_context(larger), seen) if isinstance(s.action, GrowClaim)]
    assert [(s.subject, s.action) for s in steps] == [
        (f"mon {mon_id}", GrowClaim("rook-ceph", f"rook-ceph-mon-{mon_id}", f"uid-rook-ceph-mon-{mon_id}", "20Gi"))
        for mon_id in "abc"
    ]
    assert [s for s in analyze(smaller.spec.mon, a_context(smaller), seen) if "Claim" in s.reason] == []
    told = "PersistentVolumeClaim rook-ceph-mon-a has 10Gi, wanted 5Gi: claims never shrink, and it stays as it is"
    assert next(oversized(smaller.spec.mon, seen)) == told
    assert list(oversized(before.spec.mon, seen)) == []


def test_service_of_a_mon() -> None:
    assert_matches_snapshot(service(a_context(a_cluster()), "a"), "mon-service")


def test_claim_of_a_mon() -> None:
    cluster = a_cluster({"mon": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}})
    made = claim(cluster.spec.mon, a_context(cluster), "a")
    assert made is not None
    assert "ownerReferences" not in made["metadata"], "data outlives the CephCluster"
    assert made["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "10Gi"}},
    }


def test_no_key_is_in_a_mons_arguments() -> None:
    pod = mon_deployment(a_cluster().spec.mon, a_context(a_cluster()), member("a"))["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        assert not any(arg.startswith("--key=") for arg in container["args"])
        assert not container["securityContext"]["privileged"]
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize(("members", "left"), [("ab", None), ("abc", 2), ("abcd", 3), ("abcde", 3), ("abcdefg", 5)])
def test_a_drain_never_takes_the_majority(members: str, left: int | None) -> None:
    made = budgets(a_context(a_cluster()), Endpoints(tuple(member(m) for m in members)))
    assert [budget["spec"]["minAvailable"] for budget in made] == ([] if left is None else [left])
    assert left is None or left > len(members) // 2


def test_a_broken_mon_does_not_keep_its_node_from_being_drained() -> None:
    (made,) = budgets(a_context(a_cluster()), Endpoints(tuple(member(m) for m in "abc")))
    assert made["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_a_mon_that_dies_changes_no_budget() -> None:
    cluster = a_cluster()
    assert plan(cluster, running_mons(cluster, "abc", quorum="ab")) == ["mon c: Wait <- the mon to join"]
