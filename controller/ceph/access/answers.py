"""What is read of the answers that grow with the number of OSDs.

Each OSD is a hundred values in the map, of which a handful is asked for. The others are not decoded: a look at
thousands of OSDs would make and drop them by the hundred thousand, and that holds up every other thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_MappedOsd = TypedDict("_MappedOsd", {"osd": Any, "uuid": Any, "up": Any, "in": Any, "state": Any}, total=False)


class _Map(TypedDict, total=False):
    epoch: Any
    max_osd: Any
    require_osd_release: Any
    crush_node_flags: Any
    pools: Any
    osds: list[_MappedOsd]


class _Node(TypedDict, total=False):
    id: Any
    name: Any
    type: Any
    device_class: Any
    children: Any


class _Tree(TypedDict, total=False):
    nodes: list[_Node]
    stray: list[_Node]


LONG: Mapping[str, msgspec.json.Decoder[Any]] = {
    "osd dump": msgspec.json.Decoder(_Map),
    "osd tree": msgspec.json.Decoder(_Tree),
}
"""Commands, and what decodes their answers, into the dicts and lists of which they consist."""
