"""What a CephFilesystemMirror's spec asks for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.apis.ceph import MirrorDaemonSpec
from controller.apis.ceph.served import FILESYSTEM_MIRROR
from controller.ceph.mirroring.daemon import MirrorDaemon
from controller.ceph.pods import Daemon
from controller.framework.honoured import unhonoured

if TYPE_CHECKING:
    from collections.abc import Mapping

DAEMON = MirrorDaemon(
    name="rook-ceph-fs-mirror",
    daemon=Daemon(type="fs-mirror", id="fs-mirror"),
    user="client.fs-mirror",
    caps={
        "mon": "profile cephfs-mirror",
        "mgr": "allow r",
        "mds": "allow r",
        "osd": "allow rw tag cephfs metadata=*, allow r tag cephfs data=*",
    },
    container="fs-mirror",
    program="cephfs-mirror",
)
"""The daemon that mirrors files; its names are upstream's, what it may do is as Ceph's documentation has it."""


def unserved(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of the spec, as the user wrote it, that are set and not served."""
    return unhonoured(spec, FILESYSTEM_MIRROR, MirrorDaemonSpec)
