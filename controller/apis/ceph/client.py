"""`CephClient`: a user within Ceph, for programs that use the cluster themselves."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.security import KEY_GENERATION_STAYS, CephxConfig
from controller.apis.ceph.status import CONDITIONS, LocalCephxStatus
from controller.apis.ceph.storage import PRESERVE, Config
from controller.apis.meta import (
    Column,
    Condition,
    Int64,
    Kind,
    Nullable,
    ObjectMeta,
    Rule,
    Schema,
    SpecStruct,
)
from controller.apis.plan import PlanStatus


class ClientSecuritySpec(SpecStruct, frozen=True, kw_only=True):
    """The user's key."""

    cephx: Annotated[CephxConfig, KEY_GENERATION_STAYS] = CephxConfig()
    """The key's cipher, and when it is rotated."""


class CephClientSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of a user within Ceph."""

    name: str = ""
    """The user's name in Ceph. It has the name of the CephClient."""
    caps: Annotated[Config, Schema(required=True)] = field(default_factory=dict)
    """What it may do, by the daemons that it asks: mon, mgr, osd and mds."""
    secret_name: Annotated[
        str, Schema(rules=(Rule("self == oldSelf", "secretName cannot be changed: make another CephClient"),))
    ] = ""
    """The Secret with its key; rook-ceph-client- and the name when not set."""
    remove_secret: bool = False
    """Keep the key in no Secret; one that is there is deleted."""
    security: ClientSecuritySpec = ClientSecuritySpec()
    """The user's key."""


class CephClientStatus(SpecStruct, frozen=True, kw_only=True):
    """State of a user within Ceph."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Ready, Progressing, Failure or Deleting."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of the user's state."""
    info: Nullable[dict[str, str]] = field(default_factory=dict)
    """Facts by name: secretName, the Secret with the key."""
    cephx: LocalCephxStatus = LocalCephxStatus()
    """The key."""
    plan: PlanStatus = PlanStatus()
    """What is about to be done."""


class CephClient(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """A user within Ceph."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephClient"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CephClientSpec, Schema(required=True)] = CephClientSpec()
    status: Annotated[CephClientStatus, PRESERVE] = CephClientStatus()


CEPH_CLIENT = Kind(
    "ceph.rook.io",
    "v1",
    "CephClient",
    "cephclients",
    short_names=("cephcl",),
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("Secret", ".status.info.secretName", priority=1, description="The Secret with the key"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
