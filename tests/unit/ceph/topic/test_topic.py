"""CephBucketTopics: attributes, plans by table, and the life of one."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from controller.apis.ceph import CephBucketTopic
from controller.ceph.topic.act import TOPICS, CreateTopic, RemoveTopic
from controller.ceph.topic.analyze import analyze, invalid
from controller.ceph.topic.kind import FINALIZER, STORES, register
from controller.ceph.topic.observe import TopicObservation
from controller.ceph.topic.spec import Wanted, problems, wanted
from controller.ceph.topic.status import show
from controller.framework.kind import LetGo, Look
from controller.framework.plan import APPLY, preview
from controller.framework.settings import Settings
from controller.runtime.kube import SECRET, Secret
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.ceph.gateways import Gateways
from tests.unit.ceph.stores import OneStore, a_store

if TYPE_CHECKING:
    from informers import Informer, JsonObject

NOW = "2027-01-15T08:00:00Z"
ARN = "arn:aws:sns:my-store::told"
HTTP = {"http": {"uri": "http://listener:8080/a"}}
KAFKA = {
    "uri": "kafka://old:older@broker:9092",
    "useSSL": True,
    "mechanism": "SCRAM-SHA-512",
    "userSecretRef": {"name": "kafka", "key": "user"},
    "passwordSecretRef": {"name": "kafka", "key": "password"},
}


def a_topic(
    endpoint: JsonObject | None = None,
    *,
    name: str = "told",
    deleting: bool = False,
    status: JsonObject | None = None,
    **spec: Any,
) -> CephBucketTopic:
    meta: JsonObject = {"name": name, "namespace": "app", "uid": "u1"}
    if deleting:
        meta["deletionTimestamp"] = NOW
    place = {"objectStoreName": "my-store", "objectStoreNamespace": "rook-ceph"}
    whole = {**place, "endpoint": HTTP if endpoint is None else endpoint, **spec}
    return msgspec.convert({"metadata": meta, "spec": whole, "status": status or {}}, CephBucketTopic)


def secrets(**data: str) -> Informer[Secret]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    meta = {"name": "kafka", "namespace": "app", "uid": "s1", "resourceVersion": "7"}
    secret = msgspec.json.decode(msgspec.json.encode({"metadata": meta, "data": encoded}), type=Secret)
    return cast("Informer[Secret]", SimpleNamespace(get=lambda *_: secret if data else None))


def seen(**fields: Any) -> TopicObservation:
    """A topic that is as it should be, but for these."""
    whole: dict[str, Any] = {"wanted": Wanted({}, "d"), "arn": ARN, "present": True}
    return TopicObservation(**whole | fields)


def actions(topic: CephBucketTopic, found: TopicObservation) -> list[object]:
    return [step.action for step in analyze(topic, found).steps if step.held_by is None]


def waits(topic: CephBucketTopic, found: TopicObservation) -> list[str]:
    return [step.waits_for for step in analyze(topic, found).steps]


OURS = {"ARN": ARN, "digest": "d"}


class TestSpec:
    @pytest.mark.parametrize(
        ("endpoint", "expected"),
        [
            (HTTP, {"push-endpoint": "http://listener:8080/a", "verify-ssl": "true", "cloudevents": "false"}),
            (
                {"http": {"uri": "https://l", "disableVerifySSL": True, "sendCloudEvents": True}},
                {"push-endpoint": "https://l", "verify-ssl": "false", "cloudevents": "true"},
            ),
            (
                {"amqp": {"uri": "amqps://u:p@b/v", "exchange": "ex", "ackLevel": "routeable"}},
                {
                    "push-endpoint": "amqps://u:p@b/v",
                    "amqp-exchange": "ex",
                    "amqp-ack-level": "routable",
                    "verify-ssl": "true",
                },
            ),
            (
                {"kafka": {"uri": "kafka://b:9092"}},
                {
                    "push-endpoint": "kafka://b:9092",
                    "use-ssl": "false",
                    "kafka-ack-level": "broker",
                    "verify-ssl": "true",
                    "mechanism": "PLAIN",
                },
            ),
        ],
    )
    def test_every_option_of_an_endpoint(self, endpoint: JsonObject, expected: dict[str, str]) -> None:
        found = wanted(a_topic(endpoint, opaqueData="x y", persistent=True), secrets())
        assert found.attributes == {"OpaqueData": "x y", "persistent": "true", **expected}
        assert found.lacking == ()

    def test_kafkas_user_and_password_come_from_secrets(self) -> None:
        found = wanted(a_topic({"kafka": KAFKA}), secrets(user="a/b", password="p@ss"))
        assert found.endpoint == "kafka://a%2Fb:p%40ss@broker:9092"
        assert [(of.name, of.resource_version) for of in found.read] == [("kafka", "7")]
        assert "p%40ss" not in repr(found)
        # What is shown of it tells nothing of a password: not even whether it is the same as another one's.
        assert found.digest == wanted(a_topic({"kafka": KAFKA}), secrets(user="a/b", password="other")).digest

    def test_a_secret_that_lacks_something(self) -> None:
        found = wanted(a_topic({"kafka": KAFKA}), secrets(user="a"))
        assert found.lacking == ("endpoint.kafka.passwordSecretRef: Secret kafka has no text in its key password",)
        assert invalid(a_topic({"kafka": KAFKA}), seen(wanted=found)) == found.lacking
        optional = {**KAFKA, "passwordSecretRef": {"name": "kafka", "key": "password", "optional": True}}
        assert wanted(a_topic({"kafka": optional}), secrets(user="a")).lacking == ()

    @pytest.mark.parametrize(
        ("topic", "told"),
        [
            (a_topic(name="with.dots"), "metadata.name is with.dots"),
            (a_topic({}), "endpoint has none: expected exactly one of http, amqp and kafka"),
            (a_topic({**HTTP, "kafka": {"uri": "kafka://b"}}), "endpoint has http, kafka: expected exactly one"),
            (
                a_topic({"http": {"uri": "ftp://l"}}),
                "endpoint.http.uri begins with 'ftp': expected http:// or https://",
            ),
            (a_topic({"kafka": {"uri": "broker:9092"}}), "endpoint.kafka.uri begins with"),
        ],
    )
    def test_what_means_nothing(self, topic: CephBucketTopic, told: str) -> None:
        (found,) = problems(topic)
        assert told in found
        assert actions(topic, seen()) == []


class TestPlan:
    def test_is_made_and_changed(self) -> None:
        assert actions(a_topic(), seen(present=False)) == [CreateTopic("told")]
        assert actions(a_topic(status=OURS), seen()) == []
        assert actions(a_topic(status=OURS), seen(differs=True)) == [CreateTopic("told")]
        assert actions(a_topic(status=OURS), seen(wanted=Wanted({}, "e"))) == [CreateTopic("told")]

    def test_waits(self) -> None:
        assert waits(a_topic(), seen(waits_for="the store")) == ["the store"]

    @pytest.mark.parametrize("found", [seen(taken_by="other/told"), seen(foreign=True)])
    def test_a_topic_of_somebody_else_is_neither_changed_nor_removed(self, found: TopicObservation) -> None:
        assert actions(a_topic(), found) == []
        assert actions(a_topic(deleting=True), found) == [LetGo()]

    def test_deletion(self) -> None:
        gone = a_topic(deleting=True, status=OURS)
        assert actions(gone, seen()) == [RemoveTopic(ARN), LetGo()]
        assert actions(gone, seen(present=False)) == [LetGo()]
        assert actions(gone, seen(gone=True, waits_for="x", dependents=("CephBucketNotification n",))) == [LetGo()]
        assert waits(gone, seen(waits_for="the store")) == ["the store"]
        held = seen(dependents=("CephBucketNotification n",))
        assert waits(gone, held) == ["what uses it to be deleted: CephBucketNotification n"]
        look = Look(obj=gone, spec={}, mode=APPLY, now=0.0)
        shown = show(look, held, preview(analyze(gone, held)))
        assert "CephBucketNotification n" in {c.type: c for c in shown.conditions}["DeletionIsBlocked"].message


@virtual_time
async def test_a_topic_from_its_making_to_its_removal() -> None:
    server = ApiServer(namespaces=("rook-ceph", "app", "other"))
    for resource in (TOPICS, STORES):
        server.serve(resource)
    gateways = Gateways()
    stores = OneStore(gateways, a_store())
    manager = new_manager(server)
    register(manager, Settings(operator_namespace="rook-ceph"), stores)
    key = ("app", "told")

    def status(*where: str) -> JsonObject:
        found: JsonObject = server.get(TOPICS, *(where or key)).get("status", {})
        return found

    def make(namespace: str, name: str, endpoint: JsonObject) -> None:
        place = {"objectStoreName": "my-store", "objectStoreNamespace": "rook-ceph"}
        meta = {"namespace": namespace, "name": name}
        server.create(TOPICS, {"metadata": meta, "spec": {**place, "endpoint": endpoint, "opaqueData": "a b.c+d"}})

    async with running(manager):
        make("app", "told", HTTP)
        await until(lambda: status().get("phase") == "Ready")
        assert (status()["ARN"], server.get(TOPICS, *key)["metadata"]["finalizers"]) == (ARN, [FINALIZER])
        assert gateways.topics["told"]["OpaqueData"] == "a b.c+d"

        # Nothing is written while nothing changes.
        looked = len(gateways.asked)
        await until(lambda: len(gateways.asked) > looked + 2)
        assert [what for what, _ in gateways.asked].count("POST CreateTopic") == 1

        # Lost, and changed by somebody: it comes back.
        gateways.topics.clear()
        await until(lambda: "told" in gateways.topics)
        gateways.topics["told"]["push-endpoint"] = "http://elsewhere"
        await until(lambda: gateways.topics["told"]["push-endpoint"] == "http://listener:8080/a")

        # The name is taken in the store, whichever namespace asks for it.
        make("other", "told", HTTP)
        await until(lambda: status("other", "told").get("phase") == "Failure")
        server.delete(TOPICS, "other", "told")
        await until(lambda: server.find(TOPICS, "other", "told") is None)
        assert "told" in gateways.topics

        # A password comes from a Secret, and over TLS alone.
        make("app", "kafka", {"kafka": KAFKA})
        await until(lambda: status("app", "kafka").get("phase") == "Failure")
        data = {"user": base64.b64encode(b"u").decode(), "password": base64.b64encode(b"first").decode()}
        server.create(SECRET, {"metadata": {"namespace": "app", "name": "kafka"}, "data": data})
        await until(lambda: "over TLS alone" in str(status("app", "kafka")))
        gateways.tls = True
        await until(lambda: status("app", "kafka").get("phase") == "Ready")
        server.patch(SECRET, "app", "kafka", {"data": {"password": base64.b64encode(b"second").decode()}})
        await until(lambda: gateways.topics["kafka"]["push-endpoint"] == "kafka://u:second@broker:9092")
        await until(lambda: status("app", "kafka").get("phase") == "Ready")
        assert "second" not in str(status("app", "kafka"))
        assert [found["name"] for found in status("app", "kafka")["secrets"]] == ["kafka"]

        for name in ("told", "kafka"):
            server.delete(TOPICS, "app", name)
        await until(lambda: not gateways.topics and server.find(TOPICS, *key) is None)
