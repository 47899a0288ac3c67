"""`CephNFS`: servers that export file systems of Ceph by NFS, and what they report of themselves."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.filesystem_status import DaemonCephxStatus
from controller.apis.ceph.health import ProbeSpec
from controller.apis.ceph.status import CONDITIONS
from controller.apis.ceph.storage import PRESERVE, AnyObject, Config
from controller.apis.meta import (
    ApiStruct,
    Column,
    Condition,
    Int32,
    Int64,
    Kind,
    Nullable,
    ObjectMeta,
    Resources,
    Schema,
    SpecStruct,
)
from controller.apis.plan import PlanStatus


class GaneshaRadosSpec(SpecStruct, frozen=True, kw_only=True):
    """Where the servers keep what they share. Ceph since 16.2.7 has one place for it, whatever is set here."""

    pool: str = ""
    """The pool; .nfs in any case."""
    namespace: str = ""
    """The namespace in the pool; the name of the CephNFS in any case."""


class ConfigFiles(SpecStruct, frozen=True, kw_only=True):
    """Files from a volume."""

    volume_source: AnyObject = field(default_factory=dict)
    """A volume, as in a pod: configMap, secret, projected, hostPath, emptyDir or persistentVolumeClaim."""


class KerberosSpec(SpecStruct, frozen=True, kw_only=True):
    """Kerberos, for exports whose sectype is krb5, krb5i or krb5p."""

    principal_name: Annotated[str, Schema(default="nfs")] = "nfs"
    """The service's name in the principal, before the slash."""
    domain_name: str = ""
    """The domain of NFSv4 ids, for idmapd.conf."""
    config_files: ConfigFiles = ConfigFiles()
    """Files for /etc/krb5.conf.rook, each with a name that ends in .conf."""
    keytab_file: ConfigFiles = ConfigFiles()
    """The keytab, in a file krb5.keytab."""


class AdditionalFile(SpecStruct, frozen=True, kw_only=True):
    """Files that SSSD needs beside its configuration."""

    sub_path: Annotated[str, Schema(required=True, min_length=1, pattern="^[^:]+$")] = ""
    """Where they are, below /etc/sssd/rook-additional."""
    volume_source: Annotated[AnyObject, Schema(required=True)] = field(default_factory=dict)
    """The volume."""


class SssdSidecar(SpecStruct, frozen=True, kw_only=True):
    """SSSD in a container beside each server."""

    image: Annotated[str, Schema(required=True, min_length=1)] = ""
    """The image that has it."""
    sssd_config_file: ConfigFiles = ConfigFiles()
    """Its configuration, in a file sssd.conf."""
    additional_files: tuple[AdditionalFile, ...] = ()
    """Files that it needs beside that."""
    resources: Resources = field(default_factory=dict)
    """Requests and limits of the container."""
    debug_level: Annotated[int, Schema(minimum=0, maximum=10)] = 0
    """How much it logs; 0: what its configuration says."""


class SssdSpec(SpecStruct, frozen=True, kw_only=True):
    """Users and groups by SSSD."""

    sidecar: SssdSidecar | None = None
    """The container that runs it."""


class NfsSecuritySpec(SpecStruct, frozen=True, kw_only=True):
    """Who users are."""

    kerberos: Nullable[KerberosSpec | None] = None
    """Kerberos; off when not set."""
    sssd: Nullable[SssdSpec | None] = None
    """SSSD; off when not set."""


class GaneshaServerSpec(SpecStruct, frozen=True, kw_only=True):
    """The servers."""

    active: Annotated[int, Schema(required=True)] = 0
    """How many there are. Each has a Service of its own."""
    image: Annotated[str, Schema(min_length=1, max_length=1572864)] = ""
    """What they run; the image of the CephCluster when not set."""
    image_pull_policy: Annotated[str, Schema(enum=("IfNotPresent", "Always", "Never", ""))] = ""
    """When nodes pull the image."""
    placement: Nullable[AnyObject] = field(default_factory=dict)
    """Where servers may run, over the CephCluster's placement for all."""
    annotations: Nullable[Config] = field(default_factory=dict)
    """Annotations of the pods."""
    labels: Nullable[Config] = field(default_factory=dict)
    """Labels of the pods."""
    resources: Nullable[Resources] = field(default_factory=dict)
    """Requests and limits of a server."""
    priority_class_name: str = ""
    """The PriorityClass of the pods."""
    log_level: str = ""
    """The least important messages that are logged, such as NIV_EVENT; NIV_INFO when not set."""
    host_network: Nullable[bool | None] = None
    """Whether servers are in the network of their nodes; as the CephCluster's daemons when not set."""
    port: Annotated[Int32, Schema(minimum=1, maximum=65535)] = 0
    """Where they listen; 2049 when not set."""
    liveness_probe: ProbeSpec = ProbeSpec()
    """How the kubelet finds out whether a server lives."""


class CephNFSSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of NFS servers."""

    server: Annotated[GaneshaServerSpec, Schema(required=True)] = GaneshaServerSpec()
    """The servers."""
    rados: Nullable[GaneshaRadosSpec] = GaneshaRadosSpec()
    """Where the servers keep what they share."""
    security: Nullable[NfsSecuritySpec] = NfsSecuritySpec()
    """Who users are."""


class GraceMember(ApiStruct, frozen=True, kw_only=True):
    """A server in the database of grace periods."""

    id: str = ""
    """Its id there: the name of the CephNFS, a dot, and the server's letter."""
    needs_grace: bool = False
    """Whether it is yet to say that its clients have taken back what they had."""
    enforcing: bool = False
    """Whether it hands out nothing but what clients had before."""
    clients: Int32 = 0
    """Clients that have state at it, such as open files and locks."""


class GraceStatus(ApiStruct, frozen=True, kw_only=True):
    """The database of grace periods, which servers of one CephNFS share; as ganesha-rados-grace shows it."""

    current: Int64 = 0
    """The epoch that new state belongs to: cur."""
    recovering: Int64 = 0
    """The epoch that clients take their state back from: rec; 0: no grace period is in effect."""
    members: tuple[GraceMember, ...] = ()
    """The servers in it."""


class CephNFSStatus(SpecStruct, frozen=True, kw_only=True):
    """State of NFS servers."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Ready, Progressing, Failure or Deleting."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of the servers' state."""
    cephx: DaemonCephxStatus = DaemonCephxStatus()
    """Keys of the servers."""
    grace: GraceStatus = GraceStatus()
    """The database of grace periods."""
    plan: PlanStatus = PlanStatus()
    """What is about to be done."""


class CephNFS(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """Servers that export file systems of Ceph by NFS."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephNFS"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CephNFSSpec, Schema(required=True)] = CephNFSSpec()
    status: Annotated[CephNFSStatus, PRESERVE] = CephNFSStatus()


CEPH_NFS = Kind(
    "ceph.rook.io",
    "v1",
    "CephNFS",
    "cephnfses",
    short_names=("nfs",),
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
