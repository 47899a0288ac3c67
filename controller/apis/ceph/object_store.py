"""`CephObjectStore`: an S3 and Swift object store, its pools and its gateways (RGW)."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.health import ProbeSpec
from controller.apis.ceph.object_store_status import CephObjectStoreStatus
from controller.apis.ceph.pool import PoolSpec
from controller.apis.ceph.secrets import SecretKeySelector
from controller.apis.ceph.security import KeyManagementServiceSpec, KeyRotationSpec
from controller.apis.ceph.storage import PRESERVE, AnyObject, Config
from controller.apis.meta import (
    Column,
    Int32,
    Kind,
    Nullable,
    ObjectMeta,
    Resources,
    Rule,
    Scale,
    Schema,
    SpecStruct,
)

APIS = ("s3", "s3website", "swift", "swift_auth", "admin", "sts", "iam", "notifications")
"""What gateways can serve, as Ceph's option rgw_enable_apis names it."""


class KeystoneSpec(SpecStruct, frozen=True, kw_only=True):
    """Users of OpenStack Keystone."""

    url: Annotated[str, Schema(required=True)] = ""
    """URL of Keystone."""
    service_user_secret_name: Annotated[str, Schema(required=True)] = ""
    """Secret with the credentials by which gateways ask Keystone, as OS_USERNAME, OS_PASSWORD and so on."""
    accepted_roles: Annotated[tuple[str, ...], Schema(required=True)] = ()
    """Roles of Keystone whose users may use the store."""
    implicit_tenants: str = ""
    """Whether users get tenants of their own: true, false, swift or s3."""
    token_cache_size: Nullable[int | None] = None
    """Tokens that a gateway remembers."""
    revocation_interval: Nullable[int | None] = None
    """Seconds between two looks at revoked tokens."""


class AuthSpec(SpecStruct, frozen=True, kw_only=True):
    """Who may use the store, besides its own users."""

    keystone: Nullable[KeystoneSpec | None] = None
    """Users of OpenStack Keystone."""


class AdditionalVolumeMount(SpecStruct, frozen=True, kw_only=True):
    """Files for the gateways."""

    sub_path: Annotated[str, Schema(required=True, min_length=1, pattern="^[^:]+$")] = ""
    """The directory below /var/rgw in which they are."""
    volume_source: Annotated[AnyObject, Schema(required=True)] = field(default_factory=dict)
    """Where they come from, such as a ConfigMap or a Secret."""


class EndpointAddress(SpecStruct, frozen=True, kw_only=True):
    """A gateway that somebody else runs."""

    ip: str = ""
    """Its IP address."""
    hostname: str = ""
    """Its host name."""


class OpsLogSidecar(SpecStruct, frozen=True, kw_only=True):
    """A container beside each gateway that prints the log of its operations."""

    resources: Resources = field(default_factory=dict)
    """Requests and limits of it."""


class RgwReadAffinity(SpecStruct, frozen=True, kw_only=True):
    """From which OSDs gateways read."""

    type: Annotated[str, Schema(required=True, enum=("localize", "balance", "default"))] = ""
    """localize: near ones; balance: any; default: the first of each placement group."""


class RgwServiceSpec(SpecStruct, frozen=True, kw_only=True):
    """The Service of the gateways."""

    annotations: dict[str, str] = field(default_factory=dict)
    """Annotations of it."""
    labels: dict[str, str] = field(default_factory=dict)
    """Labels of it."""


class GatewaySpec(SpecStruct, frozen=True, kw_only=True):
    """The gateways."""

    instances: Nullable[Int32 | None] = None
    """Gateways that run side by side; 1 when not set. May be changed by `kubectl scale` and by autoscalers."""
    port: Int32 = 0
    """Port of the Service for HTTP; when neither this nor securePort is set, 80."""
    secure_port: Nullable[Annotated[Int32, Schema(minimum=0, maximum=65535)]] = 0
    """Port of the Service for HTTPS, which needs sslCertificateRef."""
    ssl_certificate_ref: Nullable[str] = ""
    """Secret with the certificate: of type kubernetes.io/tls, or with certificate and key together under `cert`.
    Another certificate in it restarts the gateways one after the other."""
    ca_bundle_ref: Nullable[str] = ""
    """Secret with authorities under `cabundle`, that gateways and operator trust besides the well-known ones."""
    external_rgw_endpoints: Nullable[tuple[EndpointAddress, ...]] = ()
    """Gateways that somebody else runs, in place of own ones."""
    host_network: Annotated[Nullable[bool | None], PRESERVE] = None
    """Run gateways in the network of their nodes, where they listen on `port` itself; the CephCluster's when not
    set."""
    placement: Annotated[Nullable[AnyObject], PRESERVE] = field(default_factory=dict)
    """Where gateways may run, over the CephCluster's placement for all."""
    resources: Annotated[Nullable[Resources], PRESERVE] = field(default_factory=dict)
    """Requests and limits of a gateway."""
    annotations: Nullable[Config] = field(default_factory=dict)
    """Annotations of the pods."""
    labels: Nullable[Config] = field(default_factory=dict)
    """Labels of the pods."""
    priority_class_name: str = ""
    """The PriorityClass of the pods."""
    service: Nullable[RgwServiceSpec] = RgwServiceSpec()
    """The Service of the gateways."""
    rgw_config: Nullable[dict[str, str]] = field(default_factory=dict)
    """Ceph's options for these gateways, in the mons' database."""
    rgw_config_from_secret: Nullable[dict[str, SecretKeySelector]] = field(default_factory=dict)
    """The same, with values from Secrets."""
    rgw_command_flags: Nullable[dict[str, str]] = field(default_factory=dict)
    """Options on the gateways' command line, which go before all others."""
    additional_volume_mounts: tuple[AdditionalVolumeMount, ...] = ()
    """Files for the gateways below /var/rgw, such as keys of a key management service."""
    ops_log_sidecar: Nullable[OpsLogSidecar | None] = None
    """A container beside each gateway that prints the log of its operations."""
    dashboard_enabled: Annotated[Nullable[bool | None], PRESERVE] = None
    """Whether Ceph's dashboard shows the store."""
    disable_multisite_sync_traffic: bool = False
    """These gateways serve users alone and take no part in the replication between zones."""
    read_affinity: RgwReadAffinity | None = None
    """From which OSDs gateways read; Ceph 20 or newer."""
    type: str = ""
    """Of 2018, when it was always s3. `protocols` says what is served."""
    all_nodes: bool = False
    """Of 2018: a gateway on each node. `instances` says how many there are, and `placement` where."""


class HealthCheckSpec(SpecStruct, frozen=True, kw_only=True):
    """How the kubelet probes gateways."""

    startup_probe: ProbeSpec = ProbeSpec()
    """How it finds out whether a gateway has started."""
    readiness_probe: Annotated[ProbeSpec, PRESERVE] = ProbeSpec()
    """How it finds out whether a gateway serves requests."""


class AdvertiseEndpointSpec(SpecStruct, frozen=True, kw_only=True):
    """Where clients reach the store."""

    dns_name: Annotated[str, Schema(required=True, min_length=1)] = ""
    """DNS name, which the certificate has to have."""
    port: Annotated[Int32, Schema(required=True, minimum=1, maximum=65535)] = 0
    """Port there."""
    use_tls: Annotated[bool, Schema(required=True)] = False
    """Whether it speaks HTTPS."""


class HostingSpec(SpecStruct, frozen=True, kw_only=True):
    """The names by which the store is reached."""

    advertise_endpoint: Nullable[AdvertiseEndpointSpec | None] = None
    """Where users of the store are told to reach it; the Service when not set. The operator itself uses it, too."""
    dns_names: tuple[str, ...] = ()
    """DNS names below which a bucket may be part of the host name, besides the Service's. Their DNS, with a wildcard,
    and their certificates are the user's to make."""


class S3Spec(SpecStruct, frozen=True, kw_only=True):
    """The S3 API."""

    enabled: Nullable[bool | None] = None
    """Older way to say in enableAPIs whether it is served."""
    auth_use_keystone: Nullable[bool | None] = None
    """Let users of Keystone use it."""


class SwiftSpec(SpecStruct, frozen=True, kw_only=True):
    """The Swift API."""

    account_in_url: Nullable[bool | None] = None
    """The path begins with the account."""
    url_prefix: Nullable[str | None] = None
    """What the path begins with; "/": nothing, which switches S3 off."""
    versioning_enabled: Nullable[bool | None] = None
    """Whether old versions of objects can be kept."""


class ProtocolSpec(SpecStruct, frozen=True, kw_only=True):
    """What gateways serve."""

    enable_apis: Nullable[tuple[Annotated[str, Schema(enum=APIS)], ...]] = field(name="enableAPIs", default=())
    """The APIs that are served; all when not set."""
    s3: Nullable[S3Spec] = S3Spec()
    """The S3 API."""
    swift: Nullable[SwiftSpec] = SwiftSpec()
    """The Swift API."""


class SslOptions(SpecStruct, frozen=True, kw_only=True):
    """OpenSSL's options."""

    default_workarounds: bool | None = None
    """Work around mistakes of clients."""
    no_compression: bool | None = None
    """Do not compress."""
    single_diffie_hellman_use: bool | None = field(name="singleDiffieHellmanUse", default=None)
    """A new key for each exchange."""
    sslv2: bool | None = None
    """Allow SSL 2."""
    sslv3: bool | None = None
    """Allow SSL 3."""
    tlsv1_0: bool | None = field(name="tlsv1_0", default=None)
    """Allow TLS 1.0."""
    tlsv1_1: bool | None = field(name="tlsv1_1", default=None)
    """Allow TLS 1.1."""
    tlsv1_2: bool | None = field(name="tlsv1_2", default=None)
    """Allow TLS 1.2."""


class ObjectStoreSecuritySpec(SpecStruct, frozen=True, kw_only=True):
    """Encryption."""

    kms: Nullable[KeyManagementServiceSpec] = KeyManagementServiceSpec()
    """Where keys of objects are that clients encrypt by SSE-KMS."""
    s3: Nullable[KeyManagementServiceSpec] = KeyManagementServiceSpec()
    """Where keys of objects are that gateways encrypt by SSE-S3."""
    key_rotation: Nullable[KeyRotationSpec] = KeyRotationSpec()
    """Rotation of keys; a CephCluster's alone."""
    ciphers: Annotated[tuple[str, ...], Schema(min_items=0, max_items=1000)] = ()
    """Ciphers of TLS 1.2 and older."""
    cipher_suites: Annotated[tuple[str, ...], Schema(min_items=0, max_items=1000)] = ()
    """Ciphers of TLS 1.3."""
    tls_groups: tuple[str, ...] = ()
    """Groups of key exchanges."""
    ssl_options: SslOptions | None = None
    """OpenSSL's options."""


class StorageClassSpec(SpecStruct, frozen=True, kw_only=True):
    """A storage class of S3, beside STANDARD."""

    name: Annotated[str, Schema(required=True, min_length=1, pattern="^[a-zA-Z0-9._/-]+$")] = ""
    """Its name, which clients give for each object."""
    data_pool_name: Annotated[str, Schema(required=True, min_length=1)] = ""
    """The pool in which its objects are."""


class PoolPlacementSpec(SpecStruct, frozen=True, kw_only=True):
    """Where buckets and their objects are, for those that are made with this name as their location."""

    name: Annotated[str, Schema(required=True, min_length=1, pattern="^[a-zA-Z0-9._/-]+$")] = ""
    """Its name."""
    default: bool = False
    """Buckets that name no other one are here."""
    metadata_pool_name: Annotated[str, Schema(required=True, min_length=1)] = ""
    """The pool with the lists of objects; replicated."""
    data_pool_name: Annotated[str, Schema(required=True, min_length=1)] = ""
    """The pool with the data of objects."""
    data_non_ec_pool_name: str = field(name="dataNonECPoolName", default="")
    """The pool for what an erasure-coded pool cannot hold; the metadata pool when not set."""
    storage_classes: Annotated[tuple[StorageClassSpec, ...], Schema(max_items=10)] = ()
    """Further storage classes."""


def _fixed(which: str) -> tuple[Rule, ...]:
    return (Rule("self == oldSelf", f"sharedPools.{which} cannot be changed: objects are in the pool"),)


class SharedPoolsSpec(SpecStruct, frozen=True, kw_only=True):
    """Pools that are there already, and may be shared by stores: each has namespaces of its own in them."""

    metadata_pool_name: Annotated[str, Schema(rules=_fixed("metadataPoolName"))] = ""
    """The CephBlockPool for metadata."""
    data_pool_name: Annotated[str, Schema(rules=_fixed("dataPoolName"))] = ""
    """The CephBlockPool for data."""
    pool_placements: tuple[PoolPlacementSpec, ...] = ()
    """Further places for buckets."""
    preserve_rados_namespace_data_on_delete: bool = False
    """Keep what is in the store's namespaces when the CephObjectStore is deleted."""


class ZoneSpec(SpecStruct, frozen=True, kw_only=True):
    """A zone of a multisite setup."""

    name: Annotated[str, Schema(required=True)] = ""
    """The CephObjectZone, in the same namespace."""


class CephObjectStoreSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of an object store."""

    metadata_pool: Nullable[PoolSpec] = PoolSpec()
    """What the pools for metadata are like; replicated. Not with sharedPools or zone."""
    data_pool: Nullable[PoolSpec] = PoolSpec()
    """What the pool for data is like. Not with sharedPools or zone."""
    shared_pools: Nullable[SharedPoolsSpec] = SharedPoolsSpec()
    """Pools that are there already, in place of own ones."""
    preserve_pools_on_delete: bool = False
    """Keep the pools when the CephObjectStore is deleted."""
    gateway: Nullable[GatewaySpec] = GatewaySpec()
    """The gateways."""
    protocols: ProtocolSpec = ProtocolSpec()
    """What they serve."""
    auth: AuthSpec = AuthSpec()
    """Who may use the store, besides its own users."""
    zone: Nullable[ZoneSpec] = ZoneSpec()
    """The zone that the gateways serve; one of their own when not set."""
    health_check: Nullable[HealthCheckSpec] = HealthCheckSpec()
    """How the kubelet probes gateways."""
    security: Nullable[ObjectStoreSecuritySpec] = ObjectStoreSecuritySpec()
    """Encryption."""
    allow_users_in_namespaces: tuple[str, ...] = ()
    """Namespaces whose CephObjectStoreUsers and accounts may be of this store, besides its own; "*": all."""
    hosting: Nullable[HostingSpec] = HostingSpec()
    """The names by which the store is reached."""
    default_realm: bool = False
    """Have radosgw-admin work on this store where it is told of no other."""


class CephObjectStore(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """An S3 and Swift object store."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephObjectStore"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[
        CephObjectStoreSpec,
        Schema(
            required=True,
            rules=(
                Rule(
                    "!(has(self.defaultRealm) && self.defaultRealm == true && has(self.zone) && "
                    "size(self.zone.name) > 0)",
                    "defaultRealm cannot be set together with zone: the realm of a zone is a CephObjectRealm's",
                ),
            ),
        ),
    ] = CephObjectStoreSpec()
    status: Annotated[CephObjectStoreStatus, PRESERVE] = CephObjectStoreStatus()


CEPH_OBJECT_STORE = Kind(
    "ceph.rook.io",
    "v1",
    "CephObjectStore",
    "cephobjectstores",
    short_names=("cephos",),
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("Endpoint", ".status.info.endpoint", description="Where HTTP is spoken"),
        Column("SecureEndpoint", ".status.info.secureEndpoint", description="Where HTTPS is spoken"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    scale=Scale(".spec.gateway.instances", ".status.replicas", ".status.selector"),
)
