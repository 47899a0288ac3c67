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
    from controller.apis.ceph import CephObjectStoreUser
    from controller.ceph.objectuser.observe import UserObservation
    from controller.ceph.rgw.admin import Admin
    from controller.framework.plan import Handler
    from controller.runtime.apply import Applier
    from informers import Client

USERS = resource_of(CEPH_OBJECT_STORE_USER)
SECRET_LENGTH = 30
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
    obj: CephObjectStoreUser, seen: UserObservation, client: Client, applier: Applier, admin: Admin
) -> dict[type, Handler]:
    """How the actions of a user's plan are carried out.

    Args:
        obj: The CephObjectStoreUser.
        seen: What the plan was decided by.
        client: Asks the API server whether it is still to go, and whose the Secret is.
        applier: Writes the Secret.
        admin: The gateways.
    """
    target = wanted(obj, seen.account)

    async def live() -> User:
        found = await users.find(admin, target.uid)
        if found is None:
            raise ValueError(f"user {target.uid} is not there any more: it is made again at the next look")
        return found

    def own_keys() -> tuple[Key, ...]:
        return seen.keys or ((seen.kept,) if seen.kept is not None else ())

    async def create(_: CreateUser) -> None:
        await users.create(admin, replace(target, keys=own_keys()))

    async def modify(_: ModifyUser) -> None:
        await users.modify(admin, target)

    async def set_caps(_: SetCaps) -> None:
        await users.set_caps(admin, target.uid, (await live()).caps, target.caps)

    async def set_quota(_: SetQuota) -> None:
        await users.set_quota(admin, target.uid, target.quota)

    async def set_keys(_: SetKeys) -> None:
        await users.write_keys(admin, target.uid, own_keys())

    async def make_key(action: MakeKey) -> None:
        found = await live()
        if all(key.access != action.access for key in found.keys):
            made = Key(action.access, secrets.token_urlsafe(SECRET_LENGTH))
            await users.write_keys(admin, target.uid, (*found.keys, made))

    async def write_secret(_: WriteSecret) -> None:
        key = current_key(obj, await live(), seen.keys, seen.kept)
        if key is None or seen.place is None:
            raise ValueError(f"user {target.uid} has no key: it gets one at the next look")
        found = await client.find(SECRET, obj.metadata.namespace, secret_name(obj))
        await applier.apply(key_secret(obj, key, seen.place), version=version_of_own(found, obj, USERS.kind))

    async def remove_keys(action: RemoveKeys) -> None:
        for access in action.access:
            await users.remove_key(admin, target.uid, access)

    async def remove(action: RemoveUser) -> None:
        await read_deleted(client, USERS, obj)
        found = await users.find(admin, action.uid)
        if found is None:
            return
        owned = () if found.account else await users.buckets(admin, action.uid)
        if owned:
            raise NoConsentError(f"user {action.uid} owns buckets by now: {some(owned, MAX_NAMED)}: it stays")
        await users.remove(admin, action.uid)

    return {
        CreateUser: create,
        ModifyUser: modify,
        SetCaps: set_caps,
        SetQuota: set_quota,
        SetKeys: set_keys,
        MakeKey: make_key,
        WriteSecret: write_secret,
        RemoveKeys: remove_keys,
        RemoveUser: remove,
    }
