"""One OSD for one device, whoever sees it: nodes that reach the same disk, and clusters that want it.

Two OSDs on one disk destroy each other.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from controller.ceph.osd.selection import Match
from controller.ceph.osd.verdicts import DeviceVerdict, NodeDevices, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from controller.apis.rook.node_report import BlockDevice

# Hypervisors give the disks of every virtual machine the same serial numbers ("QM00001", "drive-scsi1").
_SHARED_SERIAL = re.compile(r"QM\d+|drive-.*")


def without_shared(
    verdicts: Sequence[DeviceVerdict], nodes: Sequence[NodeDevices], matches: Mapping[tuple[str, str], Match]
) -> Iterator[DeviceVerdict]:
    """Turns down devices that several nodes reach.

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


def unless_reserved(
    verdict: DeviceVerdict, nodes: Mapping[str, NodeDevices], reserved: Mapping[str, str]
) -> DeviceVerdict:
    """Turns down a device that is being prepared for another cluster; of others, says what they are known by.

    Args:
        verdict: On the device.
        nodes: Every node, by name.
        reserved: Devices that other clusters prepare, by what they are known by, and for whom.
    """
    if verdict.verdict is not Verdict.ACCEPTED or verdict.report is None:
        return verdict
    place = f"{verdict.device} of node {verdict.node}"
    identities = (place, *_identities(nodes[verdict.node], verdict.report))
    owner = next((reserved[i] for i in identities if i in reserved), None)
    if owner is None:
        return replace(verdict, identities=identities)
    return replace(verdict, verdict=Verdict.REJECTED, reason=f"is being prepared for the cluster in namespace {owner}")


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
