"""What a CephCluster's spec says of keys and encryption."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.storage import Config
from controller.apis.meta import Int64, Nullable, Rule, Schema, SpecStruct


class KeyManagementServiceSpec(SpecStruct, frozen=True, kw_only=True):
    """Where encryption keys are kept."""

    connection_details: Nullable[Config] = field(default_factory=dict)
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
