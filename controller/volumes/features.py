"""What a storage system may have beside its `controller.volumes.backend.VolumeBackend`: a protocol for each feature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from controller.apis.rook.node_report import NodeReport
    from controller.runtime.kube import StorageClass
    from controller.volumes.backend import Source, Volume
    from controller.volumes.places import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot that exists, and of which volumes can be made.

    Attributes:
        size: The bytes that the volume had: those that are made of it have as many at least. 0: that is not known.
        created: When it was taken, in nanoseconds since 1970.
    """

    size: int
    created: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A snapshot that is one of a group.

    Attributes:
        handle: Its own handle, by `Snapshots.handle`.
        volume: What it is of; None: that is not known.
    """

    handle: str
    volume: Volume | None = None


LARGEST = 1 << 60
"""Bytes: what a storage system without a limit to the size of a volume says that its largest one has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What fits into new volumes of a class.

    Attributes:
        place: Where they are reached from.
        free: The bytes that can be written, together.
        largest: The bytes of the largest volume that can be made; more than is free where volumes are thin.
    """

    place: Place
    free: int
    largest: int


class Rooms(Protocol):
    """What a storage system that knows how much fits into it has beside its `VolumeBackend`."""

    async def of(self, storage_class: StorageClass) -> tuple[Room, ...]:
        """The room for new volumes of a class, for each place at which they are reached.

        Raises:
            ParameterError: The class' parameters cannot be served, or name what does not exist.
            BackendError: It is not known now.
        """
        ...


class Snapshots(Protocol):
    """What a storage system that takes snapshots of volumes has beside its `VolumeBackend`.

    All operations may be repeated, also after they were cut off at any point, and raise `BackendError`. A snapshot and
    the volumes that were made of it, or that it was taken of, can be destroyed in any order.
    """

    def unserved(self, parameters: Mapping[str, str]) -> tuple[str, ...]:
        """Those parameters of a VolumeSnapshotClass that have no effect. Pure."""
        ...

    def handle(self, volume: Volume, uid: str) -> str:
        """The CSI handle that the volume's snapshot of that uid has, once there is one. Pure: the same for ever.

        Raises:
            ParameterError: No snapshot can be taken of this volume.
        """
        ...

    async def take(self, volume: Volume, handle: str) -> Snapshot:
        """Takes the snapshot of that handle; one that is there already is returned.

        It is what a client would find on the volume if it died at that moment.
        """
        ...

    async def find(self, driver: str, handle: str) -> Snapshot | None:
        """The snapshot of that handle; None: there is none."""
        ...

    async def destroy(self, driver: str, handle: str, volume: Volume | None) -> None:
        """Destroys a snapshot, also one of which only a part was made; one that is not there is no error.

        Args:
            driver: The CSI driver that serves it.
            handle: Its handle.
            volume: What it was taken of; None: that is not known.

        Raises:
            GoneError: There is no storage system to ask.
        """
        ...

    async def abandon(self, volume: Volume, source: Source) -> None:
        """Takes away what is left at its source of making a copy that nobody wants any more.

        Args:
            volume: The copy, which is destroyed already.
            source: What it was to be a copy of.

        Raises:
            GoneError: There is no storage system to ask.
        """
        ...


class Groups(Protocol):
    """What a storage system that takes snapshots of several volumes at one moment has beside its `Snapshots`.

    Each member is a snapshot by itself afterwards: found, copied and destroyed as any other. All operations may be
    repeated, also after they were cut off at any point, and raise `BackendError`.
    """

    def handle(self, volumes: Sequence[Volume], uid: str) -> str:
        """The handle that the group snapshot of that uid has, once there is one. Pure: the same for ever.

        Raises:
            ParameterError: These volumes have no moment in common; the message names one that does not fit.
        """
        ...

    async def take(self, handle: str, members: Sequence[Member]) -> tuple[Snapshot, ...]:
        """Takes the snapshots of all members, of which all volumes are known; those that are there are returned.

        They are what clients would find on the volumes if all of them died at one moment.

        Returns:
            Them, in the order of `members`.
        """
        ...

    async def destroy(self, driver: str, handle: str, members: Sequence[Member]) -> None:
        """Destroys these members, and what was left of taking the group; what is not there is no error.

        Raises:
            GoneError: There is no storage system to ask.
        """
        ...


class Attributes(Protocol):
    """What a storage system has beside its `VolumeBackend` whose volumes have attributes that change while in use.

    They are those of a VolumeAttributesClass. All operations may be repeated, also after they were cut off at any
    point.
    """

    def check(self, parameters: Mapping[str, str]) -> None:
        """Refuses parameters of a class that no volume can have. Pure.

        Raises:
            ParameterError: The message names the parameter, what was found and what would be right.
        """
        ...

    async def apply(self, volume: Volume, parameters: Mapping[str, str]) -> None:
        """Gives a volume these attributes, and takes those away that it has beside them by an earlier class.

        Args:
            volume: The volume.
            parameters: What `check` has passed; empty: the volume is left without any.

        Raises:
            BackendError: It failed; the volume may have a part of them.
        """
        ...

    def without_effect(self, volume: Volume, reports: Iterable[NodeReport]) -> str:
        """On which nodes the volume's attributes have no effect, and why; empty where they do. Pure.

        Args:
            volume: The volume.
            reports: Those of the nodes that use it.
        """
        ...


class Space(Protocol):
    """What a storage system has beside its `VolumeBackend` that can give back what volumes take and do not need."""

    async def reclaim(self, volume: Volume) -> int | None:
        """Gives back the space of what is zero in a volume. It may be repeated, also after it was cut off.

        Returns:
            How many bytes less the volume takes; None: that is not known.

        Raises:
            BackendError: It failed; a part may be done.
        """
        ...

    def is_trimmable(self, volume: Volume) -> bool:
        """Whether what a file system on the volume discards is given back. Pure."""
        ...
