"""What says which subvolume a volume is: StorageClass parameters, volume handles and volume attributes. All of it pure.

They are those of Ceph's CSI driver (https://github.com/ceph/ceph-csi/blob/devel/docs/cephfs/deploy.md), so its classes
and volumes are served as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.ceph.access.filesystems import DEFAULT_GROUP
from controller.ceph.csi import users as csi
from controller.ceph.csi.volumes import HANDLE_VERSION, NAME_PREFIX, required, unserved, wrong
from controller.volumes.backend import BackendError, Description, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.runtime.kube import StorageClass

SUFFIX = ".cephfs.csi.ceph.com"

MOUNTERS = ("kernel", "fuse")
"""Clients that a class may ask for; by default a node takes the first that it has."""

NAME = re.compile(r"(?!\.\.?$)[A-Za-z0-9_.-]+")
"""Names of file systems, groups and subvolumes: they become parts of paths and of mount options."""

_NAMED = "a name of letters, digits, '.', '-' and '_'"

_ROOT = re.compile(r"/[^\s,;#]*")
"""Paths that clients can be handed beside other options."""

_SUBVOLUME = re.compile(r"/volumes/(?P<group>[^/]+)/(?P<name>[^/]+)(?:/.*)?")
"""A path at a subvolume, or within one."""

_SERVED = frozenset(
    {
        "clusterID",
        "fsName",
        "pool",
        "subvolumeGroup",
        "volumeNamePrefix",
        "mounter",
        "kernelMountOptions",
        "fuseMountOptions",
        "backingSnapshot",
    }
)


class IncompleteError(BackendError):
    """A volume's attributes do not say which subvolume it is."""


@dataclass(frozen=True, slots=True)
class Subvolume:
    """A subvolume, by its file system, its group and its name."""

    filesystem: str
    group: str
    name: str

    def __str__(self) -> str:
        return f"{self.filesystem}/{self.group}/{self.name}"


def describe(storage_class: StorageClass, claim_uid: str, has: Callable[[str], bool]) -> Description:
    """The subvolume that a claim gets: its name comes from the claim's uid.

    Args:
        storage_class: The claim's class.
        claim_uid: The claim's uid.
        has: Whether a namespace is served.

    Raises:
        ParameterError: A parameter is missing or wrong; the message names it.
    """
    parameters = storage_class.parameters
    cluster = required(storage_class, "clusterID", "the namespace of a CephCluster")
    if not has(cluster):
        raise wrong(storage_class, "clusterID", cluster, "a namespace that this operator serves")
    required(storage_class, "fsName", "the name of a CephFilesystem")
    if (encrypted := parameters.get("encrypted", "false")).lower() != "false":
        raise wrong(
            storage_class, "encrypted", encrypted, '"false": volumes of file systems are not encrypted by this operator'
        )
    for key in ("fsName", "pool", "subvolumeGroup", "volumeNamePrefix"):
        if (value := parameters.get(key)) and not NAME.fullmatch(value):
            raise wrong(storage_class, key, value, _NAMED)
    if (mounter := parameters.get("mounter", "")) and mounter not in MOUNTERS:
        raise wrong(storage_class, "mounter", mounter, f"{' or '.join(MOUNTERS)}, or nothing")
    for key in ("kernelMountOptions", "fuseMountOptions"):
        if re.search(r"\s", options := parameters.get(key, "")):
            raise wrong(storage_class, key, options, "options without spaces, with commas between them")
    if (shown := parameters.get("backingSnapshot") or "true") not in ("true", "false"):
        raise wrong(storage_class, "backingSnapshot", shown, '"true" or "false"')
    attributes = {
        "clusterID": cluster,
        "fsName": parameters["fsName"],
        "subvolumeGroup": parameters.get("subvolumeGroup") or DEFAULT_GROUP,
        "subvolumeName": f"{parameters.get('volumeNamePrefix') or NAME_PREFIX}{claim_uid}",
    }
    for key in ("mounter", "kernelMountOptions", "fuseMountOptions"):
        if parameters.get(key):
            attributes[key] = parameters[key]
    return Description(
        volume=Volume(driver=storage_class.provisioner, attributes=attributes),
        secret_namespace=cluster,
        stage_secret=csi.secret_name(csi.CEPHFS_NODE),
        expand_secret=csi.secret_name(csi.CEPHFS_PROVISIONER),
        options={key: parameters[key] for key in ("pool", "backingSnapshot") if parameters.get(key)},
        unserved=unserved(parameters, _SERVED),
    )


def subvolume_of(volume: Volume) -> Subvolume:
    """The subvolume of a volume that was not made by hand; parts that nothing tells are empty.

    As by Ceph's CSI driver: its volumes name no group, which is in the path, and old ones may lack the name, too.
    """
    attributes, known = volume.attributes, volume.handle
    path = _SUBVOLUME.fullmatch(attributes.get("subvolumePath", ""))
    name = attributes.get("subvolumeName", "") or (path["name"] if path else "")
    if not name and known.startswith(f"{HANDLE_VERSION}-"):
        name = f"{attributes.get('volumeNamePrefix') or NAME_PREFIX}{known[-36:]}"
    group = attributes.get("subvolumeGroup", "") or (path["group"] if path else DEFAULT_GROUP)
    return Subvolume(attributes.get("fsName", ""), group, name)


def named(volume: Volume) -> str:
    """What a volume is, for messages."""
    if volume.is_static:
        return f"path {volume.attributes.get('rootPath')} of file system {volume.attributes.get('fsName')}"
    return f"subvolume {subvolume_of(volume)}"


def place_of(volume: Volume) -> str:
    """File system and directory: the same for all volumes of a subvolume, those made by hand within it included."""
    attributes = volume.attributes
    if not volume.is_static:
        subvolume = subvolume_of(volume)
        return f"{subvolume.filesystem}:/volumes/{subvolume.group}/{subvolume.name}"
    root = "/" + "/".join(filter(None, attributes.get("rootPath", "").split("/")))
    within = _SUBVOLUME.fullmatch(root)
    if within:
        root = f"/volumes/{within['group']}/{within['name']}"
    return f"{attributes.get('fsName', '')}:{root}"


def check(volume: Volume) -> None:
    """Refuses attributes, written by hand perhaps, with which nothing can be done.

    Raises:
        IncompleteError: It names the attribute.
    """
    given, attributes = volume.attributes, f"volume {volume.handle}: spec.csi.volumeAttributes"
    expected = {"clusterID": "the namespace of the CephCluster", "fsName": "the name of the file system"}
    if volume.is_static:
        expected["rootPath"] = "the path of its directory in the file system"
    for key, what in expected.items():
        if not given.get(key):
            raise IncompleteError(f"{attributes} has no {key!r}: expected {what}")
    names = {"fsName": given["fsName"]}
    if volume.is_static:
        root = given["rootPath"]
        if not _ROOT.fullmatch(root) or ".." in root.split("/"):
            expected_path = "a path from / without '..', space, comma, semicolon and number sign"
            raise IncompleteError(f"{attributes} has 'rootPath' {root!r}: expected {expected_path}")
    else:
        subvolume = subvolume_of(volume)
        names |= {"subvolumeGroup": subvolume.group, "subvolumeName": subvolume.name}
    for key, value in names.items():
        if not NAME.fullmatch(value):
            raise IncompleteError(f"{attributes} has {key!r} {value!r}: expected {_NAMED}")
