"""References to owners, and to what events are about."""

from __future__ import annotations

from controller.apis.ceph import CEPH_CLUSTER
from controller.runtime import Request, object_reference, owned_by, owner_reference, resource_of
from controller.runtime.kube import NODE, ConfigMap, Node, ObjectMeta, OwnerReference

OWNER = ConfigMap(metadata=ObjectMeta(namespace="ns", name="c", uid="u", resource_version="7"))


def test_an_owner_reference_lets_the_garbage_collector_do_its_work() -> None:
    expected = {
        "apiVersion": "ceph.rook.io/v1",
        "kind": "CephCluster",
        "name": "c",
        "uid": "u",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    assert owner_reference(OWNER, CEPH_CLUSTER) == expected
    assert owner_reference(OWNER.metadata, resource_of(CEPH_CLUSTER)) == expected


def test_the_owner_is_found_by_its_reference() -> None:
    found = owner_reference(OWNER, CEPH_CLUSTER)
    reference = OwnerReference(api_version=found["apiVersion"], kind=found["kind"], name="c", uid="u", controller=True)
    child = ConfigMap(metadata=ObjectMeta(namespace="ns", name="child", owner_references=(reference,)))
    assert list(owned_by(resource_of(CEPH_CLUSTER))(child)) == [Request("ns", "c")]


def test_a_reference_for_an_event_names_the_object_in_its_version() -> None:
    node = Node(metadata=ObjectMeta(name="n", uid="u", resource_version="7"))
    assert object_reference(node, NODE) == {
        "apiVersion": "v1",
        "kind": "Node",
        "namespace": "",
        "name": "n",
        "uid": "u",
        "resourceVersion": "7",
    }
