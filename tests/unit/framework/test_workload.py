"""Workloads: what becomes of what a spec says of daemons."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from controller.apis.ceph import CEPH_CLUSTER
from controller.apis.ceph.health import ProbeSpec
from controller.apis.meta import ObjectMeta
from controller.framework.labels import INSTANCE
from controller.framework.workload import Owner, PodSettings, deployment, pod_template, probes, stateful_set

if TYPE_CHECKING:
    from informers import JsonObject

META = ObjectMeta(name="c", namespace="n", uid="u", generation=2, resource_version="7")
OWNER = Owner.of(CEPH_CLUSTER, META)
LABELS = {"app": "x", INSTANCE: "c"}


def test_an_owner_is_equal_as_long_as_the_object_lives() -> None:
    later = ObjectMeta(name="c", namespace="n", uid="u", generation=3, resource_version="8")
    assert Owner.of(CEPH_CLUSTER, later) == OWNER
    assert Owner.of(CEPH_CLUSTER, ObjectMeta(name="c", namespace="n", uid="u2")) != OWNER


def test_what_outlives_its_owner_has_no_label_by_which_others_prune_it() -> None:
    assert OWNER.metadata("x", LABELS) == {
        "name": "x",
        "namespace": "n",
        "labels": LABELS,
        "ownerReferences": [OWNER.reference],
    }
    kept = OWNER.metadata("x", LABELS, owned=False, finalizers=["f"])
    assert kept == {"name": "x", "namespace": "n", "labels": {"app": "x"}, "finalizers": ["f"]}
    assert INSTANCE in LABELS, "what was handed in is as it was"


SETTINGS = PodSettings(
    placement={"all": {"tolerations": [{"key": "a"}]}, "db": {"tolerations": [{"key": "b"}]}},
    resources={"db": {"limits": {"cpu": "1"}}},
    labels={"all": {"team": "storage", "app": "mine"}, "db": {"tier": "db"}},
    annotations={"all": {"scrape": "no", "x": "all"}, "db": {"x": "db"}},
    priority_class_names={"all": "low", "db": "high"},
)
CONTAINERS: JsonObject = {"containers": [{"name": "main", "image": "i"}]}


def template(settings: PodSettings = SETTINGS, key: str = "db", **more: Any) -> JsonObject:
    return pod_template(settings, key, {**CONTAINERS, **more}, labels={"app": "x"}, account="daemons")


def test_a_pod_has_what_the_spec_says_of_its_key_over_what_it_says_of_all() -> None:
    assert template() == {
        "metadata": {
            "labels": {"team": "storage", "tier": "db", "app": "x"},
            "annotations": {"scrape": "no", "x": "db"},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "serviceAccountName": "daemons",
            "restartPolicy": "Always",
            "tolerations": [{"key": "a"}, {"key": "b"}],
            "priorityClassName": "high",
            **CONTAINERS,
        },
    }
    assert template(key="other")["spec"]["priorityClassName"] == "low"


def test_a_pod_of_a_spec_that_says_nothing_has_nothing_of_it() -> None:
    made = template(PodSettings())
    assert made["metadata"] == {"labels": {"app": "x"}}
    assert set(made["spec"]) == {
        "automountServiceAccountToken",
        "enableServiceLinks",
        "serviceAccountName",
        "restartPolicy",
        "containers",
    }


def test_what_the_system_says_goes_before_what_the_spec_does() -> None:
    made = template(restartPolicy="Never", tolerations=[{"operator": "Exists"}])
    assert made["spec"]["restartPolicy"] == "Never"
    assert made["spec"]["tolerations"] == [{"operator": "Exists"}]


def test_a_pod_in_the_network_of_its_node_still_finds_services() -> None:
    spec = template(replace(SETTINGS, host_network=True))["spec"]
    assert (spec["hostNetwork"], spec["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (("db",), {"resources": {"limits": {"cpu": "1"}}}),
        (("db-ssd", "db"), {"resources": {"limits": {"cpu": "1"}}}),
        (("x",), {}),
    ],
)
def test_resources_of_the_first_key_that_has_any(keys: tuple[str, ...], found: JsonObject) -> None:
    assert SETTINGS.container_resources(*keys) == found


def test_two_pods_of_a_deployment_never_run_at_once() -> None:
    made = deployment(OWNER.metadata("x", LABELS), {"app": "x"}, template())
    assert made["spec"]["replicas"] == 1
    assert made["spec"]["strategy"] == {"type": "Recreate"}
    assert made["spec"]["selector"] == {"matchLabels": {"app": "x"}}


def test_the_claims_of_a_stateful_set_stay_when_it_shrinks_or_goes() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    meta = OWNER.metadata("x", LABELS)
    made = stateful_set(meta, {"app": "x"}, template(), replicas=3, service="x-members", claims=[claim])
    assert made["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert made["spec"]["volumeClaimTemplates"] == [claim]
    assert made["spec"]["serviceName"] == "x-members"
    assert made["spec"]["podManagementPolicy"] == "Parallel"


@pytest.mark.parametrize(
    ("partition", "strategy"),
    [(None, {"type": "OnDelete"}), (2, {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})],
)
def test_a_stateful_set_restarts_no_pod_below_its_partition(partition: int | None, strategy: JsonObject) -> None:
    made = stateful_set(OWNER.metadata("x", LABELS), {}, template(), replicas=3, service="s", partition=partition)
    assert made["spec"]["updateStrategy"] == strategy


ASK: JsonObject = {"exec": {"command": ["ask"]}, "periodSeconds": 10}


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        (None, {"livenessProbe": ASK}),
        (ProbeSpec(), {"livenessProbe": ASK}),
        (ProbeSpec(disabled=True, probe={"periodSeconds": 5}), {}),
        (ProbeSpec(probe={"periodSeconds": 5}), {"livenessProbe": {**ASK, "periodSeconds": 5}}),
        (
            ProbeSpec(probe={"tcpSocket": {"port": 1}}),
            {"livenessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 10}},
        ),
    ],
)
def test_a_spec_may_switch_a_probe_off_or_replace_fields_of_it(choice: ProbeSpec | None, found: JsonObject) -> None:
    assert probes({"livenessProbe": ASK}, {"livenessProbe": choice}) == found
