"""The seam between the CSI node service and the storage systems: what serves a kind of driver on a node.

The service speaks CSI with the kubelet and keeps the operations on a volume apart; a `Driver` makes the volume a
directory or a device of the node. One that yields block devices is a `controller.agent.node.block.BlockDriver` over its
`Devices`; one that mounts, as CephFS or NFS does, implements `Driver` with the help of `controller.agent.node.publish`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class VolumeError(Exception):
    """A volume cannot be had on this node; the message says which one and why."""


class UnavailableError(Exception):
    """What has to serve a volume, or to know of it, cannot be reached now. Trying again may help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How pods use a volume.

    Attributes:
        block: As a device; else by a file system.
        filesystem: The type of file system asked for; empty: the driver's default.
        options: Mount options of the class or the PersistentVolume.
        mode: CSI's name of the access mode, "SINGLE_NODE_WRITER".
        read_only: No pod on any node writes.
        many_writers: Pods on several nodes may write.
    """

    block: bool
    filesystem: str = ""
    options: tuple[str, ...] = ()
    mode: str = ""
    read_only: bool = False
    many_writers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A volume is to be made ready on this node, for all pods that will use it.

    Attributes:
        driver: Name of the CSI driver that the kubelet called.
        volume: The volume's CSI handle.
        path: Where its file system is to be; for a block volume a directory that may be used freely.
        access: How it will be used.
        attributes: `spec.csi.volumeAttributes` of its PersistentVolume.
        told: `status.attachmentMetadata` of its VolumeAttachment, from `VolumeBackend.attachment`; empty where the
            driver's volumes are not attached.
        secrets: The node-stage Secret.
    """

    driver: str
    volume: str
    path: str
    access: Access
    attributes: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """A staged volume is to appear where the kubelet hands it to a pod.

    Attributes:
        volume: The volume's CSI handle.
        staged: Where it is staged.
        path: Where it is to appear: a directory, or for a block volume a device file.
        access: How it is used.
        read_only: This pod does not write.
    """

    volume: str
    staged: str
    path: str
    access: Access
    read_only: bool = False


class Driver(Protocol):
    """Serves all CSI drivers of one kind on this node, by whatever namespaces they are named after.

    Calls that change a volume never overlap, and each may be repeated at any time, also by a process that was started
    since: it looks at what is there and does what is missing. A stage that fails leaves nothing behind.

    Raises, beside what `controller.agent.node.calls.status_of` names: `VolumeError`, `UnavailableError`.
    """

    suffix: str
    """What the names of its CSI drivers end in, ".rbd.csi.ceph.com"."""

    async def usable(self) -> str:
        """Why no volume of this kind can be had on this node now; empty when one can."""
        ...

    async def max_volumes(self) -> int:
        """How many volumes the scheduler may send to the node, as far as that is known now; 0: any number."""
        ...

    async def stage(self, stage: Stage) -> None:
        """Makes a volume ready, and has told the operator by which client the node uses it before it returns."""
        ...

    async def unstage(self, volume: str, path: str) -> None:
        """Takes a volume away from the node, after everything is flushed."""
        ...

    async def publish(self, publish: Publish) -> None:
        """Makes a staged volume appear to a pod."""
        ...

    async def unpublish(self, volume: str, path: str) -> None:
        """Takes a volume away from a pod."""
        ...

    async def problem(self, volume: str) -> str | None:
        """Why I/O on a volume fails; empty: it works; None: the volume is not on this node. Changes nothing."""
        ...

    async def expand(self, volume: str, size: int) -> int:
        """Makes what is on the node follow a volume that has grown to `size` bytes; returns its bytes now."""
        ...

    async def trim(self, volume: str) -> int | None:
        """Has the file system on a volume discard what none of its files has. It may be cut off at any point.

        Returns:
            The bytes that it has discarded; None: the volume is not mounted for writing on this node now.
        """
        ...

    async def volumes(self) -> Sequence[str]:
        """The volumes that are on this node, or of which a trace is left."""
        ...

    async def abandoned(self, volume: str) -> bool:
        """Whether the stage of a volume failed, and it could not be taken away then."""
        ...

    async def let_go(self, volume: str) -> bool:
        """Takes a volume away from the node unless it is mounted or published; whether it is gone."""
        ...
