"""Whether a manager's process lives and is ready: what its probes tell."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import anyio

from controller.runtime.probes import OK
from workqueue import loop_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from controller.runtime.controller import Controller
    from controller.runtime.leader import Elector
    from informers import InformerFactory
    from informers.cache import Cache

HEARTBEAT = 1.0
"""Seconds between measurements of the event loop's lag."""

HEARTBEATS_KEPT = 10

MAX_LOOP_LAG = 5.0
"""Seconds of lag from which the process counts as not alive: leases and streams suffer from here on."""

TROUBLE_GRACE = 120.0
"""Seconds of errors after which a synced cache makes the process not ready: all replicas share a server's blip."""


class Health:
    """The checks of a process.

    Args:
        informers: Its caches.
        controllers: Its controllers; more may be added later.
        elector: Takes part in the leader election; None without one.
        stopping: Whether it was told to stop.
    """

    def __init__(
        self,
        informers: InformerFactory,
        controllers: Sequence[Controller],
        elector: Elector | None,
        stopping: Callable[[], bool],
    ) -> None:
        self._informers = informers
        self._controllers = controllers
        self._elector = elector
        self._stopping = stopping
        self._clock = loop_clock()
        self._lags: deque[float] = deque(maxlen=HEARTBEATS_KEPT)

    async def measure(self) -> None:
        """Measures the event loop's lag until it is cancelled."""
        while True:
            due = time.monotonic() + HEARTBEAT
            await anyio.sleep(HEARTBEAT)
            self._lags.append(max(0.0, time.monotonic() - due))

    @property
    def loop_lag(self) -> float:
        """Seconds of the event loop's longest delay of late."""
        return max(self._lags, default=0.0)

    def live(self) -> Mapping[str, str]:
        """Checks for `/healthz`, by name: `OK`, or what is wrong."""
        lag = self.loop_lag
        checks = {"event-loop": OK if lag < MAX_LOOP_LAG else f"was blocked for {lag:.1f} s"}
        stuck = [
            f"{controller.name} {request} goes on after {seconds:.0f} s though it was cancelled"
            for controller in self._controllers
            for request, seconds in controller.stuck
        ]
        checks["workers"] = stuck[0] if stuck else OK
        if self._elector is not None:
            overdue = self._elector.overdue
            checks["leader-election"] = OK if overdue == 0 else f"lease not renewed, {overdue:.0f} s past the deadline"
        return checks

    def ready(self) -> Mapping[str, str]:
        """Checks for `/readyz`. A standby with synced caches is ready; so is one that lost the server just now."""
        checks = {"shutdown": "told to stop" if self._stopping() else OK}
        for cache, _ in self._informers.caches():
            name = f"informer-{cache.resource}"  # several with selectors share it: the one in trouble shows
            state = self._state(cache)
            if state != OK or name not in checks:
                checks[name] = state
        return checks

    def _state(self, cache: Cache) -> str:
        if cache.optional:
            return OK
        if not cache.synced:
            return cache.trouble or "not synced yet"
        return cache.trouble if self._clock() - cache.troubled_since >= TROUBLE_GRACE else OK
