"""Derived names are valid, and told apart, whatever they are derived from."""

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.apis.ceph import CephCluster
from controller.ceph.cluster import cleanup
from controller.ceph.osd import prepare_job as osd_prepare
from controller.ceph.osd.objects import Osd, osd_deployment
from controller.ceph.osd.prepare_job import PrepareDevices, Target
from controller.ceph.pods import Release, context_of
from controller.ceph.releases import CephVersion
from controller.framework.names import label_value, object_name
from controller.runtime.kube import Node

DNS = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
"""As Kubernetes itself has them, in its package validation."""

_label = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
node_names = st.lists(_label, min_size=1, max_size=8).map(".".join).filter(lambda name: len(name) <= 253)
"""Names of Nodes and of custom resources."""
host_names = st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", fullmatch=True)
"""Values of the label kubernetes.io/hostname."""

RELEASE = Release("quay.io/ceph/ceph:v18.2.7", CephVersion(18, 2, 7))


@given(st.text(max_size=300))
def test_any_text_becomes_a_valid_name_and_label(text: str) -> None:
    name, value = object_name(text), label_value(text)
    assert DNS.fullmatch(name)
    assert len(name) <= 63
    assert VALUE.fullmatch(value)
    assert len(value) <= 63


@given(st.text(max_size=300))
def test_a_name_of_what_may_be_longer_is_cut_later(text: str) -> None:
    assert DNS.fullmatch(object_name(text, 253))
    assert len(object_name(text, 253)) <= 253


@given(st.lists(st.text(max_size=100), unique=True, max_size=20))
def test_different_texts_stay_different(texts: list[str]) -> None:
    assert len({object_name(text) for text in texts}) == len(texts)
    assert len({label_value(text) for text in texts}) == len(texts)


@pytest.mark.parametrize("text", ["worker", "cluster-cleanup-job-n1.example.org", "a" * 63])
def test_what_is_valid_stays(text: str) -> None:
    assert object_name(text) == label_value(text) == text


def test_a_name_is_not_cut_at_a_dot() -> None:
    assert DNS.fullmatch(cleanup.job_name("ip-192-168-100-200.ap-northeast-1.compute.internal"))


def metas(obj: Any) -> list[dict[str, Any]]:
    """The metadata of an object and of the template in it."""
    return [obj["metadata"], obj["spec"]["template"]["metadata"]]


@given(cluster_name=node_names, node_name=node_names, host=host_names, device_class=st.text(min_size=1, max_size=70))
def test_everything_that_is_made_for_a_node_is_valid(
    cluster_name: str, node_name: str, host: str, device_class: str
) -> None:
    meta = {"name": cluster_name, "namespace": "n" * 63, "uid": "u"}
    cluster = msgspec.convert({"metadata": meta, "spec": {}}, CephCluster)
    labels = {"kubernetes.io/hostname": host, "topology.kubernetes.io/zone": host}
    node = msgspec.convert({"metadata": {"name": node_name, "labels": labels}}, Node)
    action = PrepareDevices(node=node_name, hostname=host, targets=(Target("/dev/sdb"),))
    osd = Osd(osd_id=0, uuid="u", node=node_name, path="/dev/sdb", settings={"deviceClass": device_class})
    context = context_of(cluster, "f", RELEASE)
    made = [
        osd_prepare.prepare_job(cluster.spec.storage, context, action, ("u",), "image"),
        cleanup.cleanup_job(cluster, context, node_name, host, 60),
        osd_deployment(cluster.spec.storage, context, osd, node, {}, "image"),
    ]
    for obj in made:
        assert DNS.fullmatch(obj["metadata"]["name"])
        assert len(obj["metadata"]["name"]) <= 63
        for found in metas(obj):
            wrong = {k: v for k, v in found["labels"].items() if not VALUE.fullmatch(v) or len(v) > 63}
            assert not wrong
