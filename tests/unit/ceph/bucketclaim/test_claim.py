"""Claims to buckets, from their making to their deletion, against a gateway and an API server in memory."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from controller import testkit
from controller.ceph.bucketclaim.act import BUCKETS, CLAIMS
from controller.ceph.bucketclaim.kind import STORES, register
from controller.ceph.bucketclaim.objects import FINALIZER
from controller.ceph.bucketclaim.spec import KEYS
from controller.framework.program import PROGRAM
from controller.framework.settings import Settings
from controller.runtime.kube import CONFIG_MAP, SECRET, STORAGE_CLASS
from controller.testkit import ApiServer, new_manager, pause, running, virtual_time, wall_clock
from tests.unit.ceph.gateways import Gateways
from tests.unit.ceph.stores import Inline, OneStore, a_secure_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from informers import JsonObject

KEY = ("app", "logs")
BUCKET = ("", "obc-app-logs")
PROVISIONER = "rook-ceph.ceph.rook.io/bucket"
ALLOW = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}]}'


until = partial(testkit.until, step=0.5)
"""Hours pass in these tests."""


async def later(seconds: float) -> None:
    """Let that time pass at once, and then a little for what is due by then."""
    pause(seconds)
    await anyio.sleep(30)


class Scene:
    """An operator, a store, and one claim."""

    def __init__(self) -> None:
        self.gateways = Gateways()
        self.stores = OneStore(self.gateways, a_secure_store())
        self.server = ApiServer(namespaces=("rook-ceph", "app"))
        for resource in (CLAIMS, BUCKETS, STORES):
            self.server.serve(resource)
        self.add_class()

    def add_class(self, name: str = "bucket", **more: Any) -> None:
        parameters = {"objectStoreName": "store", "objectStoreNamespace": "rook-ceph", **more.pop("parameters", {})}
        obj = {"metadata": {"name": name}, "provisioner": PROVISIONER, "parameters": parameters, **more}
        self.server.create(STORAGE_CLASS, obj)

    def claim(self, spec: JsonObject | None = None, **meta: Any) -> None:
        body = {"storageClassName": "bucket", "generateBucketName": "logs", **(spec or {})}
        self.server.create(CLAIMS, {"metadata": {"namespace": KEY[0], "name": KEY[1], **meta}, "spec": body})

    def config(self, **values: str) -> None:
        self.server.patch(CLAIMS, *KEY, {"spec": {"additionalConfig": values}})

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[None]:
        manager = new_manager(self.server, program=PROGRAM)
        settings = Settings(operator_namespace="rook-ceph", obc_config_fields=frozenset(KEYS))
        register(manager, settings, self.stores, threads=Inline(), clock=lambda: wall_clock().timestamp())
        async with running(manager):
            yield

    @property
    def obj(self) -> JsonObject:
        found: JsonObject = self.server.get(CLAIMS, *KEY)
        return found

    @property
    def status(self) -> JsonObject:
        found: JsonObject = self.obj.get("status", {})
        return found

    def ready(self) -> dict[str, str]:
        conditions: list[dict[str, str]] = self.status.get("conditions", [])
        return {c["type"]: c for c in conditions}.get("Ready", {"status": "", "message": ""})

    def is_bound(self) -> bool:
        current: bool = self.status.get("observedGeneration") == self.obj["metadata"]["generation"]
        return self.status.get("phase") == "Bound" and self.ready()["status"] == "True" and current

    def waits(self, words: str) -> bool:
        return words in self.ready()["message"] and self.ready()["status"] == "False"

    def key(self) -> tuple[str, str]:
        found = self.server.find(SECRET, *KEY)
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        if found is None:
            return "", ""
        access, secret = (base64.b64decode(found["data"][name]).decode() for name in names)
        return access, secret

    @property
    def user(self) -> str:
        return f"obc-app-logs-{self.obj['metadata']['uid']}"

    @property
    def bucket(self) -> str:
        found: str = self.server.get(BUCKETS, *BUCKET)["spec"]["endpoint"]["bucketName"]
        return found

    def is_gone(self) -> bool:
        return self.server.find(CLAIMS, *KEY) is None

    async def bound(self) -> None:
        await until(self.is_bound)


@virtual_time
async def test_a_bucket_of_its_own() -> None:
    scene = Scene()
    scene.claim()
    async with scene.operator():
        await scene.bound()
        uid = scene.obj["metadata"]["uid"]
        assert scene.bucket == scene.obj["spec"]["bucketName"] == f"logs-{uid}"
        assert scene.obj["spec"]["objectBucketName"] == "obc-app-logs"
        assert scene.obj["metadata"]["finalizers"] == [FINALIZER]
        assert scene.gateways.buckets[scene.bucket].owner == scene.user
        assert scene.gateways.users[scene.user]["max_buckets"] == 1
        assert scene.key() == scene.gateways.key_of(scene.user)
        noted = scene.server.get(BUCKETS, *BUCKET)
        assert noted["status"]["phase"] == "Bound"
        assert noted["metadata"]["labels"]["bucket-provisioner"] == "rook-ceph.ceph.rook.io-bucket"
        assert noted["spec"]["additionalState"] == {
            "cephUser": scene.user,
            "objectStoreName": "store",
            "objectStoreNamespace": "rook-ceph",
            "bucketOrigin": "claim",
        }
        assert noted["spec"]["claimRef"]["uid"] == uid
        assert scene.server.get(CONFIG_MAP, *KEY)["data"] == {
            "BUCKET_NAME": scene.bucket,
            "BUCKET_HOST": "rook-ceph-rgw-store.rook-ceph.svc",
            "BUCKET_PORT": "443",
            "BUCKET_REGION": "",
            "BUCKET_SUBREGION": "",
        }


@virtual_time
async def test_at_rest_nothing_is_written_and_an_operator_that_starts_writes_nothing() -> None:
    scene = Scene()
    lifecycle = '{"Rules": [{"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 3}}]}'
    config = {"maxObjects": "10", "bucketMaxSize": "1Gi", "bucketPolicy": ALLOW, "bucketLifecycle": lifecycle}
    scene.claim({"additionalConfig": config}, annotations={"rook.io/rotate-keys": "first"})
    async with scene.operator():
        await scene.bound()
        await anyio.sleep(60)
        before, version = list(scene.gateways.written), scene.obj["metadata"]["resourceVersion"]
        await later(3600)
        assert scene.gateways.written == before
    async with scene.operator():
        await later(600)
    assert scene.gateways.written == before
    assert scene.obj["metadata"]["resourceVersion"] == version


@virtual_time
async def test_the_secret_of_a_bucket_has_its_key_again_when_it_is_lost() -> None:
    scene = Scene()
    scene.claim()
    async with scene.operator():
        await scene.bound()
        key = scene.key()
        scene.server.delete(SECRET, *KEY)
        scene.server.delete(CONFIG_MAP, *KEY)
        await until(lambda: scene.key() == key and scene.server.find(CONFIG_MAP, *KEY) is not None)
        del scene.gateways.users[scene.user]
        scene.gateways.buckets[scene.bucket].owner = scene.user
        await until(lambda: scene.user in scene.gateways.users and scene.key() == scene.gateways.key_of(scene.user))


@virtual_time
async def test_settings_follow_the_claim_and_go_with_their_key() -> None:
    scene = Scene()
    scene.claim()
    async with scene.operator():
        await scene.bound()
        bucket, user = scene.gateways.buckets[scene.bucket], scene.gateways.users[scene.user]
        rules = '{"Rules": [{"ID": "a", "Status": "Enabled", "Prefix": "", "Expiration": {"Days": 1}}]}'
        scene.config(maxObjects="1k", maxSize="2Gi", bucketMaxObjects="5", bucketPolicy=ALLOW, bucketLifecycle=rules)
        await until(lambda: bucket.lifecycle is not None and scene.is_bound())
        quota = user["user_quota"]
        assert (quota["enabled"], quota["max_objects"], quota["max_size"]) == (True, 1000, 2 << 30)
        assert (bucket.quota["enabled"], bucket.quota["max_objects"], bucket.quota["max_size"]) == (True, 5, -1)
        assert "s3:GetObject" in bucket.policy

        bucket.policy = ""  # somebody takes it away
        await until(lambda: "s3:GetObject" in bucket.policy)

        scene.server.patch(CLAIMS, *KEY, {"spec": {"additionalConfig": None}})
        await until(lambda: bucket.lifecycle is None and scene.is_bound())
        assert not user["user_quota"]["enabled"]
        assert not bucket.quota["enabled"]
        assert bucket.policy == ""

        bucket.policy = ALLOW  # what the user sets without the claim stays
        await later(1200)
        assert bucket.policy == ALLOW


@virtual_time
async def test_a_policy_that_the_store_refuses_is_told() -> None:
    scene = Scene()
    scene.claim({"additionalConfig": {"bucketPolicy": '{"Statement": [{"Effect": "Maybe"}]}'}})
    async with scene.operator():
        await until(lambda: scene.waits("InvalidArgument is not a valid effect"))
        assert scene.status["phase"] == "Pending"


@virtual_time
async def test_a_claim_of_another_provisioner_is_left_alone() -> None:
    scene = Scene()
    scene.server.create(
        STORAGE_CLASS, {"metadata": {"name": "noobaa"}, "provisioner": "openshift-storage.noobaa.io/obc"}
    )
    scene.claim({"storageClassName": "noobaa"})
    async with scene.operator():
        await later(600)
        assert "status" not in scene.obj
        assert "finalizers" not in scene.obj["metadata"]
        scene.server.delete(CLAIMS, *KEY)
        await until(scene.is_gone)


@virtual_time
async def test_a_claim_waits_for_its_class_and_its_store() -> None:
    scene = Scene()
    scene.stores.store = None
    scene.claim({"storageClassName": "later"})
    async with scene.operator():
        await anyio.sleep(60)
        assert "status" not in scene.obj
        scene.add_class("later")
        await until(lambda: scene.waits("CephObjectStore store in namespace rook-ceph"))
        scene.stores.store = a_secure_store()
        scene.gateways.down = True
        await until(lambda: scene.waits("CephObjectStore rook-ceph/store to answer"))
        assert scene.gateways.written == []
        scene.gateways.down = False
        await scene.bound()


@virtual_time
async def test_a_bucket_of_somebody_else_is_not_taken() -> None:
    scene = Scene()
    scene.gateways.add_user("alice")
    scene.gateways.add_bucket("theirs", "alice")
    scene.claim({"generateBucketName": "", "bucketName": "theirs"})
    async with scene.operator():
        await until(lambda: scene.waits("it is of user alice"))
        assert scene.gateways.written == []  # no user was made for it either
        assert scene.server.find(BUCKETS, *BUCKET) is None
        scene.server.delete(CLAIMS, *KEY)
        await until(scene.is_gone)
        assert scene.gateways.buckets["theirs"].owner == "alice"


@virtual_time
async def test_a_secret_of_somebody_else_stays() -> None:
    scene = Scene()
    scene.server.create(SECRET, {"metadata": {"namespace": KEY[0], "name": KEY[1]}, "data": {}})
    scene.claim()
    async with scene.operator():
        await until(lambda: scene.waits("Secret logs is there, and is not this claim's"))
        assert scene.gateways.written == []
        scene.server.delete(SECRET, *KEY)
        await scene.bound()


@virtual_time
async def test_a_bucket_that_was_lost_is_not_made_anew_in_silence() -> None:
    scene = Scene()
    scene.claim()
    async with scene.operator():
        await scene.bound()
        name = scene.bucket
        del scene.gateways.buckets[name]
        await until(lambda: scene.waits("it is not there any more"))
        assert scene.status["phase"] == "Bound"
        assert name not in scene.gateways.buckets
        scene.server.delete(BUCKETS, *BUCKET)
        await until(lambda: name in scene.gateways.buckets and scene.is_bound())


class TestExisting:
    """Claims that share a bucket that was there before them."""

    def scene(self) -> Scene:
        scene = Scene()
        scene.add_class("shared", parameters={"bucketName": "shared"})
        scene.gateways.add_user("alice")
        scene.gateways.add_bucket("shared", "alice").policy = ALLOW
        return scene

    @virtual_time
    async def test_it_is_granted_and_taken_back(self) -> None:
        scene = self.scene()
        scene.claim({"storageClassName": "shared", "generateBucketName": ""})
        async with scene.operator():
            await scene.bound()
            bucket, user = scene.gateways.buckets["shared"], scene.user
            assert bucket.owner == "alice"
            assert f"arn:aws:iam:::user/{user}" in bucket.policy
            assert '"Principal": "*"' in bucket.policy
            assert scene.gateways.users[user]["max_buckets"] == -1  # zero would be no limit
            assert scene.server.get(CONFIG_MAP, *KEY)["data"]["BUCKET_NAME"] == "shared"
            bucket.objects["k"] = b""

            scene.server.delete(CLAIMS, *KEY)
            await until(scene.is_gone)
            assert "shared" in scene.gateways.buckets
            assert bucket.objects
            assert user not in bucket.policy
            assert '"Principal": "*"' in bucket.policy
            assert user not in scene.gateways.users

    @virtual_time
    async def test_it_has_to_be_there(self) -> None:
        scene = self.scene()
        del scene.gateways.buckets["shared"]
        scene.claim({"storageClassName": "shared"})
        async with scene.operator():
            await until(lambda: scene.waits("the claim is to a bucket that exists"))
            assert scene.gateways.written == []

    @virtual_time
    async def test_an_owner_without_a_key_is_told(self) -> None:
        scene = self.scene()
        scene.gateways.users["alice"]["keys"].clear()
        scene.claim({"storageClassName": "shared"})
        async with scene.operator():
            await until(lambda: scene.waits("user alice, who owns it, to be there and have a key for S3"))

    @virtual_time
    async def test_its_deletion_does_not_need_the_bucket(self) -> None:
        scene = self.scene()
        scene.claim({"storageClassName": "shared"})
        async with scene.operator():
            await scene.bound()
            user = scene.user
            del scene.gateways.buckets["shared"]
            scene.server.delete(CLAIMS, *KEY)
            await until(scene.is_gone)
            assert user not in scene.gateways.users


class TestOwner:
    """Claims whose bucket is of a user that they name."""

    @virtual_time
    async def test_the_bucket_goes_to_the_owner_and_back(self) -> None:
        scene = Scene()
        scene.gateways.add_user("alice")
        scene.claim()
        async with scene.operator():
            await scene.bound()
            bucket = scene.gateways.buckets[scene.bucket]
            scene.config(bucketOwner="alice")
            await until(lambda: bucket.owner == "alice" and scene.is_bound())
            assert scene.key() == scene.gateways.key_of("alice")
            assert scene.user not in scene.gateways.users
            assert scene.gateways.users["alice"]["max_buckets"] == 1000
            scene.config()
            scene.server.patch(CLAIMS, *KEY, {"spec": {"additionalConfig": None}})
            await until(lambda: bucket.owner == scene.user and scene.is_bound())
            assert scene.key() == scene.gateways.key_of(scene.user)

    @virtual_time
    async def test_objects_are_handed_over_by_a_policy_that_outlives_that_of_the_claim(self) -> None:
        scene = Scene()
        scene.gateways.add_user("alice")
        scene.claim({"additionalConfig": {"bucketPolicy": ALLOW}})
        async with scene.operator():
            await scene.bound()
            bucket = scene.gateways.buckets[scene.bucket]
            bucket.objects["k"] = b""
            scene.config(bucketOwner="alice")
            scene.server.patch(CLAIMS, *KEY, {"spec": {"additionalConfig": {"bucketPolicy": None}}})
            await until(lambda: bucket.owner == "alice" and scene.is_bound())
            assert "arn:aws:iam:::user/alice" in bucket.policy
            assert '"Principal": "*"' not in bucket.policy
            scene.config(bucketPolicy=ALLOW)
            await until(lambda: '"Principal": "*"' in bucket.policy and scene.is_bound())
            scene.server.patch(CLAIMS, *KEY, {"spec": {"additionalConfig": {"bucketPolicy": None}}})
            await until(lambda: bucket.policy == "" and scene.is_bound())

    @virtual_time
    async def test_one_that_is_not_there_or_may_too_much_is_waited_for(self) -> None:
        scene = Scene()
        scene.claim({"additionalConfig": {"bucketOwner": "bob"}})
        async with scene.operator():
            await until(lambda: scene.waits("user bob to be there"))
            assert scene.status["phase"] == "Pending"
            scene.gateways.add_user("bob", caps=[{"type": "users", "perm": "*"}])
            await until(lambda: scene.waits("that user administers the store"))
            assert scene.key() == ("", "")
            scene.gateways.users["bob"]["caps"].clear()
            await scene.bound()

    @virtual_time
    async def test_a_deletion_leaves_the_owner(self) -> None:
        scene = Scene()
        scene.gateways.add_user("alice")
        scene.claim({"additionalConfig": {"bucketOwner": "alice"}})
        async with scene.operator():
            await scene.bound()
            scene.server.delete(CLAIMS, *KEY)
            await until(scene.is_gone)
            assert scene.gateways.buckets == {}
            assert list(scene.gateways.users) == ["alice"]

    @virtual_time
    async def test_a_bucket_that_the_owner_had_before_stays(self) -> None:
        scene = Scene()
        scene.gateways.add_user("alice")
        scene.gateways.add_bucket("old", "alice")
        scene.claim({"generateBucketName": "", "bucketName": "old", "additionalConfig": {"bucketOwner": "alice"}})
        async with scene.operator():
            await scene.bound()
            scene.server.delete(CLAIMS, *KEY)
            await until(scene.is_gone)
            assert "old" in scene.gateways.buckets


class TestRotation:
    """Another key, and the end of the one before."""

    @virtual_time
    async def test_the_old_key_is_of_use_until_it_is_due(self) -> None:
        scene = Scene()
        scene.claim()
        async with scene.operator():
            await scene.bound()
            old = scene.key()
            scene.server.patch(CLAIMS, *KEY, {"metadata": {"annotations": {"rook.io/rotate-keys": "march"}}})
            await until(lambda: scene.key() != old and scene.is_bound())
            new = scene.key()
            assert scene.gateways.keys_of(scene.user) == dict([old, new])
            await later(86000)
            assert scene.gateways.keys_of(scene.user) == dict([old, new])
            await later(1000)
            assert scene.gateways.keys_of(scene.user) == dict([new])
            assert scene.key() == new

            scene.server.delete(SECRET, *KEY)
            await until(lambda: scene.key() == new)

    @virtual_time
    async def test_the_old_key_can_be_ended_at_once(self) -> None:
        scene = Scene()
        scene.claim(annotations={"rook.io/keep-old-keys": "0s"})
        async with scene.operator():
            await scene.bound()
            old = scene.key()
            scene.server.patch(CLAIMS, *KEY, {"metadata": {"annotations": {"rook.io/rotate-keys": "leak"}}})
            await until(lambda: scene.key() != old and dict([scene.key()]) == scene.gateways.keys_of(scene.user))

    @virtual_time
    async def test_a_second_rotation_waits_for_the_end_of_the_first(self) -> None:
        scene = Scene()
        scene.claim()
        async with scene.operator():
            await scene.bound()
            old = scene.key()
            for text in ("one", "two"):
                scene.server.patch(CLAIMS, *KEY, {"metadata": {"annotations": {"rook.io/rotate-keys": text}}})
                await until(lambda: scene.key() != old)
            await until(lambda: scene.waits("its key is to be rotated once more"))
            first = scene.key()
            scene.server.patch(CLAIMS, *KEY, {"metadata": {"annotations": {"rook.io/keep-old-keys": "0s"}}})
            await until(lambda: scene.key() not in (old, first))
            await until(lambda: dict([scene.key()]) == scene.gateways.keys_of(scene.user))


class TestDeletion:
    """What goes with a claim, and what stays."""

    @virtual_time
    async def test_a_bucket_with_the_policy_delete_goes_with_all_that_is_in_it(self) -> None:
        scene = Scene()
        scene.claim()
        async with scene.operator():
            await scene.bound()
            scene.gateways.buckets[scene.bucket].objects = {f"k{i}": b"" for i in range(1500)}
            scene.server.delete(CLAIMS, *KEY)
            await until(scene.is_gone)
        assert scene.gateways.buckets == {}
        assert scene.gateways.users == {}
        assert scene.server.find(BUCKETS, *BUCKET) is None
        assert scene.server.find(SECRET, *KEY) is None
        assert scene.server.find(CONFIG_MAP, *KEY) is None

    @virtual_time
    async def test_a_bucket_with_the_policy_retain_stays_and_its_keys_are_of_no_use(self) -> None:
        scene = Scene()
        scene.add_class("kept", reclaimPolicy="Retain")
        scene.claim({"storageClassName": "kept"})
        async with scene.operator():
            await scene.bound()
            name, user, old = scene.bucket, scene.user, scene.key()
            scene.gateways.buckets[name].objects["k"] = b""
            scene.server.delete(CLAIMS, *KEY)
            await until(scene.is_gone)
            assert scene.gateways.buckets[name].owner == user
            assert old[0] not in scene.gateways.keys_of(user)

            # Another claim gets it by a class that names it.
            scene.add_class("again", parameters={"bucketName": name})
            scene.claim({"storageClassName": "again", "generateBucketName": ""})
            await scene.bound()
            assert scene.user in scene.gateways.buckets[name].policy

    @virtual_time
    async def test_the_policy_can_be_changed_in_the_objectbucket(self) -> None:
        scene = Scene()
        scene.claim()
        async with scene.operator():
            await scene.bound()
            scene.server.patch(BUCKETS, *BUCKET, {"spec": {"reclaimPolicy": "Retain"}})
            await later(600)
            name = scene.bucket
            assert scene.server.get(BUCKETS, *BUCKET)["spec"]["reclaimPolicy"] == "Retain"
            scene.server.delete(CLAIMS, *KEY)
            await until(scene.is_gone)
            assert name in scene.gateways.buckets

    @virtual_time
    async def test_a_class_that_is_gone_does_not_keep_a_claim(self) -> None:
        scene = Scene()
        scene.claim()
        async with scene.operator():
            await scene.bound()
            scene.server.delete(STORAGE_CLASS, "", "bucket")
            await later(600)
            assert scene.is_bound()
            scene.server.delete(CLAIMS, *KEY)
            await until(scene.is_gone)
            assert scene.gateways.buckets == {}

    @virtual_time
    async def test_a_store_that_is_gone_does_not_keep_a_claim(self) -> None:
        scene = Scene()
        scene.claim()
        async with scene.operator():
            await scene.bound()
            scene.stores.store = None
            scene.server.delete(CLAIMS, *KEY)
            await until(scene.is_gone)
            assert scene.server.find(BUCKETS, *BUCKET) is None

    @virtual_time
    async def test_a_store_that_does_not_answer_is_waited_for_unless_the_bucket_is_abandoned(self) -> None:
        scene = Scene()
        scene.claim()
        async with scene.operator():
            await scene.bound()
            name = scene.bucket
            scene.gateways.down = True
            scene.server.delete(CLAIMS, *KEY)
            await until(lambda: "rook.io/abandon-bucket" in str(scene.status.get("plan")))
            await later(3600)
            assert not scene.is_gone()
            scene.server.patch(CLAIMS, *KEY, {"metadata": {"annotations": {"rook.io/abandon-bucket": "true"}}})
            await until(scene.is_gone)
            assert name in scene.gateways.buckets

    @virtual_time
    async def test_a_deletion_of_long_ago_does_not_take_data_by_surprise(self) -> None:
        scene = Scene()
        scene.claim()
        async with scene.operator():
            await scene.bound()
            name = scene.bucket
            scene.gateways.buckets[name].objects["k"] = b""
            scene.gateways.down = True
            scene.server.delete(CLAIMS, *KEY)
            await later(90000)
            scene.gateways.down = False
            await until(lambda: "rook.io/force-deletion" in str(scene.status.get("plan")))
            await later(600)
            assert scene.gateways.buckets[name].objects
            scene.server.patch(CLAIMS, *KEY, {"metadata": {"annotations": {"rook.io/force-deletion": "true"}}})
            await until(scene.is_gone)
            assert scene.gateways.buckets == {}

    @virtual_time
    async def test_a_bucket_that_was_given_to_somebody_else_stays(self) -> None:
        scene = Scene()
        scene.gateways.add_user("alice")
        scene.claim()
        async with scene.operator():
            await scene.bound()
            name = scene.bucket
            scene.gateways.buckets[name].owner = "alice"
            scene.server.delete(CLAIMS, *KEY)
            await until(scene.is_gone)
            assert list(scene.gateways.buckets) == [name]
            assert list(scene.gateways.users) == ["alice"]

    @virtual_time
    async def test_a_bucket_that_is_gone_is_no_hindrance(self) -> None:
        scene = Scene()
        scene.claim()
        async with scene.operator():
            await scene.bound()
            scene.gateways.buckets.clear()
            scene.server.delete(CLAIMS, *KEY)
            await until(scene.is_gone)
            assert scene.gateways.users == {}

    @virtual_time
    async def test_objects_that_are_locked_are_named(self) -> None:
        scene = Scene()
        scene.claim()
        async with scene.operator():
            await scene.bound()
            bucket = scene.gateways.buckets[scene.bucket]
            bucket.objects, bucket.locked = {"k": b""}, ["k"]
            scene.server.delete(CLAIMS, *KEY)
            await until(lambda: "cannot be deleted, such as 'k'" in str(scene.status.get("plan")))
            bucket.locked.clear()
            await until(scene.is_gone)


class TestEarlierOperator:
    """Claims that upstream's operator, or a backup, left."""

    def left(self, scene: Scene, *, uid: str = "", **state: str) -> None:
        scene.claim({"objectBucketName": "obc-app-logs"}, finalizers=[FINALIZER])
        uid = uid or scene.obj["metadata"]["uid"]
        scene.gateways.add_user("ceph-user-Ab3", max_buckets=1)
        scene.gateways.add_bucket("logs-1", "ceph-user-Ab3")
        scene.server.create(
            BUCKETS,
            {
                "metadata": {"name": "obc-app-logs", "finalizers": [FINALIZER]},
                "spec": {
                    "storageClassName": "bucket",
                    "reclaimPolicy": "Delete",
                    "endpoint": {"bucketName": "logs-1", "bucketHost": "old", "bucketPort": 80},
                    "additionalState": {"cephUser": "ceph-user-Ab3", **state},
                    "claimRef": {"namespace": KEY[0], "name": KEY[1], "uid": uid},
                },
                "status": {"phase": "Bound"},
            },
        )

    @virtual_time
    async def test_a_claim_is_taken_over_with_its_user_and_goes_without_a_trace(self) -> None:
        scene = Scene()
        self.left(scene)
        secret, key = scene.server, scene.gateways.key_of("ceph-user-Ab3")
        owner = {"apiVersion": "objectbucket.io/v1alpha1", "kind": "ObjectBucketClaim", "name": KEY[1]}
        meta = {
            "namespace": KEY[0],
            "name": KEY[1],
            "finalizers": [FINALIZER],
            "ownerReferences": [{**owner, "uid": scene.obj["metadata"]["uid"]}],
        }
        secret.create(SECRET, {"metadata": meta, "data": {}})
        async with scene.operator():
            await scene.bound()
            assert scene.key() == key
            assert list(scene.gateways.users) == ["ceph-user-Ab3"]
            state = scene.server.get(BUCKETS, *BUCKET)["spec"]["additionalState"]
            assert (state["bucketOrigin"], state["objectStoreName"]) == ("claim", "store")
            scene.server.delete(CLAIMS, *KEY)
            await until(scene.is_gone)
            await until(lambda: scene.server.find(BUCKETS, *BUCKET) is None)
            assert scene.server.find(SECRET, *KEY) is None
            assert scene.gateways.buckets == {}
            assert scene.gateways.users == {}

    @virtual_time
    async def test_a_claim_from_a_backup_takes_its_bucket_over(self) -> None:
        scene = Scene()
        self.left(scene, uid="another")
        async with scene.operator():
            await scene.bound()
            assert scene.key() == scene.gateways.key_of("ceph-user-Ab3")
            claim = scene.server.get(BUCKETS, *BUCKET)["spec"]["claimRef"]
            assert claim["uid"] == scene.obj["metadata"]["uid"]

    @virtual_time
    async def test_a_new_claim_of_the_name_does_not(self) -> None:
        scene = Scene()
        self.left(scene, uid="another")
        scene.server.patch(CLAIMS, *KEY, {"spec": {"objectBucketName": None}})
        async with scene.operator():
            await until(
                lambda: scene.waits("ObjectBucket obc-app-logs is of ObjectBucketClaim app/logs with uid another")
            )
            assert scene.gateways.written == []

    @virtual_time
    async def test_without_its_class_nobody_knows_whose_the_bucket_was_so_it_stays(self) -> None:
        scene = Scene()
        self.left(scene, objectStoreName="store", objectStoreNamespace="rook-ceph")
        scene.server.delete(STORAGE_CLASS, "", "bucket")
        async with scene.operator():
            scene.server.delete(CLAIMS, *KEY)
            await until(scene.is_gone)
            assert "logs-1" in scene.gateways.buckets
