"""`status` of a CephObjectStoreUser. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph.object_user import KeyRotationStatus
from controller.ceph.objectuser.analyze import blocked, invalid, kept
from controller.ceph.objectuser.keys import is_due, is_to_note
from controller.ceph.objectuser.spec import digest, made_access_key, requested_rotation, secret_name, warnings
from controller.framework import honoured
from controller.framework.owned_secrets import SecretState
from controller.framework.status import Words, conditions, fields, stage_of, timestamp

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStoreUser, ObjectStoreUserStatus
    from controller.ceph.objectuser.observe import UserObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(well="The user is as the spec has it", leaving="The CephObjectStoreUser is being deleted")


def show(look: Look[CephObjectStoreUser], seen: UserObservation, outcome: Outcome) -> ObjectStoreUserStatus:
    """See `controller.framework.kind.ControlLoop`."""
    user, present = look.obj, look.obj.status
    stage = stage_of(look, outcome, WORDS, invalid="; ".join(invalid(user, seen)))
    told = (*kept(seen), *warnings(user))
    found = (
        *conditions(stage, WORDS, blocked=blocked(seen)),
        honoured.differing(told, (), user.metadata.generation),
    )
    ours = not seen.refusal and (seen.user is not None or "secretName" in present.info)
    return msgspec.structs.replace(
        present,
        **fields(present, look, outcome, stage, found),
        info={"secretName": secret_name(user)} if ours else {},
        keys=seen.read,
        key_rotation=_rotation(user, seen, look.now),
    )


def _rotation(user: CephObjectStoreUser, seen: UserObservation, now: float) -> KeyRotationStatus:
    """The last rotation: what it replaces is noted before it, and that it is done when the Secret has the new key."""
    noted, asked = user.status.key_rotation, requested_rotation(user)
    if seen.waits_for or seen.refusal:
        return noted
    if seen.user is None:
        # One that is made now has a key that nobody has had before.
        return noted if seen.kept is not None else KeyRotationStatus(requested=asked)
    if seen.keys:
        return KeyRotationStatus()
    present = {digest(key.access) for key in seen.user.keys}
    replaced = [name for name in noted.replaced if name in present]
    if seen.kept is not None and is_to_note(user, seen.kept, seen.user):
        replaced.append(digest(seen.kept.access))
    noted = msgspec.structs.replace(noted, replaced=tuple(replaced))
    has_new = seen.kept is not None and seen.kept.access == made_access_key(user.metadata, asked)
    if not is_due(user) or not has_new or seen.secret is not SecretState.CURRENT:
        return noted
    return msgspec.structs.replace(noted, requested=asked, rotated_at=timestamp(now))
