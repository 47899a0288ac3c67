"""The health of lanes: which steps failed, and when each may be tried again; and which are done again and again.

A step that fails is tried again after a delay that doubles with every failure, up to a bound; the object's other lanes
do not wait for it. Only lanes that fail are remembered, until their step succeeds or leaves the plan.

A step that is done in one look after the other achieves nothing: somebody undoes it. The pause until the next look
doubles with each, up to the same bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workqueue import ItemExponentialBackoff, loop_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from controller.runtime import Request

FIRST_RETRY, LAST_RETRY = 0.5, 30.0
"""Seconds until a failed step is tried again: at first, and at most."""
SOON = 0.05
"""Seconds after which to look again at an object that was just changed: its own writes bring the next look anyway."""
JITTER = 0.2
"""Part of a delay that is random, so that lanes which failed together come back apart."""

type StepKey = tuple[str, str, str]
"""Lane, subject and title of a step."""


@dataclass(frozen=True, slots=True)
class Held:
    """A step that may not be tried again yet.

    Attributes:
        action: Its action.
        due: When it may, by the clock.
        error: Its last error, or what it waits for.
        under_way: It has not failed: what it has begun goes on.
    """

    action: object
    due: float
    error: str
    under_way: bool = False


class LaneBackoff:
    """Which lanes of one object failed.

    Args:
        clock: Seconds that only move forward; the event loop's by default.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or loop_clock()
        self._delays = ItemExponentialBackoff[StepKey](FIRST_RETRY, LAST_RETRY, jitter=JITTER)
        self._failing: dict[StepKey, Held] = {}
        self._done: dict[StepKey, int] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to remember: lanes that failed, or steps that were done in the last look."""
        return bool(self._failing or self._done)

    def held(self, key: StepKey, action: object) -> Held | None:
        """Why a step may not be tried again yet; None when it may.

        A step whose action is another than the one that failed may be tried at once: the spec may have been mended.
        """
        found = self._failing.get(key)
        return None if found is None or found.action != action or self._clock() >= found.due else found

    def failed(self, key: StepKey, action: object, error: str, *, under_way: bool = False) -> None:
        """Counts a failure of a step, or a look at one that is under way."""
        self._failing[key] = Held(action, self._clock() + self._delays.when(key), error, under_way)

    def succeeded(self, key: StepKey) -> None:
        """Forgets a step that was carried out."""
        if self._failing.pop(key, None) is not None:
            self._delays.forget(key)

    def looked(self, done: Iterable[StepKey]) -> float | None:
        """Ends a look in which these steps were done: seconds until the next one; None: nothing was done."""
        self._done = {key: self._done.get(key, 0) + 1 for key in done}
        # The exponent is bounded, since a float's is.
        times = min(max(self._done.values(), default=0), 16)
        return min(SOON * 2 ** (times - 1), LAST_RETRY) if times else None

    def keep(self, keys: Iterable[StepKey]) -> None:
        """Forgets the steps that are not among `keys`: they left the plan."""
        if self._failing:
            for key in self._failing.keys() - frozenset(keys):
                self.succeeded(key)

    def retry_after(self) -> float | None:
        """Seconds until the first lane may be tried again; None when none failed."""
        due = min((found.due for found in self._failing.values()), default=None)
        return None if due is None else max(due - self._clock(), 0.0)


class Backoffs:
    """The lanes of all objects of a reconciler that failed, or were changed in the last look.

    Args:
        clock: Seconds that only move forward; the event loop's by default.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._objects: dict[Request, LaneBackoff] = {}

    @property
    def tracked(self) -> int:
        """How many objects have lanes that failed, or were changed in their last look."""
        return len(self._objects)

    def of(self, request: Request) -> LaneBackoff:
        """The lanes of an object; `keep` says when they have been changed."""
        found = self._objects.get(request)
        return found if found is not None else LaneBackoff(self._clock)

    def keep(self, request: Request, lanes: LaneBackoff) -> None:
        """Remembers the lanes of an object where there is anything to remember, and forgets the object otherwise."""
        if lanes:
            self._objects[request] = lanes
        else:
            self._objects.pop(request, None)

    def forget(self, request: Request) -> None:
        """Forgets an object that is gone."""
        self._objects.pop(request, None)
