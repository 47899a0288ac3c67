"""What a CephCluster says of its OSDs: the slice of it that this room goes by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster
    from controller.apis.ceph.cluster import DisruptionManagementSpec
    from controller.apis.ceph.storage import StorageScopeSpec

MOVE_ANNOTATION = "rook.io/allow-osd-move"
"""On a CephCluster, "true": OSDs go where the labels of their nodes say by now, and data with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OsdSpec:
    """What is wanted of a cluster's OSDs.

    Attributes:
        storage: On which devices they are, and how.
        drains: How drains of nodes are held back.
        asks: Whether Ceph is asked if it can do without OSDs that are to be restarted.
        removes: Whether OSDs that are down and out are removed for good when their data is safe elsewhere.
        may_move: Whether OSDs go where the labels of their nodes say by now.
    """

    storage: StorageScopeSpec
    drains: DisruptionManagementSpec
    asks: bool
    removes: bool
    may_move: bool

    @classmethod
    def of(cls, cluster: CephCluster) -> OsdSpec:
        """What a CephCluster says of them."""
        spec = cluster.spec
        return cls(
            storage=spec.storage,
            drains=spec.disruption_management,
            asks=not spec.skip_upgrade_checks,
            removes=spec.remove_osds_if_out_and_safe_to_remove,
            may_move=cluster.metadata.annotations.get(MOVE_ANNOTATION) == "true",
        )
