"""What a CephRBDMirror's spec asks for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CephRBDMirrorSpec
from controller.apis.ceph.served import RBD_MIRROR
from controller.ceph.mirroring.daemon import MirrorDaemon
from controller.ceph.pods import Daemon
from controller.framework.honoured import unhonoured

if TYPE_CHECKING:
    from collections.abc import Mapping

DAEMON = MirrorDaemon(
    name="rook-ceph-rbd-mirror-a",
    daemon=Daemon(type="rbd-mirror", id="a"),
    user="client.rbd-mirror.a",
    caps={"mon": "profile rbd-mirror", "osd": "profile rbd"},
    container="rbd-mirror",
    program="rbd-mirror",
)
"""The daemons that mirror images; names and capabilities are upstream's."""


def unserved(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of the spec, as the user wrote it, that are set and not served."""
    return unhonoured(spec, RBD_MIRROR, CephRBDMirrorSpec)
