"""What the agent tells the operator: the NodeReport of its node, written when what it says changes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import msgspec
import structlog

from controller.agent.devices.discovery import Uevents
from controller.agent.system.command import CommandError
from controller.apis.meta import ObjectMeta
from controller.apis.rook.node_report import NODE_REPORT, NodeReport
from controller.runtime.kube import resource_of
from informers import ApiError, TransportError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from controller.agent.devices.discovery import Discovery
    from controller.apis.rook.node_report import BlockDevice, Mapper, Trimmed, VolumeClient, VolumeProblem
    from informers import Client, JsonObject

_log = structlog.get_logger(__name__)

REPORTS = resource_of(NODE_REPORT)
FIELD_MANAGER = "rook-agent"
SETTLE = 0.3
"""Seconds without a device event after which the devices are looked at: they come in bursts."""

FULL_INTERVAL = 3600.0
"""Seconds after which the devices are looked at though nothing points to a change."""

CONFIRM_INTERVAL = 300.0
"""Seconds after which the report is written again though it says the same: it may have been deleted or changed."""

_RETRY = (1.0, 60.0)
"""Seconds until a failed report is tried again: at first, and at most."""


@dataclass(slots=True, kw_only=True)
class Reporter:
    """Keeps the NodeReport of its node up to date.

    Attributes:
        client: Reaches the API server.
        namespace: Where the report is.
        node: The node's name, and the report's.
        discovery: Looks at the devices.
        mapper: Tells how RBD images are mapped on this node.
        clients: Tells by which clients volumes are in use on this node.
        problems: Tells the volumes on which I/O fails.
        trimmed: Tells what the fstrims that the operator has asked for have brought.
        interval: Seconds between two cheap looks for changes that the kernel did not announce.
        devices: What was found last; None: nothing was looked at yet.
        reported: Whether a report was written.
        scan_seconds: How long the last look at all devices took.
    """

    client: Client
    namespace: str
    node: str
    discovery: Discovery
    mapper: Callable[[], Awaitable[Mapper]]
    clients: Callable[[], Sequence[VolumeClient]] = tuple
    problems: Callable[[], Sequence[VolumeProblem]] = tuple
    trimmed: Callable[[], Sequence[Trimmed]] = tuple
    interval: float
    devices: tuple[BlockDevice, ...] | None = None
    reported: bool = False
    scan_seconds: float = 0.0
    _written: JsonObject = field(default_factory=dict)
    _written_at: float = 0.0
    _writing: anyio.Lock = field(default_factory=anyio.Lock)

    async def run(self) -> None:
        """Reports at once, and again when devices change; until cancelled."""
        uevents = Uevents()
        try:
            seen, looked_at, retry = b"", 0.0, _RETRY[0]
            while True:
                wait = self.interval
                try:
                    fingerprint = await self.discovery.fingerprint()
                    if fingerprint != seen or time.monotonic() - looked_at > FULL_INTERVAL:
                        await self._look()
                        seen, looked_at = fingerprint, time.monotonic()
                    await self.write()
                    retry = _RETRY[0]
                except (CommandError, ApiError, TransportError, OSError) as error:
                    _log.warning("node not reported", error=str(error), retry_seconds=retry)
                    wait, retry = retry, min(retry * 2, _RETRY[1])
                with anyio.move_on_after(wait):
                    await uevents.wait()
                    await uevents.settle(SETTLE)
        finally:
            uevents.close()

    async def write(self) -> None:
        """Writes the report if it says something new; once this returns, the operator can read it.

        The devices are those that were found last: whoever changed the node's clients need not wait for a look at them.

        Raises:
            ApiError: The server refuses.
            TransportError: The server cannot be reached.
            CommandError, OSError: No device was looked at before, and that fails.
        """
        async with self._writing:
            devices = self.devices if self.devices is not None else await self._look()
            report = NodeReport(
                metadata=ObjectMeta(name=self.node, namespace=self.namespace),
                devices=devices,
                mapper=await self.mapper(),
                clients=tuple(self.clients()),
                problems=tuple(self.problems()),
                trimmed=tuple(self.trimmed()),
            )
            body: JsonObject = msgspec.to_builtins(report)
            age = time.monotonic() - self._written_at
            if body == self._written and age < CONFIRM_INTERVAL:
                return
            await self.client.patch(
                REPORTS,
                self.namespace,
                self.node,
                {"apiVersion": NODE_REPORT.api_version, "kind": NODE_REPORT.kind, **body},
                content_type="application/apply-patch+yaml",
                params={"fieldManager": FIELD_MANAGER, "force": "true"},
            )
            if body != self._written:
                _log.info("node reported", devices=len(devices), clients=len(report.clients))
            self._written, self._written_at, self.reported = body, time.monotonic(), True

    async def _look(self) -> tuple[BlockDevice, ...]:
        started = time.monotonic()
        self.devices = await self.discovery.devices()
        self.scan_seconds = time.monotonic() - started
        return self.devices
