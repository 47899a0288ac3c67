"""Long computations beside the event loop, on which leases, probes and streams live.

An analysis is pure, and takes longer for a larger system. In a worker thread it shares the processor with the event
loop instead of blocking it: the interpreter switches between threads every few milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Callable


async def aside[**P, T](function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls a pure function in a worker thread, and returns what it returns.

    Args:
        function: Must not wait, nor touch anything that others change meanwhile.
        args: Its arguments.
        kwargs: Its arguments by name.
    """
    return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs))
