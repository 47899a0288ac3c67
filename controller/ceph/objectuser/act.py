"""What can be done to a user of an object store and to the Secret with its key, and how."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_OBJECT_STORE_USER
from controller.ceph.objectuser.keys import current_key
from controller.ceph.objectuser.objects import key_secret
from controller.ceph.objectuser.spec import secret_name, wanted
from controller.ceph.rgw import users
from controller.ceph.rgw.users import Key, User
from controller.framework.consent import NoConsentError, read_deleted
from controller.framework.owned_secrets import version_of_own
from controller.framework.text import some
from controller.runtime import resource_of
from controller.runtime.kube import SECRET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from controller.apis.ceph import CephObjectStoreUser
    from controller.ceph.objectuser.observe import UserObservation
    from controller.ceph.rgw.admin import Admin
    from controller.framework.plan import Handler
    from controller.runtime.apply import Applier
    from informers import Client

USERS = resource_of(CEPH_OBJECT_STORE_USER)
SECRET_BYTES = 30
"""Random bytes of a secret key; 40 characters, as Ceph's own are."""
MAX_NAMED = 10
"""Buckets that are named."""


@dataclass(frozen=True, slots=True)
class CreateUser:
    """Make a user, with the keys of its spec, or the one that its Secret has, or one that Ceph makes."""

    uid: str


@dataclass(frozen=True, slots=True)
class ModifyUser:
    """Give a user the name for people, the limit of buckets and the kinds of requests of its spec."""

    uid: str


@dataclass(frozen=True, slots=True)
class SetCaps:
    """Give a user exactly the capabilities of its spec."""

    uid: str


@dataclass(frozen=True, slots=True)
class SetQuota:
    """Limit what may be in a user's buckets."""

    uid: str


@dataclass(frozen=True, slots=True)
class SetKeys:
    """Give a user exactly the keys of its spec; without these, the one that its Secret has."""

    uid: str


@dataclass(frozen=True, slots=True)
class MakeKey:
    """Give a user one key more, with this access key."""

    uid: str
    access: str


@dataclass(frozen=True, slots=True)
class WriteSecret:
    """Write the key that a user has into its Secret."""

    uid: str


@dataclass(frozen=True, slots=True)
class RemoveKeys:
    """Remove keys that a rotation replaced."""

    uid: str
    access: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveUser:
    """Remove a user. One that owns buckets stays."""

    uid: str


def handlers(
    obj: CephObjectStoreUser,
    seen: UserObservation,
    client: Client,
    applier: Applier,
    admin: Admin,
    using: Callable[[], Awaitable[tuple[str, ...]]],
) -> dict[type, Handler]:
    """How the actions of a user's plan are carried out.

    Args:
        obj: The CephObjectStoreUser.
        seen: What the plan was decided by.
        client: Asks the API server whether it is still to go, and whose the Secret is.
        applier: Writes the Secret.
        admin: The gateways.
        using: Asks the API server what uses the user.
    """
    acts = _Acts(obj, seen, client, applier, admin, using)
    return {
        CreateUser: acts.create,
        ModifyUser: acts.modify,
        SetCaps: acts.set_caps,
        SetQuota: acts.set_quota,
        SetKeys: acts.set_keys,
        MakeKey: acts.make_key,
        WriteSecret: acts.write_secret,
        RemoveKeys: acts.remove_keys,
        RemoveUser: acts.remove,
    }


@dataclass(frozen=True, slots=True)
class _Acts:
    obj: CephObjectStoreUser
    seen: UserObservation
    client: Client
    applier: Applier
    admin: Admin
    using: Callable[[], Awaitable[tuple[str, ...]]]

    async def create(self, _: CreateUser) -> None:
        await users.create(self.admin, replace(self._target(), keys=self._own_keys()))

    async def modify(self, _: ModifyUser) -> None:
        await users.modify(self.admin, self._target())

    async def set_caps(self, action: SetCaps) -> None:
        await users.set_caps(self.admin, action.uid, (await self._live()).caps, self._target().caps)

    async def set_quota(self, action: SetQuota) -> None:
        await users.set_quota(self.admin, action.uid, self._target().quota)

    async def set_keys(self, action: SetKeys) -> None:
        await users.write_keys(self.admin, action.uid, self._own_keys())

    async def make_key(self, action: MakeKey) -> None:
        found = await self._live()
        if all(key.access != action.access for key in found.keys):
            made = Key(action.access, secrets.token_urlsafe(SECRET_BYTES))
            await users.write_keys(self.admin, action.uid, (*found.keys, made))

    async def write_secret(self, action: WriteSecret) -> None:
        obj, seen = self.obj, self.seen
        key = current_key(obj, await self._live(), seen.keys, seen.kept)
        if key is None or seen.place is None:
            raise ValueError(f"user {action.uid} has no key: it gets one at the next look")
        found = await self.client.find(SECRET, obj.metadata.namespace, secret_name(obj))
        version = version_of_own(found, obj, USERS.kind)
        await self.applier.apply(key_secret(obj, key, seen.place), version=version)

    async def remove_keys(self, action: RemoveKeys) -> None:
        for access in action.access:
            await users.remove_key(self.admin, action.uid, access)

    async def remove(self, action: RemoveUser) -> None:
        await read_deleted(self.client, USERS, self.obj)
        if held := await self.using():
            raise NoConsentError(f"user {action.uid} is used by now by {some(held, MAX_NAMED)}: it stays")
        found = await users.find(self.admin, action.uid)
        if found is None:
            return
        owned = () if found.account else await users.buckets(self.admin, action.uid)
        if owned:
            raise NoConsentError(f"user {action.uid} owns buckets by now: {some(owned, MAX_NAMED)}: it stays")
        await users.remove(self.admin, action.uid)

    def _target(self) -> User:
        return wanted(self.obj, self.seen.account)

    def _own_keys(self) -> tuple[Key, ...]:
        return self.seen.keys or ((self.seen.kept,) if self.seen.kept is not None else ())

    async def _live(self) -> User:
        uid = self.obj.metadata.name
        found = await users.find(self.admin, uid)
        if found is None:
            raise ValueError(f"user {uid} is not there any more: it is made again at the next look")
        return found
