"""Which storage system serves a volume, by the name of its CSI driver, or a class, by its provisioner.

The controllers of volumes are one set for all storage systems: a claim, a volume or an attachment of a driver that no
system here serves is not theirs. Drivers come and go with the clusters that they are named after; what a backend says
of a driver's name alone (`knows`) holds for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.volumes.backend import volume_from

if TYPE_CHECKING:
    from controller.runtime.kube import PersistentVolume, StorageClass
    from controller.volumes.backend import Volume, VolumeBackend
    from controller.volumes.features import Attributes, Groups, Rooms, Snapshots, Space


@dataclass(slots=True)
class Drivers:
    """The storage systems that serve volumes.

    Attributes:
        backends: Them; each knows drivers of other names than the others.
        snapshots: By the name of a backend, what takes snapshots of its volumes; not there: nothing does.
        groups: By the name of a backend, what takes snapshots of several of its volumes at one moment.
        rooms: By the name of a backend, what tells how much fits; not there: that is not known.
        attributes: By the name of a backend, what changes attributes of its volumes; not there: nothing does.
        space: By the name of a backend, what gives back space of its volumes; not there: nothing does.
    """

    backends: list[VolumeBackend] = field(default_factory=list)
    snapshots: dict[str, Snapshots] = field(default_factory=dict)
    groups: dict[str, Groups] = field(default_factory=dict)
    rooms: dict[str, Rooms] = field(default_factory=dict)
    attributes: dict[str, Attributes] = field(default_factory=dict)
    space: dict[str, Space] = field(default_factory=dict)

    def add(
        self,
        backend: VolumeBackend,
        snapshots: Snapshots | None = None,
        *,
        groups: Groups | None = None,
        rooms: Rooms | None = None,
        attributes: Attributes | None = None,
        space: Space | None = None,
    ) -> None:
        """Has a storage system serve its drivers, too.

        Args:
            backend: The storage system.
            snapshots: What takes snapshots of its volumes, if it can.
            groups: What takes snapshots of several of its volumes at one moment, if it can.
            rooms: What tells how much fits into it, if that is known.
            attributes: What changes attributes of its volumes, if they have any.
            space: What gives back space of its volumes, if it can.
        """
        self.backends.append(backend)
        if rooms is not None:
            self.rooms[backend.name] = rooms
        if snapshots is not None:
            self.snapshots[backend.name] = snapshots
        if groups is not None:
            self.groups[backend.name] = groups
        if attributes is not None:
            self.attributes[backend.name] = attributes
        if space is not None:
            self.space[backend.name] = space

    def serving(self, driver: str) -> VolumeBackend | None:
        """The storage system that serves a CSI driver now; None: nobody here does."""
        return next((backend for backend in self.backends if backend.serves(driver)), None)

    def knowing(self, driver: str) -> VolumeBackend | None:
        """The storage system whose drivers have such names, whether it serves this one now or not."""
        return next((backend for backend in self.backends if backend.knows(driver)), None)

    def snapshots_of(self, driver: str) -> Snapshots | None:
        """What takes snapshots of the volumes of a CSI driver; None: nobody here does, or not now."""
        backend = self.serving(driver)
        return self.snapshots.get(backend.name) if backend is not None else None

    def groups_of(self, driver: str) -> Groups | None:
        """What takes group snapshots of the volumes of a CSI driver; None: nobody here does, or not now."""
        backend = self.serving(driver)
        return self.groups.get(backend.name) if backend is not None else None

    def attributes_of(self, driver: str) -> Attributes | None:
        """What changes attributes of the volumes of a CSI driver; None: nobody here does, or not now."""
        backend = self.serving(driver)
        return self.attributes.get(backend.name) if backend is not None else None

    def space_of(self, driver: str) -> Space | None:
        """What gives back space of the volumes of a CSI driver; None: nobody here does, or not now."""
        backend = self.serving(driver)
        return self.space.get(backend.name) if backend is not None else None

    def of_class(self, storage_class: StorageClass) -> tuple[str, VolumeBackend | None]:
        """The CSI driver of a class, and the storage system that serves it; empty and None: nobody here does."""
        for backend in self.backends:
            if driver := backend.driver_of(storage_class):
                return driver, backend
        return "", None

    def not_served(self, storage_class: StorageClass) -> str:
        """Why a class that is meant for a storage system here is not served, with what would be right; else empty."""
        return next((why for backend in self.backends if (why := backend.not_served(storage_class))), "")

    def identity(self, volume: Volume) -> str:
        """What tells that two volumes are one, whatever their drivers and handles: the same for both."""
        backend = self.knowing(volume.driver)
        if backend is None:
            return f"{volume.driver} {volume.handle}"
        return f"{backend.name} {backend.identity(volume)}"

    def identities(self, volume: PersistentVolume) -> tuple[str, ...]:
        """What the index `BY_IDENTITY` of PersistentVolumes has: nothing for one that no CSI driver serves."""
        return (self.identity(volume_from(volume.spec.csi)),) if volume.spec.csi is not None else ()
