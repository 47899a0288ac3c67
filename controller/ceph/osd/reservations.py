"""Devices that are about to be used: of all clusters that one operator serves, one gets a device.

Two clusters see the same empty disk appear, and each would take it. What they have taken shows on the disk itself a
little later; until then it is remembered here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

HOLD = 3600.0
"""Seconds that a device is kept for who took it last."""


class ReservedError(Exception):
    """A device is being prepared for another cluster."""


@dataclass(slots=True)
class Reservations:
    """Who has taken which device.

    Attributes:
        clock: Seconds, of any epoch.
    """

    clock: Callable[[], float]
    _taken: dict[str, tuple[str, float]] = field(default_factory=dict)

    def take(self, owner: str, devices: Iterable[str]) -> None:
        """Takes all of the devices, or takes them for longer.

        Args:
            owner: The cluster's namespace.
            devices: What devices are known by, on whatever node.

        Raises:
            ReservedError: One of them is another's; then none is taken.
        """
        wanted, others = tuple(devices), self.of_others(owner)
        for device in wanted:
            if device in others:
                raise ReservedError(
                    f"device ({device}) is being prepared for the cluster in namespace {others[device]}"
                )
        until = self.clock() + HOLD
        self._taken |= dict.fromkeys(wanted, (owner, until))

    def of_others(self, owner: str) -> Mapping[str, str]:
        """The devices that are taken by others, and by whom."""
        now = self.clock()
        self._taken = {device: (who, until) for device, (who, until) in self._taken.items() if until > now}
        return {device: who for device, (who, _) in self._taken.items() if who != owner}
