"""Request paths."""

import pytest

from informers import Resource

PODS = Resource("", "v1", "Pod", "pods")
NODES = Resource("", "v1", "Node", "nodes", namespaced=False)
CLUSTERS = Resource("ceph.rook.io", "v1", "CephCluster", "cephclusters")


@pytest.mark.parametrize(
    ("resource", "arguments", "path"),
    [
        (PODS, (), "/api/v1/pods"),
        (PODS, ("default",), "/api/v1/namespaces/default/pods"),
        (PODS, ("default", "a", "status"), "/api/v1/namespaces/default/pods/a/status"),
        (NODES, ("", "worker-1"), "/api/v1/nodes/worker-1"),
        (CLUSTERS, ("rook-ceph", "a"), "/apis/ceph.rook.io/v1/namespaces/rook-ceph/cephclusters/a"),
        (NODES, ("", "../secrets?x=%2F"), "/api/v1/nodes/..%2Fsecrets%3Fx%3D%252F"),
    ],
)
def test_paths(resource: Resource, arguments: tuple[str, ...], path: str) -> None:
    assert resource.path(*arguments) == path


@pytest.mark.parametrize(
    ("resource", "arguments", "message"),
    [
        (NODES, ("default",), "nodes: is cluster-scoped, but namespace 'default' was given"),
        (PODS, ("", "a"), "pods: is namespaced, but no namespace was given for 'a'"),
        (CLUSTERS, ("default", "", "status"), "cephclusters.ceph.rook.io: subresource 'status' needs an object's name"),
    ],
)
def test_paths_that_would_mean_something_else(resource: Resource, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resource.path(*arguments)


def test_names() -> None:
    assert (PODS.api_version, CLUSTERS.api_version) == ("v1", "ceph.rook.io/v1")
    assert (str(PODS), str(CLUSTERS)) == ("pods", "cephclusters.ceph.rook.io")
