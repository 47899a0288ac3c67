"""How the bench talks to a runtime's program, and what it reads of the process from outside.

A program takes these options:

    --kubeconfig FILE   whom to talk to
    --resource NAME     "pods" or "widgets": what to keep a copy of, and to reconcile
    --objects N         how many there are
    --workers N         reconcile so many at the same time
    --lease NAME        elect a leader by this Lease in the namespace "default", where the runtime can
    --cache-only        fill the copy, reconcile nothing
    --record            note when which sequence number (an annotation) was reconciled
    --patch TOKEN       write TOKEN into the status of every widget that has another
    --children N        at each reconcile read N objects of the object's namespace from the copy, where the program can

It says what happens by lines of JSON on standard output:

    {"event": "synced"}                 its copy is complete
    {"event": "first", "seconds": s}    every object has been reconciled once
    {"event": "pass", "seconds": s}     every object has been reconciled again, seconds after it was told to
    {"event": "patched", "seconds": s}  every widget has the token, seconds after the first write began
    {"event": "seen", "seen": [[n, t]]} sequence numbers since the last such line, and Unix nanoseconds for each

and obeys lines on standard input: "pass" and "seen". It ends when it is killed. CPU seconds, memory and the time to an
event are measured here, from outside, for all in the same way.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class PeerError(Exception):
    """A program ended, or did not say in time what it should have said."""


class Peer:
    """A running program. Enter it as a context: it is killed at the end.

    Attributes:
        started: When it was started, in seconds of `time.monotonic`.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], directory: Path) -> None:
        self._command = command
        self._environment = {**os.environ, **environment}
        self._directory = directory
        self._events: queue.Queue[tuple[float, dict[str, Any]] | None] = queue.Queue()  # bounded by what it says
        self.started = 0.0

    def __enter__(self) -> Self:
        self._errors = tempfile.TemporaryFile()  # closed with the process
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            cwd=self._directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put((time.monotonic(), json.loads(line)))
        self._events.put(None)

    def expect(self, event: str, deadline: float) -> tuple[float, dict[str, Any]]:
        """Seconds from its start to the event, and the event; other events before it are dropped.

        Args:
            event: Which.
            deadline: Seconds to wait for it.

        Raises:
            PeerError: It did not come in time, or the program has ended.
        """
        ends = time.monotonic() + deadline
        while True:
            try:
                found = self._events.get(timeout=max(0.0, ends - time.monotonic()))
            except queue.Empty:
                raise PeerError(f"no {event!r} within {deadline:g} s from {self._describe()}") from None
            if found is None:
                raise PeerError(f"{self._describe()} ended before {event!r}")
            at, said = found
            if said["event"] == event:
                return at - self.started, said

    def send(self, command: str) -> None:
        """Tell it to do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()

    def _describe(self) -> str:
        self._errors.seek(0)
        return f"{' '.join(self._command)}:\n{self._errors.read()[-4000:].decode(errors='replace')}"

    def cpu(self) -> float:
        """CPU seconds that it has used, of all its threads."""
        return cpu_seconds(Path(f"/proc/{self._process.pid}/stat").read_text())

    def rss(self) -> float:
        """MB that it has in memory."""
        return self._memory("VmRSS")

    def peak(self) -> float:
        """MB that it had in memory at most."""
        return self._memory("VmHWM")

    def _memory(self, name: str) -> float:
        return memory(Path(f"/proc/{self._process.pid}/status").read_text(), name)


def cpu_seconds(stat: str) -> float:
    """User and system time in a /proc/PID/stat."""
    after_name = stat.rpartition(")")[2].split()  # a program's name may have spaces
    return (int(after_name[11]) + int(after_name[12])) / TICKS_PER_SECOND


def memory(status: str, name: str) -> float:
    """A figure of memory in a /proc/PID/status, in MB."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise ValueError(f"no {name} in {status[:200]!r}")
    return int(found.group(1)) * 1024 / 1e6
