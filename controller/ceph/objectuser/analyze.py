"""What a CephObjectStoreUser asks for against what the gateways have: the plan between the two. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.objectuser.act import (
    MAX_NAMED,
    CreateUser,
    MakeKey,
    ModifyUser,
    RemoveKeys,
    RemoveUser,
    SetCaps,
    SetKeys,
    SetQuota,
    WriteSecret,
)
from controller.ceph.objectuser.keys import is_due, is_to_note, outlived
from controller.ceph.objectuser.spec import made_access_key, problems, requested_rotation, secret_name, wanted
from controller.framework.kind import LetGo
from controller.framework.owned_secrets import SecretState
from controller.framework.plan import Plan, Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephObjectStoreUser
    from controller.ceph.objectuser.observe import UserObservation
    from controller.ceph.rgw.users import User

AT_REST, WHILE_WAITING = 60.0, 10.0
"""Seconds after which to look again at a user that is as it should be, and at one that waits for something."""
SOON = 1.0
"""Seconds after which its status tells which key is about to be replaced."""


def analyze(user: CephObjectStoreUser, seen: UserObservation) -> Plan:
    """The plan for a user."""
    deleting = user.metadata.deletion_timestamp is not None
    steps = tuple(_deletion(user, seen) if deleting else _steps(user, seen))
    noting = seen.user is not None and is_to_note(user, seen.kept, seen.user)
    return Plan(steps=steps, look_again=SOON if noting else WHILE_WAITING if steps else AT_REST)


def invalid(user: CephObjectStoreUser, seen: UserObservation) -> tuple[str, ...]:
    """Why the spec cannot be carried out, in words."""
    found = problems(user)
    refused = (seen.refusal,) if seen.refusal and seen.refusal not in found else ()
    return (*found, *refused, *(() if found else seen.lacking))


def kept(seen: UserObservation) -> tuple[str, ...]:
    """What the user has otherwise than the spec asks, and keeps, in words."""
    if seen.user is None or seen.user.account == seen.account or seen.account_wait:
        return ()
    has = f"in account {seen.user.account}" if seen.user.account else "in no account"
    return (f"accountRef: the user was made {has}, and stays there: make another user",)


def blocked(seen: UserObservation) -> str:
    """What the deletion is held back by, in words; empty: by nothing."""
    if seen.dependents:
        return f"it is used by {some(seen.dependents, MAX_NAMED)}"
    return f"it owns {some([f'bucket {name}' for name in seen.buckets], MAX_NAMED)}" if seen.buckets else ""


def _steps(user: CephObjectStoreUser, seen: UserObservation) -> Iterator[Step]:
    subject = f"user {user.metadata.name}"
    secret = secret_name(user)
    if wrong := invalid(user, seen):
        yield Step(subject=subject, reason="the spec cannot be carried out", waits_for="; ".join(wrong))
    elif seen.waits_for or seen.account_wait:
        waits = seen.waits_for or seen.account_wait
        yield Step(subject=subject, reason="to be compared with the store", waits_for=waits)
    elif seen.secret is SecretState.ANOTHERS:
        reason = "it is there, and is not this CephObjectStoreUser's"
        yield Step(subject=f"Secret {secret}", reason=reason, waits_for="it to be deleted")
    elif seen.user is None:
        yield Step(subject=subject, action=CreateUser(user.metadata.name), reason="it does not exist")
        if wanted(user, seen.account).quota.enabled:
            yield Step(subject=subject, action=SetQuota(user.metadata.name), reason="it has no quota yet")
        yield Step(subject=subject, action=WriteSecret(user.metadata.name), reason=f"Secret {secret} lacks its key")
    else:
        yield from _changes(user, seen, seen.user)


def _changes(user: CephObjectStoreUser, seen: UserObservation, found: User) -> Iterator[Step]:
    subject, target = f"user {found.uid}", wanted(user, seen.account)
    if differs := _differing(target, found):
        yield Step(subject=subject, action=ModifyUser(found.uid), reason=f"it has another {differs} than its spec")
    if found.caps != target.caps:
        reason = "its capabilities are not those of the spec"
        yield Step(subject=subject, action=SetCaps(found.uid), reason=reason)
    if found.quota != target.quota:
        yield Step(subject=subject, action=SetQuota(found.uid), reason="its quota is not that of the spec")
    yield from _keys(user, seen, found)


def _keys(user: CephObjectStoreUser, seen: UserObservation, found: User) -> Iterator[Step]:
    subject, written = f"user {found.uid}", seen.secret is SecretState.CURRENT
    made = made_access_key(user.metadata, requested_rotation(user))
    if seen.keys:
        if frozenset(seen.keys) != frozenset(found.keys):
            yield Step(subject=subject, action=SetKeys(found.uid), reason="its keys are not those of the spec")
    elif not found.keys and seen.kept is not None:
        yield Step(subject=subject, action=SetKeys(found.uid), reason="it has no key, and its Secret has one")
    elif is_to_note(user, seen.kept, found):
        # What is removed later has to be known before nothing tells any more that it was in the Secret.
        yield Step(subject=subject, reason="another key was asked for", waits_for="the one before to be noted")
        return
    elif (not found.keys or is_due(user)) and all(key.access != made for key in found.keys):
        reason = "another key was asked for" if found.keys else "it has no key"
        yield Step(subject=subject, action=MakeKey(found.uid, made), reason=reason)
        written = False
    if not written:
        reason = f"Secret {secret_name(user)} does not have what it should"
        yield Step(subject=subject, action=WriteSecret(found.uid), reason=reason)
    elif old := outlived(user, found, seen.now):
        reason = "they were replaced, and programs had time to take the new one"
        yield Step(subject=subject, action=RemoveKeys(found.uid, old), reason=reason)


def _differing(target: User, found: User) -> str:
    """What one request gives a user, where it differs, in words."""
    differs = []
    if found.display_name != target.display_name:
        differs.append("displayName")
    if found.max_buckets != target.max_buckets:
        differs.append("quotas.maxBuckets")
    if found.operations != target.operations:
        differs.append("opMask")
    return ", ".join(differs)


def _deletion(user: CephObjectStoreUser, seen: UserObservation) -> Iterator[Step]:
    subject, reason = f"user {user.metadata.name}", "the CephObjectStoreUser is being deleted"
    if seen.gone or seen.refusal or problems(user):
        # Without a store there is no user; and one that is not this object's is not its to remove.
        pass
    elif seen.waits_for:
        yield Step(subject=subject, reason=reason, waits_for=seen.waits_for)
        return
    elif held := blocked(seen):
        yield Step(subject=subject, reason=f"{reason}, and {held}", waits_for="that to be deleted")
        return
    elif seen.user is not None:
        yield Step(subject=subject, action=RemoveUser(seen.user.uid), reason=reason)
    yield Step(subject=subject, action=LetGo(), reason=reason)
