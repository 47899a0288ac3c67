"""Which directory of which file system a CephFS volume is, and how it is to be mounted. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from controller.agent.ceph.kernel import MS_MODES
from controller.agent.ceph.secrets import credentials_of
from controller.agent.cephfs.protocol import Directory
from controller.agent.node.calls import CsiError

if TYPE_CHECKING:
    from controller.agent.ceph.credentials import Credentials
    from controller.agent.node.driver import Stage

MOUNTERS = ("", "kernel", "fuse")
"""The values of the StorageClass parameter `mounter`."""

_ADMIN, _USER = ("adminID", "adminKey"), ("userID", "userKey")

_SNAPSHOT_ROOT, _SNAPSHOT_NAME = "snapshotRoot", "snapshotName"
"""Attributes of a volume that shows a snapshot: the directory that was taken, and the snapshot's name."""

_RESERVED = frozenset(
    ("name", "secret", "secretfile", "key", "fs", "mds_namespace", "mon_addr", "fsid", "conf", "keyfile", "keyring")
)
"""Options that say what is mounted and by whom, which the volume says itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a stage asks for.

    Attributes:
        directory: What is to be mounted.
        credentials: By which Ceph user.
        mounter: One of `MOUNTERS`.
        kernel: Mount options for the kernel's client.
        fuse: Mount options for ceph-fuse.
        snapshot: The snapshot of the directory that pods see, read-only; empty: they see the directory itself.
    """

    directory: Directory
    credentials: Credentials
    mounter: str
    kernel: tuple[str, ...]
    fuse: tuple[str, ...]
    snapshot: str = ""

    def read_only(self, mounter: str) -> bool:
        """Whether a mounter mounts it so that nobody writes."""
        return "ro" in (self.kernel if mounter == "kernel" else self.fuse)


def asked_of(stage: Stage) -> Asked:
    """What a stage asks for; attributes are those of Ceph's CSI driver.

    Raises:
        CsiError: Something is missing or wrong; the message names it.
    """
    attributes, static = stage.attributes, stage.attributes.get("staticVolume") == "true"
    if stage.access.block:
        raise _wrong(stage, "volumeMode Block is not served by a file system: expected Filesystem")
    if not stage.told.get("monitors"):
        raise _wrong(
            stage,
            "publish_context['monitors'] is empty: expected it from the VolumeAttachment's status.attachmentMetadata",
        )
    shows = not static and _SNAPSHOT_ROOT in attributes
    path_key = "rootPath" if static else _SNAPSHOT_ROOT if shows else "subvolumePath"
    for key in ("fsName", path_key, *((_SNAPSHOT_NAME,) if shows else ())):
        if not attributes.get(key):
            raise _wrong(stage, f"volumeAttributes has no {key}: expected it in the PersistentVolume's spec.csi")
    filesystem, path = attributes["fsName"], attributes[path_key]
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", filesystem):
        raise _wrong(stage, f"volumeAttributes fsName is {filesystem!r}: expected the name of a file system")
    if not re.fullmatch(r"/[^\s,;#]*", path) or ".." in path.split("/"):
        raise _wrong(
            stage,
            f"volumeAttributes {path_key} is {path!r}: expected an absolute path without '..', space, comma, semicolon "
            "and number sign",
        )
    snapshot = attributes[_SNAPSHOT_NAME] if shows else ""
    if shows and not re.fullmatch(r"(?!\.\.?$)[A-Za-z0-9_.-]+", snapshot):
        raise _wrong(stage, f"volumeAttributes {_SNAPSHOT_NAME} is {snapshot!r}: expected the name of a snapshot")
    mounter, mode = attributes.get("mounter", ""), stage.told.get("msMode", "")
    if mounter not in MOUNTERS:
        raise _wrong(stage, f"StorageClass parameter mounter is {mounter!r}: expected kernel, fuse, or nothing")
    if mode and mode not in MS_MODES:
        raise _wrong(stage, f"msMode is {mode!r}: expected one of {', '.join(MS_MODES)}")
    directory = Directory(
        monitors=tuple(stage.told["monitors"].split(",")),
        filesystem=filesystem,
        path=path,
        ms_mode=mode,
        location=stage.told.get("crushLocation", ""),
    )
    return Asked(
        directory=directory,
        credentials=credentials_of(stage.secrets, (_USER, _ADMIN) if static else (_ADMIN, _USER)),
        mounter=mounter,
        kernel=_options(stage, "kernelMountOptions"),
        fuse=_options(stage, "fuseMountOptions"),
        snapshot=snapshot,
    )


def _options(stage: Stage, key: str) -> tuple[str, ...]:
    """Those of the parameter, and then those of the class' `mountOptions`."""
    found = [option.strip() for option in stage.attributes.get(key, "").split(",")]
    for source, options in ((f"StorageClass parameter {key}", found), ("mountOptions", stage.access.options)):
        for option in options:
            if re.search(r"\s", option) or option.partition("=")[0] in _RESERVED:
                # Not the option itself: somebody may have put a key into it.
                raise _wrong(
                    stage,
                    f"{source} has {option.partition('=')[0]!r}: expected no space, and none that names a user, "
                    "a key or a file system",
                )
    read_only = ("ro",) if stage.access.read_only or _SNAPSHOT_ROOT in stage.attributes else ()
    return tuple(dict.fromkeys(option for option in (*found, *stage.access.options, *read_only) if option))


def _wrong(stage: Stage, why: str) -> CsiError:
    return CsiError(grpc.StatusCode.INVALID_ARGUMENT, f"volume {stage.volume}: {why}")
