"""`status` of a CephRBDMirror. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.ceph.mirroring.daemon_kind import shown
from controller.ceph.rbdmirror.spec import unserved

if TYPE_CHECKING:
    from controller.apis.ceph import CephRBDMirror, MirrorDaemonStatus
    from controller.ceph.rbdmirror.observe import RbdMirrorObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome


def show(look: Look[CephRBDMirror], _: RbdMirrorObservation, outcome: Outcome) -> MirrorDaemonStatus:
    """See `controller.framework.kind.ControlLoop`."""
    return msgspec.structs.replace(look.obj.status, **shown(look, outcome, unserved(look.spec)))
