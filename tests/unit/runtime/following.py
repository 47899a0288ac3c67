"""Own writes as tests make and wait for them."""

from collections.abc import Sequence

import anyio

from controller.runtime.consistency import Consistency
from controller.runtime.reconciler import Reconcile, Request, Write, current_reconcile
from informers import JsonObject, Resource

PATIENCE = 5.0
"""Seconds."""


def begun() -> Reconcile:
    """A reconcile, of which what is written from now on is part."""
    reconcile = Reconcile("c", Request("ns", "a"), 1)
    current_reconcile.set(reconcile)
    return reconcile


def wrote(consistency: Consistency, resource: Resource, namespace: str, name: str, answer: JsonObject | None) -> None:
    """A write that has its answer at once; None: it was refused."""
    consistency.note(resource, namespace, name)(answer)


async def caught_up(consistency: Consistency, writes: Sequence[Write], *, within: float = PATIENCE) -> bool:
    """Waits until the caches have seen the writes; says whether they have."""
    woken = anyio.Event()
    if consistency.follow(writes, woken.set):
        return True
    with anyio.move_on_after(within):
        await woken.wait()
    return woken.is_set()
