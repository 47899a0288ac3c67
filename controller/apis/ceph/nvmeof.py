"""`CephNVMeOFGateway`: gateways that show RBD images to NVMe/TCP hosts, and what the mons report of them."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.filesystem_status import DaemonCephxStatus
from controller.apis.ceph.health import ProbeSpec
from controller.apis.ceph.status import CONDITIONS
from controller.apis.ceph.storage import PRESERVE, AnyObject
from controller.apis.meta import (
    ApiStruct,
    Column,
    Condition,
    Int32,
    Int64,
    Kind,
    ObjectMeta,
    Resources,
    Schema,
    SpecStruct,
)
from controller.apis.plan import PlanStatus

Port = Annotated[Int32, Schema(minimum=1, maximum=65535)]


class NvmeofPorts(SpecStruct, frozen=True, kw_only=True):
    """Where gateways listen."""

    io_port: Port = 0
    """NVMe/TCP, for hosts; 4420 when not set. Listeners are made at it by whoever sets subsystems up."""
    gateway_port: Port = 0
    """The management API, gRPC; 5500 when not set."""
    monitor_port: Port = 0
    """Where a gateway hears from its own client of the mons: by gateways' own rule, one below the management API."""
    discovery_port: Port = 0
    """NVMe's discovery service; 8009 when not set."""


class CephNVMeOFGatewaySpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of gateways."""

    image: Annotated[str, Schema(min_length=1, max_length=1024)] = ""
    """What they run, of ceph-nvmeof; when not set, what Ceph itself has in mgr/cephadm/container_image_nvmeof."""
    instances: Annotated[int, Schema(required=True, minimum=1)] = 0
    """How many there are. Each has a Service of its own."""
    group: Annotated[str, Schema(required=True, min_length=1)] = ""
    """Their group. Gateways of one group show the same subsystems, and stand in for each other."""
    config_map_ref: Annotated[str, Schema(min_length=1)] = ""
    """A ConfigMap that has, under `config`, a configuration in place of the default one."""
    nvmeof_config: dict[str, dict[str, str]] = field(default_factory=dict)
    """Settings over the configuration, by section and name."""
    ports: NvmeofPorts = NvmeofPorts()
    """Where they listen."""
    host_network: bool | None = None
    """Whether they are in the network of their nodes; as the CephCluster's daemons when not set."""
    placement: AnyObject = field(default_factory=dict)
    """Where they may run, over the CephCluster's placement for all."""
    annotations: dict[str, str] = field(default_factory=dict)
    """Annotations of the pods."""
    labels: dict[str, str] = field(default_factory=dict)
    """Labels of the pods."""
    resources: Resources = field(default_factory=dict)
    """Requests and limits of a gateway. With a limit of huge pages it uses those."""
    priority_class_name: str = ""
    """The PriorityClass of the pods."""
    liveness_probe: ProbeSpec = ProbeSpec()
    """How the kubelet finds out whether a gateway lives."""


class NvmeofGatewayState(ApiStruct, frozen=True, kw_only=True):
    """A gateway as the mons have it."""

    id: str = ""
    """Its id, which is the name of its Deployment."""
    availability: str = ""
    """AVAILABLE, UNAVAILABLE, or CREATED: it has nothing to show, or was not heard of yet."""
    ana_group: Int32 = 0
    """The ANA group that is its own: paths to namespaces of that group are optimized at it."""
    listeners: Int32 = 0
    """Where hosts can connect to it."""


class CephNVMeOFGatewayStatus(SpecStruct, frozen=True, kw_only=True):
    """State of gateways."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Ready, Progressing, Failure or Deleting."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of the gateways' state."""
    cephx: DaemonCephxStatus = DaemonCephxStatus()
    """Keys of the gateways."""
    gateways: tuple[NvmeofGatewayState, ...] = ()
    """The gateways as the mons have them."""
    subsystems: Int32 = 0
    """Subsystems that the group shows."""
    namespaces: Int32 = 0
    """Namespaces, each of which is an image, in these."""
    plan: PlanStatus = PlanStatus()
    """What is about to be done."""


class CephNVMeOFGateway(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """Gateways that show RBD images to NVMe/TCP hosts."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephNVMeOFGateway"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CephNVMeOFGatewaySpec, Schema(required=True)] = CephNVMeOFGatewaySpec()
    status: Annotated[CephNVMeOFGatewayStatus, PRESERVE] = CephNVMeOFGatewayStatus()


CEPH_NVMEOF_GATEWAY = Kind(
    "ceph.rook.io",
    "v1",
    "CephNVMeOFGateway",
    "cephnvmeofgateways",
    short_names=("nvmeof",),
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
