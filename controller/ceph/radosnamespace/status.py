"""`status` of a CephBlockPoolRadosNamespace: what all kinds show, and upstream's words for what holds back a deletion.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.apis.meta import Condition
from controller.ceph.access.rados_namespaces import cluster_id
from controller.ceph.mirroring import status as mirroring
from controller.ceph.mirroring.wanted import of_namespace
from controller.ceph.radosnamespace.analyze import blocked, problems
from controller.ceph.radosnamespace.spec import unserved
from controller.framework import honoured
from controller.framework.status import Words, conditions, fields, stage_of, timestamp

if TYPE_CHECKING:
    from controller.apis.ceph import CephBlockPoolRadosNamespace, CephBlockPoolRadosNamespaceStatus
    from controller.ceph.radosnamespace.observe import NamespaceObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(
    well="The RADOS namespace is as the spec has it", leaving="The CephBlockPoolRadosNamespace is being deleted"
)
NOT_EMPTY = "RadosNamespaceDeletionIsBlocked"
"""Upstream's condition beside DeletionIsBlocked."""


def show(
    look: Look[CephBlockPoolRadosNamespace], seen: NamespaceObservation, outcome: Outcome
) -> CephBlockPoolRadosNamespaceStatus:
    """See `controller.framework.kind.ControlLoop`."""
    namespace, present = look.obj, look.obj.status
    invalid = problems(namespace, seen)
    stage = stage_of(look, outcome, WORDS, invalid="; ".join(invalid))
    held = blocked(seen)
    found = [
        *conditions(stage, WORDS, blocked=f"it is used by {held}" if held else ""),
        honoured.condition(unserved(look.spec), (), namespace.metadata.generation),
    ]
    if namespace.metadata.deletion_timestamp is not None:
        reason = "RadosNamespaceNotEmpty" if held else "RadosNamespaceEmpty"
        found.append(Condition(type=NOT_EMPTY, status=str(bool(held)), reason=reason, message=held))
    return msgspec.structs.replace(
        present,
        **fields(present, look, outcome, stage, found),
        info={} if invalid else {"clusterID": cluster_id(namespace)},
        **mirroring.fields(present, of_namespace(namespace), seen.mirror, timestamp(look.now)),
    )
