"""`CephBucketTopic` and `CephBucketNotification`: who is told of what happens in buckets."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.secrets import SecretKeySelector, SecretVersion
from controller.apis.ceph.status import CONDITIONS
from controller.apis.ceph.storage import PRESERVE
from controller.apis.meta import Column, Condition, Int64, Kind, Nullable, ObjectMeta, Schema, SpecStruct
from controller.apis.plan import PlanStatus

REQUIRED_TEXT = Schema(required=True, min_length=1)

EVENTS = (
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:ObjectLifecycle:Expiration:Current",
    "s3:ObjectLifecycle:Expiration:NonCurrent",
    "s3:ObjectLifecycle:Expiration:DeleteMarker",
    "s3:ObjectLifecycle:Expiration:AbortMultipartUpload",
    "s3:ObjectLifecycle:Transition:Current",
    "s3:ObjectLifecycle:Transition:NonCurrent",
    "s3:LifecycleExpiration:*",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
    "s3:LifecycleTransition",
    "s3:ObjectSynced:*",
    "s3:ObjectSynced:Create",
    "s3:ObjectSynced:Delete",
    "s3:ObjectSynced:DeletionMarkerCreated",
    "s3:Replication:*",
    "s3:Replication:Create",
    "s3:Replication:Delete",
    "s3:Replication:DeletionMarkerCreated",
    "s3:ObjectRestore:*",
    "s3:ObjectRestore:Post",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
)
"""Events of buckets, as S3 and Ceph call them."""


class HTTPEndpointSpec(SpecStruct, frozen=True, kw_only=True):
    """An HTTP server."""

    uri: Annotated[str, REQUIRED_TEXT] = ""
    """Its URL, http:// or https://."""
    disable_verify_ssl: bool = field(name="disableVerifySSL", default=False)
    """Take any certificate."""
    send_cloud_events: bool = False
    """Add the headers of CloudEvents."""


class AMQPEndpointSpec(SpecStruct, frozen=True, kw_only=True):
    """A broker that speaks AMQP 0.9.1, such as RabbitMQ."""

    uri: Annotated[str, REQUIRED_TEXT] = ""
    """Its URL, amqp:// or amqps://, with the virtual host as the path."""
    exchange: Annotated[str, REQUIRED_TEXT] = ""
    """The exchange, which must be there: the gateways make none."""
    disable_verify_ssl: bool = field(name="disableVerifySSL", default=False)
    """Take any certificate."""
    ack_level: Annotated[str, Schema(enum=("none", "broker", "routable", "routeable"), default="broker")] = "broker"
    """Whose acknowledgement is waited for."""


class KafkaEndpointSpec(SpecStruct, frozen=True, kw_only=True):
    """A Kafka broker. Its topic has the name of the CephBucketTopic."""

    uri: Annotated[str, REQUIRED_TEXT] = ""
    """Its URL, kafka://."""
    use_ssl: bool = field(name="useSSL", default=False)
    """Speak TLS to it."""
    disable_verify_ssl: bool = field(name="disableVerifySSL", default=False)
    """Take any certificate."""
    ack_level: Annotated[str, Schema(enum=("none", "broker"), default="broker")] = "broker"
    """Whose acknowledgement is waited for."""
    user_secret_ref: SecretKeySelector | None = None
    """The user's name; takes the place of the one in the URL."""
    password_secret_ref: SecretKeySelector | None = None
    """The password; takes the place of the one in the URL."""
    mechanism: Annotated[
        str, Schema(enum=("PLAIN", "SCRAM-SHA-512", "SCRAM-SHA-256", "GSSAPI", "OAUTHBEARER"), default="PLAIN")
    ] = "PLAIN"
    """How the user is authenticated (SASL)."""


class TopicEndpointSpec(SpecStruct, frozen=True, kw_only=True):
    """Where notifications go: exactly one of these."""

    http: HTTPEndpointSpec | None = None
    """An HTTP server."""
    amqp: AMQPEndpointSpec | None = None
    """A broker that speaks AMQP 0.9.1."""
    kafka: KafkaEndpointSpec | None = None
    """A Kafka broker."""


class BucketTopicSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of a topic."""

    object_store_name: Annotated[str, REQUIRED_TEXT] = ""
    """The CephObjectStore."""
    object_store_namespace: Annotated[str, REQUIRED_TEXT] = ""
    """Where it is."""
    opaque_data: str = ""
    """A text that is in each notification."""
    persistent: bool = False
    """Keep notifications in the store until they are delivered: no S3 request waits for the endpoint then."""
    endpoint: Annotated[TopicEndpointSpec, Schema(required=True)] = TopicEndpointSpec()
    """Where notifications go."""


class BucketTopicStatus(SpecStruct, frozen=True, kw_only=True):
    """State of a topic."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Ready, Progressing, Failure or Deleting."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of the topic's state."""
    arn: Nullable[str] = field(name="ARN", default="")
    """The topic's name in the store."""
    digest: str = ""
    """A digest of what the topic was last given, Secrets included: what differs from it is given again."""
    secrets: tuple[SecretVersion, ...] = ()
    """The Secrets that the endpoint's user and password are of."""
    plan: PlanStatus = PlanStatus()
    """What is about to be done."""


class CephBucketTopic(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """Where notifications of buckets go."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephBucketTopic"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[BucketTopicSpec, Schema(required=True)] = BucketTopicSpec()
    status: Annotated[BucketTopicStatus, PRESERVE] = BucketTopicStatus()


CEPH_BUCKET_TOPIC = Kind(
    "ceph.rook.io",
    "v1",
    "CephBucketTopic",
    "cephbuckettopics",
    short_names=("cephbt",),
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("ARN", ".status.ARN", priority=1, description="The topic in the store"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)


class NotificationKeyFilterRule(SpecStruct, frozen=True, kw_only=True):
    """What an object's key has to be like."""

    name: Annotated[str, Schema(required=True, enum=("prefix", "suffix", "regex"))] = ""
    """How it is compared; each way once at most."""
    value: Annotated[str, Schema(required=True)] = ""
    """With what."""


class NotificationFilterRule(SpecStruct, frozen=True, kw_only=True):
    """A name that has to have a value."""

    name: Annotated[str, REQUIRED_TEXT] = ""
    """The name; of metadata with x-amz-meta- before it."""
    value: Annotated[str, Schema(required=True)] = ""
    """The value."""


class NotificationFilterSpec(SpecStruct, frozen=True, kw_only=True):
    """Which objects are told of: all that every filter lets through."""

    key_filters: tuple[NotificationKeyFilterRule, ...] = ()
    """By their keys."""
    metadata_filters: tuple[NotificationFilterRule, ...] = ()
    """By their metadata."""
    tag_filters: tuple[NotificationFilterRule, ...] = ()
    """By their tags."""


class BucketNotificationSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants to be told of."""

    topic: Annotated[str, REQUIRED_TEXT] = ""
    """The CephBucketTopic, in the same namespace."""
    events: tuple[Annotated[str, Schema(enum=EVENTS)], ...] = ()
    """What is told of; that objects are created and removed when not set."""
    filter: NotificationFilterSpec = NotificationFilterSpec()
    """Which objects are told of."""


class BucketNotificationStatus(SpecStruct, frozen=True, kw_only=True):
    """State of a notification."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Ready, Progressing, Failure or Deleting."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of the notification's state."""
    buckets: tuple[str, ...] = ()
    """The ObjectBucketClaims whose buckets have it."""
    plan: PlanStatus = PlanStatus()
    """What is about to be done."""


class CephBucketNotification(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """What is told of buckets, to a topic. Buckets have it by a label of their ObjectBucketClaims."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephBucketNotification"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[BucketNotificationSpec, Schema(required=True)] = BucketNotificationSpec()
    status: Annotated[BucketNotificationStatus, PRESERVE] = BucketNotificationStatus()


CEPH_BUCKET_NOTIFICATION = Kind(
    "ceph.rook.io",
    "v1",
    "CephBucketNotification",
    "cephbucketnotifications",
    short_names=("cephbn",),
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
