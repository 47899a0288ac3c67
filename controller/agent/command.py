"""Running a program of the node: always with a deadline, and its failure is an error that says why."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import anyio

if TYPE_CHECKING:
    from collections.abc import Collection

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

    async def __call__(self, *argv: str, deadline: float = 30.0, ok: Collection[int] = (0,)) -> Done:
        """Runs `argv` without standard input.

        Args:
            argv: The program and its arguments. Never a secret: any process of the node can read them.
            deadline: Seconds after which it is killed.
            ok: The exit statuses that are no failure.

        Raises:
            CommandError: It failed, could not be started, or did not end in time.
        """
        ...


async def run(*argv: str, deadline: float = 30.0, ok: Collection[int] = (0,)) -> Done:
    """The real `Runner`."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise CommandError(argv[0], f"cannot be started: {error}") from error
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
        raise CommandError(argv[0], f"exit status {returncode}: {text}", returncode)
    return Done(returncode, stdout, stderr)


async def _make_sure_of_the_end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.kill()
    with anyio.move_on_after(_KILL_GRACE, shield=True):
        await process.wait()
