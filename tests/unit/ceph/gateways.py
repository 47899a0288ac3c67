"""The gateways of an object store as far as users, keys and accounts go: they behave as those of Ceph do."""

from __future__ import annotations

import copy
import itertools
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import msgspec

from controller.apis.ceph import CephObjectStore
from controller.ceph.rgw.admin import UNREACHABLE, Admin, AdminError
from controller.ceph.rgw.names import ADMIN_USER, endpoint
from controller.ceph.rgw.signed import Answer, UnreachableError
from controller.ceph.rgw.stores import Stores, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.ceph.rgw.signed import Requests
    from informers import JsonObject

type Query = dict[str, Any]

OPERATOR = {
    "user_id": ADMIN_USER,
    "account_id": "",
    "type": "rgw",
    "keys": [{"user": ADMIN_USER, "access_key": "OP", "secret_key": "operators"}],
}
_BITS = {"read": 1, "write": 2, "*": 3}
_WORDS = {1: "read", 2: "write", 3: "*"}
_NO_QUOTA = {"enabled": False, "check_on_raw": False, "max_size": -1, "max_size_kb": 0, "max_objects": -1}


def a_store(spec: JsonObject | None = None, *, name: str = "my-store", namespace: str = "rook-ceph") -> CephObjectStore:
    """A CephObjectStore that is set up."""
    obj = {
        "metadata": {"name": name, "namespace": namespace, "uid": f"u-{name}"},
        "spec": {"gateway": {"port": 80}, **(spec or {})},
        "status": {"phase": "Ready", "info": {"realm": name, "zone": name}},
    }
    return msgspec.convert(obj, CephObjectStore)


class Gateways:
    """Implements `controller.ceph.rgw.admin.Admin`.

    Attributes:
        users: By name, as the gateways answer with them.
        owners: The owner of each bucket.
        accounts: By id.
        topics: The attributes of each topic.
        notifications: Those of each bucket by name, as XML.
        asked: What was asked, in order: method and path, and the query.
        down: Whether nobody answers.
        knows_accounts: Whether they are of a release that has accounts.
        tls: Whether they are asked over TLS.
    """

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {}
        self.owners: dict[str, str] = {}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, Query]] = []
        self.topics: dict[str, dict[str, str]] = {}
        self.notifications: dict[str, dict[str, str]] = {}
        self.down, self.knows_accounts, self.tls = False, True, False
        self._numbers = itertools.count(1)

    @property
    def written(self) -> list[str]:
        """What was asked that is no question."""
        return [what for what, _ in self.asked if not what.startswith("GET")]

    async def get(self, path: str, /, **query: Any) -> Any:
        return self._answer("GET", path, query, None)

    async def put(self, path: str, content: Any = None, /, **query: Any) -> Any:
        return self._answer("PUT", path, query, content)

    async def post(self, path: str, /, **query: Any) -> Any:
        return self._answer("POST", path, query, None)

    async def delete(self, path: str, /, **query: Any) -> Any:
        return self._answer("DELETE", path, query, None)

    def _answer(self, method: str, path: str, query: Query, content: Any) -> Any:
        part = next((name for name in ("key", "caps", "quota") if query.get(name) == "" and path == "user"), "")
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
        self.users[uid] = {
            "user_id": uid,
            "tenant": "",
            "max_buckets": 1000,
            "op_mask": "read, write, delete",
            "caps": [],
            "keys": [],
            "user_quota": dict(_NO_QUOTA),
            "account_id": account,
            "type": "root" if query.get("account-root") else "rgw",
        }
        if query.get("generate-key", True):
            self.users[uid]["keys"] = [self.a_key(uid)]
        self._modify(query, None)
        if "user-caps" in query:
            self._caps(query, lambda has, bits: has | bits)
        return self.users[uid]

    def a_key(self, uid: str) -> dict[str, str]:
        number = next(self._numbers)
        return {"user": uid, "access_key": f"MADE{number}", "secret_key": f"by-ceph-{number}"}

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
        if uid in self.owners.values():
            raise AdminError(409, "BucketAlreadyExists")
        del self.users[uid]

    def _add_key(self, query: Query, _: Any) -> Any:
        self._user(query["uid"])["keys"].append(self.a_key(query["uid"]))

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
        limits = {"max_size": query["max-size"], "max_objects": query["max-objects"]}
        self._user(query["uid"])["user_quota"] = {**_NO_QUOTA, **limits, "enabled": query["enabled"]}

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
        self.users[uid] = {**data, "keys": sorted(data["keys"], key=lambda key: str(key["access_key"]))}

    def _buckets(self, query: Query, _: Any) -> Any:
        if "bucket" in query:
            if query["bucket"] not in self.owners:
                raise AdminError(404, "NoSuchBucket")
            return {"bucket": query["bucket"], "owner": self.owners[query["bucket"]]}
        # Without a user they name the buckets of all.
        return [name for name, owner in self.owners.items() if owner == query.get("uid", owner)]

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
        if any(user.get("account_id") == query["id"] for user in self.users.values()) or query["id"] in (
            self.owners.values()
        ):
            raise AdminError(409, "DeleteConflict")
        del self.accounts[query["id"]]


class Signed:
    """Requests of a user of these gateways. Implements `controller.ceph.rgw.signed.Requests`."""

    def __init__(self, gateways: Gateways, access_key: str, secret_key: str) -> None:
        self.gateways, self.key = gateways, (access_key, secret_key)

    async def send(self, method: str, path: str, query: Mapping[str, str], content: bytes = b"") -> Answer:
        if self.gateways.down:
            raise UnreachableError("no route to host")
        user = next((u for u in self.gateways.users.values() if self._has_key(u)), None)
        if user is None:
            return Answer(403, b"<Error><Code>InvalidAccessKeyId</Code></Error>")
        if path != "/":
            return self._notifications(method, path[1:], query, content, user["user_id"])
        if method == "GET":
            owners = self.gateways.owners.items()
            found = [name for name, owner in owners if owner in (user["user_id"], user["account_id"])]
            text = "".join(f"<Bucket><Name>{name}</Name></Bucket>" for name in found)
            return Answer(200, f"<ListAllMyBucketsResult xmlns='x'>{text}</ListAllMyBucketsResult>".encode())
        asked = dict(parse_qsl(content.decode(), keep_blank_values=True))
        if "Topic" in asked["Action"]:
            return self._sns(asked)
        assert (method, content) == ("POST", b"Action=ListUsers&Version=2010-05-08")
        assert user["type"] == "root"
        names = sorted(
            name
            for name, found in self.gateways.users.items()
            if found["account_id"] == user["account_id"] and found is not user
        )
        members = "".join(f"<member><UserName>{name}</UserName></member>" for name in names)
        text = f'<ListUsersResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">{members}</ListUsersResponse>'
        return Answer(200, text.encode())

    def _sns(self, asked: dict[str, str]) -> Answer:
        gateways, action = self.gateways, asked["Action"]
        name = asked["TopicArn"].rpartition(":")[2] if "TopicArn" in asked else asked["Name"]
        gateways.asked.append((f"POST {action}", asked))
        arn = f"arn:aws:sns:my-store::{name}"
        if action == "CreateTopic":
            numbers = [key.split(".")[2] for key in asked if key.endswith(".key")]
            found = {asked[f"Attributes.entry.{n}.key"]: asked[f"Attributes.entry.{n}.value"] for n in numbers}
            if "@" in found["push-endpoint"] and not gateways.tls:
                return Answer(400, b"<Error><Code>InvalidArgument</Code><Message></Message></Error>")
            gateways.topics[name] = found
            text = f"<R xmlns='x'><CreateTopicResult><TopicArn>{arn}</TopicArn></CreateTopicResult></R>"
            return Answer(200, text.encode())
        if name not in gateways.topics:
            # To the removal of a topic that is not there, they say nothing.
            return Answer(200 if action == "DeleteTopic" else 404, b"<Error><Code>NoSuchKey</Code></Error>")
        if action == "DeleteTopic":
            del gateways.topics[name]
            return Answer(200, b"<R/>")
        topic = gateways.topics[name]
        endpoint = escape(json.dumps({"EndpointAddress": topic["push-endpoint"], "Persistent": False}))
        entries = {"Name": name, "EndPoint": endpoint, "OpaqueData": escape(topic["OpaqueData"])}
        text = "".join(f"<entry><key>{key}</key><value>{value}</value></entry>" for key, value in entries.items())
        return Answer(200, f"<R xmlns='x'><A>{text}</A></R>".encode())

    def _notifications(self, method: str, bucket: str, query: Mapping[str, str], content: bytes, uid: str) -> Answer:
        gateways = self.gateways
        gateways.asked.append((f"{method} notification", {"bucket": bucket, **query}))
        if bucket not in gateways.owners:
            return Answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        if gateways.owners[bucket] != uid:
            return Answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        has = gateways.notifications.setdefault(bucket, {})
        if method == "PUT":
            name = content.partition(b"<Id>")[2].partition(b"</Id>")[0].decode()
            topic = content.partition(b"<Topic>")[2].partition(b"</Topic>")[0].decode()
            if topic.rpartition(":")[2] not in gateways.topics:
                return Answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            if b"ObjectRestore" in content:
                return Answer(400, b"<Error><Code>InvalidArgument</Code><Message></Message></Error>")
            # One more, beside those that there are.
            inner = content.partition(b"<TopicConfiguration>")[2].partition(b"</TopicConfiguration>")[0]
            has[name] = inner.decode()
        elif method == "DELETE":
            has.pop(query["notification"], None)
        text = "".join(f"<TopicConfiguration>{inner}</TopicConfiguration>" for inner in has.values())
        return Answer(200, f"<NotificationConfiguration>{text}</NotificationConfiguration>".encode())

    def _has_key(self, user: dict[str, Any]) -> bool:
        return any((key["access_key"], key["secret_key"]) == self.key for key in user["keys"])


class OneStore(Stores):
    """Ways to one store, whose gateways are those of a test."""

    def __init__(self, gateways: Gateways, store: CephObjectStore | None) -> None:
        super().__init__(cast("Any", SimpleNamespace()), cast("Any", SimpleNamespace()))
        self.gateways, self.store, self.ready = gateways, store, True

    def reach(self, namespace: str, name: str) -> Way:
        store = self.store
        if store is None or (namespace, name) != (store.metadata.namespace, store.metadata.name):
            return Way(waits_for=f"CephObjectStore {name} in namespace {namespace}")
        if not self.ready:
            return Way(store=store, waits_for=f"CephObjectStore {name} to be set up")
        admin: Admin = self.gateways
        return Way(store=store, admin=admin, endpoint=endpoint(store))

    def as_operator(self, way: Way) -> Requests | None:
        if way.admin is None:
            return None
        self.gateways.users.setdefault(ADMIN_USER, {**OPERATOR})
        return self.requests(way, "OP", "operators")

    def requests(self, way: Way, access_key: str, secret_key: str) -> Requests:
        return Signed(self.gateways, access_key, secret_key)
