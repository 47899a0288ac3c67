"""Claims grow with the spec, and never shrink; StatefulSets are made anew without a pod that restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.framework.claims import (
    GrowClaim,
    OrphanStatefulSet,
    grow,
    handlers,
    remake,
    resized,
    too_large,
)
from controller.runtime.kube import POD, PVC, STATEFULSET, PersistentVolumeClaim, StorageClass
from controller.testkit import ApiServer
from informers import ApiError

if TYPE_CHECKING:
    from informers import JsonObject

GROWING = msgspec.convert({"metadata": {"name": "fast"}, "allowVolumeExpansion": True}, StorageClass)
FIXED = msgspec.convert({"metadata": {"name": "fixed"}}, StorageClass)
CLASSES = {"fast": GROWING, "fixed": FIXED}


NO_CLASS = "nothing but a person's hand: its volume is of no StorageClass, and only those of one can grow"


def a_claim(
    asked: str = "10Gi", has: str = "10Gi", *, of: str | None = "fast", phase: str = "Bound", **status: Any
) -> PersistentVolumeClaim:
    obj = {
        "metadata": {"name": "data-a", "namespace": "ns", "uid": "c1"},
        "spec": {"storageClassName": of, "resources": {"requests": {"storage": asked}}},
        "status": {"phase": phase, "capacity": {"storage": has} if has else {}, **status},
    }
    return msgspec.convert(obj, PersistentVolumeClaim)


@pytest.mark.parametrize("size", ["10Gi", "10240Mi", 10 * 1024**3, "5Gi"])
def test_a_claim_that_is_large_enough_is_left_alone(size: int | str) -> None:
    assert grow(a_claim(), size, CLASSES, subject="a") == ()


def test_a_claim_grows() -> None:
    (step,) = grow(a_claim(), "20Gi", CLASSES, subject="member a")
    assert step.action == GrowClaim("ns", "data-a", "c1", "20Gi")
    assert step.reason == "PersistentVolumeClaim data-a asks for 10Gi, wanted 20Gi"
    assert (step.waits_for, step.lane) == ("", "member a volume")


@pytest.mark.parametrize(
    ("claim", "waits_for"),
    [
        (a_claim(of="fixed"), "StorageClass fixed to allow it (allowVolumeExpansion: true)"),
        (a_claim(of="gone"), "StorageClass gone, which its volume is of, to exist"),
        (a_claim(of=None), NO_CLASS),
        (a_claim(of=""), NO_CLASS),
        (a_claim(has="", phase="Pending"), "PersistentVolumeClaim data-a to be bound; it is Pending"),
    ],
)
def test_what_keeps_a_claim_from_growing_is_told(claim: PersistentVolumeClaim, waits_for: str) -> None:
    (step,) = grow(claim, "20Gi", CLASSES, subject="a")
    assert step.waits_for == waits_for


PENDING = {"type": "FileSystemResizePending", "status": "True", "message": "Waiting for user to (re-)start a pod"}


@pytest.mark.parametrize(
    ("status", "waits_for"),
    [
        ({}, "its storage to grow"),
        ({"conditions": [PENDING]}, "its file system to grow, which its node does while a pod has it mounted"),
        (
            {"conditions": [{"type": "ControllerResizeError", "status": "True", "message": "pool is full"}]},
            "its storage to grow: pool is full",
        ),
        (
            {"allocatedResourceStatuses": {"storage": "ControllerResizeInfeasible"}},
            "its storage to have room for that, which it has not: it does not say why",
        ),
    ],
)
def test_a_claim_that_has_asked_is_waited_for(status: JsonObject, waits_for: str) -> None:
    (step,) = grow(a_claim(asked="20Gi", **status), "20Gi", CLASSES, subject="a")
    assert (step.action, step.waits_for) == (None, waits_for)
    assert step.reason == "PersistentVolumeClaim data-a grows from 10Gi to 20Gi"


def test_a_size_that_is_none_is_told_and_keeps_nothing_else_up() -> None:
    (step,) = grow(a_claim(), "10Gigs", CLASSES, subject="a")
    assert (step.action, step.lane) == (None, "a volume")
    assert step.reason == "the spec wants '10Gigs' of storage"
    assert too_large(a_claim(), "10Gigs") == ""
    assert remake(a_stateful_set("10Gi"), [a_template("10Gigs")], subject="rack") == ()


def test_a_claim_that_goes_does_not_grow() -> None:
    claim = a_claim()
    meta = msgspec.structs.replace(claim.metadata, deletion_timestamp="2027-01-15T08:00:00Z")
    assert grow(msgspec.structs.replace(claim, metadata=meta), "20Gi", CLASSES, subject="a") == ()


def test_a_claim_never_shrinks_and_that_is_told() -> None:
    told = "PersistentVolumeClaim data-a has 10Gi, wanted 5Gi: claims never shrink, and it stays as it is"
    assert too_large(a_claim(), "5Gi") == told
    assert too_large(a_claim(), "10240Mi") == ""


def a_template(size: str, **spec: Any) -> JsonObject:
    return {
        "metadata": {"name": "data"},
        "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": size}}, **spec},
    }


def a_stateful_set(size: str) -> JsonObject:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "rack", "namespace": "ns", "uid": "s1"},
        "spec": {"volumeClaimTemplates": [a_template(size)], "template": {"metadata": {}, "spec": {}}},
    }


@pytest.mark.parametrize("size", ["10Gi", "10240Mi"])
def test_a_stateful_set_with_the_right_sizes_stays(size: str) -> None:
    assert remake(a_stateful_set("10Gi"), [a_template(size)], subject="rack") == ()
    assert remake(a_stateful_set("10Gi"), [], subject="rack") == ()


def test_a_stateful_set_whose_members_would_get_another_size_is_made_anew() -> None:
    (step,) = remake(a_stateful_set("10Gi"), [a_template("20Gi")], subject="rack")
    assert step.action == OrphanStatefulSet("ns", "rack", "s1")
    assert step.reason.startswith("new members get the claim data of 10Gi, wanted 20Gi; only a new StatefulSet")


def test_a_template_keeps_all_but_its_size() -> None:
    has, wanted = a_template("10Gi", volumeMode="Block"), a_template("20Gi", storageClassName="slow")
    assert resized([has], [wanted]) == [a_template("20Gi", volumeMode="Block")]
    assert resized([has], []) == [has]


class TestHandlers:
    """Against an API server."""

    def setup_method(self) -> None:
        self.server = ApiServer(namespaces=("ns",))
        self.ways = handlers(self.server.client())

    def claim(self, size: str) -> JsonObject:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
        meta = {"name": "data-a", "namespace": "ns"}
        return self.server.create(
            PVC, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}
        )

    @property
    def size(self) -> str:
        return str(self.server.get(PVC, "ns", "data-a")["spec"]["resources"]["requests"]["storage"])

    async def test_a_claim_is_asked_for_more(self) -> None:
        uid = self.claim("10Gi")["metadata"]["uid"]
        await self.ways[GrowClaim](GrowClaim("ns", "data-a", uid, "20Gi"))
        assert self.size == "20Gi"

    async def test_what_somebody_else_asked_for_meanwhile_is_not_taken_back(self) -> None:
        uid = self.claim("30Gi")["metadata"]["uid"]
        await self.ways[GrowClaim](GrowClaim("ns", "data-a", uid, "20Gi"))
        assert self.size == "30Gi"

    async def test_another_claim_of_the_name_stays(self) -> None:
        self.claim("10Gi")
        with pytest.raises(ApiError):
            await self.ways[GrowClaim](GrowClaim("ns", "data-a", "another", "20Gi"))
        assert self.size == "10Gi"

    async def test_pods_and_claims_outlive_a_stateful_set_that_is_made_anew(self) -> None:
        made = self.server.create(STATEFULSET, a_stateful_set("10Gi"))
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "rack", "uid": made["metadata"]["uid"]}
        meta = {"name": "rack-0", "namespace": "ns", "ownerReferences": [owner | {"controller": True}]}
        self.server.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {}})
        with pytest.raises(ApiError):
            await self.ways[OrphanStatefulSet](OrphanStatefulSet("ns", "rack", "another"))
        await self.ways[OrphanStatefulSet](OrphanStatefulSet("ns", "rack", made["metadata"]["uid"]))
        assert self.server.find(STATEFULSET, "ns", "rack") is None
        pod = self.server.get(POD, "ns", "rack-0")
        assert not pod["metadata"].get("ownerReferences")
