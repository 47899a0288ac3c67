"""The gateways of an object store in memory: users, accounts, buckets, and the Admin Ops API.

Answers and refusals are those of radosgw 18.2.7, as it gave them when it was asked, and for accounts those of 20.2.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.ceph.rgw.admin import UNREACHABLE, AdminError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from informers import JsonObject

type Query = dict[str, Any]

_BITS = {"read": 1, "write": 2, "*": 3}
_WORDS = {1: "read", 2: "write", 3: "*"}
NO_QUOTA: dict[str, Any] = {
    "enabled": False,
    "check_on_raw": False,
    "max_size": -1,
    "max_size_kb": 0,
    "max_objects": -1,
}


@dataclass
class HeldBucket:
    """A bucket.

    Attributes:
        locked: Objects that cannot be deleted.
        notifications: By name, as XML.
    """

    owner: str
    id: str
    quota: dict[str, Any] = field(default_factory=lambda: dict(NO_QUOTA))
    objects: dict[str, bytes] = field(default_factory=dict)
    policy: str = ""
    lifecycle: JsonObject | None = None
    locked: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    notifications: dict[str, str] = field(default_factory=dict)


class Gateways:
    """Implements `controller.ceph.rgw.admin.Admin`.

    Attributes:
        users: By name, as the gateways answer with them.
        buckets: By name.
        accounts: By id.
        topics: The attributes of each topic.
        asked: What was asked, in order: method and path, and the query.
        down: Whether nobody answers.
        knows_accounts: Whether they are of a release that has accounts.
        tls: Whether they are asked over TLS.
    """

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {}
        self.buckets: dict[str, HeldBucket] = {}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, Query]] = []
        self.topics: dict[str, dict[str, str]] = {}
        self.down, self.knows_accounts, self.tls = False, True, False
        self._numbers = itertools.count(1)

    @property
    def written(self) -> list[str]:
        """What was asked that is no question."""
        return [what for what, _ in self.asked if not what.startswith("GET")]

    def add_user(self, uid: str, **more: Any) -> dict[str, Any]:
        """A user that somebody else made, with a key."""
        self.users[uid] = {
            "user_id": uid,
            "display_name": uid,
            "tenant": "",
            "max_buckets": 1000,
            "op_mask": "read, write, delete",
            "caps": [],
            "keys": [],
            "user_quota": dict(NO_QUOTA),
            "account_id": "",
            "type": "rgw",
            **more,
        }
        self.add_key(uid)
        return self.users[uid]

    def add_key(self, uid: str, access_key: str = "") -> None:
        """Give a user a key that Ceph makes."""
        number = next(self._numbers)
        made = {"user": uid, "access_key": access_key or f"MADE{number}", "secret_key": f"by-ceph-{number}"}
        self.users[uid]["keys"] = _sorted([*self.users[uid]["keys"], made])

    def add_bucket(self, name: str, owner: str) -> HeldBucket:
        """A bucket of somebody's."""
        bucket = self.buckets[name] = HeldBucket(owner, f"id{next(self._numbers)}")
        return bucket

    def keys_of(self, uid: str) -> dict[str, str]:
        """The secret keys of a user, by their access keys."""
        return {key["access_key"]: key["secret_key"] for key in self.users[uid]["keys"]}

    def key_of(self, uid: str) -> tuple[str, str]:
        """The first key of a user."""
        return next(iter(self.keys_of(uid).items()))

    def who(self, access_key: str, secret_key: str) -> dict[str, Any] | None:
        """The user who has a key."""
        return next((user for uid, user in self.users.items() if self.keys_of(uid).get(access_key) == secret_key), None)

    async def get(self, path: str, /, **query: Any) -> Any:
        return self._answer("GET", path, query, None)

    async def put(self, path: str, content: Any = None, /, **query: Any) -> Any:
        return self._answer("PUT", path, query, content)

    async def post(self, path: str, /, **query: Any) -> Any:
        return self._answer("POST", path, query, None)

    async def delete(self, path: str, /, **query: Any) -> Any:
        return self._answer("DELETE", path, query, None)

    def _answer(self, method: str, path: str, query: Query, content: Any) -> Any:
        part = next((name for name in ("key", "caps", "quota") if query.get(name) == ""), "")
        what = f"{method} {path}" + (f"?{part}" if part else "")
        self.asked.append((what, query))
        if self.down:
            raise AdminError(0, UNREACHABLE, "no route to host")
        answers: dict[str, Callable[[Query, Any], Any]] = {
            "GET user": lambda q, _: self._user(q["uid"]),
            "PUT user": self._make,
            "POST user": self._modify,
            "DELETE user": self._remove,
            "PUT user?key": self._add_key,
            "DELETE user?key": self._remove_key,
            "PUT user?caps": lambda q, _: self._caps(q, lambda has, bits: has | bits),
            "DELETE user?caps": lambda q, _: self._caps(q, lambda has, bits: has & ~bits),
            "PUT user?quota": self._quota,
            "GET metadata/user": self._metadata,
            "PUT metadata/user": self._write_metadata,
            "GET bucket": self._buckets,
            "PUT bucket": self._link,
            "PUT bucket?quota": self._bucket_quota,
            "DELETE bucket": self._remove_bucket,
            "GET account": lambda q, _: self._account(q["id"]),
            "POST account": self._make_account,
            "PUT account": self._modify_account,
            "DELETE account": self._remove_account,
        }
        return copy.deepcopy(answers[what](query, content))

    def _user(self, uid: str) -> dict[str, Any]:
        if uid not in self.users:
            raise AdminError(404, "NoSuchUser")
        return self.users[uid]

    def _make(self, query: Query, _: Any) -> Any:
        uid = query["uid"]
        if uid in self.users:
            raise AdminError(409, "UserAlreadyExists")
        account = query.get("account-id", "")
        if account and account not in self.accounts:
            raise AdminError(404, "NoSuchKey")
        self.add_user(uid, account_id=account, type="root" if query.get("account-root") else "rgw")
        if not query.get("generate-key", True):
            self.users[uid]["keys"] = []
        self._modify(query, None)
        if "user-caps" in query:
            self._caps(query, lambda has, bits: has | bits)
        return self.users[uid]

    def _modify(self, query: Query, _: Any) -> Any:
        user = self._user(query["uid"])
        user["display_name"] = query.get("display-name", user.get("display_name"))
        if "max-buckets" in query:
            user["max_buckets"] = max(query["max-buckets"], -1)
        if "op-mask" in query:
            given = [name for name in ("read", "write", "delete") if name in query["op-mask"]]
            user["op_mask"] = ", ".join(given) or "<none>"
        return user

    def _remove(self, query: Query, _: Any) -> Any:
        uid = query["uid"]
        self._user(uid)
        if any(bucket.owner == uid for bucket in self.buckets.values()):
            raise AdminError(409, "BucketAlreadyExists")
        del self.users[uid]

    def _add_key(self, query: Query, _: Any) -> Any:
        self._user(query["uid"])
        self.add_key(query["uid"], query.get("access-key", ""))

    def _remove_key(self, query: Query, _: Any) -> Any:
        user = self._user(query["uid"])
        left = [key for key in user["keys"] if key["access_key"] != query["access-key"]]
        if len(left) == len(user["keys"]):
            raise AdminError(403, "InvalidAccessKeyId")
        user["keys"] = left

    def _caps(self, query: Query, change: Callable[[int, int], int]) -> Any:
        user = self._user(query["uid"])
        has = {cap["type"]: _BITS[cap["perm"]] for cap in user["caps"]}
        for pair in query["user-caps"].split(";"):
            name, _, text = pair.partition("=")
            if name == "nonsense":
                raise AdminError(400, "InvalidCapability")
            bits = 0
            for word in text.split(","):
                bits |= _BITS[word.strip()]
            has[name] = change(has.get(name, 0), bits)
        user["caps"] = [{"type": name, "perm": _WORDS[bits]} for name, bits in sorted(has.items()) if bits]
        return user["caps"]

    def _quota(self, query: Query, _: Any) -> Any:
        assert query["quota-type"] == "user"
        self._user(query["uid"])["user_quota"] = _quota(query)

    def _metadata(self, query: Query, _: Any) -> Any:
        if query["key"] not in self.users:
            raise AdminError(404, "NoSuchKey")
        return {"key": f"user:{query['key']}", "ver": {"tag": "t", "ver": 1}, "data": self.users[query["key"]]}

    def _write_metadata(self, query: Query, content: Any) -> Any:
        uid = query["key"]
        for key in content["data"]["keys"]:
            others = (other for name, other in self.users.items() if name != uid)
            if any(key["access_key"] == theirs["access_key"] for other in others for theirs in other["keys"]):
                raise AdminError(409, "BucketAlreadyExists")
        data = copy.deepcopy(content["data"])
        self.users[uid] = {**data, "keys": _sorted(data["keys"])}

    def _buckets(self, query: Query, _: Any) -> Any:
        if "bucket" in query:
            bucket = self._bucket(query["bucket"])
            usage = {"rgw.main": {"num_objects": len(bucket.objects)}} if bucket.objects else {}
            shown = {"bucket": query["bucket"], "owner": bucket.owner, "id": bucket.id}
            return {**shown, "bucket_quota": bucket.quota, "usage": usage}
        # Without a user they name the buckets of all.
        return [name for name, held in self.buckets.items() if held.owner == query.get("uid", held.owner)]

    def _bucket(self, name: str) -> HeldBucket:
        if name not in self.buckets:
            raise AdminError(404, "NoSuchBucket")
        return self.buckets[name]

    def _link(self, query: Query, _: Any) -> Any:
        self._user(query["uid"])
        self._bucket(query["bucket"]).owner = query["uid"]

    def _bucket_quota(self, query: Query, _: Any) -> Any:
        self._bucket(query["bucket"]).quota = _quota(query)

    def _remove_bucket(self, query: Query, _: Any) -> Any:
        if self._bucket(query["bucket"]).objects:
            raise AdminError(409, "BucketNotEmpty")
        del self.buckets[query["bucket"]]

    def _account(self, name: str) -> dict[str, Any]:
        if not self.knows_accounts:
            raise AdminError(405, "MethodNotAllowed")
        if name not in self.accounts:
            raise AdminError(404, "NoSuchKey")
        return self.accounts[name]

    def _make_account(self, query: Query, _: Any) -> Any:
        if not self.knows_accounts:
            raise AdminError(405, "MethodNotAllowed")
        taken = {account["name"] for account in self.accounts.values()} | self.accounts.keys()
        if {query["id"], query["name"]} & taken:
            raise AdminError(409, "AccountAlreadyExists")
        self.accounts[query["id"]] = {"id": query["id"], "name": query["name"]}
        return self.accounts[query["id"]]

    def _modify_account(self, query: Query, _: Any) -> Any:
        self._account(query["id"])["name"] = query["name"]
        return self.accounts[query["id"]]

    def _remove_account(self, query: Query, _: Any) -> Any:
        self._account(query["id"])
        owners = [user["account_id"] for user in self.users.values()] + [held.owner for held in self.buckets.values()]
        if query["id"] in owners:
            raise AdminError(409, "DeleteConflict")
        del self.accounts[query["id"]]


def _quota(query: Query) -> dict[str, Any]:
    limits = {"max_size": query["max-size"], "max_objects": query["max-objects"]}
    return {**NO_QUOTA, **limits, "enabled": query["enabled"]}


def _sorted(keys: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(keys, key=lambda key: key["access_key"])
