"""What the peers in Python share: options, the lines they say and obey, and the count of what they have reconciled."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

GROUP, VERSION = "bench.rook.example", "v1"
SEQUENCE = f"{GROUP}/sequence"


def options() -> argparse.Namespace:
    """The options that every peer takes; see `bench.runtime.protocol`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--resource", choices=("pods", "widgets"), required=True)
    parser.add_argument("--objects", type=int, required=True)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--lease", default="")
    parser.add_argument("--cache-only", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--patch", default="")
    parser.add_argument("--children", type=int, default=0)
    return parser.parse_args()


def say(event: str, **more: Any) -> None:
    """One line for the bench."""
    sys.stdout.buffer.write(orjson.dumps({"event": event, **more}) + b"\n")
    sys.stdout.buffer.flush()


class Tally:
    """Counts reconciles, and says when a pass over all objects is over and when all are patched.

    Args:
        objects: How many there are.
        record: Whether to note when the reconciler saw which sequence number.
    """

    def __init__(self, objects: int, *, record: bool) -> None:
        self._objects = objects
        self._record = record
        self._seen: list[tuple[int, int]] = []
        self._left = 0
        self._patched = 0
        self._patch_began = 0.0
        self.begin("first")

    def begin(self, event: str) -> None:
        """A pass over all objects begins; `event` is what is said at its end."""
        self._event, self._began, self._left = event, time.perf_counter(), self._objects

    def reconciled(self, sequence: str | None) -> None:
        """An object was reconciled that carries this sequence number."""
        if self._record and sequence:
            self._seen.append((int(sequence), time.time_ns()))
        self._left -= 1
        if self._left == 0:
            say(self._event, seconds=time.perf_counter() - self._began)

    def patching(self) -> None:
        """An object is about to be patched."""
        self._patch_began = self._patch_began or time.perf_counter()

    def patched(self) -> None:
        """An object was patched."""
        self._patched += 1
        if self._patched == self._objects:
            say("patched", seconds=time.perf_counter() - self._patch_began)

    async def obey(self, enqueue_all: Callable[[], None] | None) -> None:
        """Do what the bench asks for, until it closes its end.

        Args:
            enqueue_all: Puts all objects into the queue; None if the runtime has no such thing.
        """
        async for line in _lines():
            if line == b"seen":
                seen, self._seen = self._seen, []
                say("seen", seen=seen)
            elif line == b"pass" and enqueue_all is not None:
                self.begin("pass")
                enqueue_all()
            else:
                raise ValueError(f"unknown command {line!r}")


async def _lines() -> AsyncIterator[bytes]:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.strip()
