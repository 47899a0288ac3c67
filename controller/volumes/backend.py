"""The seam between Kubernetes' view of volumes and a storage system: what a system provides to serve volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from controller.framework import plan

if TYPE_CHECKING:
    from controller.runtime.kube import CsiVolumeSource, StorageClass
    from controller.volumes.capabilities import Capabilities
    from controller.volumes.places import Place


SHOWN_SNAPSHOT = "backingSnapshotID"
"""The attribute of a volume that is a view of a snapshot, as by Ceph's CSI driver: the snapshot's handle."""


class BackendError(Exception):
    """The storage system cannot do it now. The message names what it was asked for; trying again may help."""


class GoneError(BackendError):
    """The storage system that had the volume is not there any more."""


class UnderWayError(BackendError, plan.UnderWayError):
    """The storage system has begun, and goes on by itself: asking again tells how far it is, as the message does."""


class ParameterError(Exception):
    """A StorageClass or a claim asks for what cannot be. The message names object, field, found and expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume of a storage system.

    Attributes:
        driver: The CSI driver that serves it.
        attributes: What identifies it to its system and says how it is mapped: `spec.csi.volumeAttributes` of its
            PersistentVolume.
        handle: Its CSI handle, `spec.csi.volumeHandle`; empty before it is made.
    """

    driver: str
    attributes: Mapping[str, str]
    handle: str = ""

    @property
    def is_static(self) -> bool:
        """Whether it was made by hand, by an attribute of Ceph's CSI driver: then it is kept."""
        return self.attributes.get("staticVolume", "").lower() == "true"

    @property
    def shows(self) -> str:
        """The handle of the snapshot that it shows, of which it has no copy; empty: it has data of its own."""
        return self.attributes.get(SHOWN_SNAPSHOT, "")


def volume_from(source: CsiVolumeSource) -> Volume:
    """The volume that a PersistentVolume names."""
    return Volume(driver=source.driver, attributes=source.volume_attributes, handle=source.volume_handle)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a new volume begins as a copy of.

    Attributes:
        volume: Another volume, as it is when it is copied; or a snapshot, by its driver and handle.
        size: Its bytes: the new one has as many at least.
        is_snapshot: Whether it is a snapshot.
    """

    volume: Volume
    size: int
    is_snapshot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVolume:
    """A volume that is to be made.

    Attributes:
        volume: The volume, by `Description.volume`.
        size: Its bytes at least.
        options: `Description.options`.
        source: What it begins as a copy of, where `Capabilities.sources` has its kind; None: it begins empty.
        read_only: Nobody is to write to it. So a snapshot may be shown as it is (`Volume.shows`).
    """

    volume: Volume
    size: int
    options: Mapping[str, str]
    source: Source | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A volume that exists.

    Attributes:
        handle: Its CSI volume handle.
        size: Its real size in bytes.
        attributes: What is known of it only now, beside `Volume.attributes`; such as its path, or what it shows.
    """

    handle: str
    size: int
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A client that has a volume open.

    Attributes:
        address: Its IP address, as the storage system sees it.
        client: What the storage system calls it, precise enough to fence it and nobody else. The agents report their
            nodes' clients by the same names (`NodeReport.clients`).
        host: What it told the storage system its host is called; empty: nothing.
        nodes: The nodes that it is on, by `controller.volumes.clients.locate`: one, or none that is known; several
            where more than one agent claims to have it. A backend leaves it empty.
    """

    address: str
    client: str
    host: str = ""
    nodes: frozenset[str] = frozenset()

    @property
    def where(self) -> str:
        """Where it runs, in words."""
        if self.nodes:
            return f"{self.client} on node {' or '.join(sorted(self.nodes))}"
        return f"{self.client}, for which no node's agent accounts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A volume that a claim may get, where its class leaves several to choose from.

    Attributes:
        volume: The volume.
        place: Where it is reached from.
    """

    volume: Volume
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a StorageClass asks for a new volume.

    Attributes:
        volume: The volume that it will be; of several choices the first, until one is made.
        secret_namespace: Where Secrets are that the class does not name.
        stage_secret: The Secret that nodes use, where the class does not name it.
        expand_secret: The Secret that `controllerExpandSecretRef` names, where the class does not.
        options: How it is made, for `VolumeBackend.create`: what matters only then.
        unserved: Parameters that have no effect.
        choices: The volumes that the claim may get, the best first; empty: only the one.
        place: Where it is reached from.
    """

    volume: Volume
    secret_namespace: str
    stage_secret: str
    expand_secret: str
    options: Mapping[str, str] = field(default_factory=dict)
    unserved: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
    place: Place = field(default_factory=dict)


class VolumeBackend(Protocol):
    """A storage system that serves volumes.

    All operations may be repeated, also after they were cut off at any point, and raise `BackendError`.
    """

    name: str
    """The system's, "rbd"."""

    capabilities: Capabilities
    """What it can do; what it cannot is not asked of it."""

    def knows(self, driver: str) -> bool:
        """Whether a CSI driver of that name is of this system, be it served or not. Pure: the same for ever.

        No driver is known to two backends.
        """
        ...

    def serves(self, driver: str) -> bool:
        """Whether a CSI driver of that name is served now: one that this backend knows, and has a cluster for."""
        ...

    def driver_of(self, storage_class: StorageClass) -> str:
        """The CSI driver that serves the volumes of a class; empty: the class is not this backend's. Pure."""
        ...

    def not_served(self, storage_class: StorageClass) -> str:
        """Why a class that is meant for this backend is not served, with what would be right; else empty. Pure."""
        ...

    def describe(self, storage_class: StorageClass, claim_uid: str, *, filesystem: bool) -> Description:
        """What a claim of that uid and class asks for. Pure: the same for ever.

        Raises:
            ParameterError: The class' parameters cannot be served.
        """
        ...

    def identity(self, volume: Volume) -> str:
        """What tells that two volumes are one, whatever their drivers and handles: the same for both. Pure."""
        ...

    def is_made_for(self, volume: Volume, claim_uid: str) -> bool:
        """Whether a volume can only be one that `describe` gave for the claim of that uid, and nobody else's. Pure."""
        ...

    async def create(self, wanted: NewVolume) -> Created:
        """Makes a volume; one that is there already is returned.

        Raises:
            UnderWayError: It is being copied.
        """
        ...

    async def delete(self, volume: Volume) -> None:
        """Destroys a volume; one that is not there is no error. The caller has made sure that nobody needs it.

        One that is being copied is not destroyed before that has ended. One that is itself a copy, and not whole yet,
        is destroyed.

        Raises:
            UnderWayError: Its copying is being stopped.
            GoneError: There is no storage system to ask.
        """
        ...

    async def expand(self, volume: Volume, size: int) -> int:
        """Makes a volume at least `size` bytes large; never smaller. Returns its real size."""
        ...

    async def holders(self, volume: Volume) -> tuple[Holder, ...]:
        """Who has the volume open; nobody has one that does not exist."""
        ...

    async def absent(self, volume: Volume) -> tuple[Holder, ...]:
        """Clients that do not have the volume open any more, as far as is known, but never gave it back properly.

        One that was cut off and comes back may go on writing, unless it is fenced.
        """
        ...

    async def fence(self, volume: Volume, holder: Holder) -> None:
        """Makes sure that this client of the volume's never writes again, and is no longer a holder."""
        ...

    async def attachment(self, volume: Volume, told: Mapping[str, str], node: Mapping[str, str]) -> Mapping[str, str]:
        """What a node must know to map the volume, beside its attributes: `publish_context` of CSI.

        Args:
            volume: The volume.
            told: What a node that has it attached was told; empty for one that has not. Values that cannot have
                changed since are not asked for again.
            node: The labels of the node.
        """
        ...
