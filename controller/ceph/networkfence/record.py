"""What a NetworkFence has put on the blocklist, in an annotation of its own: by that alone is anything taken off again.

The blocklist does not tell who made an entry. So each range is written down before it is put there, and the end of its
entry after: an entry that ends at another time is another's, and stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.apis.meta import ApiStruct
from controller.ceph.access.blocklist import FENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.networkfence.kinds import NetworkFence

ANNOTATION = "networkfence.rook.io/record"
_SAME_SECONDS = 1.5
"""Two ends of an entry that differ by less are the same."""
_BEGUN_SECONDS = 3600.0
"""How far the clocks of operator and mons may be apart, and how long adding an entry may take."""


class Entry(ApiStruct, frozen=True, kw_only=True):
    """A range: when it was about to be added, and when its entry ends; the end is zero until it is known."""

    begun: float = 0.0
    until: float = 0.0

    def made(self, until: float) -> bool:
        """Whether the entry that ends then is the one of this record."""
        if self.until:
            return abs(until - self.until) < _SAME_SECONDS
        return abs(until - self.begun - FENCE_SECONDS) < _BEGUN_SECONDS


class Record(ApiStruct, frozen=True, kw_only=True):
    """The ranges of one NetworkFence.

    Attributes:
        uid: The NetworkFence's: a copy of it has put nothing there.
        namespace: Where the CephCluster is.
        fsid: The cluster's: another of the same name has another blocklist.
        ranges: The ranges.
    """

    uid: str = ""
    namespace: str = ""
    fsid: str = ""
    ranges: dict[str, Entry] = msgspec.field(default_factory=dict)

    def with_range(self, range_: str, entry: Entry) -> Record:
        """This, and a range."""
        return msgspec.structs.replace(self, ranges={**self.ranges, range_: entry})

    def without(self, range_: str) -> Record:
        """This, but for a range."""
        return msgspec.structs.replace(self, ranges={r: e for r, e in self.ranges.items() if r != range_})

    def made(self, present: Mapping[str, float]) -> frozenset[str]:
        """Those of the ranges on the blocklist whose entries are of this record."""
        return frozenset(r for r, until in present.items() if r in self.ranges and self.ranges[r].made(until))

    def text(self) -> str | None:
        """What the annotation is to be; None: none."""
        return msgspec.json.encode(self).decode() if self.ranges else None


NOTHING = Record()
"""What a NetworkFence has put there that has put nothing there."""


def record_of(fence: NetworkFence) -> Record:
    """The record of a NetworkFence; one that cannot be read, or is of another object, says nothing."""
    try:
        found = msgspec.json.decode(fence.metadata.annotations.get(ANNOTATION, "{}"), type=Record)
    except msgspec.MsgspecError:
        return NOTHING
    return found if found.uid == fence.metadata.uid and found.ranges else NOTHING
