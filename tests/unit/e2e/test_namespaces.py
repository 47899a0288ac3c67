"""A scenario's namespace is left when nothing of it is, but for what Kubernetes goes on to remove by itself."""

from types import SimpleNamespace
from typing import cast

import pytest

from e2e import eventually, namespaces
from e2e.api import ApiError, Manifest
from e2e.environment import Environment


class Cluster:
    """An API server on which what was deleted goes at the third look, and a volume one look after its claim."""

    def __init__(self, *volumes: Manifest) -> None:
        self.deleted: list[str] = []
        self.looks = 0
        self.objects = {"Pod": ["writer"], "PersistentVolumeClaim": ["data"]}
        self.volumes = list(volumes)

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        self.deleted.append(f"{kind} {name}")

    def list(self, kind: str, namespace: str = "") -> list[Manifest]:
        if kind.startswith("Volume"):
            raise ApiError(404, "page not found")
        if kind == "PersistentVolume":
            self.looks += 1
            if self.looks == 3:
                self.objects.clear()
            if self.looks > 3:
                self.volumes = [v for v in self.volumes if v["spec"].get("persistentVolumeReclaimPolicy") != "Delete"]
            return self.volumes
        return [{"metadata": {"name": name}} for name in self.objects.get(kind, [])]


def volume(namespace: str, policy: str) -> Manifest:
    spec = {"claimRef": {"namespace": namespace}, "persistentVolumeReclaimPolicy": policy}
    return {"metadata": {"name": f"of-{namespace}"}, "spec": spec}


def environment(cluster: Cluster) -> Environment:
    return cast("Environment", SimpleNamespace(api=cluster))


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only sleeping moves."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(eventually, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))


def test_everything_that_takes_a_while_is_deleted_and_waited_for_with_its_volumes() -> None:
    cluster = Cluster(volume("mine", "Delete"), volume("mine", "Retain"), volume("theirs", "Retain"))
    namespaces.remove(environment(cluster), "mine")
    assert cluster.deleted == ["Namespace mine", "Pod writer", "PersistentVolumeClaim data"]
    assert cluster.objects == {}
    assert [v["spec"]["persistentVolumeReclaimPolicy"] for v in cluster.volumes] == ["Retain", "Retain"]


def test_what_stays_is_named() -> None:
    cluster = Cluster()
    cluster.looks = 3  # nothing goes any more
    with pytest.raises(TimeoutError, match="2 left: Pod writer, PersistentVolumeClaim data"):
        namespaces.remove(environment(cluster), "mine")
