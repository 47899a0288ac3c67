"""What becomes of each device, and what that is said by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.rook.node_report import BlockDevice

ALL_DEVICES = "*"
"""Stands for the device where a verdict is about all devices of a node."""


class Verdict(StrEnum):
    """What becomes of a device. Values are what `status.devices[].verdict` shows."""

    ACCEPTED = "Accepted"
    REJECTED = "Rejected"
    IN_USE = "InUse"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDevices:
    """A node and what its agent found.

    Attributes:
        node: The Node's name.
        hostname: Its label `kubernetes.io/hostname`, which is what `spec.storage.nodes[].name` means.
        kernel: The kernel's boot id. Nodes with the same one are containers on one machine and see the same devices.
        closed: Why no new OSD may go there (cordoned, not ready, a taint); empty when one may.
        devices: What the agent reported; None while there is no report.
    """

    node: str
    hostname: str
    kernel: str = ""
    closed: str = ""
    devices: tuple[BlockDevice, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownOsd:
    """An OSD that is known to be on a device, other than by the agent's report, which may be older."""

    osd_id: int
    uuid: str
    node: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """What is known of this cluster's own OSDs.

    Attributes:
        fsid: This cluster's.
        registered: UUIDs of all OSDs that the cluster has; None when the cluster cannot be asked.
        known: OSDs whose device is known from their Deployment or the job that prepared them.
    """

    fsid: str
    registered: frozenset[str] | None = None
    known: tuple[KnownOsd, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceVerdict:
    """A device of a node, what becomes of it, and why.

    Attributes:
        node: The Node's name.
        device: The kernel's name of the device; what the spec called it where the node has no such device;
            `ALL_DEVICES` where the verdict is about the node.
        config: The device's settings, each from the device, else from its node, else from the cluster. None where the
            spec does not select the device.
        report: What the agent found; None where there is no such device.
        osd_id: The OSD that is on it; -1 for none.
        osd_uuid: That OSD's UUID.
        unseen: Whether the node has given no report, so that nobody knows what is on it.
        identities: What tells that it is the same device wherever it is seen.
    """

    node: str
    device: str
    verdict: Verdict
    reason: str
    config: Mapping[str, str] | None = None
    report: BlockDevice | None = None
    osd_id: int = -1
    osd_uuid: str = ""
    unseen: bool = False
    identities: tuple[str, ...] = ()
