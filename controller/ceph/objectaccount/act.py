"""What can be done to an account and to its root user, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph import CEPH_OBJECT_STORE_ACCOUNT
from controller.ceph.objectaccount.objects import key_secret
from controller.ceph.objectaccount.observe import current_key
from controller.ceph.objectaccount.spec import account_id, root_user, secret_name
from controller.ceph.rgw import buckets, users
from controller.ceph.rgw.admin import AdminError
from controller.framework import children
from controller.framework.consent import NoConsentError, is_forced, read_deleted, read_same
from controller.framework.owned_secrets import version_of_own
from controller.framework.text import some
from controller.runtime import resource_of
from controller.runtime.kube import SECRET, PartialObject

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from controller.apis.ceph import CephObjectStoreAccount
    from controller.ceph.objectaccount.observe import AccountObservation
    from controller.ceph.rgw.admin import Admin
    from controller.ceph.rgw.work import Work
    from controller.framework.plan import Handler
    from controller.runtime.apply import Applier
    from informers import Client

ACCOUNTS = resource_of(CEPH_OBJECT_STORE_ACCOUNT)


@dataclass(frozen=True, slots=True)
class CreateAccount:
    """Make an account."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class RenameAccount:
    """Give an account another name."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CreateRootUser:
    """Make the user that may do everything in the account, with the key that its Secret has, or one that Ceph makes."""

    uid: str


@dataclass(frozen=True, slots=True)
class ModifyRootUser:
    """Give that user the name for people of the spec."""

    uid: str


@dataclass(frozen=True, slots=True)
class RestoreKey:
    """Give that user a key: the one that its Secret has, or one that Ceph makes."""

    uid: str


@dataclass(frozen=True, slots=True)
class WriteSecret:
    """Write the key that it has into its Secret."""

    uid: str


@dataclass(frozen=True, slots=True)
class PurgeBucket:
    """Remove a bucket of the account, with all that is in it, as its root user."""

    name: str
    root: str


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Remove another user of the account."""

    uid: str


@dataclass(frozen=True, slots=True)
class RemoveRootUser:
    """Remove that user."""

    uid: str


@dataclass(frozen=True, slots=True)
class RemoveAccount:
    """Remove an account. Gateways refuse that for one that has users or buckets."""

    id: str


def handlers(
    obj: CephObjectStoreAccount,
    seen: AccountObservation,
    client: Client,
    applier: Applier,
    work: Work,
    using: Callable[[], Awaitable[tuple[str, ...]]],
) -> dict[type, Handler]:
    """How the actions of an account's plan are carried out.

    Args:
        obj: The CephObjectStoreAccount.
        seen: What the plan was decided by.
        client: Asks the API server whether it is still to go, and whose the Secret is.
        applier: Writes the Secret.
        work: Works in the store.
        using: Asks the API server what uses the account.
    """
    acts = _Acts(obj, seen, client, applier, work, using)
    return {
        CreateAccount: acts.create,
        RenameAccount: acts.rename,
        CreateRootUser: acts.create_root,
        ModifyRootUser: acts.modify_root,
        RestoreKey: acts.restore_key,
        WriteSecret: acts.write_secret,
        PurgeBucket: acts.purge,
        RemoveMember: acts.remove_member,
        RemoveRootUser: acts.remove_root,
        RemoveAccount: acts.remove,
        children.Delete: children.handlers(applier, client, ())[children.Delete],
    }


@dataclass(frozen=True, slots=True)
class _Acts:
    obj: CephObjectStoreAccount
    seen: AccountObservation
    client: Client
    applier: Applier
    work: Work
    using: Callable[[], Awaitable[tuple[str, ...]]]

    @property
    def admin(self) -> Admin:
        return self.work.admin

    async def create(self, action: CreateAccount) -> None:
        try:
            await self.admin.post("account", id=action.id, name=action.name)
        except AdminError as error:
            if error.code != "AccountAlreadyExists":
                raise
            raise AdminError(error.status, error.code, f"another account is called {action.name!r}") from error

    async def rename(self, action: RenameAccount) -> None:
        await self.admin.put("account", id=action.id, name=action.name)

    async def create_root(self, _: CreateRootUser) -> None:
        kept = self.seen.kept
        wanted = replace(root_user(self.obj), keys=() if kept is None else (kept,))
        await users.create(self.admin, wanted, root_of=account_id(self.obj))

    async def modify_root(self, _: ModifyRootUser) -> None:
        wanted = root_user(self.obj)
        await self.admin.post("user", **{"uid": wanted.uid, "display-name": wanted.display_name})

    async def restore_key(self, action: RestoreKey) -> None:
        if self.seen.kept is not None:
            await users.write_keys(self.admin, action.uid, (self.seen.kept,))
        else:
            await users.add_key(self.admin, action.uid)

    async def write_secret(self, action: WriteSecret) -> None:
        obj, place = self.obj, self.seen.place
        key = current_key(await users.find(self.admin, action.uid), self.seen.kept)
        if key is None or place is None:
            raise ValueError(f"user {action.uid} has no key: it gets one at the next look")
        found = await self.client.find(SECRET, obj.metadata.namespace, secret_name(obj))
        version = version_of_own(found, obj, ACCOUNTS.kind)
        await self.applier.apply(key_secret(obj, key, place), version=version)

    async def purge(self, action: PurgeBucket) -> None:
        await self._consented()
        found = await buckets.find(self.admin, action.name)
        if found is None:
            return
        if found.owner != account_id(self.obj):
            raise NoConsentError(f"bucket {action.name} is of {found.owner} by now: it stays as it is")
        if found.objects:
            await self.work.purge(action.root, action.name)
        await buckets.remove(self.admin, action.name)

    async def remove_member(self, action: RemoveMember) -> None:
        await self._consented()
        found = await users.find(self.admin, action.uid)
        if found is not None and found.account != account_id(self.obj):
            raise NoConsentError(f"user {action.uid} is not in account {account_id(self.obj)}: it stays as it is")
        await users.remove(self.admin, action.uid)

    async def _consented(self) -> None:
        fresh = msgspec.convert(await read_deleted(self.client, ACCOUNTS, self.obj), PartialObject)
        if not is_forced(fresh.metadata.annotations):
            raise NoConsentError(f"CephObjectStoreAccount {fresh.metadata.name} is not to be deleted by force any more")
        if held := await self.using():
            raise NoConsentError(f"CephObjectStoreAccount {fresh.metadata.name} is used by {some(held, 10)}")

    async def remove_root(self, action: RemoveRootUser) -> None:
        # By the spec, or with the account.
        await read_same(self.client, ACCOUNTS, self.obj)
        await users.remove(self.admin, action.uid)

    async def remove(self, action: RemoveAccount) -> None:
        await read_deleted(self.client, ACCOUNTS, self.obj)
        try:
            await self.admin.delete("account", id=action.id)
        except AdminError as error:
            if not error.is_not_found:
                raise
