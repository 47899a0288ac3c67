"""The Manager: starts everything in order, keeps it going, and stops it in the reverse order.

Probes and metrics come first, then the caches. When they are synced, the manager takes part in the leader election, and
once it leads, its controllers and the runnables that need leadership run. Only the controllers that watch an optional
cache wait for it. A standby has warm caches and full queues. On SIGTERM or SIGINT the manager takes no more work,
workers finish their present requests, the lease is released and `run` returns. When the lease is lost, everything is
cancelled and `run` raises: the process must end, and its supervisor restarts it.
"""

from __future__ import annotations

import os
import signal
import threading
import uuid
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Required, TypedDict

import anyio
import structlog

from controller.runtime.apply import Applier
from controller.runtime.consistency import Consistency
from controller.runtime.debug import debug_pages
from controller.runtime.events import EventRecorder
from controller.runtime.health import Health
from controller.runtime.kube import LEASE, Lease
from controller.runtime.leader import Elector, LeadershipLostError
from controller.runtime.lease import KubeLease
from controller.runtime.log import hide
from controller.runtime.metrics import new_registry
from controller.runtime.probes import Probes
from controller.runtime.tracing import traced
from informers import InformerFactory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from anyio.abc import TaskGroup
    from opentelemetry.trace import Tracer

    from controller.runtime.apply import ApplyStats
    from controller.runtime.consistency import ConsistencyStats
    from controller.runtime.controller import Controller
    from controller.runtime.events import EventStats
    from controller.runtime.lease import LeaderElection
    from controller.runtime.probes import Address
    from controller.runtime.program import Program
    from informers import Client, Delta
    from informers.cache import Cache

log = structlog.get_logger(__name__)

type Runnable = Callable[[], Coroutine[Any, Any, None]]
"""Runs until it is cancelled, or returns when it has done its work. What it raises ends the manager."""

EVENTS_DEADLINE = 3.0
"""Seconds for writing the events that are left at the end."""

ENDING_DEADLINE = 9.0
"""Seconds after the drain deadline in which the process must have ended: events, lease and open connections."""


class Options(TypedDict, total=False):
    """Parameters of a `Manager`, for those who make one for others."""

    namespaces: Required[tuple[str, ...] | None]
    identity: str
    leader_election: LeaderElection | None
    metrics_address: Address | None
    debug_address: Address | None
    drain_deadline: float
    sync_timeout: float
    tracer: Tracer | None


class Manager:
    """Runs controllers. `run` makes one for a whole program, `connect` makes one with open clients.

    Args:
        client: Open client; its writes are held back while this process is not the leader.
        program: What the program is called.
        namespaces: Namespaces served; None: all.
        identity: Names this process among the replicas: the pod's name. A random part is added.
        leader_election: The lease to hold while controllers run; None: they run at once.
        lease_client: Open client for the lease alone, with connections of its own, so that no other traffic can hold
            up a renewal. Needed with `leader_election`.
        metrics_address: Host and port for metrics and probes; None: they are not served.
        debug_address: Host and port for debug endpoints, a loopback address; None: none.
        drain_deadline: Seconds that workers have to finish on shutdown; then they are cancelled. A pod has 30 s in all.
            A process that still runs `ENDING_DEADLINE` seconds later, because something ignores its cancellation, is
            ended with exit code 1.
        sync_timeout: Seconds between errors in the log that name the caches that are not synced.
        tracer: Makes spans of reconciles and of their requests; None: no spans. See `process_tracer`.
        abort: Ends the process at once with an exit code: at a second signal, when something ignores its cancellation,
            and when another replica may have taken the lease. Called from any thread.

    Raises:
        ValueError: `namespaces` names none, or there is no `lease_client` for `leader_election`.

    Attributes:
        program: What the program is called.
        client: Its client.
        informers: The caches, shared by all controllers.
        applier: Applies desired objects.
        events: Records events.
        controllers: The controllers that it runs.
        elector: Takes part in the leader election; None without one.
        health: What its probes tell.
        registry: What `/metrics` shows; a program may register collectors of its own.
        addresses: Where metrics and debug endpoints are served, once they are.
    """

    def __init__(
        self,
        client: Client,
        *,
        program: Program,
        namespaces: tuple[str, ...] | None,
        identity: str,
        leader_election: LeaderElection | None = None,
        lease_client: Client | None = None,
        metrics_address: Address | None = ("0.0.0.0", 9090),  # noqa: S104  # Prometheus and the kubelet come from outside
        debug_address: Address | None = ("127.0.0.1", 6060),
        drain_deadline: float = 20.0,
        sync_timeout: float = 120.0,
        tracer: Tracer | None = None,
        abort: Callable[[int], object] = os._exit,
    ) -> None:
        hide(*program.secrets)
        self.client = client
        self.program = program
        self.identity = f"{identity}_{uuid.uuid4().hex[:8]}"
        self.informers = InformerFactory(client, namespaces=namespaces)
        self.applier = Applier(client, self.informers, program)
        self.events = EventRecorder(client, controller=program.reporting_controller, instance=self.identity)
        self.controllers: list[Controller] = []
        self.elector: Elector | None = None
        self.addresses: tuple[Address, ...] = ()
        self._clients = [client]
        self._consistency = Consistency(client, self.informers)
        self._runnables: list[tuple[Runnable, bool]] = []
        self._metrics_address = metrics_address
        self._debug_address = debug_address
        self._drain_deadline = drain_deadline
        self._sync_timeout = sync_timeout
        self._abort = abort
        self._context = copy_context()
        self._background: TaskGroup | None = None
        self._acting: TaskGroup | None = None
        self._working: TaskGroup | None = None
        self._stopping = anyio.Event()
        self._tracer = tracer
        self._last_resort: threading.Timer | None = None
        client.transport.tracer = tracer
        if leader_election is not None:
            if lease_client is None:
                raise ValueError("leader_election needs a lease_client: its writes may not wait for others'")
            self._clients.append(lease_client)
            self._stand_for(leader_election, lease_client)
        self.health = Health(self.informers, self.controllers, self.elector, self._stopping.is_set)
        self.registry = new_registry(self)

    def _stand_for(self, election: LeaderElection, lease_client: Client) -> None:
        elector = self.elector = Elector(KubeLease(lease_client, election), election, self.identity)
        self.client.write_gate = elector.check
        # A write leaves at renew_deadline at the latest; where the network is away, it is dropped before another leads.
        self.client.transport.delivery_deadline = election.lease_duration - election.renew_deadline

        def observe(delta: Delta[Lease]) -> None:
            if delta.new is not None:
                elector.observe(delta.new)
            elif delta.old is not None:
                elector.observe_deletion(delta.old)

        leases = self.informers.informer(
            LEASE, Lease, field_selector=f"metadata.name={election.name}", namespaces=(election.namespace,)
        )
        leases.add_handler(observe)

    def add(self, controller: Controller) -> None:
        """Adds a controller. While the manager runs, the controller starts at once.

        It begins when the caches that it watches are synced, and all caches that are not optional.

        Raises:
            ValueError: There is a controller of that name.
        """
        if any(controller.name == other.name for other in self.controllers):
            raise ValueError(f"controller {controller.name}: there is one of that name already")
        if self._tracer is not None:
            controller.reconcile = traced(controller.reconcile, self._tracer, self.program.prefix)
        self.controllers.append(controller)
        self._start(self._working, partial(self._control, controller))

    def add_runnable(self, runnable: Runnable, *, needs_leader: bool = True) -> None:
        """Adds something else to run. While the manager runs, it starts at once.

        Args:
            runnable: What to run.
            needs_leader: Whether it runs only while this process leads; otherwise it runs from the start. Without the
                lease, writes by the manager's client raise `NotLeaderError`: use a client of its own then.
        """
        self._runnables.append((runnable, needs_leader))
        self._start(self._acting if needs_leader else self._background, runnable)

    def _start(self, tasks: TaskGroup | None, runnable: Runnable) -> None:
        if tasks is not None and not self._stopping.is_set():
            self._context.run(lambda: tasks.start_soon(runnable))  # no part of the reconcile that may have asked for it

    @property
    def signalled(self) -> bool:
        """Whether a signal told the process to end, be it before `stop` or after."""
        return self._last_resort is not None

    def stop(self) -> None:
        """Stops `run` in order, as SIGTERM does."""
        self._stopping.set()

    async def run(self, *, signals: bool = True) -> None:
        """Runs until SIGTERM, SIGINT or `stop`, and then stops in order.

        Args:
            signals: Whether to handle the process's signals.

        Raises:
            LeadershipLostError: The lease was lost; the process must end now.
            Exception: A runnable or a cache failed for good.
        """
        probes = Probes(
            self.registry,
            live=self.health.live,
            ready=self.health.ready,
            debug=debug_pages(self.controllers, self.informers),
        )
        async with probes.serve(self._metrics_address, self._debug_address) as self.addresses:
            log.info("Started", identity=self.identity, addresses=[f"{h}:{p}" for h, p in self.addresses])
            try:
                await self._run(signals=signals)
            except BaseExceptionGroup as group:
                # Task groups wrap what ended them; the loss of the lease outranks whatever else came of it.
                lost = group.subgroup(LeadershipLostError)
                raise _innermost(lost or group) from group
            finally:
                if self._last_resort is not None:
                    self._last_resort.cancel()
        log.info("Stopped", identity=self.identity)

    async def _run(self, *, signals: bool) -> None:
        self._context = copy_context()
        async with anyio.create_task_group() as background:
            if signals:
                background.start_soon(self._obey_signals)
            background.start_soon(self.health.measure)
            background.start_soon(self.informers.run)
            background.start_soon(self._consistency.run)
            for runnable, needs_leader in self._runnables:
                if not needs_leader:
                    background.start_soon(runnable)
            self._background = background
            try:
                if await self._unless_stopping(self._synced):
                    await self._lead()
            finally:
                self._background = None
            background.cancel_scope.cancel()

    async def _lead(self) -> None:
        elector = self.elector
        if elector is None:
            await self._act()
            return
        if not await self._unless_stopping(elector.acquire):
            await elector.release()  # the lease may have come in the moment of stopping
            return
        lost = False
        with elector.dead_mans_switch(self._abort):
            try:
                async with anyio.create_task_group() as leading:
                    leading.start_soon(elector.hold)
                    await self._act()
                    leading.cancel_scope.cancel()
            except BaseExceptionGroup as group:
                lost = group.subgroup(LeadershipLostError) is not None
                raise
            finally:
                if not lost:  # whatever the end was, nothing acts any more
                    with anyio.CancelScope(shield=True):  # bounded by `release` itself
                        await elector.release()

    async def _act(self) -> None:
        """Runs everything that needs leadership until the manager is stopped."""
        async with anyio.create_task_group() as acting:
            acting.start_soon(self.events.run)
            for runnable, needs_leader in self._runnables:
                if needs_leader:
                    acting.start_soon(runnable)
            self._acting = acting
            try:
                await self._work()
            finally:
                self._acting = None
            with anyio.move_on_after(EVENTS_DEADLINE):
                await self.events.close()
            acting.cancel_scope.cancel()

    async def _work(self) -> None:
        """Runs the controllers until the manager is stopped, and then until their present requests are done."""
        async with anyio.create_task_group() as working:
            for controller in self.controllers:
                working.start_soon(self._control, controller)
            self._working = working
            try:
                await self._stopping.wait()
            finally:
                self._working = None
            log.info("Stopping", active=sum(c.stats.active for c in self.controllers))
            for controller in self.controllers:
                controller.shut_down()
            working.cancel_scope.deadline = anyio.current_time() + self._drain_deadline

    async def _control(self, controller: Controller) -> None:
        """Runs one controller, from when its caches are synced."""

        async def synced() -> None:
            await self._until_synced(controller.caches, controller=controller.name)

        if await self._unless_stopping(synced):
            await controller.run(self._consistency.follow)

    async def _unless_stopping(self, wait: Callable[[], Awaitable[None]]) -> bool:
        """Waits; returns False if the manager was stopped meanwhile."""
        finished = False

        async def until_stopping() -> None:
            await self._stopping.wait()
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_stopping)
            await wait()
            finished = True
            tasks.cancel_scope.cancel()
        return finished and not self._stopping.is_set()

    async def _synced(self) -> None:
        await self._until_synced(())
        log.info("Caches are synced", objects=sum(len(cache) for cache, _ in self.informers.caches() if cache.synced))

    async def _until_synced(self, watched: Sequence[Cache], **whose: str) -> None:
        """Waits for the caches that are watched, and for all that are not optional."""

        def missing() -> list[Cache]:
            needed = [cache for cache, _ in self.informers.caches() if not cache.optional or cache in watched]
            return [cache for cache in needed if not cache.synced]

        while waiting := missing():
            with anyio.move_on_after(self._sync_timeout) as patience:
                for cache in waiting:
                    await cache.wait_synced()
            if patience.cancelled_caught:
                reasons = [f"{cache.resource}: {cache.trouble or 'the list is on its way'}" for cache in missing()]
                log.error("Nothing is done before these caches are synced", caches=reasons, **whose)

    async def _obey_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
            async for number in received:
                if self.signalled:
                    log.warning("Ended by a second signal", signal=number.name)
                    self._abort(128 + number)
                    return
                log.info("Told to stop", signal=number.name)
                # A thread, as for the lease: what does not heed its cancellation may hold up the event loop as well.
                self._last_resort = threading.Timer(self._drain_deadline + ENDING_DEADLINE, self._give_up)
                self._last_resort.daemon = True
                self._last_resort.start()
                self.stop()

    def _give_up(self) -> None:
        hanging = [str(request) for controller in self.controllers for request, _ in controller.active]
        log.error("Ended by force: something goes on though it was cancelled", reconciles=hanging)
        self._abort(1)

    # What metrics show.

    @property
    def clients(self) -> Sequence[Client]:
        """The clients in use."""
        return self._clients

    @property
    def apply_stats(self) -> ApplyStats:
        """What the applier has counted."""
        return self.applier.stats

    @property
    def event_stats(self) -> EventStats:
        """What the event recorder has counted."""
        return self.events.stats

    @property
    def consistency_stats(self) -> ConsistencyStats:
        """What waiting for the caches has counted."""
        return self._consistency.stats

    @property
    def loop_lag(self) -> float:
        """Seconds of the event loop's longest delay of late."""
        return self.health.loop_lag


def _innermost(error: BaseException) -> BaseException:
    """The exception in nested groups of one; a group of several stays."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
