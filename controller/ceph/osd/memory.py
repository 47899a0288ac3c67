"""What came of comparing OSDs with what is wanted, kept from one look to the next.

To build an OSD's Deployment and compare it with the one that is there takes a third of a millisecond. At rest neither
changes, so that a look at thousands of OSDs is one at what has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Comparisons:
    """The last comparison of each of a cluster's OSDs, with all that it depended on."""

    def __init__(self) -> None:
        self._common: object = None
        self._found: dict[int, tuple[object, str]] = {}

    def begin(self, common: object, osd_ids: Iterable[int]) -> None:
        """Begins a look.

        Args:
            common: What every comparison depends on.
            osd_ids: The OSDs that there are; what is known of others is forgotten.
        """
        if common != self._common:
            self._common = common
            self._found.clear()
        for gone in self._found.keys() - set(osd_ids):
            del self._found[gone]

    def difference(self, osd_id: int, own: object, compare: Callable[[], str]) -> str:
        """How an OSD differs from what is wanted, in words; empty when it does not.

        Args:
            osd_id: The OSD.
            own: What its comparison alone depends on; None: on something that cannot be told, so that it is done anew.
            compare: Does it.
        """
        known = self._found.get(osd_id)
        if own is not None and known is not None and known[0] == own:
            return known[1]
        found = compare()
        self._found[osd_id] = (own, found)
        return found
