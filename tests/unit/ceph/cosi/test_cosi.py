"""Buckets and accesses of COSI, from their making to their deletion, against a gateway and an API server in memory."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from controller import testkit
from controller.apis.ceph import CephObjectStoreUser
from controller.ceph.cosi.kind import DRIVERS, USERS, of_user, register
from controller.ceph.cosi.types import (
    ACCESS_CLASSES,
    ACCESS_FINALIZER,
    ACCESSES,
    BUCKET_FINALIZER,
    BUCKETS,
    CLAIM_FINALIZER,
    CLAIMS,
    IN_USE_FINALIZER,
)
from controller.framework.program import PROGRAM
from controller.framework.settings import Settings
from controller.runtime.kube import DEPLOYMENT, EVENT, SECRET
from controller.testkit import ApiServer, new_manager, pause, running, virtual_time
from tests.unit.ceph.gateways import Gateways
from tests.unit.ceph.stores import Inline, OneStore, a_secure_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from informers import JsonObject

DRIVER = "rook-ceph.ceph.objectstorage.k8s.io"
CLAIM, ACCESS, BUCKET = ("app", "photos"), ("app", "viewer"), ("", "bucket-1")
PARAMETERS = {
    "objectStoreUserSecretName": "rook-ceph-object-user-store-cosi",
    "objectStoreUserSecretNamespace": "rook-ceph",
}
until = partial(testkit.until, step=0.5)


class Scene:
    """An operator with a CephCOSIDriver, a CephObjectStoreUser, and what COSI's controller makes of a claim."""

    def __init__(self, *, strategy: str = "Auto", types: bool = True) -> None:
        self.gateways = Gateways()
        self.stores = OneStore(self.gateways, a_secure_store())
        self.server = ApiServer(namespaces=("rook-ceph", "app", "default"))
        cosi = (CLAIMS, BUCKETS, ACCESSES, ACCESS_CLASSES) if types else ()
        for resource in (DRIVERS, USERS, *cosi):
            self.server.serve(resource)
        meta = {"namespace": "rook-ceph", "name": "cosi"}
        self.server.create(DRIVERS, {"metadata": meta, "spec": {"deploymentStrategy": strategy, "image": "i"}})
        self.server.create(USERS, {"metadata": meta, "spec": {"store": "store"}})
        self.gateways.add_user("cosi")
        uid = self.server.get(USERS, "rook-ceph", "cosi")["metadata"]["uid"]
        owner = {"apiVersion": "ceph.rook.io/v1", "kind": "CephObjectStoreUser", "name": "cosi", "uid": uid}
        secret = {"namespace": "rook-ceph", "name": PARAMETERS["objectStoreUserSecretName"], "ownerReferences": [owner]}
        self.server.create(SECRET, {"metadata": secret, "data": {}})

    def claimed(self, *, policy: str = "Delete", **spec: Any) -> None:
        claim = {"namespace": CLAIM[0], "name": CLAIM[1], "finalizers": [CLAIM_FINALIZER]}
        self.server.put(CLAIMS, {"metadata": claim, "spec": {}, "status": {"bucketName": BUCKET[1]}})
        uid = self.server.get(CLAIMS, *CLAIM)["metadata"]["uid"]
        body = {
            "driverName": DRIVER,
            "bucketClassName": "c",
            "deletionPolicy": policy,
            "parameters": PARAMETERS,
            "bucketClaim": {"namespace": CLAIM[0], "name": CLAIM[1], "uid": uid},
            **spec,
        }
        self.server.create(BUCKETS, {"metadata": {"name": BUCKET[1], "finalizers": [IN_USE_FINALIZER]}, "spec": body})

    def granted(self, *, kind: str = "KEY", driver: str = DRIVER) -> None:
        classes = {"metadata": {"name": "k"}, "driverName": driver, "authenticationType": kind}
        self.server.create(ACCESS_CLASSES, classes)
        spec = {
            "bucketClaimName": CLAIM[1],
            "bucketAccessClassName": "k",
            "credentialsSecretName": "creds",
            "protocol": "s3",
        }
        self.server.create(ACCESSES, {"metadata": {"namespace": ACCESS[0], "name": ACCESS[1]}, "spec": spec})

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[None]:
        manager = new_manager(self.server, program=PROGRAM)
        register(manager, Settings(operator_namespace="rook-ceph"), self.stores, threads=Inline())
        async with running(manager):
            yield

    def status(self, resource: Any, key: tuple[str, str]) -> JsonObject:
        found: JsonObject = self.server.get(resource, *key).get("status", {})
        return found

    def is_ready(self) -> bool:
        ready = self.status(CLAIMS, CLAIM).get("bucketReady") is True
        return ready and self.status(BUCKETS, BUCKET) == {"bucketReady": True, "bucketID": self.bucket}

    def is_granted(self) -> bool:
        return self.status(ACCESSES, ACCESS) == {"accountID": self.user, "accessGranted": True}

    @property
    def bucket(self) -> str:
        return str(self.server.get(BUCKETS, *BUCKET)["spec"].get("existingBucketID", BUCKET[1]))

    @property
    def user(self) -> str:
        return f"ba-{self.server.get(ACCESSES, *ACCESS)['metadata']['uid']}"

    def info(self) -> JsonObject:
        secret = self.server.find(SECRET, "app", "creds")
        found: JsonObject = json.loads(base64.b64decode(secret["data"]["BucketInfo"])) if secret is not None else {}
        return found

    def told(self) -> str:
        return " ".join(str(event.get("note", "")) for event in self.server.list(EVENT))


@virtual_time
async def test_a_bucket_and_an_access_to_it() -> None:
    scene = Scene()
    scene.claimed()
    scene.granted()
    async with scene.operator():
        await until(lambda: scene.is_ready() and scene.is_granted())
        held = scene.gateways.buckets["bucket-1"]
        assert held.owner == "cosi"
        assert f"arn:aws:iam:::user/{scene.user}" in held.policy
        assert scene.gateways.users[scene.user]["max_buckets"] == -1
        access, secret = scene.gateways.key_of(scene.user)
        assert scene.info()["spec"] == {
            "bucketName": "bucket-1",
            "authenticationType": "KEY",
            "secretS3": {
                "endpoint": "https://rook-ceph-rgw-store.rook-ceph.svc:443",
                "region": "",
                "accessKeyID": access,
                "accessSecretKey": secret,
            },
            "secretAzure": None,
            "protocols": ["s3"],
        }
        assert BUCKET_FINALIZER in scene.server.get(BUCKETS, *BUCKET)["metadata"]["finalizers"]
        assert ACCESS_FINALIZER in scene.server.get(ACCESSES, *ACCESS)["metadata"]["finalizers"]

        before = list(scene.gateways.written)
        pause(3600)
        scene.server.delete(SECRET, "app", "creds")
        await until(scene.info)
        assert scene.gateways.written == before

        user = scene.user
        scene.server.delete(ACCESSES, *ACCESS)
        await until(lambda: scene.server.find(ACCESSES, *ACCESS) is None)
        assert user not in scene.gateways.users
        assert held.policy == ""
        assert scene.server.find(SECRET, "app", "creds") is None

        scene.server.delete(BUCKETS, *BUCKET)
        await until(lambda: scene.server.find(BUCKETS, *BUCKET) is None)
        assert scene.gateways.buckets == {}
        assert scene.server.get(CLAIMS, *CLAIM)["metadata"].get("finalizers", []) == []


@virtual_time
async def test_a_bucket_with_objects_stays_until_it_is_empty_or_there_is_consent() -> None:
    scene = Scene()
    scene.claimed()
    async with scene.operator():
        await until(scene.is_ready)
        scene.gateways.buckets["bucket-1"].objects["k"] = b""
        scene.server.delete(BUCKETS, *BUCKET)
        await until(lambda: "its 1 objects to be deleted, or for annotation rook.io/force-deletion" in scene.told())
        assert scene.gateways.buckets["bucket-1"].objects
        scene.server.patch(BUCKETS, *BUCKET, {"metadata": {"annotations": {"rook.io/force-deletion": "true"}}})
        await until(lambda: scene.server.find(BUCKETS, *BUCKET) is None)
        assert scene.gateways.buckets == {}


@virtual_time
async def test_a_bucket_that_is_used_names_its_accesses() -> None:
    scene = Scene()
    scene.claimed()
    scene.granted()
    async with scene.operator():
        await until(scene.is_granted)
        scene.server.delete(BUCKETS, *BUCKET)
        await until(lambda: "it waits for BucketAccess app/viewer to be deleted" in scene.told())
        assert scene.is_granted()
        scene.server.delete(ACCESSES, *ACCESS)
        await until(lambda: scene.server.find(BUCKETS, *BUCKET) is None)


@virtual_time
async def test_a_bucket_that_is_retained_stays() -> None:
    scene = Scene()
    scene.claimed(policy="Retain")
    async with scene.operator():
        await until(scene.is_ready)
        scene.server.delete(BUCKETS, *BUCKET)
        await until(lambda: scene.server.find(BUCKETS, *BUCKET) is None)
        assert scene.server.get(CLAIMS, *CLAIM)["metadata"].get("finalizers", []) == []
        assert "bucket-1" in scene.gateways.buckets


@virtual_time
async def test_a_bucket_that_existed_stays() -> None:
    scene = Scene()
    scene.gateways.add_user("alice")
    scene.gateways.add_bucket("old", "alice")
    scene.claimed(existingBucketID="old")
    async with scene.operator():
        await until(scene.is_ready)
        scene.server.delete(BUCKETS, *BUCKET)
        await until(lambda: scene.server.find(BUCKETS, *BUCKET) is None)
        assert list(scene.gateways.buckets) == ["old"]


@virtual_time
async def test_a_bucket_of_somebody_else_is_not_taken_and_not_removed() -> None:
    scene = Scene()
    scene.gateways.add_bucket("bucket-1", "alice")
    scene.claimed()
    async with scene.operator():
        await until(lambda: "it is of user alice, and not of cosi" in scene.told())
        assert not scene.is_ready()
        scene.server.delete(BUCKETS, *BUCKET)
        await until(lambda: scene.server.find(BUCKETS, *BUCKET) is None)
        assert scene.gateways.buckets["bucket-1"].owner == "alice"


@virtual_time
async def test_what_is_missing_is_told_in_events() -> None:
    scene = Scene()
    scene.server.delete(SECRET, "rook-ceph", PARAMETERS["objectStoreUserSecretName"])
    scene.claimed()
    scene.granted(kind="IAM")
    async with scene.operator():
        await until(lambda: "Secret rook-ceph-object-user-store-cosi of a CephObjectStoreUser" in scene.told())
        await until(lambda: "a BucketAccessClass with authenticationType KEY: IAM is not served" in scene.told())
        assert scene.gateways.written == []


@virtual_time
async def test_a_store_that_is_gone_keeps_nothing() -> None:
    scene = Scene()
    scene.claimed()
    scene.granted()
    async with scene.operator():
        await until(scene.is_granted)
        scene.stores.store = None
        scene.server.delete(ACCESSES, *ACCESS)
        await until(lambda: scene.server.find(ACCESSES, *ACCESS) is None)
        assert scene.server.find(SECRET, "app", "creds") is None
        scene.server.delete(BUCKETS, *BUCKET)
        await until(lambda: scene.server.find(BUCKETS, *BUCKET) is None)


@virtual_time
async def test_a_bucket_whose_user_is_gone_keeps_nothing_and_one_whose_secret_is_lost_waits() -> None:
    scene = Scene()
    scene.claimed()
    async with scene.operator():
        await until(scene.is_ready)
        scene.server.delete(SECRET, "rook-ceph", PARAMETERS["objectStoreUserSecretName"])
        scene.server.delete(BUCKETS, *BUCKET)
        await until(lambda: "Secret rook-ceph-object-user-store-cosi of a CephObjectStoreUser" in scene.told())
        pause(3600)
        assert scene.server.find(BUCKETS, *BUCKET) is not None
        scene.server.delete(USERS, "rook-ceph", "cosi")
        await until(lambda: scene.server.find(BUCKETS, *BUCKET) is None)
        assert scene.gateways.buckets.keys() == {BUCKET[1]}


@virtual_time
async def test_a_user_is_used_by_the_buckets_that_name_its_secret() -> None:
    scene = Scene()
    scene.claimed()
    manager = new_manager(scene.server, program=PROGRAM)
    users = manager.informers.informer(USERS, CephObjectStoreUser)
    dependent = of_user(manager.informers)
    info = {"info": {"secretName": PARAMETERS["objectStoreUserSecretName"]}}
    for name, status in (("cosi", info), ("other", {"info": {"secretName": "another"}}), ("new", {})):
        scene.server.put(
            USERS, {"metadata": {"namespace": "rook-ceph", "name": name}, "spec": {"store": "store"}, "status": status}
        )
    async with running(manager):
        await until(lambda: len(users.list("rook-ceph")) == 3 and dependent.known(users.list("rook-ceph")[0]) != [])
        for name, using in (("cosi", [BUCKET[1]]), ("other", []), ("new", [])):
            found = users.get("rook-ceph", name)
            assert found is not None
            assert list(dependent.known(found)) == list(await dependent.asked(manager.client, found)) == using


@virtual_time
async def test_what_another_driver_serves_is_left_alone() -> None:
    scene = Scene()
    scene.claimed(driverName="objects.example.com")
    scene.granted(driver="objects.example.com")
    async with scene.operator():
        await until(lambda: scene.status(DRIVERS, ("rook-ceph", "cosi")).get("phase") == "Ready")
        pause(600)
        assert "status" not in scene.server.get(BUCKETS, *BUCKET)
        assert scene.server.get(BUCKETS, *BUCKET)["metadata"]["finalizers"] == [IN_USE_FINALIZER]
        assert "finalizers" not in scene.server.get(ACCESSES, *ACCESS)["metadata"]
        assert scene.gateways.written == []


@virtual_time
async def test_what_cosis_own_controller_does_is_left_to_it() -> None:
    scene = Scene()
    scene.claimed()
    meta = {"namespace": "app", "name": "unserved"}
    scene.server.create(CLAIMS, {"metadata": meta, "spec": {"bucketClassName": "c", "protocols": ["s3"]}})
    async with scene.operator():
        await until(scene.is_ready)
        pause(3600)
        # It makes Buckets, names them in claims, and protects claims; two that did would make two buckets.
        unserved = scene.server.get(CLAIMS, "app", "unserved")
        assert ("status" in unserved, unserved["metadata"].get("finalizers")) == (False, None)
        assert [bucket["metadata"]["name"] for bucket in scene.server.list(BUCKETS)] == [BUCKET[1]]
        assert scene.status(CLAIMS, CLAIM) == {"bucketName": BUCKET[1], "bucketReady": True}

        # A claim that is deleted stays protected until its Bucket, which it deletes, is gone.
        scene.server.delete(CLAIMS, *CLAIM)
        pause(3600)
        assert scene.server.get(CLAIMS, *CLAIM)["metadata"]["finalizers"] == [CLAIM_FINALIZER]
        assert scene.gateways.buckets.keys() == {BUCKET[1]}
        scene.server.delete(BUCKETS, *BUCKET)
        await until(lambda: scene.server.find(CLAIMS, *CLAIM) is None)
        assert scene.gateways.buckets == {}


@virtual_time
async def test_beside_cephs_own_driver_nothing_is_served() -> None:
    scene = Scene()
    other = ("rook-ceph", "ceph-cosi-driver")
    meta = {"namespace": other[0], "name": other[1]}
    scene.server.create(DEPLOYMENT, {"metadata": meta, "spec": {"replicas": 1}})
    scene.claimed()
    scene.granted()
    async with scene.operator():
        await until(lambda: scene.status(DRIVERS, ("rook-ceph", "cosi")).get("phase") == "Progressing")
        assert "Deployment ceph-cosi-driver to be deleted" in str(scene.status(DRIVERS, ("rook-ceph", "cosi")))
        pause(600)
        assert scene.gateways.written == []
        assert "status" not in scene.server.get(BUCKETS, *BUCKET)
        scene.server.patch(DEPLOYMENT, *other, {"spec": {"replicas": 0}})
        await until(lambda: scene.is_ready() and scene.is_granted())
        assert scene.status(DRIVERS, ("rook-ceph", "cosi"))["phase"] == "Ready"


@virtual_time
async def test_a_driver_that_is_never_deployed_serves_nothing_until_it_is() -> None:
    scene = Scene(strategy="Never")
    scene.claimed()
    async with scene.operator():
        await until(lambda: scene.status(DRIVERS, ("rook-ceph", "cosi")).get("phase") == "Ready")
        status = scene.status(DRIVERS, ("rook-ceph", "cosi"))
        assert "driverName" not in status or status["driverName"] == ""
        assert "status" not in scene.server.get(BUCKETS, *BUCKET)
        scene.server.patch(DRIVERS, "rook-ceph", "cosi", {"spec": {"deploymentStrategy": "Always"}})
        await until(scene.is_ready)
        assert scene.status(DRIVERS, ("rook-ceph", "cosi"))["driverName"] == DRIVER


@virtual_time
async def test_a_driver_stays_and_serves_on_until_nothing_is_left_that_it_serves() -> None:
    scene = Scene()
    driver = ("rook-ceph", "cosi")
    scene.claimed()
    scene.granted()

    def blocked() -> str:
        found = scene.status(DRIVERS, driver).get("conditions", [])
        return next((c["message"] for c in found if c["type"] == "DeletionIsBlocked" and c["status"] == "True"), "")

    async with scene.operator():
        await until(lambda: scene.is_ready() and scene.is_granted())
        scene.server.delete(DRIVERS, *driver)
        await until(lambda: blocked() == "to be deleted first: Bucket bucket-1, BucketAccess app/viewer")
        scene.server.delete(ACCESSES, *ACCESS)
        await until(lambda: scene.server.find(ACCESSES, *ACCESS) is None)
        await until(lambda: blocked() == "to be deleted first: Bucket bucket-1")
        scene.server.delete(BUCKETS, *BUCKET)
        await until(lambda: scene.server.find(DRIVERS, *driver) is None)
        assert scene.gateways.buckets == {}


@virtual_time
async def test_one_driver_of_several_goes_at_once() -> None:
    scene = Scene()
    scene.claimed()
    scene.server.create(DRIVERS, {"metadata": {"namespace": "rook-ceph", "name": "second"}, "spec": {}})
    async with scene.operator():
        await until(scene.is_ready)
        scene.server.delete(DRIVERS, "rook-ceph", "second")
        await until(lambda: scene.server.find(DRIVERS, "rook-ceph", "second") is None)
        assert scene.is_ready()


@virtual_time
async def test_a_driver_that_is_off_says_what_is_to_be_done_before_it_goes() -> None:
    scene = Scene()
    scene.claimed()
    async with scene.operator():
        await until(scene.is_ready)
        scene.server.patch(DRIVERS, "rook-ceph", "cosi", {"spec": {"deploymentStrategy": "Never"}})
        scene.server.delete(DRIVERS, "rook-ceph", "cosi")
        words = "for which deploymentStrategy has to be Auto: Bucket bucket-1"
        await until(lambda: words in str(scene.status(DRIVERS, ("rook-ceph", "cosi"))))


@virtual_time
async def test_without_the_types_of_cosi_the_driver_says_so() -> None:
    scene = Scene(types=False)
    async with scene.operator():
        await until(lambda: scene.status(DRIVERS, ("rook-ceph", "cosi")).get("phase") == "Progressing")
        assert "the types of COSI, objectstorage.k8s.io/v1alpha1" in str(scene.status(DRIVERS, ("rook-ceph", "cosi")))
