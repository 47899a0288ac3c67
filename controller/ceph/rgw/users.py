"""Users of an object store, by the gateways' Admin Ops API (https://docs.ceph.com/en/latest/radosgw/adminops/).

Gateways write the query of each request to their log. So a key is never in one: Ceph makes it and answers with it, or
it goes with the metadata of the user, which is the body of a request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.ceph.rgw.admin import AdminError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.ceph.rgw.admin import Admin

UNLIMITED = -1
"""A quota that is none."""
READ, WRITE = "read", "write"
OPERATIONS = (READ, WRITE, "delete")
"""Kinds of requests, in the order in which gateways name them."""
NO_OPERATION = "<none>"
_ALL = frozenset((READ, WRITE))
_WHY = {
    403: "the operator's user of the store lacks the capability metadata=*",
    409: "another user has this access key",
}
"""What gateways mean by refusing keys, in words: they say none."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a user."""

    access: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Quota:
    """What may be in all buckets of a user: bytes and objects, each `UNLIMITED` where it is not limited."""

    max_size: int = UNLIMITED
    max_objects: int = UNLIMITED

    @property
    def enabled(self) -> bool:
        """Whether anything is limited."""
        return self != Quota()


type Query = dict[str, str | int | bool]
"""What a request says beside its path."""

type Caps = Mapping[str, frozenset[str]]
"""What a user may do by the Admin Ops API: `READ` and `WRITE`, by what it may do so to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user as the gateways have it.

    Attributes:
        uid: Its name.
        display_name: Its name for people.
        max_buckets: Buckets that it may have; below 0: none; 0: any number.
        operations: The kinds of requests that it may make.
        caps: What it may do by the Admin Ops API.
        quota: What may be in its buckets.
        account: The account that it is in; empty: none.
        keys: Its keys, not those of its subusers.
    """

    uid: str
    display_name: str
    max_buckets: int = 0
    operations: frozenset[str] = frozenset(OPERATIONS)
    caps: Caps = field(default_factory=dict)
    quota: Quota = Quota()
    account: str = ""
    keys: tuple[Key, ...] = ()


def parse(answer: Mapping[str, Any]) -> User:
    """A user as the Admin Ops API answers with it."""
    uid = str(answer["user_id"])
    tenant = str(answer.get("tenant") or "")
    quota = answer.get("user_quota") or {}
    enabled = bool(quota.get("enabled"))
    return User(
        uid=uid,
        display_name=str(answer.get("display_name", "")),
        max_buckets=int(answer.get("max_buckets", 0)),
        operations=frozenset(_words(str(answer.get("op_mask", ""))) & frozenset(OPERATIONS)),
        caps={str(cap["type"]): permissions(str(cap["perm"])) for cap in answer.get("caps") or ()},
        quota=Quota(_limit(quota, "max_size"), _limit(quota, "max_objects")) if enabled else Quota(),
        account=str(answer.get("account_id") or ""),
        keys=tuple(
            Key(str(key["access_key"]), str(key["secret_key"]))
            for key in answer.get("keys") or ()
            if key["user"] == (f"{tenant}${uid}" if tenant else uid)
        ),
    )


def permissions(text: str) -> frozenset[str]:
    """The permissions that a text such as "*" and "read, write" stands for."""
    words = _words(text)
    return _ALL if "*" in words else frozenset(words & _ALL)


def caps_text(caps: Caps) -> str:
    """Capabilities as the Admin Ops API takes them."""
    pairs = ((name, "*" if given == _ALL else ",".join(sorted(given))) for name, given in sorted(caps.items()))
    return ";".join(f"{name}={given}" for name, given in pairs if given)


def without(caps: Caps, others: Caps) -> Caps:
    """What of `caps` is not in `others`."""
    left = {name: given - others.get(name, frozenset()) for name, given in caps.items()}
    return {name: given for name, given in left.items() if given}


def operations_text(operations: Iterable[str]) -> str:
    """Kinds of requests as the Admin Ops API takes them, and answers with them."""
    given = frozenset(operations)
    return ", ".join(name for name in OPERATIONS if name in given) or NO_OPERATION


async def find(admin: Admin, uid: str) -> User | None:
    """The user; None: there is none.

    Raises:
        AdminError: The gateways refuse to say.
    """
    try:
        return parse(await admin.get("user", uid=uid))
    except AdminError as error:
        if error.is_not_found:
            return None
        raise


async def buckets(admin: Admin, uid: str) -> tuple[str, ...]:
    """The names of the buckets that a user owns."""
    return tuple(sorted(map(str, await admin.get("bucket", uid=uid) or ())))


async def create(admin: Admin, user: User, *, root_of: str = "") -> User:
    """Makes a user, with one key that Ceph makes, or with `user.keys`.

    Args:
        admin: The way to the gateways.
        user: The user.
        root_of: The account of which it may do everything.

    Raises:
        AdminError: It is there, or cannot be as it should.
    """
    query: Query = {
        "uid": user.uid,
        "display-name": user.display_name,
        "max-buckets": user.max_buckets,
        "op-mask": operations_text(user.operations),
        "generate-key": not user.keys,
    }
    if user.caps:
        query["user-caps"] = caps_text(user.caps)
    if root_of or user.account:
        query["account-id"] = root_of or user.account
    if root_of:
        query["account-root"] = True
    made = parse(await admin.put("user", **query))
    if user.keys:
        await write_keys(admin, user.uid, user.keys)
    return made


async def modify(admin: Admin, user: User) -> None:
    """Gives a user its name for people, its limit of buckets and its kinds of requests."""
    query: Query = {
        "uid": user.uid,
        "display-name": user.display_name,
        "max-buckets": user.max_buckets,
        "op-mask": operations_text(user.operations),
    }
    await admin.post("user", **query)


async def set_caps(admin: Admin, uid: str, has: Caps, wanted: Caps) -> None:
    """Gives a user exactly the capabilities `wanted`; it never has fewer than both say."""
    if more := without(wanted, has):
        await admin.put("user", **{"caps": "", "uid": uid, "user-caps": caps_text(more)})
    if surplus := without(has, wanted):
        await admin.delete("user", **{"caps": "", "uid": uid, "user-caps": caps_text(surplus)})


async def set_quota(admin: Admin, uid: str, quota: Quota) -> None:
    """Limits what may be in all buckets of a user."""
    query: Query = {
        "quota": "",
        "quota-type": "user",
        "uid": uid,
        "enabled": quota.enabled,
        "max-size": quota.max_size,
        "max-objects": quota.max_objects,
    }
    await admin.put("user", **query)


async def write_keys(admin: Admin, uid: str, keys: Sequence[Key]) -> None:
    """Gives a user exactly these keys beside those of its subusers.

    Raises:
        AdminError: A key is another user's, or the operator's user may not write metadata.
    """
    found = await admin.get("metadata/user", key=uid)
    data = found["data"]
    present = data.get("keys") or ()
    known = {key["access_key"]: key for key in present}
    data["keys"] = [
        *(key for key in present if key["user"] != uid),
        *({**known.get(k.access, {}), "user": uid, "access_key": k.access, "secret_key": k.secret} for k in keys),
    ]
    try:
        await admin.put("metadata/user", found, key=uid)
    except AdminError as error:
        if error.status in _WHY:
            raise AdminError(error.status, error.code, _WHY[error.status]) from error
        raise


async def add_key(admin: Admin, uid: str, access: str = "") -> None:
    """Gives a user one key more, which Ceph makes; with this access key, if one is given, and a secret of Ceph's."""
    query: Query = {"key": "", "uid": uid, "generate-key": True, **({"access-key": access} if access else {})}
    await admin.put("user", **query)


async def remove_key(admin: Admin, uid: str, access: str) -> None:
    """Removes a key, which is of no use from then on."""
    await admin.delete("user", **{"key": "", "uid": uid, "access-key": access})


async def remove(admin: Admin, uid: str) -> None:
    """Removes a user. Gateways refuse that for one that owns buckets; one that is not there is no error."""
    try:
        await admin.delete("user", uid=uid)
    except AdminError as error:
        if not error.is_not_found:
            raise


def _words(text: str) -> frozenset[str]:
    return frozenset(text.replace(",", " ").split())


def _limit(quota: Mapping[str, Any], name: str) -> int:
    found = int(quota.get(name, UNLIMITED))
    return found if found >= 0 else UNLIMITED
