"""`CephCOSIDriver`: that buckets of the Container Object Storage Interface are served."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.status import CONDITIONS
from controller.apis.ceph.storage import PRESERVE, AnyObject
from controller.apis.meta import Column, Condition, Int64, Kind, ObjectMeta, Resources, Schema, SpecStruct
from controller.apis.plan import PlanStatus

NEVER = "Never"
"""The strategy by which nothing is served."""


class CephCOSIDriverSpec(SpecStruct, frozen=True, kw_only=True):
    """How the driver is run."""

    deployment_strategy: Annotated[str, Schema(enum=(NEVER, "Auto", "Always"))] = ""
    """Never: buckets are not served. Otherwise they are."""
    image: str = ""
    """Image of a driver of its own."""
    object_provisioner_image: str = ""
    """Image of a sidecar beside it."""
    placement: AnyObject = field(default_factory=dict)
    """Where its pod may run."""
    resources: Resources = field(default_factory=dict)
    """Requests and limits of its pod."""


class CephCOSIDriverStatus(SpecStruct, frozen=True, kw_only=True):
    """State of the driver."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Ready, Progressing, Failure or Deleting."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of the driver's state."""
    driver_name: str = ""
    """What BucketClasses and BucketAccessClasses name."""
    plan: PlanStatus = PlanStatus()
    """What is about to be done."""


class CephCOSIDriver(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """Serves buckets of the Container Object Storage Interface."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephCOSIDriver"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CephCOSIDriverSpec, Schema(required=True)] = CephCOSIDriverSpec()
    status: Annotated[CephCOSIDriverStatus, PRESERVE] = CephCOSIDriverStatus()


CEPH_COSI_DRIVER = Kind(
    "ceph.rook.io",
    "v1",
    "CephCOSIDriver",
    "cephcosidrivers",
    short_names=("cephcosi",),
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("Driver", ".status.driverName", description="What classes name"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
