"""Which block devices may become OSDs: a verdict with a reason for every device of every node.

The rule is that nothing is consumed by default: a device must be selected by `spec.storage`, must be empty, and must be
reachable from one node only.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from controller.ceph.osd.patterns import PatternError
from controller.ceph.osd.selection import Entries, Match, names, resolve, spelled
from controller.ceph.osd.sharing import unless_reserved, without_shared
from controller.ceph.osd.verdicts import ALL_DEVICES, DeviceVerdict, KnownOsd, NodeDevices, Occupancy, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from controller.apis.ceph.storage import StorageScopeSpec
    from controller.apis.rook.node_report import BlockDevice
    from controller.ceph.osd.selection import Selection

MIN_SIZE = 5 * 1024**3
"""Bytes below which a device is refused: BlueStore has no room to work in less."""


OVERWRITE = "overwriteUnknownData"
"""Setting of a device by which the spec consents that data on it goes that is no known file system."""


_WHOLE_DISKS = frozenset({"disk", "mpath"})


_NAMED_ONLY = frozenset({"lvm", "crypt", "loop"})


# Images of this or another cluster that are mapped here, and memory: the kernel shows them as disks.
_NO_DISKS = re.compile(r"(rbd|nbd|zram|ram|fd)\d+(p\d+)?$")


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
    return tuple(unless_reserved(v, known, reserved or {}) for v in without_shared(verdicts, nodes, matches))


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
