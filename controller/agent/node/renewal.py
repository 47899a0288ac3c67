"""What the kubelet was told of this node, and is told anew when it changes: it asks only when a driver registers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import anyio
import structlog

from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from controller.agent.node import csi_pb2

_log = structlog.get_logger(__name__)

INTERVAL = 60.0
"""Seconds between two looks. A driver that registers anew serves no calls for a second or two, so it is no hurry."""


class Informed(Protocol):
    """What of the node service is needed here."""

    told: csi_pb2.NodeGetInfoResponse | None

    async def info(self) -> csi_pb2.NodeGetInfoResponse:
        """What the kubelet would be told now."""
        ...


async def renew_if_changed(name: str, service: Informed, renew: Callable[[], Awaitable[None]]) -> None:
    """Registers a driver anew if the kubelet was told something else than it would be told now.

    Args:
        name: The driver's name.
        service: Its node service.
        renew: Registers it anew.
    """
    if service.told is None:  # the kubelet has not asked yet, and will be told what is so then
        return
    now = await service.info()
    if now != service.told:
        _log.info("node has changed: registers anew", driver=name, room=now.max_volumes_per_node)
        service.told = None
        await renew()


async def keep_told(drivers: Iterable[tuple[str, Informed, Callable[[], Awaitable[None]]]]) -> None:
    """Looks each minute whether the kubelet knows what is so, for each driver by name; until cancelled."""
    known = tuple(drivers)
    while True:
        await anyio.sleep(INTERVAL)
        for name, service, renew in known:
            try:
                await renew_if_changed(name, service, renew)
            except Exception as error:
                # Of any kind: the volumes' calls are served by the same process, and the next look may do better.
                _log.warning("not looked whether the node has changed", driver=name, error=brief(error))
