"""Long computations: in another thread than the event loop's, and as if they were called here."""

from __future__ import annotations

import threading

import pytest

from controller.framework.aside import aside


async def test_what_it_returns_comes_from_another_thread() -> None:
    def compute(number: int, *, more: int) -> tuple[int, int]:
        return number + more, threading.get_ident()

    found, thread = await aside(compute, 1, more=2)
    assert found == 3
    assert thread != threading.get_ident()


async def test_what_it_raises_is_raised() -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        await aside(fail)
