"""Runs a kind of object as a control loop: observe, analyze, carry out, show.

A kind supplies functions; see `ControlLoop`. `KindReconciler` supplies what all kinds have in common:

- the finalizer, which is added before anything is made, and the handler of `LetGo`, which removes it;
- plans that are only shown (`rook.io/mode: plan`);
- a pace for large objects, and backoff for each lane that failed;
- events and log entries;
- the status, written only when it changed;
- the time of the next look.

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
    """Remove the finalizer of an object that is being deleted. Kubernetes then removes it and what it owns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look[T]:
    """What a status is built from, beside the observation and the outcome.

    Attributes:
        obj: The object as the cache has it.
        spec: Its spec as the user wrote it, as JSON, with fields that its type does not know.
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
    """The functions and settings of a kind, for `KindReconciler`.

    Attributes:
        resource: The kind's resource in the API.
        observe: Reads everything that the plan depends on, at a time in seconds since the epoch. Changes nothing.
        analyze: Returns the plan. Pure.
        handlers: Returns the handler of each action that the plan may have, except `LetGo`.
        show: Returns the status, equal to the present one if nothing changed. Pure.
        finalizer: Keeps an object that is being deleted until a step `LetGo` is done; empty: no finalizer.
        refuse: Returns the status of an object that must not be reconciled; None for all others.
        forget: Called with the request of each object that is gone.
        aside: Whether `analyze` and `show` run in a thread beside the event loop, because they take long for a large
            system.
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
        manager: Supplies client, applier and events.
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
        # The next look comes when the caches show what was written.
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
    """The controller of a kind, which queues an object after an edit.

    The caller adds the other watches, and adds the controller to the manager.

    Args:
        manager: The manager that will run it.
        loop: The kind.
        objects: The cache of its objects.
        workers: Objects that are reconciled at once.
        name: The controller's name in metrics; the kind's by default.
        clock: Seconds since the epoch.
    """
    reconciler = KindReconciler(manager, loop, objects, clock=clock)
    controller = Controller(name or loop.resource.kind.lower(), reconciler, workers=workers)
    controller.watch(objects, predicate=any_of(generation_changed, annotations_changed))
    return controller


def _is_gone(outcome: Outcome) -> bool:
    """Whether `LetGo` was carried out, so that there is no object to write a status to."""
    return any(isinstance(r.step.action, LetGo) and r.state is StepState.DONE for r in outcome.results)
