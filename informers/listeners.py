"""Those who are notified of changes, in order, each at its own pace where there is much to deliver."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from informers.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from informers.entry import Change


class _Listener:
    """A function to call with changes, and the changes that it has not been called with yet."""

    __slots__ = ("backlog", "call")

    def __init__(self, call: Callable[[Change], None]) -> None:
        self.call = call
        self.backlog: deque[Change] = deque()


class Listeners:
    """Functions that are called with each change, in the order of the changes.

    Args:
        failed: Called with the change, within the exception's handler, when a listener raises: it stops nothing.
    """

    def __init__(self, failed: Callable[[Change], None]) -> None:
        self._failed = failed
        self._listeners: list[_Listener] = []

    @property
    def undelivered(self) -> int:
        """Changes that the slowest listener has not been notified of yet."""
        return max((len(listener.backlog) for listener in self._listeners), default=0)

    def add(self, call: Callable[[Change], None], present: Iterable[Change]) -> None:
        """Adds a listener; it is notified of `present` first."""
        listener = _Listener(call)
        listener.backlog.extend(present)
        self._listeners.append(listener)
        self._replay(listener)

    def notify(self, change: Change) -> None:
        """Notifies all of one change: at once, or after those that a listener has not been notified of yet."""
        for listener in self._listeners:
            if listener.backlog:
                listener.backlog.append(change)
            else:
                self._call(listener, change)

    async def notify_all(self, changes: Sequence[Change]) -> None:
        """Notifies all of many changes in time slices. Changes that are added meanwhile come after these."""
        for listener in self._listeners:
            listener.backlog.extend(changes)
        while not self._deliver(self._listeners):  # noqa: ASYNC110  # it waits for its next slice, not for an event
            await asyncio.sleep(0)

    def _replay(self, listener: _Listener) -> None:
        if not self._deliver([listener]):
            asyncio.get_running_loop().call_soon(self._replay, listener)

    def _deliver(self, listeners: Sequence[_Listener]) -> bool:
        """Delivers backlogs for one time slice; returns whether nothing is left."""
        turns = Turns()
        while True:
            behind = [listener for listener in listeners if listener.backlog]
            if not behind:
                return True
            for listener in behind:
                self._call(listener, listener.backlog.popleft())
            if turns.over:
                return not any(listener.backlog for listener in listeners)

    def _call(self, listener: _Listener, change: Change) -> None:
        try:
            listener.call(change)
        except (SystemExit, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException:  # a bad listener must not stop the stream, nor the listeners beside it
            self._failed(change)
