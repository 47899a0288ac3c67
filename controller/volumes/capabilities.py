"""What a storage system's volumes can be, and what can be done with them: what the controllers of volumes go by.

The controllers know no storage system. A claim that asks for what its system cannot do is refused in words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from informers import JsonObject

ONCE, ONCE_POD, READERS, MANY = "ReadWriteOnce", "ReadWriteOncePod", "ReadOnlyMany", "ReadWriteMany"
FILESYSTEM, BLOCK = "Filesystem", "Block"

type Expansion = Literal["online", "offline", ""]
"""When volumes grow: always, only while no node has them attached, or never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a storage system can do for volumes.

    Attributes:
        access_modes: The access modes that it serves, by volume mode; a volume mode that is not here is not served.
        file_systems: The types of file systems that are made on its volumes, the default first. Empty: a volume is a
            file system by itself, and a class names no type.
        least_bytes: What a file system of a type needs at least.
        attaches: Whether a node needs permission before it uses a volume, by a VolumeAttachment. Without, the storage
            system itself keeps apart who writes.
        expands: When volumes grow.
        nodes_expand: Whether a node has something to do about a volume that has grown, as for a file system on it.
        sources: The kinds of objects of which a new volume can be a copy, "PersistentVolumeClaim", "VolumeSnapshot".
        shows_snapshots: Whether volumes may show a snapshot of which they have no copy (`Volume.shows`).
        shared: Whether a volume is part of a file system that others than nodes may have open, and that itself keeps
            writers apart: who has one open matters only where one node may have it, and a client for which no node
            accounts is never fenced.
        knows_room: Whether it tells how much fits, by `Rooms`: then the scheduler waits until it is told, and sends no
            pod where its volume does not fit.
        fs_group: How the kubelet applies `fsGroup` of pods: `fsGroupPolicy` of the CSIDriver.
        selinux_mount: Whether each volume can be mounted with an SELinux label of its own, where the chart lets nodes
            do that: `seLinuxMount` of the CSIDriver.
    """

    access_modes: Mapping[str, tuple[str, ...]]
    file_systems: tuple[str, ...] = ()
    least_bytes: Mapping[str, int] = field(default_factory=dict)
    attaches: bool = True
    expands: Expansion = "online"
    nodes_expand: bool = True
    sources: tuple[str, ...] = ()
    shows_snapshots: bool = False
    shared: bool = False
    knows_room: bool = False
    fs_group: Literal["File", "ReadWriteOnceWithFSType", "None"] = "File"
    selinux_mount: bool = False


def exclusive(capabilities: Capabilities, modes: Collection[str], volume_mode: str) -> bool:
    """Whether only one node may have a volume: readers may be many, and so may writers where they may be. Pure.

    Several access modes permit any of them; the volume is guarded by the most careful.
    """
    if set(modes) <= {READERS}:
        return False
    return not (MANY in modes and MANY in capabilities.access_modes.get(volume_mode, ()))


def modes_problem(capabilities: Capabilities, modes: Collection[str], volume_mode: str) -> str:
    """Which of a claim's modes are not served, with what would be right; empty when all are. Pure."""
    served = capabilities.access_modes.get(volume_mode)
    if served is None:
        return f"spec.volumeMode is {volume_mode}: expected {' or '.join(sorted(capabilities.access_modes))}"
    wrong = next((mode for mode in modes if mode not in served), None)
    if wrong is None:
        return ""
    kind = "a file system" if volume_mode == FILESYSTEM else "a block volume"
    why = ", which several nodes would destroy" if wrong == MANY and capabilities.file_systems else ""
    elsewhere = [mode for mode, others in capabilities.access_modes.items() if mode != volume_mode and wrong in others]
    right = [*served, *(f"or volumeMode {mode}" for mode in elsewhere)]
    return f"spec.accessModes has {wrong} with {kind}{why}: expected {', '.join(right)}"


def csi_driver(capabilities: Capabilities) -> JsonObject:
    """The `spec` of the CSIDriver object of each of its drivers. Pure.

    https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/csi-driver-v1/
    """
    spec: dict[str, Any] = {
        "attachRequired": capabilities.attaches,
        "podInfoOnMount": False,
        "fsGroupPolicy": capabilities.fs_group,
        "seLinuxMount": capabilities.selinux_mount,
        "volumeLifecycleModes": ["Persistent"],
    }
    if capabilities.knows_room:
        spec["storageCapacity"] = True
    return spec
