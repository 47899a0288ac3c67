"""`status` of a CephObjectRealm. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.ceph.multisite.status import blocked
from controller.ceph.realm.spec import problems
from controller.ceph.rgw import tool
from controller.framework.status import Words, conditions, fields, stage_of

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectRealm
    from controller.apis.ceph.object_multisite_status import CephObjectRealmStatus
    from controller.ceph.realm.observe import RealmObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(well="The realm is as the spec has it", leaving="The CephObjectRealm is being deleted")


def show(look: Look[CephObjectRealm], seen: RealmObservation, outcome: Outcome) -> CephObjectRealmStatus:
    """See `controller.framework.kind.ControlLoop`."""
    realm, present = look.obj, look.obj.status
    stage = stage_of(look, outcome, WORDS, invalid="; ".join(problems(realm)))
    found = conditions(stage, WORDS, blocked=blocked(seen.users))
    return msgspec.structs.replace(
        present,
        **fields(present, look, outcome, stage, found),
        id=tool.answer(seen.ground.run).get("id", present.id),
    )
