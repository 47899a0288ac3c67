"""Finds the passphrase that opens an encrypted image, as a process of its own: librbd may hang, and can then be killed.

Question and answer are JSON on its standard input and output: keys are in no argument and in no file. A process that is
killed at any point leaves an image with which the next one goes on.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import msgspec

from controller.agent.ceph.credentials import Credentials
from controller.agent.rbd.luks import LuksError, Opening, make_header, unlock
from controller.agent.rbd.protocol import Image
from controller.agent.system.command import short

if TYPE_CHECKING:
    from collections.abc import Sequence

DEADLINE = 90.0
"""Seconds: less than the lock on an image that is being formatted lasts, and than the kubelet waits."""

_MON_SECONDS = "30"


class UnlockError(Exception):
    """An image cannot be opened; the message says which one and why."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be opened, and by whom.

    Attributes:
        image: The image.
        credentials: The Ceph user.
        handle: See `controller.agent.rbd.luks.Opening`.
        passphrase: See there.
        kms: See there.
        read_only: See there.
    """

    image: Image
    credentials: Credentials
    handle: str
    passphrase: str
    kms: str
    read_only: bool = False

    def __repr__(self) -> str:
        return f"Question(image={self.image!s}, kms={self.kms!r}, read_only={self.read_only})"


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The passphrase, or why there is none."""

    passphrase: str = ""
    error: str = ""

    def __repr__(self) -> str:
        return f"Answer(error={self.error!r})"


async def ask(
    question: Question, *, argv: Sequence[str] = (sys.executable, "-m", "controller.agent.rbd.unlock")
) -> str:
    """The passphrase that opens an image, which is formatted first if nobody has used it yet.

    Args:
        question: What is to be opened.
        argv: The program.

    Raises:
        UnlockError: It cannot be opened.
    """
    try:
        with anyio.fail_after(DEADLINE):
            done = await anyio.run_process(list(argv), input=msgspec.json.encode(question), check=False)
    except TimeoutError:
        raise UnlockError(f"image {question.image} was not unlocked within {DEADLINE:g} s") from None
    except OSError as error:
        raise UnlockError(f"image {question.image} cannot be unlocked: {error}") from error
    try:
        answer = msgspec.json.decode(done.stdout, type=Answer)
    except msgspec.MsgspecError:
        words = short(done.stderr.decode(errors="replace")) or f"exit status {done.returncode}"
        raise UnlockError(f"image {question.image} cannot be unlocked: {words}") from None
    if answer.error:
        raise UnlockError(answer.error)
    return answer.passphrase


def answer(question: Question) -> Answer:
    """Answers a question, by librbd. Blocking."""
    import rados  # system libraries of the agent's image
    import rbd

    where, opening = question.image, question.image.name
    try:
        cluster = rados.Rados(
            rados_id=question.credentials.user,
            conf={
                "mon_host": ",".join(where.monitors),
                "key": question.credentials.key,
                "client_mount_timeout": _MON_SECONDS,
            },
        )
        cluster.connect()
        try:
            with cluster.open_ioctx(where.pool) as ioctx:
                ioctx.set_namespace(where.namespace)
                wanted = Opening(
                    image=opening,
                    handle=question.handle,
                    passphrase=question.passphrase,
                    kms=question.kms,
                    read_only=question.read_only,
                )
                return Answer(passphrase=unlock(rbd, ioctx, wanted, make_header))
        finally:
            cluster.shutdown()
    except LuksError as error:
        return Answer(error=str(error))
    except (rados.Error, rbd.Error, OSError, subprocess.SubprocessError) as error:
        return Answer(error=f"image {where}: {error}")


def main() -> None:
    """The command line: answers the question on standard input."""
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    sys.stdout.buffer.write(msgspec.json.encode(answer(question)))


if __name__ == "__main__":
    main()
