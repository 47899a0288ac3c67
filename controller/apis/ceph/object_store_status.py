"""What a `CephObjectStore` reports of itself: upstream's fields, and the plan and the last look at it besides."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.status import CONDITIONS, LocalCephxStatus
from controller.apis.meta import ApiStruct, Condition, Int32, Int64, Nullable, SpecStruct
from controller.apis.plan import PlanStatus


class RgwCephxStatus(ApiStruct, frozen=True, kw_only=True):
    """Keys of the gateways."""

    daemon: LocalCephxStatus = LocalCephxStatus()
    """Keys with which gateways prove themselves to the cluster."""


class ObjectEndpoints(SpecStruct, frozen=True, kw_only=True):
    """Where the store is reached."""

    insecure: Nullable[tuple[str, ...]] = ()
    """URLs for HTTP."""
    secure: Nullable[tuple[str, ...]] = ()
    """URLs for HTTPS."""


class CephObjectStoreStatus(SpecStruct, frozen=True, kw_only=True):
    """State of an object store."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Ready, Progressing, Failure or Deleting."""
    message: str = ""
    """What is the matter, in words; empty when nothing is."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of the store's state."""
    info: Nullable[dict[str, str]] = field(default_factory=dict)
    """Facts by name: endpoint and secureEndpoint; and realm, zoneGroup and zone, by which Ceph knows the store."""
    endpoints: ObjectEndpoints = ObjectEndpoints()
    """Where the store is reached."""
    cephx: RgwCephxStatus = RgwCephxStatus()
    """Keys."""
    replicas: Int32 = 0
    """Gateways that there are."""
    selector: str = ""
    """Which labels the pods of gateways have, for autoscalers."""
    plan: PlanStatus = PlanStatus()
    """What is about to be done."""
