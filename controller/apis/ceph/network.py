"""What a CephCluster's spec says of its network."""

from typing import Annotated

from msgspec import field

from controller.apis.meta import Nullable, Rule, Schema, SpecStruct


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
