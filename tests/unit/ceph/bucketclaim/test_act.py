"""What is asked again at the moment of an act that destroys data, and what is never written over."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import msgspec
import pytest

from controller.apis.objectbucket import ObjectBucketClaim
from controller.ceph.bucketclaim.act import BUCKETS, CLAIMS, Acts, Tools
from controller.ceph.bucketclaim.actions import (
    LinkBucket,
    LockOut,
    PurgeBucket,
    Release,
    RemoveBucket,
    RemoveKey,
    WriteSecret,
)
from controller.ceph.bucketclaim.analyze import analyze
from controller.ceph.bucketclaim.kind import of_store
from controller.ceph.bucketclaim.objects import Record
from controller.ceph.bucketclaim.observation import ChildState
from controller.ceph.bucketclaim.observe import Observer, Sources
from controller.ceph.bucketclaim.spec import StoreKey
from controller.ceph.rgw.buckets import fingerprint
from controller.framework.consent import FORCE_ANNOTATION, NoConsentError
from controller.framework.plan import UnderWayError
from controller.runtime.kube import SECRET, StorageClass
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from informers import ApiError
from tests.unit.ceph.gateways import Gateways
from tests.unit.ceph.stores import Inline, OneStore, a_secure_store

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStore
    from informers import Client, JsonObject, Resource

DAY = 86400.0
DELETED_AT = "1970-01-02T00:00:00Z"
META = {"namespace": "app", "name": "logs", "uid": "u1", "deletionTimestamp": DELETED_AT}
SPEC = {
    "reclaimPolicy": "Delete",
    "endpoint": {"bucketName": "b"},
    "additionalState": {
        "cephUser": "obc",
        "bucketOrigin": "claim",
        "objectStoreName": "s",
        "objectStoreNamespace": "n",
    },
    "claimRef": {"namespace": "app", "name": "logs", "uid": "u1"},
}
RECORD = Record(store=StoreKey("n", "s"), bucket="b", user="obc", origin="claim")


class Bench:
    """A claim that is being deleted, with a bucket that has an object."""

    def __init__(self) -> None:
        self.gateways = Gateways()
        self.gateways.add_user("obc")
        self.bucket = self.gateways.add_bucket("b", "obc")
        self.bucket.objects["k"] = b""
        self.claim: JsonObject = {"metadata": dict(META)}
        self.noted: JsonObject = {"metadata": {"name": "obc-app-logs"}, "spec": dict(SPEC)}
        self.secret: JsonObject | None = None
        self.applier = SimpleNamespace(apply=AsyncMock())

    async def _get(self, resource: Resource, _: str, __: str) -> JsonObject:
        return self.claim if resource == CLAIMS else self.noted

    async def do(self, action: object, *, now: float = 1.5 * DAY) -> None:
        client = SimpleNamespace(get=self._get, find=AsyncMock(return_value=self.secret))
        stores = OneStore(self.gateways, a_secure_store())
        tools = Tools(
            client=cast("Client", client),
            applier=cast("Any", self.applier),
            buckets=cast("Any", SimpleNamespace(resource=BUCKETS)),
            stores=stores,
            threads=Inline(),
            clock=lambda: now,
        )
        claim = msgspec.convert({"metadata": META}, ObjectBucketClaim)
        await Acts(claim, tools, stores.reach("rook-ceph", "store")).handlers()[type(action)](action)

    @property
    def purge(self) -> PurgeBucket:
        return PurgeBucket("b", self.bucket.id, "obc")


async def test_a_bucket_is_emptied_and_removed() -> None:
    bench = Bench()
    await bench.do(bench.purge)
    assert bench.bucket.objects == {}
    await bench.do(RemoveBucket("b", bench.bucket.id, "obc"))
    assert bench.gateways.buckets == {}
    await bench.do(bench.purge)  # what is gone needs no more


@pytest.mark.parametrize("kind", [PurgeBucket, RemoveBucket])
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"claim": {"metadata": {**META, "uid": "u2"}}}, "it is another"),
        ({"claim": {"metadata": {**META, "deletionTimestamp": None}}}, "is not being deleted"),
        ({"noted": {"spec": {**SPEC, "reclaimPolicy": "Retain"}}}, "has reclaimPolicy Retain: the bucket stays"),
        ({"noted": {"spec": {**SPEC, "endpoint": {"bucketName": "c"}}}}, "is not of a bucket b"),
        ({"noted": {"spec": {**SPEC, "additionalState": {"bucketOrigin": "existing"}}}}, "was made for the claim"),
        ({"noted": {"spec": {**SPEC, "claimRef": {"namespace": "app", "name": "other"}}}}, "was made for the claim"),
    ],
)
async def test_no_bucket_goes_without_consent(
    kind: type[PurgeBucket | RemoveBucket], change: JsonObject, why: str
) -> None:
    bench = Bench()
    for name, value in change.items():
        setattr(bench, name, value)
    bench.noted.setdefault("metadata", {"name": "obc-app-logs"})
    with pytest.raises(NoConsentError, match=why):
        await bench.do(kind("b", bench.bucket.id, "obc"))
    assert bench.bucket.objects
    assert bench.gateways.written == []


async def test_another_bucket_of_the_name_stays() -> None:
    bench = Bench()
    before = bench.purge
    bench.bucket = bench.gateways.add_bucket("b", "obc")
    with pytest.raises(NoConsentError, match="bucket b is now"):
        await bench.do(before)
    bench.bucket.owner = "alice"
    with pytest.raises(NoConsentError, match="of user alice: it stays as it is"):
        await bench.do(PurgeBucket("b", bench.bucket.id, "obc"))


async def test_a_deletion_of_long_ago_needs_a_fresh_word() -> None:
    bench = Bench()
    with pytest.raises(NoConsentError, match=FORCE_ANNOTATION):
        await bench.do(bench.purge, now=3 * DAY)
    bench.claim = {"metadata": {**META, "annotations": {"rook.io/force-deletion": "true"}}}
    await bench.do(bench.purge, now=3 * DAY)
    assert bench.bucket.objects == {}


async def test_a_large_bucket_takes_several_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    monkeypatch.setattr("controller.ceph.rgw.work.PURGE", 0.0)
    with pytest.raises(UnderWayError, match="1 objects in bucket b to be deleted"):
        await bench.do(bench.purge)


async def test_keys_are_replaced_only_while_the_claim_is_deleted() -> None:
    bench = Bench()
    old = bench.gateways.key_of("obc")
    bench.claim = {"metadata": {**META, "deletionTimestamp": None}}
    with pytest.raises(NoConsentError):
        await bench.do(LockOut("obc", "NEW"))
    assert bench.gateways.key_of("obc") == old
    bench.claim = {"metadata": META}
    await bench.do(LockOut("obc", "NEW"))
    assert list(bench.gateways.keys_of("obc")) == ["NEW"]
    bench.claim = {"metadata": {**META, "deletionTimestamp": None}}
    with pytest.raises(NoConsentError):
        await bench.do(Release(SECRET, "app", "logs", "s1"))


async def test_a_bucket_that_changed_hands_is_not_linked() -> None:
    bench = Bench()
    bench.bucket.owner = "bob"
    with pytest.raises(NoConsentError, match="bucket b is of user bob now, and no longer of obc"):
        await bench.do(LinkBucket("alice", "b", "obc"))


async def test_a_secret_that_is_anothers_by_then_is_not_written() -> None:
    bench = Bench()
    bench.secret = {"metadata": {"name": "logs", "resourceVersion": "7"}}
    with pytest.raises(NoConsentError, match="Secret logs is not of ObjectBucketClaim logs"):
        await bench.do(WriteSecret("obc", "", RECORD))
    bench.applier.apply.assert_not_awaited()
    bench.secret["metadata"]["ownerReferences"] = [{"uid": "u1"}]
    await bench.do(WriteSecret("obc", "", RECORD))
    assert bench.applier.apply.await_args.kwargs == {"version": "7"}


async def test_a_user_without_a_key_gets_one_unless_it_is_somebodys() -> None:
    bench = Bench()
    bench.gateways.users["obc"]["keys"].clear()
    with pytest.raises(LookupError, match="user obc has no key for S3"):
        await bench.do(WriteSecret("obc", "", replace(RECORD, owner="obc")))
    await bench.do(WriteSecret("obc", "", RECORD))
    assert len(bench.gateways.keys_of("obc")) == 1


async def test_only_the_key_that_is_meant_is_taken() -> None:
    bench = Bench()
    kept, _ = bench.gateways.key_of("obc")
    bench.gateways.add_key("obc", "OTHER")
    await bench.do(RemoveKey("obc", fingerprint("OTHER")))
    await bench.do(RemoveKey("obc", fingerprint("OTHER")))
    assert list(bench.gateways.keys_of("obc")) == [kept]


@virtual_time
async def test_claims_are_what_uses_their_store() -> None:
    server = ApiServer(namespaces=("n",))
    server.serve(BUCKETS)
    manager = new_manager(server)
    server.create(BUCKETS, {"metadata": {"name": "obc-app-logs"}, "spec": SPEC})
    dependent = of_store(manager.informers)

    def store(name: str) -> CephObjectStore:
        return cast("CephObjectStore", SimpleNamespace(metadata=SimpleNamespace(namespace="n", name=name)))

    async with running(manager):
        await until(lambda: list(dependent.known(store("s"))) == ["app/logs"])
        assert list(dependent.known(store("t"))) == []
        assert list(await dependent.asked(manager.client, store("s"))) == ["app/logs"]
        assert list(await dependent.asked(manager.client, store("t"))) == []


async def test_a_namespace_whose_secrets_are_closed_is_told() -> None:
    gateways = Gateways()
    forbidden = ApiError(403, "Forbidden", "secrets is forbidden")
    client = SimpleNamespace(find=AsyncMock(side_effect=forbidden))
    klass = StorageClass(provisioner="n.ceph.rook.io/bucket", parameters={"objectStoreName": "store"})
    sources = Sources(
        client=cast("Client", client),
        classes=cast("Any", SimpleNamespace(get=lambda *_: klass)),
        buckets=cast("Any", SimpleNamespace(get=lambda *_: None)),
        stores=OneStore(gateways, a_secure_store(namespace="n")),
        threads=Inline(),
        serves=lambda namespace: namespace == "n",
        operator_namespace="n",
        prefixes=frozenset(),
        allowed=frozenset(),
    )
    asked = {"metadata": {"namespace": "app", "name": "logs"}, "spec": {"bucketName": "b"}}
    claim = msgspec.convert(asked, ObjectBucketClaim)
    seen = await Observer(sources).observe(claim, 0.0)
    assert seen.secret.state is ChildState.FORBIDDEN
    (step,) = analyze(claim, seen).steps
    assert step.waits_for == "the operator to have rights in namespace app: the chart's bucketClaims.namespaces"
    assert gateways.written == []
