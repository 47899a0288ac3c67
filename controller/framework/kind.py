"""A kind of object as a control loop: observe, analyze, carry out, show. What all kinds have in common is done here.

A kind hands in functions; see `ControlLoop`. From `KindReconciler` it gets: its finalizer before anything is made, and
its absence as the end; plans that are only shown (`rook.io/mode: plan`); a pace, and backoffs of failed lanes; events
and log entries; a status that is written when it changed; the time of the next look;
and the handler of `LetGo`, by which an object that is being deleted goes.

A new kind is a type of `controller.apis`, these functions, and a line in its system's `system.py`:

    def register(manager: Manager, settings: Settings) -> None:
        rings = manager.informers.informer(RINGS, Ring)
        loop = ControlLoop(
            resource=RINGS,
            finalizer="ring.example.rook.io",
            observe=Observer(manager.informers).observe,  # async (ring, now) -> Observation: reads, decides nothing
            analyze=analyze,  # (ring, seen) -> Plan: pure; its last step on a deletion has the action LetGo
            handlers=lambda ring, seen: children.handlers(manager.applier, manager.client, caches),
            show=show,  # (look, seen, outcome) -> RingStatus: pure; see controller.framework.status
        )
        controller = controller_of(manager, loop, rings, workers=settings.workers)
        controller.watch(pods, owned_by(RINGS), predicate=pod_changed)  # whatever else brings about a look
        manager.add(controller)
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from controller.framework.aside import aside
from controller.framework.backoff import Backoffs
from controller.framework.journal import journal
from controller.framework.pace import Pace
from controller.framework.plan import APPLY, PLAN_ONLY, Outcome, Plan, StepState, carry_out, conclude, is_plan_only
from controller.runtime import (
    Controller,
    Request,
    Result,
    add_finalizer,
    annotations_changed,
    any_of,
    generation_changed,
    remove_finalizer,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from controller.framework.plan import Handler
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata
    from informers import Informer, Resource


@dataclass(frozen=True, slots=True)
class LetGo:
    """Remove the finalizer of an object that is being deleted, so that it goes, and with it what it owns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look[T]:
    """What a status is built of, beside what was seen and done.

    Attributes:
        obj: The object as the cache had it.
        spec: Its spec as the user wrote it, as JSON: with fields that its type does not know.
        mode: `PLAN_ONLY` or `APPLY`.
        now: Seconds since the epoch.
    """

    obj: T
    spec: Mapping[str, Any]
    mode: str
    now: float


def _nobody(_: object) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlLoop[T: HasMetadata, S]:
    """A kind, as its `KindReconciler` runs it.

    Attributes:
        resource: Where the API server has its objects.
        observe: Takes together what there is for an object at a time, in seconds since the epoch. Changes nothing.
        analyze: The plan. Pure.
        handlers: What carries out each action that the plan may have, but for `LetGo`.
        show: The status, equal to the present one where there is nothing new. Pure.
        finalizer: What holds an object that is being deleted until a step `LetGo` is done; empty: nothing has to.
        refuse: The status of an object that is not to be looked at any further; None for one that is.
        forget: Told of objects that are gone.
        aside: Whether `analyze` and `show` are called beside the event loop: where a system is large, they take long.
    """

    resource: Resource
    observe: Callable[[T, float], Awaitable[S]]
    analyze: Callable[[T, S], Plan]
    handlers: Callable[[T, S], Mapping[type, Handler]]
    show: Callable[[Look[T], S, Outcome], msgspec.Struct]
    finalizer: str = ""
    refuse: Callable[[T], msgspec.Struct | None] = _nobody
    forget: Callable[[Request], None] = _nobody
    aside: bool = False


class KindReconciler[T: HasMetadata, S]:
    """Reconciles the objects of a kind.

    Args:
        manager: Writes and records.
        loop: The kind.
        objects: The cache of its objects.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        manager: Manager,
        loop: ControlLoop[T, S],
        objects: Informer[T],
        *,
        clock: Callable[[], float],
    ) -> None:
        self._manager = manager
        self._loop = loop
        self._objects = objects
        self._clock = clock
        self._backoffs = Backoffs()
        self._pace = Pace()

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        obj = self._objects.get(request)
        if obj is None:
            self._backoffs.forget(request)
            self._pace.forget(request)
            self._loop.forget(request)
            return Result()
        wait = self._pace.wait(request)
        if wait:
            return Result(requeue_after=wait)
        refused = self._loop.refuse(obj)
        if refused is not None:
            await self._write_status(obj, refused)
            return Result()
        finalizer, deleting = self._loop.finalizer, obj.metadata.deletion_timestamp is not None
        plan_only = is_plan_only(obj.metadata)
        if finalizer and deleting and finalizer not in obj.metadata.finalizers:
            return Result()
        if finalizer and not deleting and not plan_only:
            await add_finalizer(self._manager.client, self._loop.resource, obj, finalizer)
        return await self._look(request, obj, plan_only=plan_only)

    async def _look(self, request: Request, obj: T, *, plan_only: bool) -> Result:
        loop, now = self._loop, self._clock()
        seen = await loop.observe(obj, now)
        begun = time.perf_counter()
        plan = await self._pure(loop.analyze, obj, seen)
        self._pace.took(request, time.perf_counter() - begun)
        record = journal(self._manager.events, loop.resource, obj.metadata)
        outcome = await carry_out(
            plan, self._handlers(obj, seen), request, self._backoffs, record=record, only_observing=plan_only
        )
        if _is_gone(outcome):
            return Result()
        raw = self._objects.raw(request.namespace, request.name) or {}
        mode = PLAN_ONLY if plan_only else APPLY
        look = Look(obj=obj, spec=raw.get("spec") or {}, mode=mode, now=now)
        await self._write_status(obj, await self._pure(loop.show, look, seen, outcome))
        # The next look comes when the caches have seen what was written.
        return conclude(outcome, plan.look_again if outcome.soon is None else outcome.soon)

    async def _pure[**P, R](self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await aside(function, *args, **kwargs) if self._loop.aside else function(*args, **kwargs)

    def _handlers(self, obj: T, seen: S) -> Mapping[type, Handler]:
        async def let_go(_: LetGo) -> None:
            await remove_finalizer(self._manager.client, self._loop.resource, obj, self._loop.finalizer)

        return {**self._loop.handlers(obj, seen), LetGo: let_go}

    async def _write_status(self, obj: T, shown: msgspec.Struct) -> None:
        if shown == getattr(obj, "status", None):
            return
        meta = obj.metadata
        await self._manager.applier.apply_status(
            self._loop.resource, meta.namespace, meta.name, msgspec.to_builtins(shown), uid=meta.uid
        )


def controller_of[T: HasMetadata, S](
    manager: Manager,
    loop: ControlLoop[T, S],
    objects: Informer[T],
    *,
    workers: int,
    name: str = "",
    clock: Callable[[], float] = time.time,
) -> Controller:
    """The controller that looks at an object of a kind when it is edited; what else brings about a look is to be added.

    Args:
        manager: Where it is to be added.
        loop: The kind.
        objects: The cache of its objects.
        workers: Objects that are looked at at once.
        name: The controller's, in metrics; by default the kind's.
        clock: Seconds since the epoch.
    """
    reconciler = KindReconciler(manager, loop, objects, clock=clock)
    controller = Controller(name or loop.resource.kind.lower(), reconciler, workers=workers)
    controller.watch(objects, predicate=any_of(generation_changed, annotations_changed))
    return controller


def _is_gone(outcome: Outcome) -> bool:
    """Whether the object was let go, so that there is none to show anything of."""
    return any(isinstance(r.step.action, LetGo) and r.state is StepState.DONE for r in outcome.results)
