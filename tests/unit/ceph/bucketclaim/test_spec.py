"""What claims and their classes ask for, and what of it means nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from controller.apis.objectbucket import ObjectBucketClaim
from controller.ceph.bucketclaim.spec import (
    StoreKey,
    Terms,
    bucket_name,
    idle,
    is_provisioner,
    kept_for,
    key_id,
    own_user,
    problems,
    terms_of,
    wanted,
)
from controller.ceph.rgw.buckets import NO_QUOTA
from controller.ceph.rgw.users import Quota
from controller.runtime.kube import StorageClass

if TYPE_CHECKING:
    from informers import JsonObject

EVERY = frozenset({"maxObjects", "maxSize", "bucketMaxObjects", "bucketPolicy", "bucketLifecycle", "bucketOwner"})
TERMS = Terms(store=StoreKey("rook-ceph", "store"))
UID = "0f1e2d3c-0000-4000-8000-000000000000"


def a_claim(spec: JsonObject | None = None, annotations: JsonObject | None = None) -> ObjectBucketClaim:
    meta = {"namespace": "app", "name": "logs", "uid": UID, "annotations": annotations or {}}
    return msgspec.convert({"metadata": meta, "spec": {"bucketName": "b", **(spec or {})}}, ObjectBucketClaim)


def config(**values: object) -> ObjectBucketClaim:
    return a_claim({"additionalConfig": values})


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("rook-ceph.ceph.rook.io/bucket", True),
        ("operators.ceph.rook.io/bucket", True),
        ("east.ceph.rook.io/bucket", True),
        ("ceph.rook.io/bucket", True),
        ("elsewhere.ceph.rook.io/bucket", False),
        ("openshift-storage.noobaa.io/obc", False),
        ("rook-ceph.rbd.csi.ceph.com", False),
    ],
)
def test_provisioners(name: str, ours: bool) -> None:
    prefixes = frozenset({"operators", "east"})
    assert is_provisioner(name, serves="rook-ceph".__eq__, prefixes=prefixes) is ours


def test_a_class_says_which_store() -> None:
    parameters = {"objectStoreName": "s", "objectStoreNamespace": "n", "bucketName": "shared", "endpoint": "h:80"}
    found = StorageClass(provisioner="p.ceph.rook.io/bucket", parameters=parameters, reclaim_policy="Retain")
    assert terms_of(found, "operators") == Terms(
        store=StoreKey("n", "s"), existing="shared", reclaim="Retain", endpoint="h:80", provisioner=found.provisioner
    )
    short = StorageClass(provisioner="p.ceph.rook.io/bucket", parameters={"objectStoreName": "s"})
    assert terms_of(short, "operators").store == StoreKey("p", "s")
    plain = StorageClass(provisioner="ceph.rook.io/bucket", parameters={"objectStoreName": "s"})
    assert terms_of(plain, "operators").store == StoreKey("operators", "s")


def test_names() -> None:
    assert own_user(a_claim()) == f"obc-app-logs-{UID}"
    assert bucket_name(a_claim(), TERMS) == "b"
    generated = a_claim({"bucketName": "", "generateBucketName": "a-prefix-that-is-longer-than-a-name-may-be"})
    name = bucket_name(generated, TERMS)
    assert name == f"a-prefix-that-is-longer-th-{UID}"
    assert len(name) == 63
    assert bucket_name(a_claim(), Terms(store=TERMS.store, existing="shared")) == "shared"


def test_quotas_are_quantities() -> None:
    asked = wanted(config(maxObjects="1k", maxSize="2Gi", bucketMaxObjects=5))
    assert asked.user_quota == Quota(2 << 30, 1000)
    assert asked.bucket_quota == Quota(max_objects=5)
    assert wanted(a_claim()).user_quota == NO_QUOTA
    assert wanted(config(maxObjects="-1")).user_quota == NO_QUOTA


@pytest.mark.parametrize(
    ("claim", "problem"),
    [
        (config(maxSize="much"), "additionalConfig.maxSize is 'much': expected a quantity"),
        (config(bucketPolicy="{"), "additionalConfig.bucketPolicy is no JSON"),
        (config(bucketPolicy="[]"), "additionalConfig.bucketPolicy is a JSON list: expected an object"),
        (config(bucketLifecycle="{}"), "additionalConfig.bucketLifecycle has no list Rules"),
        (config(bucketOwner="rgw-admin-ops-user"), "a user of the operator or of another claim"),
        (config(bucketOwner="obc-app-other-1"), "a user of the operator or of another claim"),
        (config(bucketMaxSize="1"), "additionalConfig.bucketMaxSize: not allowed by the operator's"),
        (a_claim({"bucketName": ""}), "bucketName and generateBucketName are empty"),
    ],
)
def test_what_means_nothing_is_told(claim: ObjectBucketClaim, problem: str) -> None:
    (found,) = problems(claim, TERMS, EVERY)
    assert problem in found


def test_a_class_without_a_store_is_told() -> None:
    (found,) = problems(a_claim(), Terms(store=StoreKey("n", "")), EVERY)
    assert "has no parameter objectStoreName" in found


def test_without_a_class_the_config_is_looked_at_all_the_same() -> None:
    assert problems(config(bucketPolicy="{"), None, EVERY)
    assert problems(a_claim({"bucketName": ""}), None, EVERY) == ()


def test_what_changes_nothing_is_told() -> None:
    claim = a_claim(
        {"additionalConfig": {"bucketOwner": "u", "maxSize": "1", "colour": "blue"}},
        {"rook.io/rotate-keys": "1", "rook.io/keep-old-keys": "long"},
    )
    told = idle(claim)
    assert [text.split(":")[0] for text in told] == [
        "additionalConfig.colour",
        "additionalConfig.maxObjects, maxSize",
        "annotation rook.io/rotate-keys",
        "annotation rook.io/keep-old-keys",
    ]
    assert kept_for(claim) == 86400
    assert kept_for(a_claim(annotations={"rook.io/keep-old-keys": "1h"})) == 3600
    assert idle(a_claim()) == ()


def test_the_key_of_a_rotation_is_the_same_each_time_and_no_other() -> None:
    names = {key_id(uid, text) for uid in ("a", "b") for text in ("1", "2")}
    assert len(names) == 4
    assert key_id("a", "1") in names
    assert all(len(name) == 20 and name.isalnum() and name.isupper() for name in names)
