"""An object store of which no gateway answers for hours: what is in it says so, and nothing is lost or made anew."""

from __future__ import annotations

import base64
import copy
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from controller import testkit
from controller.ceph.bucketclaim import kind as bucketclaim
from controller.ceph.bucketclaim.act import BUCKETS, CLAIMS
from controller.ceph.cosi import kind as cosi
from controller.ceph.cosi import types
from controller.ceph.notification import kind as notification
from controller.ceph.notification.act import NOTIFICATIONS
from controller.ceph.objectaccount import kind as objectaccount
from controller.ceph.objectaccount.act import ACCOUNTS
from controller.ceph.objectuser import kind as objectuser
from controller.ceph.objectuser.act import USERS
from controller.ceph.rgw.admin import UNREACHABLE, AdminError
from controller.ceph.rgw.names import ADMIN_USER
from controller.ceph.topic import kind as topic
from controller.ceph.topic.act import TOPICS
from controller.framework.program import PROGRAM
from controller.framework.settings import Settings
from controller.runtime.kube import EVENT, SECRET, STORAGE_CLASS
from controller.testkit import ApiServer, new_manager, pause, running, virtual_time, wall_clock
from tests.unit.ceph.gateways import Gateways
from tests.unit.ceph.stores import Inline, OneStore, a_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from informers import JsonObject, Resource

until = partial(testkit.until, step=0.5)
NAMESPACE = "rook-ceph"
PLACE = {"objectStoreName": "my-store", "objectStoreNamespace": NAMESPACE}
SPECS: dict[Resource, JsonObject] = {
    ACCOUNTS: {"store": "my-store"},
    USERS: {"store": "my-store", "quotas": {"maxBuckets": 5}},
    TOPICS: {**PLACE, "endpoint": {"http": {"uri": "http://listener:8080/a"}}},
    NOTIFICATIONS: {"topic": "kept"},
    CLAIMS: {"storageClassName": "bucket", "generateBucketName": "b"},
}
NAMES = ("kept", "leaving")


def seconds() -> float:
    return wall_clock().timestamp()


class Scene:
    """Two objects of each kind: one that stays, and one that is deleted while nobody answers."""

    def __init__(self, gateways: Gateways | None = None, names: tuple[str, ...] = NAMES) -> None:
        self.server = ApiServer(namespaces=(NAMESPACE, "default"))
        of_cosi = (types.CLAIMS, types.BUCKETS, types.ACCESSES, types.ACCESS_CLASSES, cosi.DRIVERS)
        for resource in (*SPECS, BUCKETS, objectuser.STORES, *of_cosi):
            self.server.serve(resource)
        self.gateways = gateways or Gateways()
        self.stores = OneStore(self.gateways, a_store())
        policy = {"provisioner": f"{NAMESPACE}.ceph.rook.io/bucket", "parameters": PLACE, "reclaimPolicy": "Delete"}
        self.server.create(STORAGE_CLASS, {"metadata": {"name": "bucket"}, **policy})
        labels = {f"bucket-notification-{name}": name for name in names}
        for resource, spec in SPECS.items():
            for name in names:
                meta: JsonObject = {"namespace": NAMESPACE, "name": name}
                if (resource, name) == (CLAIMS, "kept"):
                    meta["labels"] = labels
                self.server.create(resource, {"metadata": meta, "spec": spec})
        self.server.create(cosi.DRIVERS, {"metadata": {"namespace": NAMESPACE, "name": "driver"}, "spec": {}})
        for name in names:
            spec = {
                "driverName": f"{NAMESPACE}.ceph.objectstorage.k8s.io",
                "deletionPolicy": "Delete",
                "parameters": {"objectStoreUserSecretName": "rook-ceph-object-user-my-store-kept"},
            }
            self.server.create(types.BUCKETS, {"metadata": {"name": f"cosi-{name}"}, "spec": spec})

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[None]:
        manager = new_manager(self.server, program=PROGRAM)
        settings, threads = Settings(operator_namespace=NAMESPACE), Inline()
        of_topic = (notification.of_topic(manager.informers),)
        of_account = (objectuser.of_account(manager.informers),)
        objectuser.register(manager, settings, self.stores, dependents=(cosi.of_user(manager.informers),))
        objectaccount.register(manager, settings, self.stores, dependents=of_account)
        topic.register(manager, settings, self.stores, dependents=of_topic)
        notification.register(manager, settings, self.stores)
        bucketclaim.register(manager, settings, self.stores, threads=threads, clock=seconds)
        cosi.register(manager, settings, self.stores, threads=threads)
        async with running(manager):
            yield

    def status(self, resource: Resource, name: str) -> JsonObject:
        found: JsonObject = self.server.get(resource, NAMESPACE, name).get("status", {})
        return found

    def ready(self, resource: Resource, name: str) -> str:
        conditions: list[JsonObject] = self.status(resource, name).get("conditions", [])
        return next((str(c["status"]) for c in conditions if c["type"] == "Ready"), "")

    def all_ready(self, *names: str) -> bool:
        of_cosi = [self.server.get(types.BUCKETS, "", f"cosi-{name}").get("status", {}) for name in names]
        return all(self.ready(kind, name) == "True" for kind in SPECS for name in names) and all(
            status.get("bucketReady") for status in of_cosi
        )

    def silent(self) -> list[str]:
        """The objects that do not say that they wait for the store, or for what itself waits for it."""
        words = ("my-store to answer", "CephBucketTopic ", "CephBucketNotification leaving")
        return [
            f"{kind.kind} {name}"
            for kind in SPECS
            for name in NAMES
            if not any(text in str(self.status(kind, name).get("plan")) for text in words)
        ]

    def held(self) -> JsonObject:
        """All that there is in the store, and the keys that programs have."""
        gateways = self.gateways
        return copy.deepcopy(
            {
                "users": gateways.users,
                "accounts": gateways.accounts,
                "topics": gateways.topics,
                "buckets": gateways.buckets,
                "secrets": {found["metadata"]["name"]: found["data"] for found in self.server.list(SECRET)},
            }
        )

    def versions(self) -> list[str]:
        found = [self.server.get(kind, NAMESPACE, name) for kind in SPECS for name in NAMES]
        return [str(obj["metadata"]["resourceVersion"]) for obj in found]

    def is_gone(self, name: str) -> bool:
        of_cosi = self.server.find(types.BUCKETS, "", f"cosi-{name}") is None
        return of_cosi and all(self.server.find(kind, NAMESPACE, name) is None for kind in SPECS)


@virtual_time
async def test_hours_without_an_answer_and_an_operator_that_is_replaced_meanwhile() -> None:
    scene = Scene()
    async with scene.operator():
        await until(lambda: scene.all_ready(*NAMES))
        await anyio.sleep(30)
        before = scene.held()

        scene.gateways.down = True
        await until(lambda: not scene.silent())
        assert [scene.ready(kind, "kept") for kind in SPECS] == ["False"] * len(SPECS)
        for kind in SPECS:
            scene.server.delete(kind, NAMESPACE, "leaving")
        scene.server.delete(types.BUCKETS, "", "cosi-leaving")
        scene.server.patch(USERS, NAMESPACE, "kept", {"spec": {"quotas": {"maxBuckets": 7}}})
        pause(3600)
        await anyio.sleep(60)
        assert scene.silent() == []
        assert "the object store to answer" in str(scene.server.list(EVENT))
        assert scene.held() == before
        versions = scene.versions()

    # Whoever starts while nobody answers knows no less, and writes nothing that is there already.
    async with scene.operator():
        await anyio.sleep(120)
        assert scene.silent() == []
        assert scene.held() == before
        assert scene.versions() == versions

        scene.gateways.down = False
        await until(lambda: scene.is_gone("leaving") and scene.all_ready("kept"))
        await until(lambda: scene.gateways.users["kept"]["max_buckets"] == 7)
        after = scene.held()

    claim = scene.server.get(CLAIMS, NAMESPACE, "kept")
    bucket, own = claim["spec"]["bucketName"], f"obc-{NAMESPACE}-kept-{claim['metadata']['uid']}"
    root = scene.server.get(ACCOUNTS, NAMESPACE, "kept")["metadata"]["uid"]
    assert after["users"].keys() - {"rgw-admin-ops-user"} == {"kept", own, root}
    assert all(user["keys"] == before["users"][name]["keys"] for name, user in after["users"].items())
    assert [account["name"] for account in after["accounts"].values()] == ["kept"]
    assert after["topics"].keys() == {"kept"}
    assert after["buckets"].keys() == {bucket, "cosi-kept"}
    assert after["buckets"][bucket].notifications == {"kept": before["buckets"][bucket].notifications["kept"]}
    assert after["secrets"] == {name: before["secrets"][name] for name in after["secrets"]}
    assert {"kept", "rook-ceph-object-user-my-store-kept"} <= after["secrets"].keys()


class Losing(Gateways):
    """Gateways that do what they are asked, die before they say so, and come back by themselves.

    Args:
        at: The how manieth request that is.
    """

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at, self._back = at, 0.0

    def lose(self, at: int) -> None:
        """Does so again, this many requests from now."""
        self._at = len(self.asked) + at

    def _answer(self, method: str, path: str, query: dict[str, Any], content: Any) -> Any:
        if self.down and anyio.current_time() >= self._back:
            self.down = False
        answer = super()._answer(method, path, query, content)
        if len(self.asked) >= self._at:
            self._at, self.down, self._back = 1 << 30, True, anyio.current_time() + 45
            raise AdminError(0, UNREACHABLE, "connection reset")
        return answer


@pytest.mark.parametrize("at", range(1, 41))
@virtual_time
async def test_an_answer_that_is_lost_makes_nothing_twice_and_leaves_nothing(at: int) -> None:
    gateways = Losing(at)
    scene = Scene(gateways, ("kept",))
    async with scene.operator():
        await until(lambda: scene.all_ready("kept"))
        claim, account = (scene.server.get(kind, NAMESPACE, "kept")["metadata"]["uid"] for kind in (CLAIMS, ACCOUNTS))
        own = f"obc-{NAMESPACE}-kept-{claim}"
        assert gateways.users.keys() - {ADMIN_USER} == {"kept", own, account}
        assert sorted(held.owner for held in gateways.buckets.values()) == ["kept", own]
        assert (len(gateways.accounts), list(gateways.topics)) == (1, ["kept"])
        for uid, secret, name in (
            ("kept", "rook-ceph-object-user-my-store-kept", "AccessKey"),
            (account, "rook-ceph-object-root-user-kept", "AccessKey"),
            (own, "kept", "AWS_ACCESS_KEY_ID"),
        ):
            found = base64.b64decode(scene.server.get(SECRET, NAMESPACE, secret)["data"][name]).decode()
            assert found in gateways.keys_of(uid), secret

        gateways.lose(at)
        for kind in SPECS:
            scene.server.delete(kind, NAMESPACE, "kept")
        scene.server.delete(types.BUCKETS, "", "cosi-kept")
        await until(lambda: scene.is_gone("kept"))
    assert (gateways.buckets, gateways.accounts, gateways.topics) == ({}, {}, {})
    assert gateways.users.keys() <= {ADMIN_USER}
