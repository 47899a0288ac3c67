"""Objects of an image that have only zeros are removed, and nothing else is."""

from __future__ import annotations

import pytest

from controller.ceph.access.rados import CephError
from controller.ceph.rbd import images
from controller.ceph.rbd.images import Changes
from controller.ceph.rbd.space import sparsify
from controller.volumes.backend import BackendError, Volume
from tests.unit.ceph.rbd.librbd import Cluster

VOLUME = Volume(driver="d", attributes={"clusterID": "rook-ceph", "pool": "p", "imageName": "i"})


@pytest.fixture
def ceph(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster("p")
    monkeypatch.setattr(images, "library", lambda: made)
    return made


def test_objects_of_zeros_are_removed(ceph: Cluster) -> None:
    image = ceph.add("p", "i", size=16)
    image.objects = ["0000", "0A00", "0000", "AAAA"]
    assert sparsify(ceph.pools["p"], VOLUME, Changes()) == 8
    assert image.objects == ["0A00", "AAAA"]
    assert sparsify(ceph.pools["p"], VOLUME, Changes()) == 0


def test_an_image_is_sparsified_by_one_call_at_a_time(ceph: Cluster) -> None:
    image, changes = ceph.add("p", "i"), Changes()
    image.objects = ["0000"]
    with changes.alone(VOLUME, "grown"), pytest.raises(CephError, match="it is being grown"):
        sparsify(ceph.pools["p"], VOLUME, changes)
    assert image.objects == ["0000"]


def test_an_image_that_is_gone_is_named(ceph: Cluster) -> None:
    with pytest.raises(BackendError, match="image p/i does not exist"):
        sparsify(ceph.pools["p"], VOLUME, Changes())
