"""A kind that the server in memory serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.testkit.relations import Collection
    from controller.testkit.topology import Topology
    from informers import Resource

_WITH_GENERATION = frozenset({"DaemonSet", "Deployment", "Job", "Pod", "PodDisruptionBudget", "StatefulSet"})
"""Built-in kinds whose objects have a generation, among the served ones."""

RETURNED = frozenset(
    {
        "CSIDriver",
        "CSINode",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "Pod",
        "Service",
        "ServiceAccount",
        "StorageClass",
        "VolumeAttachment",
    }
)
"""Built-in kinds for which a deletion returns the object, not a Status."""


@dataclass(frozen=True, slots=True)
class Served:
    """A served kind.

    Attributes:
        resource: The kind.
        topology: How its fields are merged.
        custom: Whether it is a custom kind.
        has_status: Whether its status is a subresource.
    """

    resource: Resource
    topology: Topology
    custom: bool
    has_status: bool

    @property
    def collection(self) -> Collection:
        """The collection of its objects."""
        return self.resource.group, self.resource.plural

    @property
    def has_generation(self) -> bool:
        """Whether its objects have a `metadata.generation`."""
        return self.custom or self.resource.kind in _WITH_GENERATION
