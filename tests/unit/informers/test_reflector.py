"""The reflector's protocol, by tables: what follows from each input in each state."""

import pytest

from informers import ApiError
from informers.errors import Cause
from informers.reflector import (
    Apply,
    Asked,
    Begin,
    Commit,
    Ended,
    Events,
    Input,
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
from informers.wire import Bookmark, Delete, Failure, Object, Page, Upsert


def upsert(version: int, name: str = "a") -> Upsert:
    return Upsert(Object("default", name, version, b"{}"))


def delete(version: int) -> Delete:
    return Delete(Object("default", "a", version, b"{}"))


GONE = ApiError(410, "Expired", "too old")
AHEAD = ApiError(504, "Timeout", "too large", 1.0, (Cause("ResourceVersionTooLarge"),))
BUSY = ApiError(429, "TooManyRequests", "slow down", 7.0)
BROKEN = ApiError(500, "InternalError", "oops")
FORBIDDEN = ApiError(403, "Forbidden", "no")
NOT_FOUND = ApiError(404, "NotFound", "no such resource")
INVALID = ApiError(422, "Invalid", "sendInitialEvents is forbidden")
BAD = ApiError(400, "BadRequest", "what?")


@pytest.mark.parametrize(
    ("state", "received", "following", "actions"),
    [
        (Streaming(), Asked(), Streaming(), (Begin(newest=True),)),
        (Streaming(5), Asked(), Streaming(5), (Begin(newest=False),)),
        (Paging(), Asked(), Paging(), (Begin(newest=True),)),
        (Paging(whole=True), Asked(), Paging(whole=True), (Begin(newest=True),)),
        (Paging("t"), Asked(), Paging("t"), ()),
        (Watching(5), Asked(), Watching(5), ()),
        (Streaming(), Events([upsert(3), upsert(2)]), Streaming(), (Stage([upsert(3), upsert(2)]),)),
        # Within a streaming list versions are in no order, and only its end tells how far it reaches.
        (Streaming(), Events([Bookmark(4, initial_end=False)]), Streaming(), ()),
        (
            Streaming(),
            Events([upsert(3), delete(4), Bookmark(9, initial_end=True), upsert(10), Bookmark(12, initial_end=False)]),
            Watching(12),
            (Stage([upsert(3), delete(4)]), Commit(9), Apply([upsert(10)], 10), Apply((), 12)),
        ),
        (Watching(5), Events([upsert(6), delete(8)]), Watching(8), (Apply([upsert(6), delete(8)], 8),)),
        # An event that comes twice does not lead back.
        (Watching(8, silent=1), Events([upsert(6)]), Watching(8), (Apply([upsert(6)], 8),)),
        (Watching(5, silent=1), Events([Bookmark(5, initial_end=False)]), Watching(5), (Apply((), 5),)),
        (Paging(), Page(7, "t", ()), Paging("t"), (Stage([]),)),
        (Paging("t"), Page(7, "u", ()), Paging("u"), (Stage([]),)),
        (Paging("t"), Page(7, "", ()), Watching(7), (Stage([]), Commit(7))),
        (Paging(), Page(7, "", ()), Watching(7), (Stage([]), Commit(7))),
        # A server without streaming lists is asked for pages at once; that is no trouble.
        (Streaming(3), Refused(INVALID), Paging(), ()),
        (Streaming(), Refused(BAD), Paging(), ()),
        # The server ends a watch in good order: it is opened again at once.
        (Watching(5), Ended(seconds=300.0), Watching(5), ()),
        (Watching(5), Ended(seconds=0.2, alive=True), Watching(5), ()),
    ],
)
def test_the_way_of_things(state: State, received: Input, following: State, actions: tuple[object, ...]) -> None:
    assert step(state, received) == Step(following, actions)  # type: ignore[arg-type]  # any action


@pytest.mark.parametrize(
    ("state", "received", "following", "wait"),
    [
        # History that is gone: whatever is known may be too old.
        (Watching(5), Refused(GONE), Streaming(), 0),
        (Streaming(5), Refused(GONE), Streaming(), 0),
        (Paging("t"), Refused(GONE), Paging(whole=True), 0),
        (Paging(whole=True), Refused(GONE), Streaming(), 0),
        # A list in one piece that fails is too big to be asked for again and again.
        (Paging(whole=True), Refused(BUSY), Streaming(), 7),
        (Paging(whole=True), Refused(BROKEN), Streaming(), 0),
        (Paging(whole=True), Ended("no byte for 60 s"), Streaming(), 0),
        # Nobody is told to be away for hours.
        (Watching(5), Refused(ApiError(429, retry_after=3600.0)), Watching(5), 60),
        # The server's data is older than ours: it lags, or was restored.
        (Streaming(5), Refused(AHEAD), Streaming(), 1),
        (Watching(5), Refused(AHEAD), Streaming(), 1),
        # It will pass: the same again, from where we are.
        (Watching(5), Refused(BUSY), Watching(5), 7),
        (Watching(5), Refused(BROKEN), Watching(5), 0),
        (Streaming(3), Refused(BROKEN), Streaming(3), 0),
        (Paging("t"), Refused(BUSY), Paging("t"), 7),
        (Watching(5), Refused(ApiError(401, "Unauthorized", "who?")), Watching(5), 0),
        # Not there or not allowed: a list will tell when that changes, and what is there then.
        (Watching(5), Refused(NOT_FOUND), Streaming(5), 0),
        (Watching(5), Refused(FORBIDDEN), Streaming(5), 0),
        (Streaming(5), Refused(NOT_FOUND), Streaming(), 0),
        (Paging("t"), Refused(FORBIDDEN), Streaming(), 0),
        (Paging(), Refused(INVALID), Streaming(), 0),
        # Connections that break: resume; a list that breaks is tried the other way, unless nothing was reached at all.
        (Watching(5), Ended("reset", 9.0, alive=True), Watching(5), 0),
        (Watching(5), Ended("refused"), Watching(5), 0),
        (Watching(5), Ended(seconds=0.2), Watching(5), 0),
        (Streaming(5), Ended("refused"), Streaming(5), 0),
        (Streaming(5), Ended("reset", 2.0, alive=True), Paging(), 0),
        (Streaming(), Ended(seconds=400.0, alive=True), Paging(), 0),
        (Paging("t"), Ended("reset"), Paging("t"), 0),
        # Silence: once may be the network, twice is looked into.
        (Watching(5), Ended("silent", 80.0, stalled=True), Watching(5, silent=1), 0),
        (Watching(5, silent=1), Ended("silent", 80.0, stalled=True), Streaming(5), 0),
        (Watching(5, silent=1), Ended("silent", 80.0, alive=True, stalled=True), Watching(5), 0),
    ],
)
def test_trouble(state: State, received: Input, following: State, wait: float) -> None:
    taken = step(state, received)
    assert (taken.state, taken.wait, taken.actions) == (following, wait, ())
    assert taken.trouble


@pytest.mark.parametrize(
    ("error", "following"),
    [(GONE, Streaming()), (BROKEN, Watching(6)), (NOT_FOUND, Streaming(6))],
)
def test_an_error_event_counts_after_the_events_before_it(error: ApiError, following: State) -> None:
    taken = step(Watching(5), Events([upsert(6), Failure(error), upsert(7)]))
    assert taken.actions == (Apply([upsert(6)], 6),)
    assert taken.state == following
    assert taken.close
    assert taken.trouble == str(error)


def test_a_server_that_went_back_in_time_is_listed_anew() -> None:
    taken = step(Watching(50), Events([Bookmark(20, initial_end=False)]))
    assert taken.state == Streaming()
    assert taken.close
    assert "restored" in taken.trouble


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (
            Streaming(),
            {
                "watch": "true",
                "allowWatchBookmarks": "true",
                "sendInitialEvents": "true",
                "resourceVersionMatch": "NotOlderThan",
                "resourceVersion": "",
            },
        ),
        (Watching(5), {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "5"}),
        (Paging(), {"limit": "500"}),
        (Paging("t"), {"limit": "500", "continue": "t"}),
        (Paging(whole=True), {}),
    ],
)
def test_requests(state: State, expected: dict[str, str]) -> None:
    assert request(state) == expected


def test_a_relist_is_not_older_than_what_is_known() -> None:
    assert request(Streaming(5))["resourceVersion"] == "5"
