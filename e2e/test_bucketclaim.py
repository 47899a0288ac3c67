"""Claims to buckets: a program gets a bucket over TLS by what its claim has; what goes with a claim, and what stays."""

from collections.abc import Iterator

import pytest

from e2e import buckets, objectstores
from e2e import environment as env
from e2e.conftest import CHART_VALUES
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually
from e2e.s3 import STATUS

CLASS = "e2e-bucket"
CLAIM = "photos"


@pytest.fixture(scope="module", autouse=True)
def _store(environment: Environment) -> Iterator[None]:
    """The store; and meanwhile, the operator may write what claims have into any namespace."""
    env.install_chart(environment, **(CHART_VALUES | {"bucketClaims.namespaces": ["*"]}))
    buckets.deploy(environment)
    buckets.storage_class(environment, CLASS)
    yield
    environment.api.delete("StorageClass", CLASS)
    buckets.remove(environment)
    env.install_chart(environment, **CHART_VALUES)


def test_a_program_uses_a_bucket_by_what_its_claim_has(environment: Environment, namespace: str) -> None:
    buckets.claim(environment, namespace, CLAIM, CLASS)
    claim = buckets.bound(environment, namespace, CLAIM)
    buckets.pod(environment, namespace, CLAIM)

    def ask(expression: str, key: tuple[str, str] = ("", "")) -> object:
        return buckets.ask(environment, namespace, CLAIM, expression, key)

    assert ask("s3.put_object(Bucket=bucket, Key='k', Body=b'hello')" + STATUS) == 200
    assert ask("s3.get_object(Bucket=bucket, Key='k')['Body'].read().decode()") == "hello"
    assert ask("s3.create_bucket(Bucket=bucket + '-2')") == {"refused": "TooManyBuckets"}

    # Another key, while the old one is of use; then it is not.
    old = buckets.keys(environment, namespace, CLAIM)
    rotate = {"rook.io/rotate-keys": "first"}
    environment.api.patch("ObjectBucketClaim", CLAIM, namespace, {"metadata": {"annotations": rotate}})

    def rotated() -> tuple[str, str]:
        if buckets.keys(environment, namespace, CLAIM) == old:
            raise NotYetError("it has the old one")
        return buckets.keys(environment, namespace, CLAIM)

    new = eventually("another key", rotated, deadline=30)
    assert ask("s3.list_objects_v2(Bucket=bucket)['KeyCount']", old) == 1
    assert ask("s3.list_objects_v2(Bucket=bucket)['KeyCount']", new) == 1
    at_once = {"rook.io/keep-old-keys": "0s"}
    environment.api.patch("ObjectBucketClaim", CLAIM, namespace, {"metadata": {"annotations": at_once}})

    def ended() -> None:
        if ask("s3.list_objects_v2(Bucket=bucket)['KeyCount']", old) != {"refused": "InvalidAccessKeyId"}:
            raise NotYetError("it is of use")

    eventually("the old key to end", ended, deadline=30)

    # The bucket goes with its claim, and all that is in it.
    name = claim["spec"]["bucketName"]
    assert name in objectstores.asked(environment, buckets.STORE, "bucket", "list")
    environment.api.delete("ObjectBucketClaim", CLAIM, namespace)
    env.gone(environment, "ObjectBucketClaim", CLAIM, namespace)
    assert name not in objectstores.asked(environment, buckets.STORE, "bucket", "list")
    assert buckets.users(environment, f"obc-{namespace}") == []
    assert environment.api.find("ObjectBucket", f"obc-{namespace}-{CLAIM}", "") is None
    assert environment.api.find("Secret", CLAIM, namespace) is None


def test_a_quota_is_kept(environment: Environment, namespace: str) -> None:
    buckets.claim(environment, namespace, CLAIM, CLASS, additionalConfig={"maxObjects": "3"})
    buckets.bound(environment, namespace, CLAIM)
    buckets.pod(environment, namespace, CLAIM)
    put = "[s3.put_object(Bucket=bucket, Key=str(n), Body=b'x') and n for n in range(30)]"
    assert buckets.ask(environment, namespace, CLAIM, put) == {"refused": "QuotaExceeded"}
    more = {"spec": {"additionalConfig": {"maxObjects": None, "maxSize": "1G"}}}
    environment.api.patch("ObjectBucketClaim", CLAIM, namespace, more)
    buckets.bound(environment, namespace, CLAIM)

    def look() -> None:
        found = buckets.ask(environment, namespace, CLAIM, put)
        if isinstance(found, dict):
            raise NotYetError(str(found))

    eventually("the quota to be gone", look, deadline=60)


def test_a_bucket_that_exists_is_shared_and_stays(environment: Environment, namespace: str) -> None:
    first, second, shared = CLAIM, "readers", f"{CLASS}-shared"
    buckets.claim(environment, namespace, first, CLASS)
    name = buckets.bound(environment, namespace, first)["spec"]["bucketName"]
    buckets.pod(environment, namespace, first)
    put = "s3.put_object(Bucket=bucket, Key='k', Body=b'hello')" + STATUS
    assert buckets.ask(environment, namespace, first, put) == 200

    buckets.storage_class(environment, shared, bucket=name)
    try:
        buckets.claim(environment, namespace, second, shared)
        buckets.bound(environment, namespace, second)
        buckets.pod(environment, namespace, second)
        get = "s3.get_object(Bucket=bucket, Key='k')['Body'].read().decode()"
        assert buckets.ask(environment, namespace, second, get) == "hello"
        key = buckets.keys(environment, namespace, second)
        environment.api.delete("ObjectBucketClaim", second, namespace)
        env.gone(environment, "ObjectBucketClaim", second, namespace)
        assert buckets.ask(environment, namespace, first, get) == "hello"
        assert buckets.ask(environment, namespace, first, get, key) == {"refused": "InvalidAccessKeyId"}
    finally:
        environment.api.delete("StorageClass", shared)


def test_a_claim_goes_though_its_class_and_its_bucket_are_gone(environment: Environment, namespace: str) -> None:
    name = f"{CLASS}-short"
    buckets.storage_class(environment, name)
    buckets.claim(environment, namespace, CLAIM, name)
    bucket = buckets.bound(environment, namespace, CLAIM)["spec"]["bucketName"]
    environment.api.delete("StorageClass", name)
    objectstores.radosgw_admin(environment, buckets.STORE, "bucket", "rm", f"--bucket={bucket}")
    environment.api.delete("ObjectBucketClaim", CLAIM, namespace)
    env.gone(environment, "ObjectBucketClaim", CLAIM, namespace, deadline=30)
    assert buckets.users(environment, f"obc-{namespace}") == []
    assert environment.api.find("ObjectBucket", f"obc-{namespace}-{CLAIM}", "") is None


def test_a_store_stays_while_it_has_claims(environment: Environment, namespace: str) -> None:
    buckets.claim(environment, namespace, CLAIM, CLASS)
    buckets.bound(environment, namespace, CLAIM)
    environment.api.delete("CephObjectStore", buckets.STORE, env.NAMESPACE)
    env.wait_until_blocked(environment, "CephObjectStore", buckets.STORE, by=f"ObjectBucketClaim {namespace}/{CLAIM}")
    # Its gateways run until the last claim is gone: neither waits for the other for ever.
    environment.api.delete("ObjectBucketClaim", CLAIM, namespace)
    env.gone(environment, "ObjectBucketClaim", CLAIM, namespace)
    env.gone(environment, "CephObjectStore", buckets.STORE, env.NAMESPACE, deadline=180)
