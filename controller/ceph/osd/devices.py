"""Which block devices may become OSDs: a verdict with a reason for every device of every node.

The rule is that nothing is consumed by default: a device must be selected by `spec.storage`, must be empty, and must be
reachable from one node only.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from controller.ceph.osd.selection import Entries, Match, names, resolve, spelled
from controller.framework.patterns import PatternError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from controller.apis.ceph.storage import StorageScopeSpec
    from controller.apis.rook.node_report import BlockDevice
    from controller.ceph.osd.selection import Selection

MIN_SIZE = 5 * 1024**3
"""Bytes below which a device is refused: BlueStore has no room to work in less."""
OVERWRITE = "overwriteUnknownData"
"""Setting of a device by which the spec consents that data on it goes that is no known file system."""
ALL_DEVICES = "*"
"""Stands for the device where a verdict is about all devices of a node."""
_WHOLE_DISKS = frozenset({"disk", "mpath"})
_NAMED_ONLY = frozenset({"lvm", "crypt", "loop"})


# Images of this or another cluster that are mapped here, and memory: the kernel shows them as disks.
_NO_DISKS = re.compile(r"(rbd|nbd|zram|ram|fd)\d+(p\d+)?$")


# Hypervisors give the disks of every virtual machine the same serial numbers ("QM00001", "drive-scsi1").
_SHARED_SERIAL = re.compile(r"QM\d+|drive-.*")


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


def judge(
    storage: StorageScopeSpec,
    nodes: Sequence[NodeDevices],
    occupancy: Occupancy,
    *,
    allow_loop_devices: bool = False,
    reserved: Mapping[str, str] | None = None,
) -> tuple[DeviceVerdict, ...]:
    """A verdict for every device of every node, and one for each node that is not selected or gave no report.

    Args:
        storage: `spec.storage`.
        nodes: Every node of the Kubernetes cluster.
        occupancy: This cluster's own OSDs.
        allow_loop_devices: Whether loop devices may be used when they are named.
        reserved: Devices that are being prepared for other clusters: what they are known by, and for whom.
    """
    verdicts: list[DeviceVerdict] = []
    matches: dict[tuple[str, str], Match] = {}
    homes, entries = _Homes(occupancy.known), Entries(storage)
    for report in nodes:
        entry = entries.of(report.node, report.hostname)
        selection = resolve(storage, entry) if storage.use_all_nodes or entry is not None else None
        for verdict, match in _judge_node(report, selection, occupancy, homes, allow_loop_devices):
            verdicts.append(verdict)
            if match is not None:
                matches[verdict.node, verdict.device] = match
    present = {n.hostname for n in nodes} | {n.node for n in nodes}
    verdicts += [
        DeviceVerdict(
            node=name,
            device=ALL_DEVICES,
            verdict=Verdict.REJECTED,
            reason=f"spec.storage.nodes names {name!r}, and no node has that as its label kubernetes.io/hostname",
        )
        for name in dict.fromkeys(entry.name for entry in storage.nodes if not storage.use_all_nodes)
        if name not in present
    ]
    known = {report.node: report for report in nodes}
    return tuple(_unless_reserved(v, known, reserved or {}) for v in _without_shared(verdicts, nodes, matches))


def _unless_reserved(
    verdict: DeviceVerdict, nodes: Mapping[str, NodeDevices], reserved: Mapping[str, str]
) -> DeviceVerdict:
    if verdict.verdict is not Verdict.ACCEPTED or verdict.report is None:
        return verdict
    place = f"{verdict.device} of node {verdict.node}"
    identities = (place, *_identities(nodes[verdict.node], verdict.report))
    owner = next((reserved[i] for i in identities if i in reserved), None)
    if owner is None:
        return replace(verdict, identities=identities)
    return replace(verdict, verdict=Verdict.REJECTED, reason=f"is being prepared for the cluster in namespace {owner}")


class _Homes:
    """The known OSDs by node and by UUID."""

    def __init__(self, known: Iterable[KnownOsd]) -> None:
        self.node: dict[str, str] = {}
        self.on: defaultdict[str, list[KnownOsd]] = defaultdict(list)
        for osd in known:
            self.node[osd.uuid] = osd.node
            self.on[osd.node].append(osd)


def _judge_node(
    report: NodeDevices, selection: Selection | None, occupancy: Occupancy, homes: _Homes, allow_loop: bool
) -> Iterator[tuple[DeviceVerdict, Match | None]]:
    def rejected(device: str, reason: str) -> DeviceVerdict:
        return DeviceVerdict(node=report.node, device=device, verdict=Verdict.REJECTED, reason=reason)

    if report.devices is None:
        if selection is not None:
            reason = f"no report yet: the rook-agent pod of node {report.node} has written no NodeReport"
            yield replace(rejected(ALL_DEVICES, reason), unseen=True), None
        return
    by_name = {device.name: device for device in report.devices}
    seen_osds = {device.osd_uuid for device in report.devices if device.osd_uuid}
    moved = {known.path: known for known in homes.on.get(report.node, ()) if known.uuid not in seen_osds}
    for device in report.devices:
        occupied = _occupied(report.node, device, occupancy, homes, moved.get(device.path))
        if occupied is not None:
            yield replace(occupied, config=_settings(selection, device)), None
        elif selection is not None:
            yield _judge_device(report, device, selection, by_name, allow_loop)
    if selection is None:
        yield rejected(ALL_DEVICES, "not in spec.storage.nodes, and useAllNodes is off"), None
        return
    for wanted in selection.devices if selection.named_for_node else ():
        if not any(names(wanted, device) for device in report.devices):
            yield rejected(spelled(wanted), "spec.storage names it, and the node has no such device"), None


def _settings(selection: Selection | None, device: BlockDevice) -> Mapping[str, str] | None:
    if selection is None:
        return None
    try:
        matched = selection.match(device)
    except PatternError:
        return None
    return None if matched is None else matched[1]


def _occupied(
    node: str, device: BlockDevice, occupancy: Occupancy, homes: _Homes, known: KnownOsd | None
) -> DeviceVerdict | None:
    """The verdict on a device that holds an OSD: of this cluster, of another one, or one that was removed."""

    def verdict(kind: Verdict, reason: str, osd_id: int = -1, uuid: str = "") -> DeviceVerdict:
        return DeviceVerdict(
            node=node, device=device.name, verdict=kind, reason=reason, report=device, osd_id=osd_id, osd_uuid=uuid
        )

    if not device.osd_uuid:
        if known is None:
            return None
        return verdict(Verdict.IN_USE, f"osd.{known.osd_id} of this cluster", known.osd_id, known.uuid)
    osd = f"osd.{device.osd_id}" if device.osd_id >= 0 else "an OSD that was never finished"
    if device.ceph_fsid and device.ceph_fsid != occupancy.fsid:
        return verdict(Verdict.REJECTED, f"holds {osd} of another Ceph cluster, fsid {device.ceph_fsid}")
    if not device.ceph_fsid or device.osd_id < 0:
        reason = "holds an OSD that was never finished (its BlueStore label names no cluster); wipe it to use it"
        return verdict(Verdict.REJECTED, reason)
    if occupancy.registered is not None and device.osd_uuid not in occupancy.registered:
        reason = f"holds {osd} (uuid {device.osd_uuid}), which this cluster no longer has; wipe it to use it again"
        return verdict(Verdict.REJECTED, reason)
    home = homes.node.get(device.osd_uuid, node)
    reason = f"{osd} of this cluster" + (f", which runs on node {home}" if home != node else "")
    return verdict(Verdict.IN_USE, reason, device.osd_id, device.osd_uuid)


def _judge_device(
    report: NodeDevices,
    device: BlockDevice,
    selection: Selection,
    by_name: Mapping[str, BlockDevice],
    allow_loop: bool,
) -> tuple[DeviceVerdict, Match | None]:
    def verdict(kind: Verdict, reason: str, config: Mapping[str, str] | None = None) -> DeviceVerdict:
        return DeviceVerdict(
            node=report.node, device=device.name, verdict=kind, reason=reason, config=config, report=device
        )

    try:
        matched = selection.match(device)
    except PatternError as error:
        field_name = "deviceFilter" if selection.name_filter else "devicePathFilter"
        return verdict(Verdict.REJECTED, f"spec.storage {field_name} {error}"), None
    if matched is None:
        return verdict(Verdict.REJECTED, selection.unmatched), None
    match, config = matched
    faults = [
        *_unfit(device, match, allow_loop),
        *_occupants(device),
        *_unfit_parent(by_name.get(device.parent)),
        *unserved_config(config),
    ]
    if faults:
        return verdict(Verdict.REJECTED, "; ".join(faults)), None
    if report.closed:
        return verdict(Verdict.REJECTED, f"node {report.node} takes no new OSDs: {report.closed}"), None
    return verdict(Verdict.ACCEPTED, f"empty, {match}", config), match


def _unfit(device: BlockDevice, match: Match, allow_loop: bool) -> Iterator[str]:
    """Why a device of this kind cannot be used, whatever is on it."""
    named = match in (Match.NAMED, Match.NAMED_FOR_NODE)
    kind = device.type
    if kind == "loop" and not allow_loop:
        yield "is a loop device, and ROOK_CEPH_ALLOW_LOOP_DEVICES is not set"
    if kind in _NAMED_ONLY and not named:
        yield f"is of type {kind}, which is used only when spec.storage names it"
    if kind == "part" and match is Match.ALL:
        yield "is a partition, which is used only when spec.storage names it or a filter matches it"
    no_disk = _NO_DISKS.match(device.name)
    if no_disk is not None:
        yield f"is a device of driver {no_disk[1]}, which is no disk"
    if kind not in _WHOLE_DISKS | _NAMED_ONLY | {"part"}:
        yield f"is of type {kind or 'unknown'}, which cannot hold an OSD"
    if device.read_only:
        yield "is read-only"
    if device.size < MIN_SIZE:
        yield f"is too small: {device.size / 1024**3:.1f} GiB, the least is {MIN_SIZE // 1024**3} GiB"


def _occupants(device: BlockDevice) -> Iterator[str]:
    """What is on a device that is not empty."""
    if device.mountpoints:
        yield "is mounted at " + ", ".join(device.mountpoints)
    if device.children:
        yield "has partitions: " + ", ".join(device.children)
    if device.filesystem == "mpath_member":
        yield "is one path of a multipath device: select that device instead"
    elif device.filesystem:
        yield f"has a file system: {device.filesystem}"
    if device.holders:
        yield "is part of " + ", ".join(device.holders)
    others = [s for s in device.signatures if s != device.filesystem]
    if others:
        yield "has signatures: " + ", ".join(others)


def _unfit_parent(parent: BlockDevice | None) -> Iterator[str]:
    """Why a partition cannot be used because of its disk.

    A kernel that knows Atari's partition table sees partitions in the midst of a BlueStore disk's data.
    """
    if parent is None:
        return
    if parent.osd_uuid or "ceph_bluestore" in parent.signatures:
        yield f"its disk {parent.name} is itself an OSD"
    if parent.holders:
        yield f"its disk {parent.name} is part of " + ", ".join(parent.holders)


def unserved_config(config: Mapping[str, str]) -> Iterator[str]:
    """Settings that would change what is written to the device and are not served, so that it must not be used."""
    if config.get("metadataDevice"):
        yield f"config metadataDevice {config['metadataDevice']!r} is not served yet; without it all is on one device"
    if str(config.get("encryptedDevice", "false")).lower() == "true":
        yield "config encryptedDevice is not served yet; without it the device is used unencrypted"
    if str(config.get("osdsPerDevice", "1")) != "1":
        yield f"config osdsPerDevice {config['osdsPerDevice']!r} is not served; only 1 is"
    if config.get("storeType", "bluestore") != "bluestore":
        yield f"config storeType {config['storeType']!r} is not served; only bluestore is"


def _without_shared(
    verdicts: Sequence[DeviceVerdict], nodes: Sequence[NodeDevices], matches: Mapping[tuple[str, str], Match]
) -> Iterator[DeviceVerdict]:
    """Turns down devices that several nodes reach: two OSDs on one disk destroy each other.

    A device that is named for one of those nodes goes to that node alone; a device that is chosen any other way goes to
    none of them.
    """
    seen: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for report in nodes:
        for device in report.devices or ():
            for identity in _identities(report, device):
                seen[identity].add((report.node, device.name))
    by_node = {report.node: report for report in nodes}
    in_use = {(v.node, v.device): v for v in verdicts if v.verdict is Verdict.IN_USE}
    for verdict in verdicts:
        if verdict.verdict is not Verdict.ACCEPTED or verdict.report is None:
            yield verdict
            continue
        here = (verdict.node, verdict.device)
        same = {place for identity in _identities(by_node[verdict.node], verdict.report) for place in seen[identity]}
        elsewhere = sorted(place for place in same if place[0] != verdict.node)
        owner = next((in_use[place] for place in elsewhere if place in in_use), None)
        claims = [place for place in elsewhere if matches.get(place) is Match.NAMED_FOR_NODE]
        named_here = matches[here] is Match.NAMED_FOR_NODE
        if owner is None and (not elsewhere or (named_here and not claims)):
            yield verdict
            continue
        if owner is not None:
            reason = f"the same device is osd.{owner.osd_id} on node {owner.node}"
        elif named_here:
            reason = f"is named for node {claims[0][0]} too, which reaches the same device: name it for one of them"
        elif claims:
            reason = f"the same device is named for node {claims[0][0]}"
        else:
            others = ", ".join(sorted({place[0] for place in elsewhere}))
            reason = f"is reached from {others} too: name it in the devices of one of spec.storage.nodes"
        yield replace(verdict, verdict=Verdict.REJECTED, reason=reason)


def _identities(report: NodeDevices, device: BlockDevice) -> Iterator[str]:
    """What tells that two nodes see the same physical device."""
    if report.kernel:
        yield f"kernel {report.kernel} {device.name}"
    # A partition has the serial number of its disk, and so have its siblings.
    part = device.name.removeprefix(device.parent) if device.type == "part" else ""
    if device.wwn:
        yield f"wwn {device.wwn} {part}"
    if device.dm_uuid:
        yield f"dm {device.dm_uuid}"
    if device.serial and not _SHARED_SERIAL.fullmatch(device.serial):
        yield f"serial {device.vendor} {device.model} {device.serial} {part}"
