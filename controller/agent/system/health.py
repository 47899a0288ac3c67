"""Whether mounted file systems answer: asked with a deadline, and never twice at once."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

_DEADLINE = 10.0

_DEAD = (errno.ENOTCONN, errno.ESHUTDOWN, errno.ECONNABORTED, errno.ESTALE)
"""What a file system says that no process serves any more, or whose client is on Ceph's blocklist."""


@dataclass(frozen=True, slots=True)
class State:
    """How a mounted file system is.

    Attributes:
        problem: Why I/O fails; empty while it works.
        dead: It will not work again until it is mounted anew.
    """

    problem: str = ""
    dead: bool = False


class Health:
    """Asks file systems how they are."""

    def __init__(self, *, deadline: float = _DEADLINE) -> None:
        self._deadline = deadline
        self._asked: dict[str, float] = {}

    async def of(self, path: str) -> State:
        """The state of what is mounted at a path. One that hangs costs a thread, and holds nothing else up."""
        if path in self._asked:
            return State(f"the file system has not answered for {time.monotonic() - self._asked[path]:.0f} s")
        self._asked[path] = time.monotonic()

        def look() -> None:
            try:
                Path(path).stat()
                os.statvfs(path)
            finally:
                self._asked.pop(path, None)

        try:
            with anyio.fail_after(self._deadline):
                await anyio.to_thread.run_sync(look, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
        except TimeoutError:
            return State(f"the file system has not answered for {self._deadline:g} s")
        except OSError as error:
            return State(f"the file system fails: {error.strerror}", dead=error.errno in _DEAD)
        return State()
