"""The volumes on which I/O fails on this node: told to the operator, which tells whoever has the claim.

The kubelet asks for the condition of each volume of a pod about once a minute, and does nothing with the answer where
its feature gate CSIVolumeHealth is off, as it is by default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from controller.agent.system.command import CommandError
from controller.apis.rook.node_report import VolumeProblem
from informers import ApiError, TransportError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Problems:
    """The volumes on which I/O fails.

    Attributes:
        publish: Writes what `listed` returns where the operator reads it.
    """

    publish: Callable[[], Awaitable[None]]
    _found: dict[tuple[str, str], str] = field(default_factory=dict)

    def listed(self) -> tuple[VolumeProblem, ...]:
        """All of them, by driver and handle."""
        return tuple(
            VolumeProblem(driver=driver, volume_handle=volume, message=self._found[driver, volume])
            for driver, volume in sorted(self._found)
        )

    async def note(self, driver: str, volume: str, problem: str) -> None:
        """Takes note of how a volume is; what cannot be told now is told with the next report.

        Args:
            driver: The volume's CSI driver.
            volume: Its handle.
            problem: Why I/O on it fails; empty: it works, or the volume is not on the node any more.
        """
        if self._found.get((driver, volume), "") == problem:
            return
        if problem:
            self._found[driver, volume] = problem
            _log.warning("I/O on volume fails", volume=volume, problem=problem)
        else:
            del self._found[driver, volume]
            _log.info("I/O on volume does not fail any more", volume=volume)
        try:
            await self.publish()
        except (ApiError, TransportError, CommandError, OSError) as error:
            _log.warning("condition of volume not reported yet", volume=volume, error=str(error))
