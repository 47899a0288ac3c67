"""Running a program of the node: with a deadline, unless it must not be cut off. A failure says why."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

import anyio
import structlog

from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Collection

_log = structlog.get_logger(__name__)

_KILL_GRACE = 2.0
"""Seconds that a killed program gets to be gone. One that is stuck in the kernel outlives it, and is reaped later."""


@dataclass(frozen=True, slots=True)
class Done:
    """A program that ran to its end."""

    returncode: int
    stdout: bytes = b""
    stderr: bytes = b""


class CommandError(Exception):
    """A program failed, could not be started, or did not end in time.

    Attributes:
        program: Its name.
        returncode: Its exit status; None when it could not be started or did not end in time.
    """

    def __init__(self, program: str, reason: str, returncode: int | None = None) -> None:
        super().__init__(f"{program}: {reason}")
        self.program = program
        self.returncode = returncode


class Runner(Protocol):
    """Runs programs; tests put a scripted one in place of `run`."""

    async def __call__(self, *argv: str, deadline: float | None = 30.0, ok: Collection[int] = (0,)) -> Done:
        """Runs `argv` without standard input.

        Args:
            argv: The program and its arguments. Never a secret: any process of the node can read them.
            deadline: Seconds after which it is killed. None: it runs to its end, also when the caller is cancelled; for
                programs that leave damage behind when they are cut off.
            ok: The exit statuses that are no failure.

        Raises:
            CommandError: It failed, could not be started, or did not end in time.
        """
        ...


async def run(*argv: str, deadline: float | None = 30.0, ok: Collection[int] = (0,)) -> Done:
    """The real `Runner`."""
    stdout = stderr = b""
    # What must not be cut off must not be while it is started, either: it may be at work before that is known here.
    with anyio.CancelScope(shield=deadline is None):
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise CommandError(argv[0], f"cannot be started: {error}") from error
        if deadline is None:
            stdout, stderr = await process.communicate()
    if deadline is not None:
        try:
            with anyio.fail_after(deadline):
                stdout, stderr = await process.communicate()
        except TimeoutError:
            raise CommandError(argv[0], f"did not end within {deadline:g} s: {' '.join(argv)}") from None
        finally:
            await _make_sure_of_the_end(process)
    returncode = process.returncode
    if returncode is None or returncode not in ok:
        text = (stderr or stdout).decode(errors="replace").strip()
        shown = short(text)
        if shown != text:
            _log.warning("program failed", program=argv[0], status=returncode, words=text)
        raise CommandError(argv[0], f"exit status {returncode}: {shown}", returncode)
    return Done(returncode, stdout, stderr)


def short(text: str) -> str:
    """What a person needs of a program's words, on one line: without the usage that some print after an error.

    All lines count: many a program says which version it is before it says what is wrong.
    """
    lines = [line.strip() for line in text.splitlines()]
    said = takewhile(lambda line: not line.lower().startswith("usage:"), lines)
    return brief("; ".join(filter(None, said)) or text)


async def _make_sure_of_the_end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.kill()
    with anyio.move_on_after(_KILL_GRACE, shield=True):
        await process.wait()
