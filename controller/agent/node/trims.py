"""fstrim on volumes of this node, where the operator asks for it: by `trims` of the node's NodeReport.

One volume at a time, as a trim costs the storage cluster what as many deletions would. Whatever the kubelet asks of
the volume goes first: a trim that was cut off begins anew later. So does one of a volume that is not mounted yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import anyio
import structlog

from controller.agent.node.driver import VolumeError
from controller.agent.system.command import CommandError
from controller.apis.rook.node_report import NODE_REPORT, NodeReport, Trimmed
from controller.framework.text import brief
from controller.runtime.kube import resource_of
from informers import ApiError, InformerFactory, TransportError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from controller.apis.rook.node_report import Trim
    from informers import Client, Delta

_log = structlog.get_logger(__name__)

AGAIN = 30.0
"""Seconds after which what could not be begun, or was cut off, is tried again."""


class Trimming(Protocol):
    """What of the node service is needed here."""

    async def trim(self, volume: str) -> int | None:
        """See `controller.agent.node.driver.Driver.trim`; None also where the trim was cut off."""
        ...


@dataclass(slots=True)
class Trims:
    """Runs fstrim where it is asked for, and tells what that has brought.

    Attributes:
        services: The node services, by CSI driver.
        publish: Writes what `listed` returns where the operator reads it.
        clock: Seconds that only grow.
    """

    services: Mapping[str, Trimming]
    publish: Callable[[], Awaitable[None]]
    clock: Callable[[], float] = anyio.current_time
    _asked: dict[str, Trim] = field(default_factory=dict)
    _done: dict[str, Trimmed] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)
    _changed: anyio.Event = field(default_factory=anyio.Event)

    def listed(self) -> tuple[Trimmed, ...]:
        """What is done of what is asked for, by claim."""
        return tuple(self._done[claim] for claim in sorted(self._done))

    def ask(self, asked: Mapping[str, Trim]) -> None:
        """Takes what is asked for, by claim, in place of what was before."""
        if self._asked == asked:
            return
        self._asked = dict(asked)
        self._not_before = {}
        self._changed.set()

    async def run(self) -> None:
        """Does what is asked for, until cancelled."""
        while True:
            self._changed = anyio.Event()
            if await self.look():
                continue
            wait = min(self._not_before.values(), default=None)
            with anyio.move_on_after(None if wait is None else max(wait - self.clock(), 0.0)):
                await self._changed.wait()

    async def look(self) -> bool:
        """Does one of the things that are asked for, and forgets those that are not any more; whether it did any."""
        left = {claim: done for claim, done in self._done.items() if self._is_asked(done)}
        if left != self._done:
            self._done = left
            await self._publish()
        now = self.clock()
        for claim, trim in self._asked.items():
            if claim not in self._done and self._not_before.get(claim, now) <= now:
                await self._trim(claim, trim)
                return True
        return False

    def _is_asked(self, done: Trimmed) -> bool:
        asked = self._asked.get(done.claim)
        return asked is not None and asked.id == done.id

    async def _trim(self, claim: str, trim: Trim) -> None:
        freed, error = None, ""
        try:
            freed = await self._service(trim.driver).trim(trim.volume_handle)
        except Exception as failed:  # of any kind: the operator is told, and the next one is tried
            error = brief(failed)
        if freed is None and not error:
            self._not_before[claim] = self.clock() + AGAIN
            return
        self._not_before.pop(claim, None)
        self._done[claim] = Trimmed(claim=claim, id=trim.id, bytes=freed or 0, error=error)
        _log.info("trimmed", claim=claim, volume=trim.volume_handle, bytes=freed, error=error)
        await self._publish()

    def _service(self, driver: str) -> Trimming:
        service = self.services.get(driver)
        if service is None:
            raise VolumeError(f"CSI driver {driver} is not served on this node")
        return service

    async def _publish(self) -> None:
        try:
            await self.publish()
        except (ApiError, TransportError, CommandError, OSError) as error:
            _log.warning("trims not reported yet", error=brief(error))


async def trim_as_asked(client: Client, namespace: str, node: str, trims: Trims) -> None:
    """Has `trims` do what the report of a node asks for; until cancelled.

    Args:
        client: Reaches the API server.
        namespace: Where the report is.
        node: The node's name, and the report's.
        trims: Does it.
    """
    factory = InformerFactory(client)
    watched = factory.informer(
        resource_of(NODE_REPORT), NodeReport, namespaces=(namespace,), field_selector=f"metadata.name={node}"
    )

    def changed(delta: Delta[NodeReport]) -> None:
        trims.ask(delta.new.trims if delta.new is not None else {})

    watched.add_handler(changed)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(factory.run)
        tasks.start_soon(trims.run)
