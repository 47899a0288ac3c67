"""What a CephObjectStoreAccount asks for against what the gateways have: the plan between the two. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.objectaccount.act import (
    CreateAccount,
    CreateRootUser,
    ModifyRootUser,
    PurgeBucket,
    RemoveAccount,
    RemoveMember,
    RemoveRootUser,
    RenameAccount,
    RestoreKey,
    WriteSecret,
)
from controller.ceph.objectaccount.spec import account_id, account_name, root_user, secret_name
from controller.framework.children import Delete
from controller.framework.consent import FORCE_ANNOTATION, is_forced
from controller.framework.kind import LetGo
from controller.framework.owned_secrets import OURS, SecretState
from controller.framework.plan import Plan, Step
from controller.framework.text import some
from controller.runtime.kube import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephObjectStoreAccount
    from controller.ceph.objectaccount.observe import AccountObservation

AT_REST, WHILE_WAITING, SOON = 60.0, 10.0, 1.0
"""Seconds after which to look again at an account that is as it should be, at one that waits for something, and at one
whose status is about to tell its identity."""
MAX_NAMED = 10
"""Users and buckets that are named."""


def analyze(account: CephObjectStoreAccount, seen: AccountObservation) -> Plan:
    """The plan for an account."""
    deleting = account.metadata.deletion_timestamp is not None
    steps = tuple(_deletion(account, seen) if deleting else _steps(account, seen))
    noting = not deleting and not invalid(account, seen) and not is_noted(account)
    return Plan(steps=steps, look_again=SOON if noting else WHILE_WAITING if steps else AT_REST)


def is_noted(account: CephObjectStoreAccount) -> bool:
    """Whether the status tells the account's id: only then is an account of this id the object's own."""
    return account.status.account_id == account_id(account)


def invalid(account: CephObjectStoreAccount, seen: AccountObservation) -> tuple[str, ...]:
    """Why the spec cannot be carried out, in words."""
    if seen.unknown:
        return (f"store: CephObjectStore {account.spec.store} has no accounts: they are there from Ceph 19 (Squid) on",)
    if seen.name is not None and not is_noted(account):
        return (f"accountID: account {account_id(account)} is there, and was not made for this object",)
    return ()


def blocked(account: CephObjectStoreAccount, seen: AccountObservation) -> str:
    """What the deletion is held back by, in words; empty: by nothing, or by nothing that does not go with consent."""
    return some(seen.dependents or (() if is_forced(account.metadata.annotations) else seen.inside.named), MAX_NAMED)


def _steps(account: CephObjectStoreAccount, seen: AccountObservation) -> Iterator[Step]:
    identity, name, secret = account_id(account), account_name(account), secret_name(account)
    subject = f"account {identity}"
    if wrong := invalid(account, seen):
        yield Step(subject=subject, reason="the spec cannot be carried out", waits_for="; ".join(wrong))
    elif seen.waits_for:
        yield Step(subject=subject, reason="to be compared with the store", waits_for=seen.waits_for)
    elif seen.secret is SecretState.ANOTHERS and not account.spec.root_user.skip_create:
        reason = "it is there, and is not this CephObjectStoreAccount's"
        yield Step(subject=f"Secret {secret}", reason=reason, waits_for="it to be deleted")
    elif not is_noted(account):
        # An operator that dies right after an account is made must know it for its own.
        yield Step(subject=subject, reason="it does not exist", waits_for="its identity to be noted")
    else:
        if seen.name is None:
            yield Step(subject=subject, action=CreateAccount(identity, name), reason="it does not exist")
        elif seen.name != name:
            reason = f"it is called {seen.name!r}"
            yield Step(subject=subject, action=RenameAccount(identity, name), reason=reason)
        yield from _root(account, seen, subject)


def _root(account: CephObjectStoreAccount, seen: AccountObservation, subject: str) -> Iterator[Step]:
    wanted = root_user(account)
    if account.spec.root_user.skip_create:
        yield from _without_root(account, seen, subject, reason="rootUser.skipCreate is set")
        return
    if seen.root is None:
        yield Step(subject=subject, action=CreateRootUser(wanted.uid), reason="it has no root user")
    elif seen.root.display_name != wanted.display_name:
        reason = "its root user has another displayName than its spec"
        yield Step(subject=subject, action=ModifyRootUser(wanted.uid), reason=reason)
    if seen.root is not None and not seen.root.keys:
        yield Step(subject=subject, action=RestoreKey(wanted.uid), reason="its root user has no key")
    if seen.secret is not SecretState.CURRENT:
        reason = f"Secret {secret_name(account)} does not have what it should"
        yield Step(subject=subject, action=WriteSecret(wanted.uid), reason=reason)


def _without_root(
    account: CephObjectStoreAccount, seen: AccountObservation, subject: str, *, reason: str
) -> Iterator[Step]:
    if seen.root is not None:
        yield Step(subject=subject, action=RemoveRootUser(seen.root.uid), reason=reason)
    if seen.secret in OURS:
        action = Delete(SECRET, account.metadata.namespace, secret_name(account), seen.secret_uid)
        yield Step(subject=subject, action=action, reason=reason)


def _deletion(account: CephObjectStoreAccount, seen: AccountObservation) -> Iterator[Step]:
    subject, reason = f"account {account_id(account)}", "the CephObjectStoreAccount is being deleted"
    if seen.gone or seen.unknown or not is_noted(account):
        # Without a store there is no account; and one that was not made for this object is not its to remove.
        pass
    elif held := blocked(account, seen):
        consent = (
            "" if seen.dependents else f'; or for annotation {FORCE_ANNOTATION}: "true", with which all of it goes'
        )
        yield Step(subject=subject, reason=reason, waits_for=f"what is in it to be deleted: {held}{consent}")
        return
    elif seen.waits_for:
        yield Step(subject=subject, reason=reason, waits_for=seen.waits_for)
        return
    elif seen.root is not None and seen.inside.named:
        # The root user goes after all of it: nobody else is told what is there.
        for bucket in seen.inside.buckets:
            yield Step(subject=f"bucket {bucket}", action=PurgeBucket(bucket, seen.root.uid), reason=reason)
        for member in seen.inside.members:
            yield Step(subject=f"user {member.name}", action=RemoveMember(member.uid), reason=reason)
        return
    else:
        yield from _without_root(account, seen, subject, reason=reason)
        if seen.name is not None:
            yield Step(subject=subject, action=RemoveAccount(account_id(account)), reason=reason)
    yield Step(subject=subject, action=LetGo(), reason=reason)
