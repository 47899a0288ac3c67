"""CephBucketNotifications: what buckets should have, plans by table, and the life of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.apis.ceph import CephBucketNotification
from controller.ceph.notification import config
from controller.ceph.notification.act import NOTIFICATIONS, PutNotification, RemoveNotification
from controller.ceph.notification.analyze import AT_REST, analyze
from controller.ceph.notification.buckets import Bucket
from controller.ceph.notification.config import ABORTED, Config, NotificationError
from controller.ceph.notification.kind import BUCKETS, CLAIMS, FINALIZER, TOPICS, of_topic, register
from controller.ceph.notification.observe import NotificationObservation, Target
from controller.ceph.notification.spec import DEFAULT_EVENTS, named_by, problems, wanted
from controller.ceph.topic import kind as topic_kind
from controller.framework.kind import LetGo
from controller.framework.settings import Settings
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.ceph.gateway_s3 import Signed
from tests.unit.ceph.gateways import Gateways
from tests.unit.ceph.stores import OneStore, a_store

if TYPE_CHECKING:
    from informers import JsonObject

NOW = "2027-01-15T08:00:00Z"
ARN = "arn:aws:sns:my-store::told"
WANTED = Config(ARN, frozenset(DEFAULT_EVENTS))
BUCKET = Bucket("rook-ceph", "my-store", "photos")


def a_notification(spec: JsonObject | None = None, *, deleting: bool = False) -> CephBucketNotification:
    meta: JsonObject = {"name": "created", "namespace": "app", "uid": "u1"}
    if deleting:
        meta["deletionTimestamp"] = NOW
    return msgspec.convert({"metadata": meta, "spec": {"topic": "told", **(spec or {})}}, CephBucketNotification)


def seen(*targets: Target, **fields: Any) -> NotificationObservation:
    whole: dict[str, Any] = {"wanted": WANTED, "targets": targets}
    return NotificationObservation(**whole | fields)


def actions(notification: CephBucketNotification, found: NotificationObservation) -> list[object]:
    return [step.action for step in analyze(notification, found).steps if step.held_by is None]


def waits(notification: CephBucketNotification, found: NotificationObservation) -> list[str]:
    return [step.waits_for for step in analyze(notification, found).steps if step.waits_for]


class TestSpec:
    def test_what_is_told_of_where_nothing_is_said(self) -> None:
        assert wanted(a_notification(), ARN) == WANTED

    def test_every_field(self) -> None:
        spec = {
            "events": ["s3:ObjectCreated:Put"],
            "filter": {
                "keyFilters": [{"name": "prefix", "value": "a"}, {"name": "suffix", "value": ".jpg"}],
                "metadataFilters": [{"name": "x-amz-meta-color", "value": "blue"}],
                "tagFilters": [{"name": "project", "value": "x"}],
            },
        }
        assert wanted(a_notification(spec), ARN) == Config(
            ARN,
            frozenset({"s3:ObjectCreated:Put"}),
            keys=frozenset({("prefix", "a"), ("suffix", ".jpg")}),
            metadata=frozenset({("x-amz-meta-color", "blue")}),
            tags=frozenset({("project", "x")}),
        )

    def test_what_means_nothing(self) -> None:
        twice = {"filter": {"keyFilters": [{"name": "prefix", "value": "a"}, {"name": "prefix", "value": "b"}]}}
        assert problems(a_notification(twice)) == (
            "filter.keyFilters has prefix more than once: expected each once at most",
        )
        assert actions(a_notification(twice), seen(Target(claim="c", bucket=BUCKET))) == []

    def test_labels_of_claims(self) -> None:
        labels = {
            "bucket-notification-a": "a",
            "bucket-notification-b": "other",
            "bucket-notification-": "",
            "app": "x",
        }
        assert named_by(labels) == ("a",)


class TestPlan:
    def test_buckets_get_what_they_lack(self) -> None:
        other = Config("arn:other", frozenset())
        put = PutNotification(BUCKET, "created", WANTED)
        assert actions(a_notification(), seen(Target(claim="c", bucket=BUCKET))) == [put]
        assert actions(a_notification(), seen(Target(claim="c", bucket=BUCKET, has=other))) == [put]
        rest = seen(Target(claim="c", bucket=BUCKET, has=WANTED))
        assert (analyze(a_notification(), rest).steps, analyze(a_notification(), rest).look_again) == ((), AT_REST)

    def test_one_claim_that_waits_keeps_no_other(self) -> None:
        found = seen(Target(claim="new", waits_for="it to be Bound"), Target(claim="c", bucket=BUCKET))
        assert actions(a_notification(), found) == [PutNotification(BUCKET, "created", WANTED)]
        assert waits(a_notification(), found) == ["it to be Bound"]

    def test_a_claim_that_does_not_ask_any_more(self) -> None:
        former = Target(claim="c", bucket=BUCKET, has=WANTED, asked_for=False)
        assert actions(a_notification(), seen(former)) == [RemoveNotification(BUCKET, "created")]
        # Also while nobody knows what others should have.
        assert actions(a_notification(), seen(former, wanted=None, waits_for="the topic")) == [
            RemoveNotification(BUCKET, "created")
        ]
        assert actions(a_notification(), seen(Target(claim="c", asked_for=False))) == []

    def test_deletion_waits_for_every_bucket(self) -> None:
        gone, former = a_notification(deleting=True), Target(claim="c", bucket=BUCKET, has=WANTED, asked_for=False)
        assert actions(gone, seen(former)) == [RemoveNotification(BUCKET, "created"), LetGo()]
        away = Target(claim="d", bucket=BUCKET, waits_for="the store", asked_for=False)
        steps = analyze(gone, seen(former, away)).steps
        assert {step.lane for step in steps} == {"removal"}
        assert [step.waits_for for step in steps] == ["", "the store", ""]


class TestGateways:
    @pytest.mark.parametrize(
        "given",
        [
            WANTED,
            Config(ARN, frozenset({ABORTED})),
            Config(
                ARN,
                frozenset({"s3:ObjectCreated:*"}),
                keys=frozenset({("regex", "a&<b>.*"), ("prefix", "")}),
                metadata=frozenset({("x-amz-meta-a", "b")}),
                tags=frozenset({("t", "1"), ("u", "2")}),
            ),
        ],
    )
    async def test_what_is_put_is_what_is_read(self, given: Config) -> None:
        gateways, requests = self.bucket()
        await config.put(requests, "photos", "created", given)
        await config.put(requests, "photos", "other", WANTED)
        if ABORTED in given.events:
            # So they answer.
            text = gateways.buckets["photos"].notifications["created"]
            gateways.buckets["photos"].notifications["created"] = text.replace(ABORTED, "s3:UnknownEvent")
        assert await config.find(requests, "photos", "created") == given
        await config.remove(requests, "photos", "created")
        await config.remove(requests, "photos", "created")
        assert await config.find(requests, "photos", "created") is None
        assert await config.find(requests, "photos", "other") == WANTED

    async def test_refusals(self) -> None:
        _, requests = self.bucket()
        with pytest.raises(NotificationError, match="NoSuchBucket"):
            await config.find(requests, "no-bucket", "created")
        await config.remove(requests, "no-bucket", "created")
        with pytest.raises(NotificationError, match="InvalidArgument"):
            await config.put(requests, "photos", "created", Config(ARN, frozenset({"s3:ObjectRestore:*"})))

    def bucket(self) -> tuple[Gateways, Signed]:
        gateways = Gateways()
        gateways.topics["told"] = {}
        gateways.add_user("owner")
        gateways.add_bucket("photos", "owner")
        return gateways, Signed(gateways, *gateways.key_of("owner"))


@virtual_time
async def test_a_notification_from_its_making_to_its_removal() -> None:
    server = ApiServer(namespaces=("rook-ceph", "app"))
    for resource in (NOTIFICATIONS, TOPICS, CLAIMS, BUCKETS, topic_kind.STORES):
        server.serve(resource)
    gateways = Gateways()
    gateways.add_user("obc")
    stores = OneStore(gateways, a_store())
    manager = new_manager(server)
    settings = Settings(operator_namespace="rook-ceph")
    topic_kind.register(manager, settings, stores, dependents=(of_topic(manager.informers),))
    register(manager, settings, stores)
    key = ("app", "created")

    def status() -> JsonObject:
        found: JsonObject = server.get(NOTIFICATIONS, *key).get("status", {})
        return found

    def has(bucket: str) -> set[str]:
        return set(gateways.buckets[bucket].notifications)

    def claim(name: str, *, bound: bool) -> None:
        labels = {"bucket-notification-created": "created"}
        spec = {"objectBucketName": f"obc-app-{name}"} if bound else {}
        server.create(CLAIMS, {"metadata": {"namespace": "app", "name": name, "labels": labels}, "spec": spec})

    def bucket(name: str, *, of: str = "") -> None:
        gateways.add_bucket(name, "obc")
        spec = {
            "claimRef": {"namespace": "app", "name": of or name},
            "endpoint": {"bucketName": name},
            "additionalState": {"objectStoreNamespace": "rook-ceph", "objectStoreName": "my-store", "cephUser": "obc"},
        }
        server.create(BUCKETS, {"metadata": {"name": f"obc-app-{name}"}, "spec": spec})

    async with running(manager):
        server.create(NOTIFICATIONS, {"metadata": {"namespace": "app", "name": "created"}, "spec": {"topic": "told"}})
        bucket("photos")
        claim("photos", bound=True)
        await until(lambda: "CephBucketTopic told" in str(status()))
        place = {"objectStoreName": "my-store", "objectStoreNamespace": "rook-ceph"}
        spec = {**place, "endpoint": {"http": {"uri": "http://listener"}}}
        server.create(TOPICS, {"metadata": {"namespace": "app", "name": "told"}, "spec": spec})
        await until(lambda: has("photos") == {"created"} and status()["phase"] == "Ready")
        assert server.get(NOTIFICATIONS, *key)["metadata"]["finalizers"] == [FINALIZER]
        assert status()["buckets"] == ["photos"]

        # A claim that is bound later; and one that names a bucket of another.
        claim("films", bound=False)
        await until(lambda: "films" in str(status()["plan"]))
        bucket("films")
        server.patch(CLAIMS, "app", "films", {"spec": {"objectBucketName": "obc-app-films"}})
        await until(lambda: has("films") == {"created"})
        bucket("private", of="somebody")
        claim("thief", bound=False)
        server.patch(CLAIMS, "app", "thief", {"spec": {"objectBucketName": "obc-app-private"}})
        await until(lambda: "thief" in str(status()["plan"]))
        assert has("private") == set()
        server.delete(CLAIMS, "app", "thief")
        await until(lambda: status()["phase"] == "Ready")

        # An edit reaches every bucket; what somebody else put there stays.
        gateways.buckets["photos"].notifications["theirs"] = "<Id>theirs</Id>"
        server.patch(NOTIFICATIONS, *key, {"spec": {"events": ["s3:ObjectCreated:Put"]}})
        await until(
            lambda: all(
                "ObjectCreated:Put" in gateways.buckets[b].notifications["created"] for b in ("photos", "films")
            )
        )

        # A claim without the label, and without the object.
        server.patch(CLAIMS, "app", "films", {"metadata": {"labels": {"bucket-notification-created": None}}})
        await until(lambda: has("films") == set())
        server.delete(TOPICS, "app", "told")
        await until(lambda: "CephBucketNotification created" in str(server.get(TOPICS, "app", "told")["status"]))
        server.delete(NOTIFICATIONS, *key)
        await until(lambda: server.find(NOTIFICATIONS, *key) is None)
        assert has("photos") == {"theirs"}
        await until(lambda: server.find(TOPICS, "app", "told") is None)
