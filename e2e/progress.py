"""What a person sees while the environment is made: what is being waited for, and how long each step took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Write one line for the person who waits. It goes to stderr: stdout is for what a command was asked for."""
    # In one piece: several threads may have something to say.
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what begins, and when it has ended how long it took and whether it failed."""
    began = time.monotonic()
    say(f"==> {what}")
    try:
        yield
    except BaseException:
        say(f"<== {what}: failed after {time.monotonic() - began:.1f} s")
        raise
    say(f"<== {what}: {time.monotonic() - began:.1f} s")
