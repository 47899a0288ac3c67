"""A gateway in memory, as far as users and buckets of claims go: its Admin Ops API, and S3 by boto3's names.

Answers and refusals are those of radosgw 18.2.7, as it gave them when it was asked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from controller.ceph.access.threads import Threads
from controller.ceph.rgw.admin import AdminError
from controller.ceph.rgw.stores import Stores, Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.apis.ceph import CephObjectStore
    from controller.ceph.access.threads import Lane
    from informers import Informer, JsonObject

ENDPOINT = "https://rook-ceph-rgw-store.rook-ceph.svc:443"


@dataclass
class HeldUser:
    """A user of the gateway."""

    keys: dict[str, str] = field(default_factory=dict)
    max_buckets: int = 1000
    quota: dict[str, Any] = field(default_factory=lambda: dict(NO_QUOTA))
    caps: list[JsonObject] = field(default_factory=list)


@dataclass
class HeldBucket:
    """A bucket of the gateway."""

    owner: str
    id: str
    quota: dict[str, Any] = field(default_factory=lambda: dict(NO_QUOTA))
    objects: dict[str, bytes] = field(default_factory=dict)
    policy: str = ""
    lifecycle: JsonObject | None = None
    locked: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)


NO_QUOTA: dict[str, Any] = {
    "enabled": False,
    "check_on_raw": False,
    "max_size": -1,
    "max_size_kb": 0,
    "max_objects": -1,
}


class Gateway:
    """Users and buckets, and every request that changed something."""

    def __init__(self) -> None:
        self.users: dict[str, HeldUser] = {}
        self.buckets: dict[str, HeldBucket] = {}
        self.writes: list[str] = []
        self.down = False
        self._count = 0

    def add_user(self, uid: str, **more: Any) -> HeldUser:
        """A user that somebody else made."""
        user = self.users[uid] = HeldUser(**more)
        user.keys[self._next("KEY")] = self._next("secret")
        return user

    def add_bucket(self, name: str, owner: str) -> HeldBucket:
        """A bucket that somebody else made."""
        bucket = self.buckets[name] = HeldBucket(owner, self._next("id"))
        return bucket

    def key_of(self, uid: str) -> tuple[str, str]:
        """The first key of a user."""
        return next(iter(sorted(self.users[uid].keys.items())))

    async def get(self, path: str, /, **query: Any) -> Any:
        self._answer()
        if path == "user":
            return self._shown(query["uid"])
        bucket = self.buckets.get(query["bucket"])
        if bucket is None:
            raise AdminError(404, "NoSuchBucket")
        usage = {"rgw.main": {"num_objects": len(bucket.objects)}} if bucket.objects else {}
        return {"owner": bucket.owner, "id": bucket.id, "bucket_quota": bucket.quota, "usage": usage}

    async def put(self, path: str, content: Any = None, /, **query: Any) -> Any:
        self._answer(f"PUT {path} {' '.join(sorted(k for k in query if k not in ('uid', 'bucket')))}")
        if path == "bucket" and "quota" in query:
            self.buckets[query["bucket"]].quota = _quota(query)
        elif path == "bucket":
            self._user(query["uid"])
            self.buckets[query["bucket"]].owner = query["uid"]
        elif "quota" in query:
            self._user(query["uid"]).quota = _quota(query)
        elif "key" in query:
            self._user(query["uid"]).keys[query["access-key"]] = self._next("secret")
        else:
            if query["uid"] in self.users:
                raise AdminError(409, "UserAlreadyExists")
            self.add_user(query["uid"], max_buckets=query["max-buckets"])

    async def post(self, path: str, /, **query: Any) -> Any:
        self._answer(f"POST {path}")
        self._user(query["uid"]).max_buckets = query["max-buckets"]

    async def delete(self, path: str, /, **query: Any) -> Any:
        self._answer(f"DELETE {path}{' key' if 'key' in query else ''}")
        if path == "bucket":
            if query["bucket"] not in self.buckets:
                raise AdminError(404, "NoSuchBucket")
            if self.buckets[query["bucket"]].objects:
                raise AdminError(409, "BucketNotEmpty")
            del self.buckets[query["bucket"]]
        elif "key" in query:
            if self._user(query["uid"]).keys.pop(query["access-key"], None) is None:
                raise AdminError(403, "InvalidAccessKeyId")
        else:
            self._user(query["uid"])
            if any(bucket.owner == query["uid"] for bucket in self.buckets.values()):
                raise AdminError(409, "BucketAlreadyExists")
            del self.users[query["uid"]]

    def s3(self, access: str, secret: str) -> Any:
        """A client of boto3 with these keys."""
        found = [uid for uid, user in self.users.items() if user.keys.get(access) == secret]
        return S3(self, found[0] if found else "")

    def _answer(self, write: str = "") -> None:
        if self.down:
            raise AdminError(0, "Unreachable", "connection refused")
        if write:
            self.writes.append(write)

    def _user(self, uid: str) -> HeldUser:
        if uid not in self.users:
            raise AdminError(404, "NoSuchUser")
        return self.users[uid]

    def _shown(self, uid: str) -> JsonObject:
        user = self._user(uid)
        return {
            "user_id": uid,
            "keys": [{"user": uid, "access_key": a, "secret_key": s} for a, s in sorted(user.keys.items())],
            "max_buckets": user.max_buckets,
            "user_quota": user.quota,
            "caps": user.caps,
        }

    def _next(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"


class S3:
    """S3 as a user, by the names of boto3's methods."""

    def __init__(self, gateway: Gateway, uid: str) -> None:
        self._gateway, self._uid = gateway, uid

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**given: Any) -> Any:
            if not self._uid:
                raise refused("InvalidAccessKeyId")
            if name.startswith(("create", "put", "delete", "abort")):
                self._gateway.writes.append(f"S3 {name}")
            answer: Callable[..., Any] = getattr(S3, f"_{name}")
            return answer(self, given.pop("Bucket"), **{key.lower(): value for key, value in given.items()})

        return call

    def _create_bucket(self, name: str) -> JsonObject:
        user = self._gateway.users[self._uid]
        owned = [b for b in self._gateway.buckets.values() if b.owner == self._uid]
        if user.max_buckets < 0:
            raise refused("AccessDenied")
        if user.max_buckets and len(owned) >= user.max_buckets:
            raise refused("TooManyBuckets")
        self._gateway.add_bucket(name, self._uid)
        return {}

    def _get_bucket_policy(self, name: str) -> JsonObject:
        bucket = self._mine(name)
        if not bucket.policy:
            raise refused("NoSuchBucketPolicy")
        return {"Policy": bucket.policy}

    def _put_bucket_policy(self, name: str, policy: str) -> JsonObject:
        if any(statement["Effect"] not in ("Allow", "Deny") for statement in json.loads(policy)["Statement"]):
            raise refused("InvalidArgument", "is not a valid effect")
        self._mine(name).policy = policy
        return {}

    def _delete_bucket_policy(self, name: str) -> JsonObject:
        self._mine(name).policy = ""
        return {}

    def _get_bucket_lifecycle_configuration(self, name: str) -> JsonObject:
        bucket = self._mine(name)
        if bucket.lifecycle is None:
            raise refused("NoSuchLifecycleConfiguration")
        return bucket.lifecycle

    def _put_bucket_lifecycle_configuration(self, name: str, lifecycleconfiguration: JsonObject) -> JsonObject:
        rules = [{"ID": "made-up", "Prefix": "", **rule} for rule in lifecycleconfiguration["Rules"]]
        self._mine(name).lifecycle = {"Rules": rules}
        return {}

    def _delete_bucket_lifecycle(self, name: str) -> JsonObject:
        self._mine(name).lifecycle = None
        return {}

    def _list_object_versions(self, name: str, maxkeys: int) -> JsonObject:
        keys = list(self._mine(name).objects)[:maxkeys]
        return {"Versions": [{"Key": key, "VersionId": "null"} for key in keys]}

    def _delete_objects(self, name: str, delete: JsonObject) -> JsonObject:
        held = self._mine(name).locked
        for item in delete["Objects"]:
            if item["Key"] not in held:
                del self._mine(name).objects[item["Key"]]
        return {"Errors": [{"Key": key, "Code": "AccessDenied"} for key in held]}

    def _list_multipart_uploads(self, name: str) -> JsonObject:
        return {"Uploads": [{"Key": key, "UploadId": "u"} for key in self._mine(name).uploads]}

    def _abort_multipart_upload(self, name: str, key: str, uploadid: str) -> JsonObject:
        self._mine(name).uploads.remove(key)
        return {}

    def _mine(self, name: str) -> HeldBucket:
        bucket = self._gateway.buckets.get(name)
        if bucket is None:
            raise refused("NoSuchBucket")
        if bucket.owner != self._uid:
            raise refused("AccessDenied")
        return bucket


def refused(code: str, message: str | None = None) -> ClientError:
    """A refusal of the gateway."""
    return ClientError({"Error": {"Code": code, "Message": message}}, "Request")


def _quota(query: JsonObject) -> JsonObject:
    return {
        **NO_QUOTA,
        "enabled": query["enabled"],
        "max_objects": query["max-objects"],
        "max_size": query["max-size"],
    }


class GatewayStores(Stores):
    """Ways to object stores that all have the one gateway; a store is there if its name is in `names`."""

    def __init__(self, gateway: Gateway, names: tuple[str, ...] = ("store",)) -> None:
        super().__init__(cast("Informer[CephObjectStore]", None), cast("Any", None))
        self.gateway, self.names = gateway, list(names)

    def reach(self, namespace: str, name: str) -> Way:
        if name not in self.names:
            return Way(waits_for=f"CephObjectStore {name} in namespace {namespace}")
        store = cast("CephObjectStore", SimpleNamespace())
        return Way(store=store, admin=self.gateway, endpoint=ENDPOINT)

    def s3(self, way: Way, access_key: str, secret_key: str, service: str = "s3") -> Any:
        return self.gateway.s3(access_key, secret_key)


class Inline(Threads):
    """Runs at once what would run in a thread."""

    async def run[T](
        self, lane: Lane, function: Callable[[], T], *, seconds: float, settled: Callable[[], None] | None = None
    ) -> T:
        return function()
