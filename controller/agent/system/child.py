"""A program that serves as long as something is mapped or mounted: waited for, heard to its last words, ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from anyio.abc import Process

KEPT = 16_000
"""Characters of a program's last words that are kept: a crash of Ceph's libraries comes with a long backtrace."""

KILL_DEADLINE = 30.0
"""Seconds that a killed program gets to be gone. One that is stuck in the kernel outlives it."""


@dataclass(slots=True)
class Child:
    """A program that was started, with its standard error as a pipe.

    Attributes:
        process: It.
    """

    process: Process
    _words: str = ""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.process.returncode is None

    async def ended(self) -> tuple[int, str]:
        """Waits until it has ended; its exit status, and its last words."""
        if self.process.stderr is not None:
            async for chunk in self.process.stderr:
                self._words = (self._words + chunk.decode(errors="replace"))[-KEPT:]
        return await self.process.wait(), self._words

    async def ends_within(self, seconds: float) -> bool:
        """Waits for it that long; whether it has ended."""
        with anyio.move_on_after(seconds):
            await self.process.wait()
        return not self.runs

    async def kill(self) -> None:
        """Ends it at once, also when the caller is cancelled."""
        with anyio.CancelScope(shield=True):
            if self.runs:
                self.process.kill()
            await self.ends_within(KILL_DEADLINE)
