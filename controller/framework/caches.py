"""The informers through which storage clusters of one system are observed, as far as all systems need the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.runtime.kube import (
    EVENT,
    PDB,
    POD,
    PVC,
    SECRET,
    SERVICE,
    STORAGE_CLASS,
    Event,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    Secret,
    Service,
    StorageClass,
)

if TYPE_CHECKING:
    from informers import Informer, InformerFactory, Resource


class ClusterCaches:
    """The caches; a system adds its own.

    Args:
        factory: Makes informers, or gives those that are there.
        label: The label that all objects of the system's clusters have.
    """

    def __init__(self, factory: InformerFactory, label: str) -> None:
        self._factory = factory
        self._label = label
        self.pods: Informer[Pod] = self.ours(POD, Pod)
        self.services: Informer[Service] = self.ours(SERVICE, Service)
        self.claims: Informer[PersistentVolumeClaim] = self.ours(PVC, PersistentVolumeClaim)
        self.budgets: Informer[PodDisruptionBudget] = self.ours(PDB, PodDisruptionBudget)
        # A Secret that a spec names is the user's own.
        self.secrets: Informer[Secret] = factory.informer(SECRET, Secret)
        self.classes: Informer[StorageClass] = factory.informer(STORAGE_CLASS, StorageClass)
        # A pod that cannot mount its volume, and a Job that may make no pod, are told of by events alone.
        self.events: Informer[Event] = factory.informer(EVENT, Event, field_selector="type=Warning")

    def ours[T](self, resource: Resource, view: type[T]) -> Informer[T]:
        """The cache of a resource's objects that have the label, as `view` has them."""
        return self._factory.informer(resource, view, label_selector=self._label)
