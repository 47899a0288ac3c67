"""Users of an object store: what they may, how much, with which key; and who is told of objects in buckets."""

from collections.abc import Iterator

import pytest

from e2e import buckets, objectstores, s3
from e2e import environment as env
from e2e.api import Manifest, condition, load
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually
from e2e.s3 import STATUS

pytestmark = pytest.mark.meanwhile

STORE = "e2e-users"
CLIENT, LISTENER = "s3-user", "listener"
CLASS = "e2e-notified"
USER = "e2e-user"
SECRET = f"rook-ceph-object-user-{STORE}-{USER}"


@pytest.fixture(scope="module", autouse=True)
def _store(environment: Environment) -> Iterator[None]:
    """A store, a pod that is its client, and a class of claims to its buckets."""
    gateway = {"port": 80, "instances": 1, **objectstores.SMALL}
    pools = {"metadataPool": objectstores.ONE_COPY, "dataPool": objectstores.ONE_COPY}
    objectstores.make(environment, STORE, {**pools, "gateway": gateway})
    s3.start(environment, env.NAMESPACE, CLIENT)
    yield
    environment.api.delete("Pod", CLIENT, env.NAMESPACE)
    objectstores.remove(environment, STORE)


@pytest.fixture
def user(environment: Environment) -> Iterator[str]:
    """A user by the example, gone afterwards with its buckets."""
    (manifest,) = load(env.EXAMPLES / "object-user.yaml")
    manifest["metadata"]["name"] = USER
    manifest["spec"] |= {"store": STORE, "quotas": {"maxBuckets": 1, "maxSize": "1Mi"}}
    environment.api.apply(manifest)
    env.wait_for_phase(environment, "CephObjectStoreUser", USER)
    yield USER
    environment.api.delete("CephObjectStoreUser", USER, env.NAMESPACE)
    env.gone(environment, "CephObjectStoreUser", USER, env.NAMESPACE)


def login(environment: Environment) -> s3.Login:
    """The store's URL and the user's key, as its Secret has them."""
    return s3.Login(*s3.secret_values(environment, env.NAMESPACE, SECRET, "Endpoint", "AccessKey", "SecretKey"))


def edit(environment: Environment, patch: Manifest) -> None:
    environment.api.patch("CephObjectStoreUser", USER, env.NAMESPACE, patch)


def test_a_user_has_its_limits_its_rights_and_another_key(environment: Environment, user: str) -> None:
    def ask(expression: str, by: s3.Login | None = None) -> object:
        return s3.User(environment, env.NAMESPACE, CLIENT, by or login(environment)).ask(expression)

    # What it may have.
    assert ask("s3.create_bucket(Bucket='e2e-own')" + STATUS) == 200
    assert ask("s3.create_bucket(Bucket='e2e-more')") == {"refused": "TooManyBuckets"}
    assert ask("s3.put_object(Bucket='e2e-own', Key='small', Body=b'x' * 4096)" + STATUS) == 200
    assert ask("s3.put_object(Bucket='e2e-own', Key='large', Body=b'x' * (2 << 20))") == {"refused": "QuotaExceeded"}

    # What it may do.
    asked = f"admin('user?uid={user}&format=json')"
    assert ask(asked) == 403
    edit(environment, {"spec": {"capabilities": {"users": "read"}}})
    env.wait_for_phase(environment, "CephObjectStoreUser", user)
    assert ask(asked) == 200
    edit(environment, {"spec": {"capabilities": None, "opMask": ["read"]}})
    env.wait_for_phase(environment, "CephObjectStoreUser", user)
    assert ask(asked) == 403
    assert ask("s3.put_object(Bucket='e2e-own', Key='more', Body=b'x')") == {"refused": "AccessDenied"}
    edit(environment, {"spec": {"opMask": None}})
    env.wait_for_phase(environment, "CephObjectStoreUser", user)

    # Another key, while the one before is of use; then it is not.
    old = login(environment)
    edit(environment, {"metadata": {"annotations": {"rook.io/rotate-keys": "first"}}})

    def rotated() -> None:
        if login(environment) == old:
            raise NotYetError("it has the old one")

    eventually("another key", rotated, deadline=60)
    listed = "s3.list_objects_v2(Bucket='e2e-own')['KeyCount']"
    assert ask(listed) == ask(listed, old) == 1
    edit(environment, {"metadata": {"annotations": {"rook.io/keep-old-keys": "0s"}}})

    def ended() -> None:
        if ask(listed, old) != {"refused": "InvalidAccessKeyId"}:
            raise NotYetError("it is of use")

    eventually("the old key to end", ended, deadline=60)

    # A lost Secret is written again, with the key that is of use.
    new = login(environment)
    environment.api.delete("Secret", SECRET, env.NAMESPACE)

    def written() -> None:
        if environment.api.find("Secret", SECRET, env.NAMESPACE) is None:
            raise NotYetError("it is not there")

    eventually("the Secret to be written again", written, deadline=60)
    assert login(environment) == new

    # It stays as long as it owns a bucket.
    environment.api.delete("CephObjectStoreUser", user, env.NAMESPACE)

    def blocked() -> None:
        found = condition(environment.api.get("CephObjectStoreUser", user, env.NAMESPACE), "DeletionIsBlocked")
        if "e2e-own" not in found.get("message", ""):
            raise NotYetError(f"its conditions say {found.get('message', 'nothing')!r}")

    eventually("the bucket to be named", blocked, deadline=60)
    assert ask(listed) == 1
    assert (
        ask("s3.delete_object(Bucket='e2e-own', Key='small') and s3.delete_bucket(Bucket='e2e-own') and None") is None
    )
    env.gone(environment, "CephObjectStoreUser", user, env.NAMESPACE)


@pytest.fixture
def claim(environment: Environment) -> Iterator[str]:
    """A claim to a bucket that asks for the example's notification; gone afterwards with all that it needs."""
    buckets.storage_class(environment, CLASS, store=STORE)
    labels = {"bucket-notification-my-notification": "my-notification"}
    buckets.claim(environment, env.NAMESPACE, "photos", CLASS, labels=labels)
    yield "photos"
    for kind, name in (
        ("CephBucketNotification", "my-notification"),
        ("CephBucketTopic", "my-topic"),
        ("ObjectBucketClaim", "photos"),
    ):
        environment.api.delete(kind, name, env.NAMESPACE)
        env.gone(environment, kind, name, env.NAMESPACE)
    environment.api.delete("StorageClass", CLASS)
    environment.api.delete("Pod", LISTENER, env.NAMESPACE)


def test_a_listener_is_told_of_objects(environment: Environment, claim: str) -> None:
    namespace = env.NAMESPACE  # topics and notifications are served there
    listener = s3.start_listener(environment, namespace, LISTENER)
    (topic,) = load(env.EXAMPLES / "bucket-topic.yaml")
    topic["metadata"]["namespace"] = namespace
    topic["spec"] |= {"objectStoreName": STORE, "objectStoreNamespace": env.NAMESPACE}
    topic["spec"]["endpoint"]["http"]["uri"] = f"http://{listener['status']['podIP']}:8080"
    (notification,) = load(env.EXAMPLES / "bucket-notification.yaml")
    notification["metadata"]["namespace"] = namespace
    environment.api.apply(topic)
    environment.api.apply(notification)

    def ready() -> None:
        for kind, name in (("CephBucketTopic", "my-topic"), ("CephBucketNotification", "my-notification")):
            found = environment.api.get(kind, name, namespace)
            if found.get("status", {}).get("phase") != "Ready":
                raise NotYetError(f"{kind}: {condition(found, 'Ready').get('message', 'nothing said')}")

    eventually("topic and notification", ready, deadline=120)
    assert environment.api.get("CephBucketNotification", "my-notification", namespace)["status"]["buckets"] == [claim]

    bucket = environment.api.get("ConfigMap", claim, namespace)["data"]["BUCKET_NAME"]
    by = s3.Login(f"http://{objectstores.host(STORE)}:80", *buckets.keys(environment, namespace, claim))
    owner = s3.User(environment, env.NAMESPACE, CLIENT, by)
    for key in ("photos/a.jpg", "photos/b.txt", "other/c.jpg"):
        put = f"s3.put_object(Bucket={bucket!r}, Key={key!r}, Body=b'x')" + STATUS
        assert owner.ask(put) == 200

    def told() -> list[Manifest]:
        records = s3.told(environment, namespace, LISTENER)
        if not records:
            raise NotYetError("it has heard nothing")
        return records

    records = eventually("the listener to be told", told, deadline=60)
    assert {record["s3"]["object"]["key"] for record in records} == {"photos/a.jpg"}
    assert {record["opaqueData"] for record in records} == {"my-data"}
    assert {record["s3"]["bucket"]["name"] for record in records} == {bucket}

    # Without the label, it hears no more.
    environment.api.patch(
        "ObjectBucketClaim", claim, namespace, {"metadata": {"labels": {"bucket-notification-my-notification": None}}}
    )

    def taken() -> None:
        status = environment.api.get("CephBucketNotification", "my-notification", namespace)["status"]
        if status.get("buckets"):
            raise NotYetError(f"it is at {status['buckets']}")

    eventually("the bucket to lose the notification", taken, deadline=60)
    listed = f"s3.get_bucket_notification_configuration(Bucket={bucket!r}).get('TopicConfigurations', [])"
    assert owner.ask(listed) == []
