"""Where the time went: the seconds of each step, and the table of them that a person reads at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from e2e import progress


class Timetable:
    """Steps in their order, with the seconds that each took."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float]] = []

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Say what begins and ends, and keep how long it took."""
        began = time.monotonic()
        with progress.step(what):
            yield
        self.rows.append((what, time.monotonic() - began))

    def __str__(self) -> str:
        width = max((len(what) for what, _ in self.rows), default=0)
        rows = [*self.rows, ("together", sum(seconds for _, seconds in self.rows))]
        return "\n".join(f"{what:<{width}}  {seconds:7.1f} s" for what, seconds in rows)
