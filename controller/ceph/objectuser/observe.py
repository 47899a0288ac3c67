"""What the gateways say of a user, and what there is of the Secret with its key."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from controller.ceph.objectuser.keys import current_key, is_made_for
from controller.ceph.objectuser.spec import is_reserved, secret_name, store_of
from controller.ceph.rgw import users
from controller.ceph.rgw.admin import AdminError
from controller.ceph.rgw.credentials import key_data, key_in, place_of
from controller.ceph.rgw.names import allows
from controller.framework.owned_secrets import SecretState, state_of

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStore, CephObjectStoreUser
    from controller.apis.ceph.secrets import SecretVersion
    from controller.ceph.objectuser.accounts import Accounts
    from controller.ceph.objectuser.keys import KeySecrets
    from controller.ceph.rgw.admin import Admin
    from controller.ceph.rgw.credentials import Place
    from controller.ceph.rgw.stores import Stores
    from controller.ceph.rgw.taken import InStores
    from controller.ceph.rgw.users import Key, User
    from controller.framework.deletion import Dependents
    from controller.runtime.kube import Secret
    from informers import Informer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserObservation:
    """What `analyze` decides by. Its text has no key.

    Attributes:
        now: Seconds since the epoch.
        waits_for: What has to happen before the gateways can be asked; nothing is known of the user then.
        gone: Whether there is no store that the user could be in.
        refusal: Why the user is not this object's to make, change or remove; empty: it is.
        account: The account that the spec names, by its id; empty: none.
        account_wait: What has to happen before that is known.
        user: The user; None: there is none.
        keys: The keys that the spec gives it; None: it gives none.
        read: The Secrets that these are of.
        lacking: What is not in those Secrets, in words.
        kept: The key that its own Secret holds; None: it holds none.
        place: Where programs find the store.
        secret: What there is of its own Secret.
        buckets: The buckets that it owns; asked only while it is being deleted.
        dependents: The objects that use it, in words; known only while it is being deleted.
    """

    now: float = 0.0
    waits_for: str = ""
    gone: bool = False
    refusal: str = ""
    account: str = ""
    account_wait: str = ""
    user: User | None = field(default=None, repr=False)
    keys: tuple[Key, ...] | None = field(default=None, repr=False)
    read: tuple[SecretVersion, ...] = ()
    lacking: tuple[str, ...] = ()
    kept: Key | None = field(default=None, repr=False)
    place: Place | None = None
    secret: SecretState = SecretState.ABSENT
    buckets: tuple[str, ...] = ()
    dependents: tuple[str, ...] = ()


class Observer:
    """Observes users.

    Args:
        stores: Ways to the stores.
        names: The users that there are, by their name in the store.
        accounts: The accounts that there are.
        secrets: The cache of Secrets.
        keys: The keys that specs give.
        dependents: What uses a user.
    """

    def __init__(
        self,
        stores: Stores,
        names: InStores[CephObjectStoreUser],
        accounts: Accounts,
        secrets: Informer[Secret],
        keys: KeySecrets,
        dependents: Dependents[CephObjectStoreUser],
    ) -> None:
        self._stores, self._names, self._accounts = stores, names, accounts
        self._secrets, self._keys, self._dependents = secrets, keys, dependents

    async def observe(self, user: CephObjectStoreUser, now: float) -> UserObservation:
        """What the gateways say of a user, or why they cannot be asked."""
        way = self._stores.reach(*store_of(user))
        given = self._keys.of(user)
        using = self._dependents.known(user)
        known = UserObservation(now=now, keys=given.keys, read=given.read, lacking=given.lacking, dependents=using)
        if way.store is None:
            return replace(known, waits_for=way.waits_for, gone=True)
        known = replace(known, refusal=self._refusal(user, way.store))
        if way.admin is None:
            return replace(known, waits_for=way.waits_for)
        account, wait = self._accounts.named_by(user)
        known = replace(known, account=account, account_wait=wait, place=place_of(way.store))
        secret = self._secrets.get(user.metadata.namespace, secret_name(user))
        try:
            return await observe(way.admin, user, secret, known)
        except (AdminError, OSError) as error:
            log.info("Gateways do not answer", user=user.metadata.name, store=user.spec.store, error=str(error))
            return replace(known, waits_for=f"CephObjectStore {user.spec.store} to answer: {error}")

    def _refusal(self, user: CephObjectStoreUser, store: CephObjectStore) -> str:
        meta, place = user.metadata, store.metadata
        if is_reserved(meta.name):
            return f"metadata.name is {meta.name}, a user of the operator's or of Ceph's: expected another name"
        if not allows(store, meta.namespace):
            return (
                f"CephObjectStore {place.namespace}/{place.name} allows no users of namespace {meta.namespace}: "
                "expected that its allowUsersInNamespaces has it"
            )
        holder = self._names.taken_by(user, partial(allows, store))
        if not holder:
            return ""
        return f"CephObjectStoreUser {holder} has the user of this name in the store: expected another name"


async def observe(
    admin: Admin, user: CephObjectStoreUser, secret: Secret | None, known: UserObservation
) -> UserObservation:
    """What the gateways say of a user, beside the Secret as the cache has it and what is known already.

    Raises:
        AdminError: They refuse to say.
    """
    found = await users.find(admin, user.metadata.name)
    kept = key_in(secret) if secret is not None else None
    key = current_key(user, found, known.keys, kept)
    wanted = key_data(key, known.place) if key is not None and known.place is not None else None
    seen = replace(
        known,
        user=found,
        kept=kept,
        secret=state_of(secret, user, wanted),
        refusal=known.refusal or _foreign(user, found, kept),
    )
    if found is None or user.metadata.deletion_timestamp is None:
        return seen
    return replace(seen, buckets=() if found.account else await users.buckets(admin, found.uid))


def _foreign(user: CephObjectStoreUser, found: User | None, kept: Key | None) -> str:
    """Why a user that is there is not this object's: another namespace gets no keys of one that was there before."""
    if found is None or user.metadata.namespace == store_of(user)[0] or is_made_for(user, found, kept):
        return ""
    return f"user {found.uid} is in the store already, and was not made for this object: expected another name"
