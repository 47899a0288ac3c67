"""Which devices `spec.storage` selects on a node, and by what.

Precedence of the selectors is upstream's (`ResolveNode` in its pkg/apis, and its OSD provisioning): a node's own value
replaces the cluster's, and of a device list, a name filter, a path filter and `useAllDevices` the first that is set
counts alone.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from controller.ceph.osd.patterns import matches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.apis.ceph.storage import Device, Node, StorageScopeSpec
    from controller.apis.rook.node_report import BlockDevice


class Match(StrEnum):
    """By what a device is selected."""

    NAMED_FOR_NODE = "named for this node"
    NAMED = "named for every node"
    FILTER = "matched by a filter"
    ALL = "useAllDevices"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What selects devices on one node, the node's own values and the cluster's taken together."""

    devices: tuple[Device, ...] = ()
    named_for_node: bool = False
    name_filter: str = ""
    path_filter: str = ""
    use_all: bool = False
    config: Mapping[str, str] = field(default_factory=dict)

    def match(self, device: BlockDevice) -> tuple[Match, Mapping[str, str]] | None:
        """By what the device is selected, and its settings; None when it is not selected.

        Raises:
            PatternError: A filter is no regular expression.
        """
        if self.devices:
            named = next((d for d in self.devices if names(d, device)), None)
            if named is None:
                return None
            how = Match.NAMED_FOR_NODE if self.named_for_node else Match.NAMED
            return how, {**self.config, **named.config}
        if self.name_filter:
            found = any(matches(self.name_filter, name) for name in own_names(device))
            return (Match.FILTER, self.config) if found else None
        if self.path_filter:
            paths = (*device.dev_links, device.path)
            found = any(matches(self.path_filter, path) for path in paths)
            return (Match.FILTER, self.config) if found else None
        return (Match.ALL, self.config) if self.use_all else None

    @property
    def unmatched(self) -> str:
        """Why a device that `match` does not select is not selected."""
        if self.devices:
            return "is not among spec.storage devices: " + ", ".join(spelled(d) for d in self.devices)
        if self.name_filter:
            return f"its name does not match deviceFilter {self.name_filter!r}"
        if self.path_filter:
            return f"none of its paths matches devicePathFilter {self.path_filter!r}"
        return "nothing in spec.storage selects devices: set devices, deviceFilter, devicePathFilter or useAllDevices"


class Entries:
    """What `spec.storage.nodes` has for each node; nothing where `useAllNodes` makes it moot.

    A node may have several entries, one for each disk, or by its host name and by its own. Their devices add up; of
    everything else the first that has it counts.
    """

    def __init__(self, storage: StorageScopeSpec) -> None:
        self._named: dict[str, dict[int, Node]] = defaultdict(dict)
        for place, entry in enumerate(() if storage.use_all_nodes else storage.nodes):
            self._named[entry.name][place] = entry

    def of(self, node: str, hostname: str) -> Node | None:
        """What there is for a node; None where it is not named."""
        found = {**self._named.get(hostname, {}), **self._named.get(node, {})}
        entries = [found[place] for place in sorted(found)]
        return _merged(entries) if len(entries) > 1 else next(iter(entries), None)


def _merged(found: Sequence[Node]) -> Node:
    own = [n.use_all_devices for n in found if n.use_all_devices is not None]
    config: dict[str, str] = {}
    for entry in reversed(found):
        config |= entry.config
    return msgspec.structs.replace(
        found[0],
        devices=tuple(device for n in found for device in n.devices),
        device_filter=next((n.device_filter for n in found if n.device_filter), ""),
        device_path_filter=next((n.device_path_filter for n in found if n.device_path_filter), ""),
        use_all_devices=own[0] if own else None,
        config=config,
        resources=next((n.resources for n in found if n.resources), {}),
    )


def resolve(storage: StorageScopeSpec, node: Node | None) -> Selection:
    """The selection for a node: `node` is its entry in `spec.storage.nodes`, None where `useAllNodes` selects it."""
    own = node.devices if node is not None else ()
    use_all = node.use_all_devices if node is not None and node.use_all_devices is not None else storage.use_all_devices
    return Selection(
        devices=tuple(own or storage.devices),
        named_for_node=bool(own),
        name_filter=(node.device_filter if node is not None else "") or storage.device_filter,
        path_filter=(node.device_path_filter if node is not None else "") or storage.device_path_filter,
        use_all=bool(use_all),
        config={**storage.config, **(node.config if node is not None else {})},
    )


def ignored_fields(storage: StorageScopeSpec) -> tuple[str, ...]:
    """Selectors that are set and have no effect, because another one that is set takes their place.

    `useAllDevices` beside a filter is not among them: people mean by it all devices that the filter matches.
    """
    found: list[str] = []
    if storage.use_all_nodes and storage.nodes:
        found.append("storage.nodes (useAllNodes is set)")
    scopes = [("storage", storage.devices, storage.device_filter, storage.device_path_filter)]
    if not storage.use_all_nodes:
        scopes += [
            (f"storage.nodes[{i}]", n.devices, n.device_filter, n.device_path_filter)
            for i, n in enumerate(storage.nodes)
        ]
        names = [n.name for n in storage.nodes]
        found += [
            f"storage.nodes[{i}] but for its devices ({n.name} is listed before)"
            for i, n in enumerate(storage.nodes)
            if n.name in names[:i] and _has_more(n)
        ]
    for path, *values in scopes:
        fields = ("devices", "deviceFilter", "devicePathFilter")
        given = [name for name, value in zip(fields, values, strict=True) if value]
        found += [f"{path}.{name} ({given[0]} is set)" for name in given[1:]]
    return tuple(found)


def _has_more(entry: Node) -> bool:
    """Whether an entry says more of a node than which devices to take."""
    return entry != type(entry)(name=entry.name, devices=entry.devices)


def names(wanted: Device, device: BlockDevice) -> bool:
    """Whether an entry of `devices` means this device: by its name, its path, or a stable link to it."""
    said = spelled(wanted)
    paths = (device.path, f"/dev/{device.name}", *device.dev_links)
    return said in paths or said in own_names(device)


def own_names(device: BlockDevice) -> tuple[str, ...]:
    """The kernel's name of a device, and where it is another, the device mapper's: "dm-0", "mpatha"."""
    mapped = device.path.removeprefix("/dev/mapper/")
    return (device.name,) if mapped in (device.path, device.name) else (device.name, mapped)


def spelled(wanted: Device) -> str:
    """What an entry of `devices` calls its device."""
    return wanted.fullpath or wanted.name
