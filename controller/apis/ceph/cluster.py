"""`CephCluster`: a whole Ceph cluster, what the user wants of it."""

from typing import Annotated

from msgspec import field

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


class VolumeClaimTemplateZone(SpecStruct, frozen=True, kw_only=True):
    """A zone that holds mons."""

    name: str = ""
    """The zone's name, the value of the failure domain's node label."""
    arbiter: bool = False
    """The zone holds only a mon that decides which side goes on, and no data."""
    volume_claim_template: AnyObject | None = None
    """Claim of each of the zone's mons; that of the mons in general when not set."""


class StretchClusterSpec(SpecStruct, frozen=True, kw_only=True):
    """A cluster over two sites with data and a third that only decides."""

    failure_domain_label: str = "topology.kubernetes.io/zone"
    """Node label whose values are the zones."""
    sub_failure_domain: str = "host"
    """CRUSH level over which the copies within a zone are spread."""
    zones: Nullable[tuple[VolumeClaimTemplateZone, ...]] = ()
    """The three zones, one of them the arbiter."""


class FloatingMonSpec(SpecStruct, frozen=True, kw_only=True):
    """A mon that follows its storage between two nodes."""

    name: Annotated[str, Schema(required=True, min_length=1, max_length=1, pattern="^[a-z]$")] = ""
    """The mon's letter."""
    configmap_name: Annotated[str, Schema(required=True, min_length=1, max_length=253)] = ""
    """ConfigMap that tells where it is."""


class MonSpec(SpecStruct, frozen=True, kw_only=True):
    """The monitors, which keep the cluster's maps and decide by majority."""

    count: Annotated[int, Schema(minimum=0, maximum=9)] = 3
    """Mons to run; an odd number, for a majority."""
    allow_multiple_per_node: bool = False
    """Let mons share a node; then losing one node can lose the majority."""
    failure_domain_label: str = ""
    """Node label over whose values mons are spread."""
    volume_claim_template: AnyObject | None = None
    """Claim of each mon; without it a mon keeps its data below dataDirHostPath."""
    zones: tuple[VolumeClaimTemplateZone, ...] = ()
    """Zones over which mons are spread, no more than there are mons."""
    stretch_cluster: StretchClusterSpec | None = None
    """Stretch the cluster over two sites and an arbiter."""
    external_mon_ids: tuple[str, ...] = field(name="externalMonIDs", default=())
    """Mons run by others, which are left in the quorum."""
    floating_mon: FloatingMonSpec | None = None
    """A mon that follows its storage between two nodes."""


MON_RULES = Schema(
    rules=(
        Rule("!has(self.count) || self.count > 0", "mon.count must be at least 1; 3 mons run where it is not set"),
        Rule(
            "!has(self.zones) || (has(self.zones) && (size(self.zones) <= self.count))",
            "mon.zones cannot name more zones than mon.count has mons",
        ),
        Rule(
            "!has(self.stretchCluster) || (has(self.stretchCluster) && (size(self.stretchCluster.zones) > 0) "
            "&& (size(self.stretchCluster.zones) == 3))",
            "mon.stretchCluster.zones must name exactly 3 zones",
        ),
    )
)


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


class AddressRangesSpec(SpecStruct, frozen=True, kw_only=True):
    """CIDR ranges of Ceph's networks."""

    public: tuple[str, ...] = ()
    """Ranges in which clients and daemons meet."""
    cluster: tuple[str, ...] = ()
    """Ranges in which OSDs copy data among themselves."""


class EncryptionSpec(SpecStruct, frozen=True, kw_only=True):
    """Encryption on the wire."""

    enabled: bool = False
    """Encrypt all traffic of Ceph; clients in the kernel need version 5.11 for it."""


class CompressionSpec(SpecStruct, frozen=True, kw_only=True):
    """Compression on the wire."""

    enabled: bool = False
    """Compress traffic between daemons."""


class ConnectionsSpec(SpecStruct, frozen=True, kw_only=True):
    """How Ceph's connections are made."""

    encryption: Nullable[EncryptionSpec] = EncryptionSpec()
    """Encryption on the wire."""
    compression: Nullable[CompressionSpec] = CompressionSpec()
    """Compression on the wire."""
    require_msgr2: bool = field(name="requireMsgr2", default=False)
    """Leave port 6789 closed and speak only the second protocol version, on port 3300."""


class MultiClusterServiceSpec(SpecStruct, frozen=True, kw_only=True):
    """Services that other Kubernetes clusters can reach, by the multi-cluster services API."""

    enabled: bool = False
    """Export the Services of mons and OSDs."""
    cluster_id: str = field(name="clusterID", default="")
    """Name of this Kubernetes cluster among the others."""


class NetworkSpec(SpecStruct, frozen=True, kw_only=True):
    """The network of the daemons."""

    provider: Nullable[
        Annotated[
            str,
            Schema(
                enum=("", "host", "multus"),
                rules=(
                    Rule(
                        "self == '' || oldSelf == '' || self == oldSelf",
                        "network.provider can change only from or to the empty string: "
                        "set it to the empty string before naming another provider",
                    ),
                ),
            ),
        ]
    ] = ""
    """Empty: the pod network. host: the host's. multus (not served): networks named by `selectors`. Mons that run keep
    the network that they have."""
    host_network: bool = False
    """Older way to say provider: host."""
    selectors: Nullable[dict[str, str]] = field(default_factory=dict)
    """For multus: the NetworkAttachmentDefinition for each of public and cluster."""
    address_ranges: Nullable[AddressRangesSpec] = AddressRangesSpec()
    """CIDR ranges of Ceph's networks."""
    connections: Nullable[ConnectionsSpec] = ConnectionsSpec()
    """How Ceph's connections are made."""
    ip_family: Nullable[Annotated[str, Schema(enum=("IPv4", "IPv6"))]] = "IPv4"
    """IP version that daemons listen on; mons that run keep theirs."""
    dual_stack: bool = False
    """Listen on both IP versions."""
    multi_cluster_service: MultiClusterServiceSpec = MultiClusterServiceSpec()
    """Services that other Kubernetes clusters can reach."""


NETWORK_RULES = Schema(
    preserve_unknown=True,
    rules=(
        Rule(
            "!has(self.provider) || (self.provider != 'multus' || "
            "(self.provider == 'multus' && size(self.selectors) > 0))",
            "network.selectors must name a network for provider multus",
        ),
        Rule(
            '!has(self.hostNetwork) || self.hostNetwork == false || !has(self.provider) || self.provider == ""',
            "network.hostNetwork and network.provider exclude each other: set only the provider",
        ),
    ),
)


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


class HealthCheckSpec(SpecStruct, frozen=True, kw_only=True):
    """How often one aspect of health is looked at."""

    disabled: bool = False
    """Do not look."""
    interval: str = ""
    """Time between two looks, such as 60s."""
    timeout: str = ""
    """How long a failure may last before it is acted on, such as 600s."""


class DaemonHealthSpec(SpecStruct, frozen=True, kw_only=True):
    """Health checks of the operator."""

    mon: Nullable[HealthCheckSpec] = HealthCheckSpec()
    """Quorum: every 45s; a mon that is out for 600s is replaced, with timeout 0 never."""
    osd: Nullable[HealthCheckSpec] = HealthCheckSpec()
    """OSDs: every 60s."""
    status: Nullable[HealthCheckSpec] = HealthCheckSpec()
    """The cluster's health in its status: every 60s."""


class ProbeSpec(SpecStruct, frozen=True, kw_only=True):
    """A probe of one kind of daemon."""

    disabled: bool = False
    """Do without it."""
    probe: AnyObject | None = None
    """Fields of a Kubernetes probe that take the place of the operator's."""


class MuteSpec(SpecStruct, frozen=True, kw_only=True):
    """What becomes of a health warning."""

    policy: Annotated[str, Schema(required=True, enum=("mute", "unmute"))] = ""
    """Whether it counts."""


class CephClusterHealthCheckSpec(SpecStruct, frozen=True, kw_only=True):
    """Health checks of the operator and the kubelet."""

    daemon_health: Nullable[DaemonHealthSpec] = DaemonHealthSpec()
    """Health checks of the operator."""
    liveness_probe: dict[str, ProbeSpec] = field(default_factory=dict)
    """Liveness probes for each of mon, mgr and osd."""
    startup_probe: dict[str, ProbeSpec] = field(default_factory=dict)
    """Startup probes for each of mon, mgr and osd."""
    mute_health_warning: Annotated[
        dict[str, MuteSpec],
        Schema(
            max_properties=10,
            rules=(
                Rule(
                    "self.all(k, k.matches('^[A-Z]+(_[A-Z]+)+$'))",
                    "keys of healthCheck.muteHealthWarning must be Ceph's health codes, such as MON_CLOCK_SKEW",
                ),
            ),
        ),
    ] = field(default_factory=dict)
    """Health codes of Ceph that are muted or no longer muted."""


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


class KeyManagementServiceSpec(SpecStruct, frozen=True, kw_only=True):
    """Where encryption keys are kept."""

    connection_details: Nullable[StringMap] = field(default_factory=dict)
    """Settings of the key management service, such as KMS_PROVIDER and its address."""
    token_secret_name: str = ""
    """Secret with the token for it."""


class KeyRotationSpec(SpecStruct, frozen=True, kw_only=True):
    """Rotation of encryption keys of OSDs on claims."""

    enabled: Annotated[bool, Schema(default=False)] = False
    """Whether they are rotated."""
    schedule: str = ""
    """When, in cron's format; weekly when not set."""


class CephxConfig(SpecStruct, frozen=True, kw_only=True):
    """Rotation of the keys that Ceph's daemons and users prove themselves with."""

    key_rotation_policy: Annotated[str, Schema(enum=("", "Disabled", "KeyGeneration"))] = ""
    """KeyGeneration: keys are rotated whenever keyGeneration is raised. Otherwise never."""
    key_generation: Annotated[
        Int64,
        Schema(
            minimum=0,
            maximum=4294967295,
            rules=(Rule("self >= oldSelf", "keyGeneration can only be raised"),),
        ),
    ] = 0
    """Keys of an older generation are rotated up to this one."""
    key_type: Annotated[str, Schema(enum=("aes", "aes256k"), min_length=3, max_length=7)] = ""
    """Cipher of new keys; Ceph's own choice when not set."""


class CephxConfigWithPriorCount(CephxConfig, frozen=True, kw_only=True):
    """The same for keys of CSI, of which older ones stay valid while nodes still use them."""

    keep_prior_key_count_max: Annotated[int, Schema(minimum=0, maximum=10)] = 0
    """Older generations of keys that are kept."""


KEY_GENERATION_STAYS = Schema(
    rules=(
        Rule(
            "!has(oldSelf.keyGeneration) || has(self.keyGeneration)",
            "keyGeneration cannot be taken away once it was set",
        ),
    )
)


class ClusterCephxConfig(SpecStruct, frozen=True, kw_only=True):
    """Keys of Ceph's own authentication."""

    allowed_ciphers: Annotated[
        tuple[Annotated[str, Schema(enum=("aes", "aes256k"))], ...], Schema(min_items=1, max_items=2, list_type="set")
    ] = ()
    """Ciphers that keys may have."""
    daemon: Annotated[CephxConfig, KEY_GENERATION_STAYS] = CephxConfig()
    """Keys of daemons."""
    csi: Annotated[CephxConfigWithPriorCount, KEY_GENERATION_STAYS] = CephxConfigWithPriorCount()
    """Keys of CSI's users."""
    rbd_mirror_peer: Annotated[CephxConfig, KEY_GENERATION_STAYS] = CephxConfig()
    """Keys of mirroring peers."""


class ClusterSecuritySpec(SpecStruct, frozen=True, kw_only=True):
    """Keys and encryption."""

    kms: Nullable[KeyManagementServiceSpec] = KeyManagementServiceSpec()
    """Where encryption keys are kept; in Secrets when not set."""
    key_rotation: Nullable[KeyRotationSpec] = KeyRotationSpec()
    """Rotation of encryption keys of OSDs on claims."""
    cephx: ClusterCephxConfig = ClusterCephxConfig()
    """Keys of Ceph's own authentication."""


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


class SecretKeySelector(SpecStruct, frozen=True, kw_only=True):
    """A key of a Secret in the cluster's namespace."""

    name: Annotated[str, Schema(default="")] = ""
    """The Secret's name."""
    key: Annotated[str, Schema(required=True)] = ""
    """The key in its data."""
    optional: bool = False
    """Whether it may be missing."""


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
