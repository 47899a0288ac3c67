"""Keeping a copy of a collection equal to the server's: which request comes next, and what an answer means.

This is the protocol without any I/O: `request(state)` says what to ask, `step(state, input)` what the answer changes.
The states and what leads from one to the next:

    Listing (as a stream, or by pages) --end of the list--> Watching --events, bookmarks--> Watching
    Watching --connection ended or broke--> Watching, resumed at the last version
    Watching --history expired, or the server's data is not what we know--> Listing

Sources: Kubernetes' "API concepts" (efficient detection of changes), KEP-3157 (streaming lists), KEP-5504 (comparable
resource versions), and the behaviour of client-go's reflector.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from informers.wire import Bookmark, Delete, Event, Failure, Page, Upsert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from informers.errors import ApiError

PAGE: Final = 500
"""Objects of one page of a list; client-go's figure."""

LONGEST_WAIT: Final = 60.0
"""Seconds of a server's Retry-After that are heeded: a proxy that is mistaken once must not stop a watch for hours."""

SHORT_WATCH: Final = 1.0
"""A watch without an event that ends within so many seconds counts as an error, or a broken proxy makes a busy loop."""

SILENT_STREAMS: Final = 2
"""Watches in a row without a single byte, bookmarks included, after which the collection is listed anew.

A server whose data was restored from a backup has not reached the version that we resume at: it says nothing until it
has, and would then leave out what happened in between. A list finds out.
"""


@dataclass(frozen=True, slots=True)
class Streaming:
    """The collection is to be listed as a stream: a watch that begins with the objects that there are.

    Attributes:
        since: The list must not be older than this version; 0: it must be the newest, by a consistent read.
    """

    since: int = 0


@dataclass(frozen=True, slots=True)
class Paging:
    """The collection is to be listed by pages, since the server refused to stream, or a stream broke.

    Attributes:
        token: Continues with the next page; "" asks for the first.
        whole: One page for all: the pages' token expired before the last was read. If it fails, it is not tried again
            but after the other ways.
    """

    token: str = ""
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Watching:
    """The copy shows this version; later changes are to be watched.

    Attributes:
        version: Everything up to it has been seen.
        silent: Streams in a row that stalled without a byte.
    """

    version: int
    silent: int = 0


type State = Streaming | Paging | Watching


class Asked(NamedTuple):
    """Input: the state's request is about to be sent."""


class Events(NamedTuple):
    """Input: events came, in this order."""

    events: Sequence[Event]


class Refused(NamedTuple):
    """Input: the server's answer to the request is an error."""

    error: ApiError


class Ended(NamedTuple):
    """Input: the stream ended, or no connection was made.

    Attributes:
        reason: What broke; "" when the server ended it in good order.
        seconds: How long the stream was open; None when it never was.
        alive: Whether anything came.
        stalled: It ended because nothing came.
    """

    reason: str = ""
    seconds: float | None = None
    alive: bool = False
    stalled: bool = False


type Input = Asked | Events | Page | Refused | Ended


class Begin(NamedTuple):
    """Action: a list is about to be asked for; forget an unfinished one. `newest`: it shows all that is written by now.

    What is written while the answer is on its way, it may leave out.
    """

    newest: bool


class Stage(NamedTuple):
    """Action: this belongs to the list that is under way; the copy does not show it yet."""

    changes: Sequence[Upsert | Delete]


class Commit(NamedTuple):
    """Action: the list is complete and shows this version; it replaces the copy at once."""

    version: int


class Apply(NamedTuple):
    """Action: these changes lead the copy to this version."""

    changes: Sequence[Upsert | Delete]
    version: int


type Action = Begin | Stage | Commit | Apply


class Step(NamedTuple):
    """What an input leads to.

    Attributes:
        state: The next state.
        actions: For the copy, in order.
        trouble: Why to pause before the next request; "" when there is no need to.
        close: Whether the stream that is open must be left.
        wait: Seconds that the server asks to pause for at least.
    """

    state: State
    actions: tuple[Action, ...] = ()
    trouble: str = ""
    close: bool = False
    wait: float = 0.0


def step(state: State, received: Input) -> Step:
    """What the input changes: the next state, and what to do on the way to it."""
    match received:
        case Asked():
            return Step(state, _begin(state))
        case Events(events):
            return _events(state, events)
        case Page():
            return _page(state, received)
        case Refused(error):
            return _refused(state, error)
        case Ended():
            return _ended(state, received)


def request(state: State) -> dict[str, str]:
    """The query parameters that the state asks for, beside selectors and the watch's timeout."""
    match state:
        case Streaming(since):
            return {
                "watch": "true",
                "allowWatchBookmarks": "true",
                "sendInitialEvents": "true",
                "resourceVersionMatch": "NotOlderThan",
                "resourceVersion": str(since) if since else "",
            }
        case Paging(token, whole):
            if whole:
                return {}
            return {"limit": str(PAGE)} | ({"continue": token} if token else {})
        case Watching(version):
            return {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": str(version)}


def _begin(state: State) -> tuple[Begin, ...]:
    match state:
        case Streaming(since):
            return (Begin(newest=since == 0),)
        case Paging(token=""):
            return (Begin(newest=True),)
    return ()


def _events(state: State, events: Sequence[Event]) -> Step:
    actions: list[Action] = []
    changes: list[Upsert | Delete] = []
    for received in events:
        kind = type(received)
        if kind is Upsert or kind is Delete:
            changes.append(received)  # type: ignore[arg-type]  # as its type says
            continue
        state = _flush(state, changes, actions)
        changes = []
        if isinstance(received, Failure):
            return _refused(state, received.error)._replace(actions=tuple(actions), close=True)
        assert isinstance(received, Bookmark)  # noqa: S101  # the last kind that there is
        if isinstance(state, Watching):
            if received.version < state.version:
                reason = f"the server is at version {received.version}, but has shown {state.version} before"
                return Step(Streaming(), tuple(actions), f"{reason}: its data was restored", close=True)
            actions.append(Apply((), received.version))
            state = Watching(received.version)
        elif received.initial_end:
            actions.append(Commit(received.version))
            state = Watching(received.version)
    return Step(_flush(state, changes, actions), tuple(actions))


def _flush(state: State, changes: list[Upsert | Delete], actions: list[Action]) -> State:
    """Turn changes that came one after the other into one action."""
    if not changes:
        return state
    if not isinstance(state, Watching):
        actions.append(Stage(changes))
        return state
    # Events come in the order of their versions; one that was sent twice does not lead back.
    version = max(state.version, changes[-1].object.version)
    actions.append(Apply(changes, version))
    return Watching(version)


def _page(state: State, page: Page) -> Step:
    assert isinstance(state, Paging)  # noqa: S101  # only that state asks for pages
    staged = Stage([Upsert(found) for found in page.objects])
    if page.token:
        return Step(replace(state, token=page.token), (staged,))
    return Step(Watching(page.version), (staged, Commit(page.version)))


def _refused(state: State, error: ApiError) -> Step:
    wait = min(error.retry_after or 0.0, LONGEST_WAIT)
    if error.is_expired or error.is_ahead:
        if isinstance(state, Paging) and state.token:
            return Step(Paging(whole=True), trouble=str(error), wait=wait)
        return Step(Streaming(), trouble=str(error), wait=wait)
    if isinstance(state, Streaming) and (error.is_invalid or error.status == 400):
        return Step(Paging())  # a server without streaming lists; no trouble, there is the other way
    if error.status == 429 or error.status >= 500 or error.status == 401:
        return Step(_again(state), trouble=str(error), wait=wait)
    # Not there (yet, or any more), not allowed, not understood: what we know of it may be out of date.
    since = state.version if isinstance(state, Watching) else 0
    return Step(Streaming(since), trouble=str(error), wait=wait)


def _ended(state: State, end: Ended) -> Step:
    match state:
        case Watching(version, silent):
            if end.stalled and not end.alive:
                if silent + 1 >= SILENT_STREAMS:
                    return Step(Streaming(version), trouble=end.reason)
                return Step(Watching(version, silent + 1), trouble=end.reason)
            if end.reason:
                return Step(Watching(version), trouble=end.reason)
            if end.seconds is not None and end.seconds < SHORT_WATCH and not end.alive:
                return Step(Watching(version), trouble=f"the watch ended after {end.seconds:.2f} s without an event")
            return Step(Watching(version))
        case Streaming():
            # Something on the way does not let a long stream pass, or the server does not know how to end the list.
            following = state if end.seconds is None else Paging()
            return Step(following, trouble=end.reason or "the stream ended before the list was complete")
        case Paging():
            return Step(_again(state), trouble=end.reason)


def _again(state: State) -> State:
    """The state after a request that may go better the next time: one that is too big never would."""
    return Streaming() if isinstance(state, Paging) and state.whole else state
