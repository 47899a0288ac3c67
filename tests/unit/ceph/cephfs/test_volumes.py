"""Which subvolume a volume is, by its class, its handle and its attributes."""

from __future__ import annotations

import pytest

from controller.ceph.cephfs.volumes import (
    IncompleteError,
    Subvolume,
    check,
    describe,
    named,
    place_of,
    subvolume_of,
)
from controller.volumes.backend import Description, ParameterError, Volume
from tests.unit.ceph.cephfs.cephfs import DRIVER, HANDLE, NAME, UID, storage_class

PLACE = {"clusterID": "rook-ceph", "fsName": "myfs"}
PATH = f"/volumes/csi/{NAME}/0e81e9b4-61a5-4b20-b2a2-7e39ec1f6cd1"


def described(**parameters: str) -> Description:
    return describe(storage_class(**parameters), UID, lambda namespace: namespace == "rook-ceph")


def volume(handle: str = HANDLE, **attributes: str) -> Volume:
    return Volume(driver=DRIVER, attributes={**PLACE, **attributes}, handle=handle)


def test_upstreams_class() -> None:
    found = described(pool="myfs-replicated", **{"csi.storage.k8s.io/node-stage-secret-name": "rook-csi-cephfs-node"})
    assert found.volume.driver == DRIVER
    assert found.volume.attributes == {**PLACE, "subvolumeGroup": "csi", "subvolumeName": NAME}
    assert found.options == {"pool": "myfs-replicated"}
    assert (found.secret_namespace, found.stage_secret) == ("rook-ceph", "rook-csi-cephfs-node")
    assert found.expand_secret == "rook-csi-cephfs-provisioner"
    assert found.unserved == ()


def test_what_a_class_says_of_mounts_and_names_goes_to_the_volume() -> None:
    options = {"mounter": "fuse", "kernelMountOptions": "recover_session=clean", "fuseMountOptions": "debug"}
    found = described(subvolumeGroup="team", volumeNamePrefix="a-", netNamespaceFilePath="/n", **options)
    assert found.volume.attributes == {**PLACE, "subvolumeGroup": "team", "subvolumeName": f"a-{UID}", **options}
    assert found.unserved == ("netNamespaceFilePath",)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"clusterID": ""}, r"'clusterID'\] is '': expected the namespace of a CephCluster"),
        ({"clusterID": "other"}, r"'clusterID'\] is 'other': expected a namespace that this operator serves"),
        ({"fsName": ""}, r"'fsName'\] is '': expected the name of a CephFilesystem"),
        ({"fsName": "my fs"}, r"'fsName'\] is 'my fs': expected a name of letters"),
        ({"subvolumeGroup": ".."}, r"'subvolumeGroup'\] is '..': expected a name of letters"),
        ({"volumeNamePrefix": "a/b"}, r"'volumeNamePrefix'\] is 'a/b': expected a name of letters"),
        ({"mounter": "rbd-nbd"}, r"'mounter'\] is 'rbd-nbd': expected kernel or fuse, or nothing"),
        ({"kernelMountOptions": "noatime secret=x"}, "expected options without spaces"),
        ({"fuseMountOptions": "debug\n"}, "expected options without spaces"),
        ({"backingSnapshot": "no"}, """'backingSnapshot'\\] is 'no': expected "true" or "false\""""),
        ({"encrypted": "true"}, "volumes of file systems are not encrypted"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict[str, str], told: str) -> None:
    with pytest.raises(ParameterError, match=f"StorageClass rook-cephfs: .*{told}"):
        described(**parameters)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (volume(subvolumeName=NAME, subvolumeGroup="team"), Subvolume("myfs", "team", NAME)),
        # Of Ceph's CSI driver: the group is in the path.
        (volume(subvolumeName=NAME, subvolumePath=PATH.replace("csi/", "g/", 1)), Subvolume("myfs", "g", NAME)),
        (volume(subvolumeName=NAME), Subvolume("myfs", "csi", NAME)),
        (volume(), Subvolume("myfs", "csi", NAME)),
        (volume(volumeNamePrefix="a-"), Subvolume("myfs", "csi", f"a-{UID}")),
        (volume("by-hand"), Subvolume("myfs", "csi", "")),
    ],
)
def test_the_subvolume_of_a_volume(found: Volume, expected: Subvolume) -> None:
    assert subvolume_of(found) == expected


@pytest.mark.parametrize(
    ("root", "same"),
    [
        (PATH, True),
        (f"/volumes/csi/{NAME}", True),
        (f"//volumes/csi/{NAME}//sub/dir/", True),
        ("/volumes/csi/csi-vol-another", False),
        ("/volumes/team/" + NAME, False),
        ("/", False),
    ],
)
def test_what_is_made_by_hand_within_a_subvolume_is_of_it(root: str, same: bool) -> None:
    made = volume(subvolumeName=NAME, subvolumePath=PATH)
    assert (place_of(volume("pv", staticVolume="true", rootPath=root)) == place_of(made)) is same


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (volume(clusterID=""), "has no 'clusterID': expected the namespace of the CephCluster"),
        (volume(fsName=""), "has no 'fsName': expected the name of the file system"),
        (volume("by-hand"), "has 'subvolumeName' '': expected a name of letters"),
        (volume(subvolumeName="a,b"), "has 'subvolumeName' 'a,b': expected a name"),
        (volume(subvolumeGroup=".."), "has 'subvolumeGroup' '..': expected a name"),
        (volume("pv", staticVolume="true"), "volume pv: .* has no 'rootPath': expected the path"),
        (volume("pv", staticVolume="true", rootPath="a"), "has 'rootPath' 'a': expected a path from /"),
        (volume("pv", staticVolume="true", rootPath="/a,b"), "has 'rootPath' '/a,b': expected a path from /"),
        (volume("pv", staticVolume="true", rootPath="/a/../b"), "has 'rootPath' '/a/../b': expected a path"),
    ],
)
def test_an_attribute_that_is_missing_or_wrong_is_named(found: Volume, told: str) -> None:
    with pytest.raises(IncompleteError, match=told):
        check(found)


def test_volumes_are_named() -> None:
    check(volume())
    check(volume("pv", staticVolume="true", rootPath="/shared"))
    assert named(volume()) == f"subvolume myfs/csi/{NAME}"
    assert named(volume("pv", staticVolume="true", rootPath="/shared")) == "path /shared of file system myfs"
