"""Waiting ends when it is so, when it fails, and when time is up; and it says what is missing once for each answer."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from e2e import eventually as module
from e2e.eventually import NotYetError, eventually


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only sleeping moves."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))


def answers(*given: str | int) -> Callable[[], int]:
    """Raises `NotYetError` for each text and returns the first number."""
    rest: Iterator[str | int] = iter(given)

    def look() -> int:
        answer = next(rest)
        if isinstance(answer, str):
            raise NotYetError(answer)
        return answer

    return look


def test_it_returns_what_the_look_returned(capsys: pytest.CaptureFixture[str]) -> None:
    assert eventually("three mons", answers("one", "one", "two", 3), deadline=10) == 3
    assert capsys.readouterr().err.splitlines() == [
        "    waiting for three mons: one",
        "    waiting for three mons: two",
    ]


def test_time_is_up() -> None:
    with pytest.raises(TimeoutError, match=r"three mons after 6 s: only two"):
        eventually("three mons", answers(*["only two"] * 100), deadline=2)


def test_a_real_failure_comes_through_at_once() -> None:
    def look() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        eventually("anything", look, deadline=10)
