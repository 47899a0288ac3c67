"""What the agent tells the operator: a ConfigMap for each node, written only when what it says changes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog

from controller.agent.command import CommandError
from controller.agent.discovery import Uevents, summary
from controller.runtime.kube import CONFIG_MAP
from informers import ApiError, TransportError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from controller.agent.discovery import Discovery
    from informers import Client

_log = structlog.get_logger(__name__)

FIELD_MANAGER = "rook-agent"
SETTLE = 0.3
"""Seconds without a device event after which the devices are looked at: they come in bursts."""

FULL_INTERVAL = 3600.0
"""Seconds after which the devices are looked at though nothing points to a change."""

_RETRY = (1.0, 60.0)
"""Seconds until a failed report is tried again: at first, and at most."""


@dataclass(slots=True)
class Reporter:
    """Keeps the ConfigMap `local-device-<node>` up to date.

    Attributes:
        client: Reaches the API server.
        namespace: Where the ConfigMap is.
        node: The node's name.
        discovery: Looks at the devices.
        mapper: Tells how RBD images are mapped on this node: "krbd", "userspace", or why they cannot be.
        interval: Seconds between two cheap looks for changes that the kernel did not announce.
    """

    client: Client
    namespace: str
    node: str
    discovery: Discovery
    mapper: Callable[[], Awaitable[str]]
    interval: float
    devices: int = 0
    reported: bool = False
    scan_seconds: float = 0.0
    _data: dict[str, str] = field(default_factory=dict)

    async def run(self) -> None:
        """Reports at once, and again when devices change; until cancelled."""
        uevents = Uevents()
        try:
            self._data = await self._current()
            seen, looked_at, retry = b"", 0.0, _RETRY[0]
            while True:
                fingerprint = await anyio.to_thread.run_sync(self.discovery.fingerprint)
                wait = self.interval
                if fingerprint != seen or time.monotonic() - looked_at > FULL_INTERVAL or not self.reported:
                    try:
                        await self._report()
                        seen, looked_at, retry = fingerprint, time.monotonic(), _RETRY[0]
                    except (CommandError, ApiError, TransportError, OSError) as error:
                        _log.warning("devices not reported", error=str(error), retry_seconds=retry)
                        wait, retry = retry, min(retry * 2, _RETRY[1])
                with anyio.move_on_after(wait):
                    await uevents.wait()
                    await uevents.settle(SETTLE)
        finally:
            uevents.close()

    async def _current(self) -> dict[str, str]:
        """What an earlier agent reported; nothing when that cannot be told now."""
        try:
            found = await self.client.get(CONFIG_MAP, self.namespace, self._name)
        except (ApiError, TransportError):
            return {}
        return dict(found.get("data") or {})

    async def _report(self) -> None:
        started = time.monotonic()
        devices = await self.discovery.devices()
        self.scan_seconds = time.monotonic() - started
        self.devices = len(devices)
        data = {"devices": summary(devices), "mapper": await self.mapper()}
        if data != self._data:
            await self.client.patch(
                CONFIG_MAP,
                self.namespace,
                self._name,
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {
                        "name": self._name,
                        "namespace": self.namespace,
                        "labels": {"app": "rook-discover", "rook.io/node": self.node},
                    },
                    "data": data,
                },
                content_type="application/apply-patch+yaml",
                params={"fieldManager": FIELD_MANAGER, "force": "true"},
            )
            self._data = data
            _log.info("devices reported", devices=len(devices), seconds=round(self.scan_seconds, 3))
        self.reported = True

    @property
    def _name(self) -> str:
        return f"local-device-{self.node}"
