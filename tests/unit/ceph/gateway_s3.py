"""Requests of users to the gateways of a test: by the names of boto3's methods, and signed ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from botocore.exceptions import ClientError, EndpointConnectionError

from controller.ceph.rgw.signed import Answer, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from informers import JsonObject
    from tests.unit.ceph.gateways import Gateways, HeldBucket


class S3:
    """S3 as a user, by the names of boto3's methods."""

    def __init__(self, gateways: Gateways, access_key: str, secret_key: str) -> None:
        user = gateways.who(access_key, secret_key)
        self._gateways, self._uid = gateways, "" if user is None else str(user["user_id"])

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**given: Any) -> Any:
            if self._gateways.down:
                raise EndpointConnectionError(endpoint_url="http://store")
            if not self._uid:
                raise refused("InvalidAccessKeyId")
            if name.startswith(("create", "put", "delete", "abort")):
                self._gateways.asked.append((f"S3 {name}", given))
            answer: Callable[..., Any] = getattr(S3, f"_{name}")
            return answer(self, given.pop("Bucket"), **{key.lower(): value for key, value in given.items()})

        return call

    def _create_bucket(self, name: str) -> JsonObject:
        limit = self._gateways.users[self._uid]["max_buckets"]
        owned = [b for b in self._gateways.buckets.values() if b.owner == self._uid]
        if limit < 0:
            raise refused("AccessDenied")
        if limit and len(owned) >= limit:
            raise refused("TooManyBuckets")
        self._gateways.add_bucket(name, self._uid)
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
        bucket = self._gateways.buckets.get(name)
        if bucket is None:
            raise refused("NoSuchBucket")
        if bucket.owner not in (self._uid, self._gateways.users[self._uid]["account_id"] or self._uid):
            raise refused("AccessDenied")
        return bucket


def refused(code: str, message: str | None = None) -> ClientError:
    """A refusal of the gateway."""
    return ClientError({"Error": {"Code": code, "Message": message}}, "Request")


class Signed:
    """Requests of a user of these gateways. Implements `controller.ceph.rgw.signed.Requests`."""

    def __init__(self, gateways: Gateways, access_key: str, secret_key: str) -> None:
        self.gateways, self.key = gateways, (access_key, secret_key)

    async def send(self, method: str, path: str, query: Mapping[str, str], content: bytes = b"") -> Answer:
        if self.gateways.down:
            raise UnreachableError("no route to host")
        user = self.gateways.who(*self.key)
        if user is None:
            return Answer(403, b"<Error><Code>InvalidAccessKeyId</Code></Error>")
        if path != "/":
            return self._notifications(method, path[1:], query, content, user["user_id"])
        if method == "GET":
            owners = (user["user_id"], user["account_id"])
            found = [name for name, held in self.gateways.buckets.items() if held.owner in owners]
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
        members = "".join(
            f"<member><UserName>{self.gateways.users[name]['display_name']}</UserName><UserId>{name}</UserId></member>"
            for name in names
        )
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
        if bucket not in gateways.buckets:
            return Answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        if gateways.buckets[bucket].owner != uid:
            return Answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        has = gateways.buckets[bucket].notifications
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
