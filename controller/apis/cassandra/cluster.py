"""`cassandra.rook.io/v1alpha1` `Cluster`: an Apache Cassandra cluster of one datacenter.

Fields of 2018: https://github.com/rook/rook/blob/v1.2.7/pkg/apis/cassandra.rook.io/v1alpha1/types.go
"""

from typing import Annotated, Any

from msgspec import field

from controller.apis.cassandra.status import ClusterStatus
from controller.apis.meta import (
    Column,
    Int32,
    JsonObject,
    Kind,
    Nullable,
    ObjectMeta,
    Quantity,
    Rule,
    Schema,
    SpecStruct,
)

PRESERVE = Schema(preserve_unknown=True)

type AnyObject = Annotated[JsonObject, PRESERVE]
"""A Kubernetes type that is handed on as the user wrote it."""

CASSANDRA, SCYLLA = "cassandra", "scylla"
"""Values of `spec.mode`."""
CASSANDRA_4, UPGRADING, NONE = "CASSANDRA_4", "UPGRADING", "NONE"
"""Values of `spec.storageCompatibility`: files that 4.1 can read; new ones, with no way back; the same and rows that
expire after 2038."""
RETAIN, DELETE = "Retain", "Delete"
"""Values of `spec.claimRetention`."""

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
"""What names of datacenters and racks look like: they are part of objects' names."""


class ImageSpec(SpecStruct, frozen=True, kw_only=True):
    """An image, in two parts."""

    version: str = ""
    """Its tag."""
    repository: str = ""
    """Its repository."""


class StorageScopeSpec(SpecStruct, frozen=True, kw_only=True):
    """The volumes of a member."""

    volume_claim_templates: Annotated[tuple[AnyObject, ...], Schema(required=True, min_items=1)] = field(
        default_factory=tuple
    )
    """The claim of each member. The first is used; names of claims are its metadata.name and the member's name."""


class RackSpec(SpecStruct, frozen=True, kw_only=True):
    """A rack: members that may be lost together, such as those of an availability zone."""

    name: Annotated[str, Schema(required=True, min_length=1, max_length=48, pattern=NAME_PATTERN)] = ""
    """The rack's name in Cassandra. It never changes while the rack has members."""
    members: Annotated[Int32, Schema(required=True, minimum=0, maximum=1000)] = 0
    """Members to run. More join one at a time; of less, the last ones hand on their data first and leave."""
    config_map_name: Nullable[str] = ""
    """Meant in 2018 for a ConfigMap with a configuration, and never used: `spec.config` is used instead."""
    jmx_exporter_config_map_name: Nullable[str] = ""
    """ConfigMap with the configuration of a JMX exporter."""
    storage: Annotated[StorageScopeSpec, Schema(required=True, preserve_unknown=True)] = StorageScopeSpec()
    """The volumes of the rack's members."""
    annotations: Nullable[dict[str, str]] = field(default_factory=dict)
    """Annotations of the rack's pods; they go before those of `spec.annotations`."""
    placement: Nullable[AnyObject] = field(default_factory=dict)
    """On which nodes the members may run: nodeAffinity, podAffinity, podAntiAffinity, tolerations,
    topologySpreadConstraints."""
    resources: Nullable[AnyObject] = field(default_factory=dict)
    """Requests and limits of a member, directly or below the name `cassandra`. The heap follows from the memory
    limit."""


RACKS = Schema(
    required=True,
    min_items=1,
    max_items=64,
    list_type="map",
    list_map_keys=("name",),
    rules=(
        Rule(
            "oldSelf.all(old, old.members == 0 || self.exists(new, new.name == old.name))",
            "a rack that has members can be neither renamed nor removed: set its members to 0 first, and remove it when"
            " they have left",
        ),
    ),
)


class DatacenterSpec(SpecStruct, frozen=True, kw_only=True):
    """The cluster's datacenter."""

    name: Annotated[
        str,
        Schema(
            required=True,
            min_length=1,
            max_length=48,
            pattern=NAME_PATTERN,
            rules=(
                Rule(
                    "self == oldSelf",
                    "the name of a datacenter cannot be changed: members that have data would not start under another",
                ),
            ),
        ),
    ] = ""
    """The datacenter's name in Cassandra. It never changes."""
    racks: Annotated[tuple[RackSpec, ...], RACKS] = ()
    """The racks. New ones may be added."""


class AuthenticationSpec(SpecStruct, frozen=True, kw_only=True):
    """Who may connect."""

    enabled: Annotated[
        bool,
        Schema(
            default=True,
            rules=(
                Rule(
                    "self == oldSelf",
                    "authentication is decided when the cluster is made: Cassandra cannot be switched over while"
                    " clients use it",
                ),
            ),
        ),
    ] = True
    """Clients need a role and its password. False: everybody may do everything, as in 2018."""
    superuser_secret_name: str = ""
    """Secret with keys `username` and `password` of a superuser. When not set, `<name>-superuser` is made, with
    a random password. Cassandra's own role `cassandra` is locked."""
    rotate: Annotated[str, Schema(max_length=256)] = ""
    """Whenever this text is changed to another one, Secret `<name>-superuser` gets a new role with a new password; the
    date, for instance. The role before can log in for ten minutes more."""


AUTHENTICATION = Schema(
    default={},
    rules=(
        Rule(
            "!has(self.rotate) || size(self.rotate) == 0"
            " || !has(self.superuserSecretName) || size(self.superuserSecretName) == 0",
            "rotate is for the Secret that the operator makes: name a second role in your own one to rotate it",
        ),
    ),
)


class EncryptionSpec(SpecStruct, frozen=True, kw_only=True):
    """TLS, with certificates that the operator makes and renews. A change restarts members, one by one and in several
    rounds."""

    internode: bool = False
    """Members speak TLS with each other, and nothing else, and show certificates."""
    client: Annotated[str, Schema(enum=("", "Optional", "Required"))] = ""
    """Clients may or must speak TLS; not set: they cannot. They trust the authorities in ConfigMap `<name>-ca`."""


class ClaimRetentionSpec(SpecStruct, frozen=True, kw_only=True):
    """What becomes of claims that nobody uses any more. They hold data: they are kept unless this says otherwise."""

    when_scaled: Annotated[str, Schema(enum=(RETAIN, DELETE))] = RETAIN
    """Claims of members that left the cluster and handed on all their data. Delete is needed for a member of the same
    name to join later."""
    when_deleted: Annotated[str, Schema(enum=(RETAIN, DELETE))] = RETAIN
    """Claims of all members when the Cluster is deleted. Retain: a new Cluster of the same name has the data again."""


class LostMemberSpec(SpecStruct, frozen=True, kw_only=True):
    """Consent to give up a member whose node or volume is lost for good, with the data that only it has."""

    member: Annotated[str, Schema(required=True, min_length=1)] = ""
    """The member's name, which is that of its pod."""
    host_id: str = field(name="hostID", default="")
    """The host ID that is given up, as status.members has it: consent for one loss is none for the next."""
    claim_uid: str = field(name="claimUID", default="")
    """Of a member that has no host ID yet, since it was lost before it had joined: the uid of its claim."""


LOST = Schema(
    rules=(
        Rule(
            "(has(self.hostID) && size(self.hostID) > 0) != (has(self.claimUID) && size(self.claimUID) > 0)",
            "a lost member is named with its hostID, or with its claimUID where it has not joined yet",
        ),
    )
)


class UpgradeSpec(SpecStruct, frozen=True, kw_only=True):
    """How changes that restart members go through the cluster."""

    paused: bool = False
    """Restart no further member."""
    canary: Annotated[Int32, Schema(minimum=0)] = 0
    """So many members are changed first, and the others when this is 0 again or not set."""
    soak_seconds: Annotated[Int32, Schema(minimum=0, maximum=86400)] = 30
    """Seconds that a member has to be well after its restart before the next one is restarted."""
    restart: str = ""
    """Restart all members, one by one, whenever this text is changed; why, for instance."""
    snapshot: bool | None = None
    """Take a snapshot of each member before its version is changed; true when not set."""


class JvmSpec(SpecStruct, frozen=True, kw_only=True):
    """Of the Java machine that a member runs in."""

    heap_size: Quantity | None = None
    """Size of the heap. When not set: the greater of half the memory limit up to 1 GiB, and a quarter of it up to
    8 GiB."""
    options: Nullable[tuple[str, ...]] = ()
    """Further options, such as -Dcassandra.ring_delay_ms=30000."""


class MonitoringSpec(SpecStruct, frozen=True, kw_only=True):
    """Metrics of the members for Prometheus."""

    enabled: bool = False
    """Serve metrics at port 9500 of each member, with a PodMonitor where that type exists, and annotations of the
    Service `<name>-members` where not."""


class ClusterSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of a Cassandra cluster."""

    annotations: Nullable[dict[str, str]] = field(default_factory=dict)
    """Annotations of all pods."""
    labels: Nullable[dict[str, str]] = field(default_factory=dict)
    """Labels of all pods, beside the operator's own."""
    version: Annotated[str, Schema(required=True, min_length=1)] = ""
    """Version of Cassandra, which is the image's tag. Changed: members are upgraded one by one."""
    repository: Nullable[str] = ""
    """Repository of the image."""
    mode: Annotated[str, Schema(enum=(CASSANDRA, SCYLLA))] = CASSANDRA
    """Storage system. This operator runs Apache Cassandra only."""
    datacenter: Annotated[DatacenterSpec, Schema(required=True)] = DatacenterSpec()
    """The datacenter with its racks."""
    sidecar_image: Nullable[ImageSpec | None] = None
    """Image of the sidecar of 2018."""
    num_tokens: Annotated[
        Int32,
        Schema(
            minimum=1,
            maximum=256,
            default=16,
            rules=(
                Rule(
                    "self == oldSelf",
                    "numTokens is fixed when members are made: Cassandra does not start with another number",
                ),
            ),
        ),
    ] = 16
    """Tokens of each member."""
    storage_compatibility: Annotated[
        str,
        Schema(
            enum=(CASSANDRA_4, UPGRADING, NONE),
            default=CASSANDRA_4,
            rules=(
                Rule(
                    f"oldSelf == '{CASSANDRA_4}' || self != '{CASSANDRA_4}'",
                    f"there is no way back to {CASSANDRA_4}: members have written files that 4.1 cannot read",
                ),
                Rule(
                    f"oldSelf != '{CASSANDRA_4}' || self != '{NONE}'",
                    f"set {UPGRADING} first, and {NONE} when all members run with that",
                ),
            ),
        ),
    ] = CASSANDRA_4
    """From 5.0 on, how members write files (`storage_compatibility_mode`): CASSANDRA_4, so that 4.1 can read them; then
    UPGRADING, from which there is no way back; then NONE. Each step restarts all members, one by one."""
    config: Nullable[Annotated[dict[str, Any], PRESERVE]] = field(default_factory=dict)
    """Settings of cassandra.yaml by their names there. What the operator itself sets cannot be set."""
    jvm: JvmSpec = JvmSpec()
    """Of the Java machine."""
    authentication: Annotated[AuthenticationSpec, AUTHENTICATION] = AuthenticationSpec()
    """Who may connect."""
    encryption: EncryptionSpec = EncryptionSpec()
    """TLS between members and to clients."""
    claim_retention: ClaimRetentionSpec = ClaimRetentionSpec()
    """What becomes of claims that nobody uses any more."""
    lost_members: Annotated[
        tuple[Annotated[LostMemberSpec, LOST], ...], Schema(max_items=64, list_type="map", list_map_keys=("member",))
    ] = ()
    """Members that are lost for good. Each is replaced by an empty one of its name, which gets the data from others, or
    taken out of the ring where its rack is to have fewer members."""
    lose_copies: tuple[str, ...] = ()
    """Keyspaces that may have fewer copies than they ask for: members may leave though no more than those stay."""
    upgrade: UpgradeSpec = UpgradeSpec()
    """How changes that restart members go through the cluster."""
    image_pull_policy: Annotated[str, Schema(enum=("", "IfNotPresent", "Always", "Never"))] = ""
    """When nodes pull the image."""
    priority_class_name: str = ""
    """PriorityClass of all pods."""
    monitoring: MonitoringSpec = MonitoringSpec()
    """Metrics for Prometheus."""


class CassandraCluster(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """An Apache Cassandra cluster."""

    api_version: str = "cassandra.rook.io/v1alpha1"
    kind: str = "Cluster"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ClusterSpec, Schema(required=True)] = ClusterSpec()
    status: Annotated[ClusterStatus, PRESERVE] = ClusterStatus()


CASSANDRA_CLUSTER = Kind(
    "cassandra.rook.io",
    "v1alpha1",
    "Cluster",
    "clusters",
    short_names=("cassandra",),
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("Version", ".status.version", description="Version that the members run"),
        Column("Members", ".status.memberCount", "integer", description="Members in the ring"),
        Column("Ready", ".status.readyMembers", "integer", description="Members that serve clients"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Message", ".status.message", description="What it is at", priority=1),
    ),
)
