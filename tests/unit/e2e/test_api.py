"""Where kinds are served."""

import pytest

from e2e.api import condition, path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("Pod",), "/api/v1/pods"),
        (("Pod", "a"), "/api/v1/namespaces/a/pods"),
        (("Pod", "a", "b"), "/api/v1/namespaces/a/pods/b"),
        (("Node", "", "n"), "/api/v1/nodes/n"),
        (("Namespace", "", "n"), "/api/v1/namespaces/n"),
        (("PersistentVolume", "ignored", "v"), "/api/v1/persistentvolumes/v"),
        (("CephCluster", "a", "c"), "/apis/ceph.rook.io/v1/namespaces/a/cephclusters/c"),
    ],
)
def test_path(arguments: tuple[str, ...], expected: str) -> None:
    assert path(*arguments) == expected


def test_condition() -> None:
    manifest = {"status": {"conditions": [{"type": "A", "status": "False"}, {"type": "B", "status": "True"}]}}
    assert condition(manifest, "B") == {"type": "B", "status": "True"}
    assert condition(manifest, "C") == {}
    assert condition({}, "A") == {}
