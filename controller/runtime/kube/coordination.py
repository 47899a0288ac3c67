"""Leases and events."""

from __future__ import annotations

from controller.apis.meta import ApiStruct, ObjectMeta
from controller.runtime.kube.meta import ObjectReference


class LeaseSpec(ApiStruct, frozen=True, kw_only=True):
    """Who holds a lease, and for how many seconds after each renewal. A lease that was let go has no holder."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(ApiStruct, frozen=True, kw_only=True):
    """A coordination.k8s.io/v1 Lease."""

    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()


class EventSeries(ApiStruct, frozen=True, kw_only=True):
    """How often an event happened again."""

    count: int = 0
    last_observed_time: str = ""


class Event(ApiStruct, frozen=True, kw_only=True):
    """An events.k8s.io/v1 Event."""

    metadata: ObjectMeta = ObjectMeta()
    event_time: str | None = None
    reporting_controller: str = ""
    reporting_instance: str = ""
    regarding: ObjectReference = ObjectReference()
    type: str = ""
    reason: str = ""
    action: str = ""
    note: str = ""
    series: EventSeries | None = None
    deprecated_last_timestamp: str | None = None
