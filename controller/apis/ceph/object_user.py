"""`CephObjectStoreUser` and `CephObjectStoreAccount`: who may use an object store."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.secrets import SecretKeySelector, SecretVersion
from controller.apis.ceph.status import CONDITIONS
from controller.apis.ceph.storage import PRESERVE
from controller.apis.meta import (
    QUANTITY_PATTERN,
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

type Permission = Annotated[str, Schema(enum=("*", "read", "write", "read, write"))]
"""What a capability allows."""

ACCOUNT_NAME = Schema(required=True, min_length=1, max_length=2048, pattern="^[a-zA-Z0-9 ._-]+$")


def _fixed(name: str) -> tuple[Rule, ...]:
    return (Rule("self == oldSelf", f"{name} cannot be changed: make another object"),)


class ObjectUserCapSpec(SpecStruct, frozen=True, kw_only=True):
    """What a user may do by the gateways' Admin Ops API, beside using its own buckets."""

    user: Permission = ""
    """The same as `users`."""
    users: Permission = ""
    """Users, with their keys."""
    bucket: Permission = ""
    """The same as `buckets`."""
    buckets: Permission = ""
    """Everybody's buckets."""
    metadata: Permission = ""
    """Metadata of users and buckets as the gateways keep it."""
    usage: Permission = ""
    """Records of who used what."""
    zone: Permission = ""
    """Settings of the zone."""
    roles: Permission = ""
    """Roles for temporary credentials."""
    info: Permission = ""
    """Facts of the cluster, such as its id."""
    amz_cache: Permission = field(name="amz-cache", default="")
    """Objects in the gateways' cache."""
    bilog: Permission = ""
    """Logs of bucket indexes, for synchronisation."""
    mdlog: Permission = ""
    """The log of metadata, for synchronisation."""
    datalog: Permission = ""
    """The log of data, for synchronisation."""
    user_policy: Permission = field(name="user-policy", default="")
    """Policies of users."""
    oidc_provider: Permission = field(name="oidc-provider", default="")
    """Providers of OpenID Connect identities."""
    ratelimit: Permission = ""
    """Limits of the rate of requests."""
    accounts: Permission = ""
    """Accounts. From Ceph 19 on."""
    user_info_without_keys: Permission = field(name="userInfoWithoutKeys", default="")
    """Users, without their keys."""


class ObjectUserQuotaSpec(SpecStruct, frozen=True, kw_only=True):
    """Limits of what a user may store."""

    max_buckets: Nullable[int | None] = None
    """Buckets; none are allowed below 0, any number with 0, and 1000 when not set."""
    max_size: Nullable[Annotated[int | str | None, Schema(int_or_string=True, pattern=QUANTITY_PATTERN)]] = None
    """Bytes in all buckets, such as 10Gi; any number when not set."""
    max_objects: Nullable[Annotated[int | None, Schema(format="int64")]] = None
    """Objects in all buckets; any number when not set."""


class ObjectUserKey(SpecStruct, frozen=True, kw_only=True):
    """A key of a user, by where its two parts are."""

    access_key_ref: SecretKeySelector | None = None
    """The access key, in a Secret of the user's namespace."""
    secret_key_ref: SecretKeySelector | None = None
    """The secret key, in a Secret of the user's namespace."""


class ObjectStoreUserAccountRef(SpecStruct, frozen=True, kw_only=True):
    """An account."""

    name: Annotated[str, ACCOUNT_NAME] = ""
    """The CephObjectStoreAccount's name; it is in the user's namespace."""


class CephObjectStoreUserSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of a user of an object store."""

    store: str = ""
    """The CephObjectStore."""
    display_name: str = ""
    """The user's name for people; metadata.name when not set."""
    capabilities: Nullable[ObjectUserCapSpec] = ObjectUserCapSpec()
    """What it may do by the Admin Ops API."""
    quotas: Nullable[ObjectUserQuotaSpec] = ObjectUserQuotaSpec()
    """Limits of what it may store."""
    op_mask: Annotated[
        tuple[Annotated[str, Schema(enum=("read", "write", "delete"))], ...] | None,
        Schema(min_items=0, max_items=3, list_type="set"),
    ] = None
    """Which kinds of requests it may make; all when not set, and none when empty."""
    keys: tuple[ObjectUserKey, ...] = ()
    """Its keys, which it then has and no others; the first is in its Secret. Ceph makes one when not set."""
    cluster_namespace: str = ""
    """Where the CephObjectStore is, if not in the user's namespace: it has to allow that."""
    account_ref: Annotated[ObjectStoreUserAccountRef | None, Schema(rules=_fixed("accountRef"))] = None
    """The account that owns its buckets."""


class KeyRotationStatus(SpecStruct, frozen=True, kw_only=True):
    """The last rotation of a user's key."""

    requested: str = ""
    """The value of the annotation by which it was asked for."""
    rotated_at: str = ""
    """When the Secret got the key that was made; empty: no key was rotated yet."""
    replaced: tuple[str, ...] = ()
    """Digests of the access keys that are of use still, and are removed when programs had time to take the new one."""


class ObjectStoreUserStatus(SpecStruct, frozen=True, kw_only=True):
    """State of a user of an object store."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Ready, Progressing, Failure or Deleting."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of the user's state."""
    info: Nullable[dict[str, str]] = field(default_factory=dict)
    """Facts by name: secretName, the Secret with its key."""
    keys: Nullable[tuple[SecretVersion, ...]] = ()
    """The Secrets that its keys are of."""
    key_rotation: KeyRotationStatus = KeyRotationStatus()
    """The last rotation of its key."""
    plan: PlanStatus = PlanStatus()
    """What is about to be done."""


class CephObjectStoreUser(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """A user of an object store."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephObjectStoreUser"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CephObjectStoreUserSpec, Schema(required=True)] = CephObjectStoreUserSpec()
    status: Annotated[ObjectStoreUserStatus, PRESERVE] = ObjectStoreUserStatus()


CEPH_OBJECT_STORE_USER = Kind(
    "ceph.rook.io",
    "v1",
    "CephObjectStoreUser",
    "cephobjectstoreusers",
    short_names=("rcou", "objectuser", "cephosu"),
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("Secret", ".status.info.secretName", priority=1, description="The Secret with the key"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)


class AccountRootUserSpec(SpecStruct, frozen=True, kw_only=True):
    """The user that may do everything in an account."""

    skip_create: bool = False
    """Have none; one that there is goes, with its Secret."""
    display_name: Annotated[str, Schema(min_length=1, max_length=64, pattern=r"^[\w+=,.@-]+$")] = ""
    """Its name for people; root- and metadata.name when not set."""


class CephObjectStoreAccountSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of an account in an object store."""

    store: Annotated[str, Schema(required=True, min_length=1, max_length=253, rules=_fixed("store"))] = ""
    """The CephObjectStore, in the same namespace."""
    name: Annotated[str, Schema(min_length=1, max_length=2048, pattern="^[a-zA-Z0-9 ._-]+$")] = ""
    """The account's name in the store; metadata.name when not set."""
    account_id: Annotated[
        str, Schema(min_length=20, max_length=20, pattern=r"^RGW\d{17}$", rules=_fixed("accountID"))
    ] = field(name="accountID", default="")
    """The account's identity; made from metadata.uid when not set."""
    root_user: AccountRootUserSpec = AccountRootUserSpec()
    """The user that may do everything in it."""


class ObjectStoreAccountStatus(SpecStruct, frozen=True, kw_only=True):
    """State of an account."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Ready, Progressing, Failure or Deleting."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of the account's state."""
    account_id: Annotated[str, Schema(min_length=20, max_length=20)] = field(name="accountID", default="")
    """The account's identity, noted before it is made: no other account is changed or removed."""
    root_account_secret_name: Annotated[str, Schema(min_length=1, max_length=253)] = ""
    """The Secret with the root user's key."""
    plan: PlanStatus = PlanStatus()
    """What is about to be done."""


class CephObjectStoreAccount(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """An account in an object store, which owns the buckets of its users."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephObjectStoreAccount"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CephObjectStoreAccountSpec, Schema(required=True)] = CephObjectStoreAccountSpec()
    status: ObjectStoreAccountStatus = ObjectStoreAccountStatus()


CEPH_OBJECT_STORE_ACCOUNT = Kind(
    "ceph.rook.io",
    "v1",
    "CephObjectStoreAccount",
    "cephobjectstoreaccounts",
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("AccountID", ".status.accountID", priority=1, description="The account in the store"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
