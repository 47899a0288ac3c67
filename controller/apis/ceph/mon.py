"""What a CephCluster's spec says of mons."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.storage import AnyObject
from controller.apis.meta import Nullable, Rule, Schema, SpecStruct


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
