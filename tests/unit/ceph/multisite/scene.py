"""Realms, zone groups and zones as tests describe them, and what there is of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph import (
    CEPH_OBJECT_REALM,
    CEPH_OBJECT_ZONE,
    CEPH_OBJECT_ZONE_GROUP,
    CephObjectRealm,
    CephObjectStore,
    CephObjectZone,
    CephObjectZoneGroup,
)
from controller.ceph.access.users import given
from controller.ceph.multisite.ground import Ground
from controller.ceph.multisite.names import keyring_name
from controller.ceph.multisite.period import Period, Zone
from controller.ceph.rgw.names import CAPS
from controller.ceph.rgw.tool import WANTED_ANNOTATION
from controller.framework.jobs import Phase, Run
from controller.framework.workload import Owner
from controller.runtime.kube import Job
from tests.unit.ceph.cases import a_cluster, a_context

if TYPE_CHECKING:
    from controller.apis.meta import Kind
    from controller.ceph.rgw.tool import Work
    from controller.framework.plan import Plan
    from informers import JsonObject

NOW = 1_800_000_000.0
DELETED = "2027-01-15T08:00:00Z"
POOL = {"replicated": {"size": 3}}


def an_object[T](kind: Kind, view: type[T], name: str, spec: JsonObject, deleting: bool, **more: Any) -> T:
    meta: JsonObject = {"name": name, "namespace": "rook-ceph", "uid": f"uid-{name}", "generation": 2}
    meta |= {"annotations": more.pop("annotations", {})} | ({"deletionTimestamp": DELETED} if deleting else {})
    return msgspec.convert({"kind": kind.kind, "metadata": meta, "spec": spec, **more}, view)


def a_realm(spec: JsonObject | None = None, *, deleting: bool = False, **more: Any) -> CephObjectRealm:
    return an_object(CEPH_OBJECT_REALM, CephObjectRealm, "r", spec or {}, deleting, **more)


def a_group(*, deleting: bool = False, **more: Any) -> CephObjectZoneGroup:
    return an_object(CEPH_OBJECT_ZONE_GROUP, CephObjectZoneGroup, "zg", {"realm": "r"}, deleting, **more)


def a_zone(spec: JsonObject | None = None, *, name: str = "b", deleting: bool = False, **more: Any) -> CephObjectZone:
    whole = {"zoneGroup": "zg", "metadataPool": POOL, "dataPool": POOL, **(spec or {})}
    return an_object(CEPH_OBJECT_ZONE, CephObjectZone, name, whole, deleting, **more)


def a_store(name: str = "s", zone: str = "b", **gateway: Any) -> CephObjectStore:
    spec = {"zone": {"name": zone}, "gateway": {"port": 80, **gateway}}
    obj = {"metadata": {"name": name, "namespace": "rook-ceph", "uid": f"uid-{name}"}, "spec": spec}
    return msgspec.convert(obj, CephObjectStore)


def a_ground(kind: Kind, name: str, *, run: Run | None = None, **fields: Any) -> Ground:
    """A cluster that can be asked, and the object's own user in it."""
    context = replace(a_context(a_cluster()), owner=Owner(kind, "rook-ceph", name, f"uid-{name}"))
    secret = keyring_name(kind, name)
    live = {("Secret", secret): {"metadata": {"name": secret, "annotations": given(CAPS)}}}
    whole: dict[str, Any] = {"now": NOW, "context": context, "live": live, "run": run or Run(), "exists": True}
    return Ground(**whole | fields)


def a_run(work: Work, phase: Phase = Phase.COMPLETE, *, ended: str = "2027-01-01T00:00:00Z", **more: Any) -> Run:
    """The Job of some work."""
    meta = {"name": work.name, "uid": "j1", "annotations": {WANTED_ANNOTATION: work.digest}}
    conditions = [{"type": "Complete", "status": "True", "lastTransitionTime": ended}]
    job = msgspec.convert({"metadata": meta, "status": {"conditions": conditions}}, Job)
    return Run(job=job, phase=phase, **more)


def a_period(master: str = "a", epoch: int = 2, **zones: tuple[str, ...]) -> Period:
    """What zones a and b have agreed on, and `zones` by their endpoints."""
    known = {"a": ("http://a:80",), "b": ("http://rook-ceph-rgw-s.rook-ceph.svc:80",), **zones}
    found = tuple(Zone(id=f"id-{name}", name=name, group="zg", endpoints=urls) for name, urls in known.items())
    return Period(id=f"p{epoch}", epoch=epoch, master=master, zones=found)


def told(plan: Plan) -> list[str]:
    """What each step does, or waits for."""
    return [step.consent or step.waits_for or type(step.action).__name__ for step in plan.steps]
