"""`CephCluster`: a whole Ceph cluster, what the user wants of it."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.health import CephClusterHealthCheckSpec
from controller.apis.ceph.mon import MON_RULES, MonSpec
from controller.apis.ceph.network import NETWORK_RULES, NetworkSpec
from controller.apis.ceph.secrets import SecretKeySelector
from controller.apis.ceph.security import ClusterSecuritySpec
from controller.apis.ceph.status import CephClusterStatus
from controller.apis.ceph.storage import PRESERVE, AnyObject, StorageScopeSpec
from controller.apis.meta import (
    Column,
    Int32,
    Int64,
    Kind,
    Nullable,
    ObjectMeta,
    Quantity,
    Resources,
    Rule,
    Schema,
    SpecStruct,
)

Port = Annotated[int, Schema(minimum=0, maximum=65535)]

type StringMap = Annotated[dict[str, str], PRESERVE]
type ByDaemon[T] = Annotated[dict[str, T], PRESERVE]
"""Values by kind of daemon: "all", "mon", "mgr", "osd", "prepareosd", "cleanup", and so on."""


class CephVersionSpec(SpecStruct, frozen=True, kw_only=True):
    """The Ceph release, as a container image."""

    image: str = ""
    """Image of all Ceph daemons; name a full version, since a moving tag mixes versions on different nodes."""
    allow_unsupported: bool = False
    """Run a release that this operator does not know."""
    image_pull_policy: Annotated[str, Schema(enum=("IfNotPresent", "Always", "Never", ""))] = "IfNotPresent"
    """When the kubelet pulls the image."""


class ModuleSettings(SpecStruct, frozen=True, kw_only=True):
    """Settings of mgr modules that a spec can carry."""

    balancer_mode: Annotated[str, Schema(enum=("", "crush-compat", "upmap", "read", "upmap-read"))] = ""
    """How the balancer module evens out data."""


class Module(SpecStruct, frozen=True, kw_only=True):
    """A module of the mgr."""

    name: str = ""
    """The module's name, such as rook or telemetry."""
    enabled: bool = False
    """Whether it is on."""
    settings: ModuleSettings = ModuleSettings()
    """Its settings."""


class MgrSpec(SpecStruct, frozen=True, kw_only=True):
    """The managers, of which one is active and the others stand by."""

    count: Annotated[int, Schema(minimum=0, maximum=5)] = 1
    """Mgrs to run; 2 for one that stands by."""
    allow_multiple_per_node: bool = False
    """Let mgrs share a node."""
    host_network: bool | None = None
    """Run mgrs in the host's network; as the cluster's network has it when not set."""
    modules: Nullable[tuple[Module, ...]] = ()
    """Modules to switch on or off, besides those that are always on."""


class DashboardSpec(SpecStruct, frozen=True, kw_only=True):
    """Ceph's web dashboard, a module of the mgr."""

    enabled: bool = False
    """Whether it is on."""
    port: Port = 0
    """Its port; 8443 with ssl and 7000 without when not set."""
    ssl: bool | None = None
    """Serve it by TLS; true when not set."""
    url_prefix: str = ""
    """Path that its pages are below, for a reverse proxy."""
    prometheus_endpoint: str = ""
    """URL of the Prometheus whose data it shows."""
    prometheus_endpoint_ssl_verify: bool | None = field(name="prometheusEndpointSSLVerify", default=None)
    """Check that Prometheus's certificate; true when not set."""


class CephExporterSpec(SpecStruct, frozen=True, kw_only=True):
    """The exporter on each node that has daemons."""

    perf_counters_prio_limit: Annotated[Int64, Schema(default=5)] = 5
    """Counters of lower priority are left out."""
    stats_period_seconds: Annotated[Int64, Schema(default=5)] = 5
    """Seconds between two collections."""
    port: Annotated[Int32, Schema(minimum=1, maximum=65535)] = 9926
    """Port that Prometheus scrapes."""
    host_network: Nullable[bool | None] = None
    """Run in the host's network; as the cluster's network has it when not set."""


class TargetRef(SpecStruct, frozen=True, kw_only=True):
    """The object behind an address."""

    api_version: str = ""
    """Its API version."""
    field_path: str = ""
    """A part of it."""
    kind: str = ""
    """Its kind."""
    name: str = ""
    """Its name."""
    namespace: str = ""
    """Its namespace."""
    resource_version: str = ""
    """Its version."""
    uid: str = ""
    """Its UID."""


class EndpointAddress(SpecStruct, frozen=True, kw_only=True):
    """An address outside this Kubernetes cluster."""

    ip: Annotated[str, Schema(required=True)] = ""
    """IP address."""
    hostname: str = ""
    """Host name."""
    node_name: str = ""
    """Node that it is on."""
    target_ref: TargetRef | None = None
    """The object behind it."""


class MonitoringSpec(SpecStruct, frozen=True, kw_only=True):
    """Metrics for Prometheus."""

    enabled: bool = False
    """Make a ServiceMonitor where that type exists, and annotations of the metrics' Service where not."""
    metrics_disabled: bool = False
    """Serve no metrics at all."""
    interval: str = "10s"
    """Time between two scrapes."""
    port: Port = 9283
    """Port of the mgr's metrics."""
    exporter: CephExporterSpec = CephExporterSpec()
    """The exporter on each node that has daemons."""
    external_mgr_endpoints: Nullable[tuple[EndpointAddress, ...]] = ()
    """For an external cluster: addresses of its mgrs."""
    external_mgr_prometheus_port: Port = 9283
    """For an external cluster: port of its mgr's metrics."""


class CrashCollectorSpec(SpecStruct, frozen=True, kw_only=True):
    """The crash collector on each node that has daemons."""

    disable: bool = False
    """Run none."""
    days_to_retain: int = 0
    """Days to keep crash reports; for ever when not set."""


class LogCollectorSpec(SpecStruct, frozen=True, kw_only=True):
    """Log files of the daemons on their nodes."""

    enabled: bool = False
    """Write log files and rotate them."""
    periodicity: Annotated[str, Schema(pattern="^$|^(hourly|daily|weekly|monthly|1h|24h|1d)$")] = ""
    """How often they are rotated."""
    max_log_size: Quantity | None = None
    """Size at which a log file is rotated before its time."""


class DisruptionManagementSpec(SpecStruct, frozen=True, kw_only=True):
    """How drains of nodes are held back."""

    manage_pod_budgets: bool | None = None
    """Keep PodDisruptionBudgets that let one failure domain drain at a time; true when not set."""
    osd_maintenance_timeout: Int64 = 30
    """Minutes that a failure domain may be drained before its data is copied elsewhere."""
    pg_health_check_timeout: Int64 = 0
    """Minutes to wait for healthy placement groups before the next failure domain may drain; no limit when not set."""
    pg_healthy_regex: str = ""
    """Regular expression of placement group states that count as healthy."""
    manage_machine_disruption_budgets: bool = False
    """No longer served by upstream either."""
    machine_disruption_budget_namespace: str = ""
    """No longer served by upstream either."""


class SanitizeDisksSpec(SpecStruct, frozen=True, kw_only=True):
    """How devices are wiped when the cluster is deleted."""

    method: Annotated[str, Schema(enum=("complete", "quick"))] = "quick"
    """quick wipes what marks a device as used; complete overwrites all of it."""
    data_source: Annotated[str, Schema(enum=("zero", "random"))] = "zero"
    """What devices are overwritten with."""
    iteration: Int32 = 1
    """Times that method complete overwrites them."""


class CleanupPolicySpec(SpecStruct, frozen=True, kw_only=True):
    """What happens to data when the cluster is deleted."""

    confirmation: Nullable[Annotated[str, Schema(pattern="^$|^yes-really-destroy-data$")]] = ""
    """yes-really-destroy-data: the deletion of the cluster destroys its data, and until then nothing is reconciled."""
    sanitize_disks: Nullable[SanitizeDisksSpec] = SanitizeDisksSpec()
    """How devices are wiped."""
    allow_uninstall_with_volumes: bool = False
    """Delete the cluster though volumes still use it."""
    wipe_devices_from_other_clusters: bool = False
    """Take devices that carry OSDs of another Ceph cluster, and wipe them; this destroys that cluster's data."""


class ExternalSpec(SpecStruct, frozen=True, kw_only=True):
    """A Ceph cluster that runs elsewhere."""

    enable: bool = False
    """Run no daemons, and use the cluster whose addresses and keys were imported."""


class ReadAffinitySpec(SpecStruct, frozen=True, kw_only=True):
    """Reads from the copy that is nearest to the client."""

    enabled: bool = False
    """Whether nodes read from the nearest OSD."""
    crush_location_labels: tuple[str, ...] = ()
    """Node labels that tell where a node is; the standard topology labels when not set."""


class CSICephFSSpec(SpecStruct, frozen=True, kw_only=True):
    """How file systems are mounted."""

    kernel_mount_options: str = ""
    """Options of mounts by the kernel."""
    fuse_mount_options: str = ""
    """Options of mounts by ceph-fuse."""


class CSIDriverSpec(SpecStruct, frozen=True, kw_only=True):
    """What nodes need to know to mount volumes of this cluster."""

    read_affinity: ReadAffinitySpec = ReadAffinitySpec()
    """Reads from the copy that is nearest to the client."""
    cephfs: CSICephFSSpec = CSICephFSSpec()
    """How file systems are mounted."""
    skip_user_creation: bool = False
    """Do not make the Ceph users and Secrets that volumes are served with."""


class CephClusterSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of a Ceph cluster."""

    ceph_version: Nullable[CephVersionSpec] = CephVersionSpec()
    """The Ceph release, as a container image; changing it upgrades the cluster."""
    data_dir_host_path: Annotated[
        str,
        Schema(
            pattern=r"^/(\S+)",
            rules=(Rule("self == oldSelf", "dataDirHostPath cannot be changed: mons keep their data there"),),
        ),
    ] = ""
    """Directory on each node for the mons' data. Logs and crash reports of daemons are in their pods, not here."""
    mon: Nullable[Annotated[MonSpec, MON_RULES]] = MonSpec()
    """The monitors, which keep the cluster's maps and decide by majority."""
    mgr: Nullable[MgrSpec] = MgrSpec()
    """The managers, of which one is active and the others stand by."""
    storage: Nullable[StorageScopeSpec] = StorageScopeSpec()
    """Which nodes, devices and claims become OSDs, and how."""
    network: Nullable[Annotated[NetworkSpec, NETWORK_RULES]] = NetworkSpec()
    """The network of the daemons."""
    placement: Nullable[ByDaemon[AnyObject]] = field(default_factory=dict)
    """Node affinity, pod affinity, tolerations and topology spread by kind of daemon, or for all."""
    resources: Nullable[ByDaemon[Resources]] = field(default_factory=dict)
    """Requests and limits by kind of daemon."""
    annotations: Nullable[ByDaemon[dict[str, str]]] = field(default_factory=dict)
    """Annotations of pods by kind of daemon, or for all."""
    labels: Nullable[ByDaemon[dict[str, str]]] = field(default_factory=dict)
    """Labels of pods by kind of daemon, or for all."""
    priority_class_names: Nullable[StringMap] = field(default_factory=dict)
    """Priority class by kind of daemon, or for all."""
    ceph_config: Nullable[dict[str, dict[str, str]]] = field(default_factory=dict)
    """Settings of Ceph by section (global, mon, osd, osd.3, ...) and name, kept in the mons' database."""
    ceph_config_from_secret: Nullable[dict[str, dict[str, SecretKeySelector]]] = field(default_factory=dict)
    """The same with values from Secrets; `cephConfig` goes before it."""
    dashboard: Nullable[DashboardSpec] = DashboardSpec()
    """Ceph's web dashboard."""
    monitoring: Nullable[MonitoringSpec] = MonitoringSpec()
    """Metrics for Prometheus."""
    crash_collector: Nullable[CrashCollectorSpec] = CrashCollectorSpec()
    """The crash collector on each node that has daemons."""
    log_collector: Nullable[LogCollectorSpec] = LogCollectorSpec()
    """Log files of the daemons on their nodes."""
    health_check: Nullable[CephClusterHealthCheckSpec] = CephClusterHealthCheckSpec()
    """Health checks of the operator and the kubelet."""
    disruption_management: Nullable[DisruptionManagementSpec] = DisruptionManagementSpec()
    """How drains of nodes are held back."""
    cleanup_policy: Nullable[CleanupPolicySpec] = CleanupPolicySpec()
    """What happens to data when the cluster is deleted."""
    external: Nullable[Annotated[ExternalSpec, PRESERVE]] = ExternalSpec()
    """A Ceph cluster that runs elsewhere."""
    security: Nullable[ClusterSecuritySpec] = ClusterSecuritySpec()
    """Keys and encryption."""
    csi: CSIDriverSpec = CSIDriverSpec()
    """What nodes need to know to mount volumes of this cluster."""
    skip_upgrade_checks: bool = False
    """Restart daemons without asking Ceph whether they may stop; this can stop I/O."""
    continue_upgrade_after_checks_even_if_not_healthy: bool = False
    """Go on with an upgrade though the cluster did not become healthy in time."""
    wait_timeout_for_healthy_osd_in_minutes: Int64 = field(name="waitTimeoutForHealthyOSDInMinutes", default=10)
    """Minutes to wait for an OSD that may stop before an upgrade gives up or goes on."""
    upgrade_osd_requires_healthy_pgs: bool = field(name="upgradeOSDRequiresHealthyPGs", default=False)
    """Restart an OSD only while all placement groups are clean."""
    remove_osds_if_out_and_safe_to_remove: bool = field(name="removeOSDsIfOutAndSafeToRemove", default=False)
    """Remove OSDs that are out and whose data is safe elsewhere."""


CLUSTER_RULES = (
    Rule(
        "(has(self.external) && has(self.external.enable) && self.external.enable) || "
        "(has(self.cephVersion) && has(self.cephVersion.image) && size(self.cephVersion.image) > 0)",
        "cephVersion.image must name Ceph's image",
    ),
)


class CephCluster(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """A Ceph cluster: its monitors, managers and OSDs."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephCluster"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CephClusterSpec, Schema(required=True, rules=CLUSTER_RULES)] = CephClusterSpec()
    status: Nullable[Annotated[CephClusterStatus, PRESERVE]] = CephClusterStatus()


CEPH_CLUSTER = Kind(
    "ceph.rook.io",
    "v1",
    "CephCluster",
    "cephclusters",
    short_names=("ceph",),
    columns=(
        Column("DataDirHostPath", ".spec.dataDirHostPath", description="Directory on each node"),
        Column("MonCount", ".spec.mon.count", "integer", description="Mons wanted"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Phase", ".status.phase", description="Phase"),
        Column("Message", ".status.message", description="What it is at"),
        Column("Health", ".status.ceph.health", description="Health as Ceph reports it"),
        Column("External", ".spec.external.enable", "boolean", description="Whether it runs elsewhere"),
        Column("FSID", ".status.ceph.fsid", description="Identity of the Ceph cluster"),
    ),
)
