"""What the gateways say of an account, and what there is of the Secret with its root user's key."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from controller.ceph.objectaccount.spec import account_id, secret_name
from controller.ceph.rgw import users
from controller.ceph.rgw.admin import AdminError
from controller.ceph.rgw.credentials import key_data, key_in, place_of
from controller.ceph.rgw.signed import UnreachableError
from controller.ceph.rgw.xml import parse
from controller.framework.owned_secrets import SecretState, state_of

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStoreAccount
    from controller.ceph.rgw.admin import Admin
    from controller.ceph.rgw.credentials import Place
    from controller.ceph.rgw.signed import Requests
    from controller.ceph.rgw.stores import Stores
    from controller.ceph.rgw.users import Key, User
    from controller.framework.deletion import Dependents
    from controller.runtime.kube import Secret
    from informers import Informer

log = structlog.get_logger(__name__)

LIST_USERS = b"Action=ListUsers&Version=2010-05-08"
NOT_ALLOWED = 405
"""The HTTP status with which gateways answer that have no accounts."""


@dataclass(frozen=True, slots=True)
class Member:
    """A user of an account: its name in the store, and its name for people, by which IAM calls it."""

    uid: str
    name: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in an account beside its root user: its other users, and the names of its buckets."""

    members: tuple[Member, ...] = ()
    buckets: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """All of it, in words."""
        return (*(f"user {member.name}" for member in self.members), *(f"bucket {name}" for name in self.buckets))


NOTHING = Contents()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountObservation:
    """What `analyze` decides by. Its text has no key.

    Attributes:
        waits_for: What has to happen before the gateways can be asked; nothing is known of the account then.
        gone: Whether there is no store that the account could be in.
        unknown: Whether the gateways are of a release that has no accounts.
        name: The account's name; None: there is no such account.
        root: Its root user; None: there is none.
        kept: The key that the Secret holds; None: it holds none.
        place: Where programs find the store.
        secret: What there is of the Secret.
        secret_uid: Which Secret it is.
        dependents: The CephObjectStoreUsers that name it; known only while it is being deleted.
        inside: What is in it; asked only while it is being deleted.
    """

    waits_for: str = ""
    gone: bool = False
    unknown: bool = False
    name: str | None = None
    root: User | None = field(default=None, repr=False)
    kept: Key | None = field(default=None, repr=False)
    place: Place | None = None
    secret: SecretState = SecretState.ABSENT
    secret_uid: str = ""
    dependents: tuple[str, ...] = ()
    inside: Contents = NOTHING


class Observer:
    """Observes accounts.

    Args:
        stores: Ways to the stores.
        secrets: The cache of Secrets.
        dependents: What uses an account.
    """

    def __init__(
        self, stores: Stores, secrets: Informer[Secret], dependents: Dependents[CephObjectStoreAccount]
    ) -> None:
        self._stores, self._secrets, self._dependents = stores, secrets, dependents

    async def observe(self, account: CephObjectStoreAccount, _: float) -> AccountObservation:
        """What the gateways say of an account, or why they cannot be asked."""
        meta = account.metadata
        known = AccountObservation(dependents=self._dependents.known(account))
        way = self._stores.reach(meta.namespace, account.spec.store)
        if way.store is None or way.admin is None:
            return replace(known, waits_for=way.waits_for, gone=way.store is None)
        secret = self._secrets.get(meta.namespace, secret_name(account))
        try:
            seen = await observe(way.admin, account, secret, replace(known, place=place_of(way.store)))
            if meta.deletion_timestamp is None or seen.name is None:
                return seen
            key = next(iter(seen.root.keys), None) if seen.root is not None else None
            root = self._stores.requests(way, key.access, key.secret) if key is not None else None
            return replace(seen, inside=await contents(root))
        except (AdminError, UnreachableError) as error:
            log.info("Gateways do not answer", account=meta.name, store=account.spec.store, error=str(error))
            return replace(known, waits_for=f"CephObjectStore {account.spec.store} to answer: {error}")


async def observe(
    admin: Admin, account: CephObjectStoreAccount, secret: Secret | None, known: AccountObservation
) -> AccountObservation:
    """What the gateways say of an account, beside the Secret as the cache has it and what is known already.

    Raises:
        AdminError: They refuse to say.
    """
    try:
        found = await admin.get("account", id=account_id(account))
    except AdminError as error:
        if error.status == NOT_ALLOWED:
            return replace(known, unknown=True)
        if not error.is_not_found:
            raise
        found = None
    root = await users.find(admin, account.metadata.uid) if found is not None else None
    kept = key_in(secret) if secret is not None else None
    key = current_key(root, kept)
    wanted = key_data(key, known.place) if key is not None and known.place is not None else None
    return replace(
        known,
        name=None if found is None else str(found["name"]),
        root=root,
        kept=kept,
        secret=state_of(secret, account, wanted),
        secret_uid=secret.metadata.uid if secret is not None else "",
    )


async def contents(root: Requests | None) -> Contents:
    """What is in an account.

    Args:
        root: What asks as the root user, whom alone gateways tell of it; None: there is none, and what is in the
            account is known only by their refusal to remove it.

    Raises:
        UnreachableError: No gateway answers.
    """
    if root is None:
        return NOTHING
    users_of = await root.send("POST", "/", {}, LIST_USERS)
    buckets_of = await root.send("GET", "/", {})
    members = [] if users_of.is_refusal else parse(users_of.content).all("member")
    buckets = [] if buckets_of.is_refusal else parse(buckets_of.content).all("Bucket")
    return Contents(
        tuple(sorted((Member(m.first("UserId"), m.first("UserName")) for m in members), key=lambda m: m.name)),
        tuple(sorted(bucket.first("Name") for bucket in buckets)),
    )


def current_key(root: User | None, kept: Key | None) -> Key | None:
    """The key that the Secret should have: the one that it has, as long as it is of use."""
    if root is None:
        return None
    return kept if kept in root.keys else next(iter(root.keys), None)
