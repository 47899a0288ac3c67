"""Which image a volume is, by its class, its handle and its attributes."""

from __future__ import annotations

import pytest

from controller.ceph.rbd.volumes import describe, image_name, volume_handle
from controller.volumes.backend import Description, ParameterError, Volume
from tests.unit.ceph.volumes import DRIVER, HANDLE, UID, storage_class


def described(*served: str, provisioner: str = DRIVER, **parameters: str) -> Description:
    """What a claim of such a class gets, where these namespaces are served, or all."""
    found = storage_class(provisioner, **parameters)
    return describe(found, UID, lambda namespace: not served or namespace in served, lambda _: None)


def test_upstreams_class() -> None:
    found = described(imageFormat="2", imageFeatures="layering,exclusive-lock", dataPool="ec")
    assert found.volume.driver == DRIVER
    assert found.volume.attributes == {
        "clusterID": "rook-ceph",
        "pool": "replicapool",
        "imageFormat": "2",
        "imageName": f"csi-vol-{UID}",
        "imageFeatures": "layering,exclusive-lock",
        "dataPool": "ec",
    }
    assert (found.secret_namespace, found.stage_secret) == ("rook-ceph", "rook-csi-rbd-node")
    assert found.unserved == ()


def test_the_class_of_the_driver_before_csi() -> None:
    found = described(
        provisioner="ceph.rook.io/block", blockPool="p", clusterNamespace="storage", fstype="xfs", dataBlockPool="ec"
    )
    assert found.volume.driver == "storage.rbd.csi.ceph.com"
    assert found.volume.attributes["clusterID"] == "storage"
    assert (found.volume.attributes["pool"], found.volume.attributes["dataPool"]) == ("p", "ec")


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"clusterID": ""}, r"'clusterID'\] is '': expected the namespace of a CephCluster"),
        ({"clusterID": "other"}, r"'clusterID'\] is 'other': expected a namespace that this operator serves"),
        ({"pool": ""}, r"'pool'\] is '': expected the name of a CephBlockPool"),
        ({"imageFormat": "1"}, r"'imageFormat'\] is '1': expected \"2\""),
        ({"imageFeatures": "layering,speed"}, r"'layering,speed': expected names among layering"),
        ({"imageFeatures": "object-map"}, "expected exclusive-lock with object-map"),
        ({"encrypted": "yes"}, r"'encrypted'\] is 'yes': expected \"true\" or \"false\""),
        ({"encrypted": "true", "encryptionType": "file"}, r"'encryptionType'\] is 'file': expected \"block\""),
        ({"encrypted": "true", "imageFeatures": "exclusive-lock,journaling"}, "expected no journaling"),
        ({"radosNamespace": "a,b"}, r"'radosNamespace'\] is 'a,b': expected a name without"),
        ({"dataPool": "ec pool"}, r"'dataPool'\] is 'ec pool': expected a name without"),
        ({"mapOptions": "krbd:a secret=b"}, "expected options without spaces"),
        ({"objectSize": "4Mi"}, r"'objectSize'\] is '4Mi': expected a whole number"),
        ({"stripeCount": "²"}, r"'stripeCount'\] is '²': expected a whole number"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict[str, str], named: str) -> None:
    with pytest.raises(ParameterError, match=f"StorageClass rbd: .*{named}"):
        described("rook-ceph", **parameters)


def test_parameters_without_effect_are_told() -> None:
    found = described(tryOtherMounters="true", mounter="rbd-nbd", **{"csi.storage.k8s.io/fstype": "ext4"})
    assert found.unserved == ("tryOtherMounters",)
    assert found.volume.attributes["mounter"] == "rbd-nbd"


def test_volume_handles_are_those_of_cephs_driver() -> None:
    volume = Volume(driver=DRIVER, attributes={"clusterID": "rook-ceph", "imageName": f"csi-vol-{UID}"})
    assert volume_handle(volume, 2) == HANDLE


@pytest.mark.parametrize(
    ("handle", "attributes", "expected"),
    [
        (HANDLE, {"imageName": "given"}, "given"),
        (HANDLE, {}, f"csi-vol-{UID}"),  # by a ceph-csi that did not say it
        (HANDLE, {"volumeNamePrefix": "db-"}, f"db-{UID}"),
        ("archive", {"staticVolume": "true"}, "archive"),
        (HANDLE, {"staticVolume": "true"}, HANDLE),
        ("archive", {}, "archive"),
    ],
)
def test_the_image_of_a_volume(handle: str, attributes: dict[str, str], expected: str) -> None:
    assert image_name(Volume(driver=DRIVER, attributes=attributes, handle=handle)) == expected
