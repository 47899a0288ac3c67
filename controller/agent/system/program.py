"""A program that owns the processes behind volumes: its command line, and its life until nobody needs it."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog

from controller.agent.system import messages, task_limit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import msgspec

_CHECK_DEADLINE = 5.0

_log = structlog.get_logger(__name__)


async def lift_limit() -> None:
    """Lifts the limit on this container's tasks, where it has a low one."""
    if lifted := await anyio.to_thread.run_sync(task_limit.lift_own):
        _log.info("limit on tasks lifted", was=lifted)


async def until_told_to_end(drained: Callable[[], Awaitable[None]]) -> None:
    """Waits for SIGTERM or SIGINT, and then until `drained` returns."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            break
        _log.info("told to end")
        await drained()


def main(
    module: str,
    description: str | None,
    run: Callable[[Path, Path], Awaitable[None]],
    *,
    socket: str,
    runtime: str,
    files: str,
    question: msgspec.Struct,
    reply: type[msgspec.Struct],
) -> None:
    """The command line: runs a mounter, or with `--check` asks whether one answers.

    Args:
        module: The program's module, as `python -m` takes it.
        description: What the program does.
        run: Runs it, by its socket and its directory.
        socket: Where it listens by default.
        runtime: Its directory by default.
        files: What is in that directory, in words.
        question: What `--check` asks.
        reply: What it is answered.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument(
        "--socket", type=Path, default=Path(socket), help="unix socket to listen on (default: %(default)s)"
    )
    parser.add_argument("--runtime", type=Path, default=Path(runtime), help=f"directory for {files}")
    parser.add_argument("--check", action="store_true", help="exit with 0 if a mounter answers on the socket")
    arguments = parser.parse_args()
    if arguments.check:
        try:
            anyio.run(_check, arguments.socket, question, reply)
        except (OSError, ValueError) as error:
            sys.exit(f"no mounter answers on {arguments.socket}: {str(error) or 'no answer in time'}")
        return
    # Not the runtime's own set-up: its imports would take more memory than the rest of this process.
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ]
    )
    anyio.run(run, arguments.socket, arguments.runtime)


async def _check(socket: Path, question: msgspec.Struct, reply: type[msgspec.Struct]) -> None:
    with anyio.fail_after(_CHECK_DEADLINE):
        await messages.ask(socket, question, reply)
