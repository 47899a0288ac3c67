"""A bucket itself: what is asked of it, and what its refusals become."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.ceph.rgw.s3 import BucketError, S3Bucket
from tests.unit.ceph.gateway_s3 import S3
from tests.unit.ceph.gateways import Gateways

if TYPE_CHECKING:
    from tests.unit.ceph.gateways import HeldBucket


def a_bucket(gateways: Gateways, uid: str = "u") -> tuple[S3Bucket, HeldBucket]:
    gateways.add_user(uid)
    held = gateways.add_bucket("b", uid)
    return S3Bucket(lambda: S3(gateways, *gateways.key_of(uid)), "b"), held


def test_policy_and_lifecycle() -> None:
    bucket, _ = a_bucket(Gateways())
    assert bucket.policy() is None
    assert bucket.lifecycle() is None
    policy = {"Statement": [{"Effect": "Allow"}]}
    bucket.set_policy(policy)
    bucket.set_lifecycle({"Rules": [{"ID": "a"}]})
    assert bucket.policy() == policy
    assert bucket.lifecycle() == {"Rules": [{"ID": "a", "Prefix": ""}]}
    bucket.set_policy(None)
    bucket.set_lifecycle(None)
    assert bucket.policy() is bucket.lifecycle() is None


def test_what_is_refused_is_told_in_the_stores_words() -> None:
    bucket, _ = a_bucket(Gateways())
    with pytest.raises(BucketError, match="bucket b does not take the policy: InvalidArgument is not a valid effect"):
        bucket.set_policy({"Statement": [{"Effect": "Bad"}]})


def test_a_bucket_is_emptied_batch_by_batch_with_its_uploads() -> None:
    bucket, held = a_bucket(Gateways())
    held.objects = {f"k{i}": b"" for i in range(2500)}
    held.uploads = ["half"]
    assert bucket.purge(60)
    assert held.objects == {}
    assert held.uploads == []


def test_without_time_nothing_is_deleted() -> None:
    bucket, held = a_bucket(Gateways())
    held.objects = {"k": b""}
    assert not bucket.purge(0)
    assert held.objects


def test_objects_that_are_locked_are_named() -> None:
    bucket, held = a_bucket(Gateways())
    held.objects, held.locked = {"k": b"", "l": b""}, ["l"]
    with pytest.raises(BucketError, match="1 of 2 objects cannot be deleted, such as 'l': AccessDenied"):
        bucket.purge(60)


def test_a_bucket_that_is_gone_is_empty() -> None:
    gateways = Gateways()
    gateways.add_user("u")
    assert S3Bucket(lambda: S3(gateways, *gateways.key_of("u")), "gone").purge(60)
