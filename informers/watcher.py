"""The reflector's I/O: sends what it asks, feeds it the answers, carries out its actions, pauses when there is trouble.

A watcher never ends by itself, and never lets one collection's trouble out: it tells the reason, and tries again.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio
import structlog

from informers import wire
from informers.errors import ApiError, RefusedError, TransportError
from informers.reflector import (
    Apply,
    Asked,
    Begin,
    Commit,
    Ended,
    Events,
    Paging,
    Refused,
    Stage,
    State,
    Step,
    Streaming,
    Watching,
    request,
    step,
)
from informers.transport import StalledError
from informers.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from informers.outage import Outage
    from informers.resource import Resource
    from informers.scope import Scope
    from informers.transport import Api, Stream

WATCH_SECONDS: Final = (300.0, 600.0)
"""How long the server is asked to keep a watch; random in between, so that they do not all end together."""

IDLE_SECONDS: Final = (70.0, 90.0)
"""A stream that is silent for so long is closed: servers send a bookmark each minute, even without changes."""

LIST_DEADLINE: Final = 60.0
"""Seconds for one page of a list; of a whole list in one piece, seconds without a byte."""

AT_ONCE: Final = 50
"""Events that are carried out between two checks of the time slice."""

_log = structlog.get_logger("informers")


def loop_time() -> float:
    """Seconds on the running event loop's clock."""
    return asyncio.get_running_loop().time()


class Backoff:
    """Exponential backoff from 50 ms to 30 s, with jitter up to twice that, which is reset after 30 quiet seconds.

    client-go's reflector begins with 0.8 s and resets the backoff after two minutes. The first errors of a series are
    mostly transient (a server that hands over to another, history that a restart cut short), and four more requests
    cost a server little; an error twice a minute costs it no more than the longest pauses.
    """

    INITIAL: Final = 0.05
    CAP: Final = 30.0
    QUIET: Final = CAP

    def __init__(self, clock: Callable[[], float], uniform: Callable[[], float]) -> None:
        self._clock = clock
        self._uniform = uniform
        self._nominal = self.INITIAL
        self._used = clock()

    def next(self) -> float:
        """Seconds to pause now."""
        now = self._clock()
        if now - self._used > self.QUIET:
            self._nominal = self.INITIAL
        nominal = self._nominal
        self._nominal = min(self.CAP, nominal * 2)
        pause = nominal * (1.0 + self._uniform())
        self._used = now + pause
        return pause


@dataclass(slots=True)
class WatcherStats:
    """What a watcher has counted since it was made.

    Attributes:
        watches: Streams that were opened, streaming lists included.
        pages: Pages that were read.
        troubles: Pauses because of errors.
        stalls: Streams that were closed because nothing came.
        last_event: When anything came last, on the watcher's clock; 0.0 before that.
    """

    watches: int = 0
    pages: int = 0
    troubles: int = 0
    stalls: int = 0
    last_event: float = 0.0


class _EventReader:
    """The events of a stream, as many at once as have come in. Bytes of an event that is cut off are never used."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._splitter = wire.Splitter()
        self._error: wire.DecodeError | None = None

    async def read(self) -> list[wire.Event]:
        """The next events; none at the end.

        Raises:
            TransportError: The stream broke.
            DecodeError: The next one cannot be read. Those before it have been returned.
        """
        events: list[wire.Event] = []
        while not events:
            if self._error is not None:
                raise self._error
            data = await self._stream.read()
            if not data:
                break
            try:
                for found in self._splitter.feed(data):
                    events.append(wire.event(found))  # noqa: PERF401  # those before a bad one are kept
            except wire.DecodeError as error:
                self._error = error
        return events


@dataclass(slots=True)
class Watcher:
    """Keeps one scope of a cache equal to the server's collection.

    Args:
        api: The server.
        resource: What to watch.
        scope: Which namespace, and where to put it.
        outage: Whether the server can be reached; shared by all its watchers.
        selectors: `labelSelector` and `fieldSelector` as query parameters.
        clock: Monotonic seconds; the event loop's by default, on which all pauses are.
        uniform: Random numbers from [0, 1).
    """

    api: Api
    resource: Resource
    scope: Scope
    outage: Outage
    selectors: Mapping[str, str] = field(default_factory=dict)
    clock: Callable[[], float] = loop_time
    uniform: Callable[[], float] = random.random
    stats: WatcherStats = field(default_factory=WatcherStats)
    _reading: bool = field(default=False, init=False)
    _following: anyio.CancelScope | None = field(default=None, init=False)

    @property
    def last_event_age(self) -> float | None:
        """Seconds since anything came from the server, bookmarks included; None: nothing came yet."""
        return self.clock() - self.stats.last_event if self.stats.last_event else None

    async def run(self) -> None:
        """Run until cancelled."""
        backoff = Backoff(self.clock, self.uniform)
        self.scope.on_rewound = self._interrupt
        log = _log.bind(resource=str(self.resource), namespace=self.scope.namespace)
        state: State = Streaming()
        while True:
            try:
                await self._carry_out(step(state, Asked()))
                taken = await (self._page(state) if isinstance(state, Paging) else self._watch(state))
            except RefusedError as error:
                if self._note(str(error)):
                    log.warning("watch interrupted", reason=str(error), then=type(state).__name__)
                await self.outage.turn()
                continue
            except Exception:  # a bug here: start over, so that the copy does not go stale
                log.exception("watch failed, it starts over")
                taken = Step(Streaming(), trouble="internal error, see the log")
            self.outage.over()
            state = taken.state
            if self.scope.rewound and isinstance(state, Watching):
                state, taken = Streaming(), taken._replace(trouble="the server's data was restored from a backup")
            if taken.trouble:
                pause = max(backoff.next(), taken.wait)
                tell = log.warning if self._note(taken.trouble) else log.debug
                tell("watch interrupted", reason=taken.trouble, pause=round(pause, 2), then=type(state).__name__)
                await asyncio.sleep(pause)

    async def _page(self, state: Paging) -> Step:
        path = self.resource.path(self.scope.namespace)
        params = {**request(state), **self.selectors}
        accept = self.scope.accept.list
        try:
            if state.whole:
                body = await self._whole(path, params, accept)
            else:
                body = await self.api.request("GET", path, params=params, accept=accept, deadline=LIST_DEADLINE)
            page = wire.page(body, self.resource)
        except ApiError as error:
            return step(state, Refused(error))
        except RefusedError:
            raise
        except (TransportError, wire.DecodeError) as error:
            return step(state, Ended(str(error)))
        self.stats.pages += 1
        self.stats.last_event = self.clock()
        return await self._carry_out(step(state, page))

    async def _whole(self, path: str, params: Mapping[str, str], accept: str) -> bytes:
        """The body of a list of any length, which may take as long as it goes on coming in."""
        parts: list[bytes] = []
        async with self.api.stream(path, params=params, accept=accept, idle=LIST_DEADLINE) as stream:
            while part := await stream.read():
                parts.append(part)
        return b"".join(parts)

    async def _watch(self, state: Streaming | Watching) -> Step:
        path = self.resource.path(self.scope.namespace)
        seconds = round(self._between(WATCH_SECONDS))
        params = {**request(state), **self.selectors, "timeoutSeconds": str(seconds)}
        taken = Step(state)
        opened: float | None = None
        ended = Ended()
        try:
            accept, idle = self.scope.accept.watch, self._between(IDLE_SECONDS)
            async with self.api.stream(path, params=params, accept=accept, idle=idle) as stream:
                opened = self.clock()
                self.stats.watches += 1
                self.outage.over()
                if isinstance(state, Watching):
                    self.scope.trouble = ""
                reader = _EventReader(stream)
                turns = Turns()
                with anyio.CancelScope() as self._following:
                    while not taken.close and (events := await self._read(reader)):
                        self.stats.last_event = self.clock()
                        ended = Ended(alive=True)
                        taken = await self._carry_out(step(taken.state, Events(events)))
                        await turns.checkpoint()
        except ApiError as error:
            return step(state, Refused(error))
        except RefusedError:
            raise
        except StalledError as error:
            self.stats.stalls += 1
            ended = ended._replace(reason=str(error), stalled=True)
        except (TransportError, wire.DecodeError) as error:
            ended = ended._replace(reason=str(error))
        if taken.close:
            return taken
        return step(taken.state, ended._replace(seconds=None if opened is None else self.clock() - opened))

    async def _read(self, reader: _EventReader) -> list[wire.Event]:
        """The next events; none at the end of the stream, or if the server's data was restored."""
        if self.scope.rewound and self.scope.lists_begun == self.scope.list_shown:
            return []
        self._reading = True
        try:
            return await reader.read()
        finally:
            self._reading = False

    def _interrupt(self) -> None:
        # Otherwise it checks by itself before it reads, and nothing half done is cancelled.
        if self._reading and self._following is not None:
            self._following.cancel()

    async def _carry_out(self, taken: Step) -> Step:
        """Carry out the step's actions, and return it."""
        scope, turns = self.scope, Turns()
        for action in taken.actions:
            match action:
                case Apply(changes, version):
                    # The last event of each part tells how far it leads; bookmarks are actions without events.
                    for part in itertools.batched(changes, AT_ONCE):
                        scope.apply(part, min(version, max(scope.version, part[-1].object.version)))
                        await turns.checkpoint()
                    scope.apply((), version)
                case Stage(changes):
                    for part in itertools.batched(changes, AT_ONCE):
                        scope.stage(part)
                        await turns.checkpoint()
                case Begin(newest):
                    scope.begin(newest=newest)
                case Commit(version):
                    await scope.commit(version)
                    scope.trouble = ""
        return taken

    def _note(self, trouble: str) -> bool:
        """Count and show an error. Returns whether it is a new one."""
        news = trouble != self.scope.trouble
        self.stats.troubles += 1
        self.scope.trouble = trouble
        return news

    def _between(self, bounds: tuple[float, float]) -> float:
        low, high = bounds
        return low + (high - low) * self.uniform()
