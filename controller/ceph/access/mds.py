"""Questions to MDS daemons, which only libcephfs can ask: each in a process of its own, which has a deadline."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROGRAM = (sys.executable, "-P", str(Path(__file__).with_name("tell.py")))
"""`-P`: the directory of the program has modules of the names of libraries."""

_MOST = 2000
"""Characters of what a program said in vain that are told."""


class MdsError(OSError):
    """MDS daemons did not answer in time, or one refused."""


def tell(
    user: str,
    conf: Mapping[str, str],
    roles: Sequence[str],
    command: str,
    *,
    seconds: float,
    program: Sequence[str] = PROGRAM,
) -> list[Any]:
    """The decoded answers of the MDS daemons that hold these ranks, in their order. Blocking.

    Args:
        user: Who asks, "client.admin".
        conf: Options of librados, the user's key among them: they are handed to the process by its standard input.
        roles: File systems with ranks, "myfs:0".
        command: The command, as JSON.
        seconds: How long it may take; then the process is ended.
        program: What is run.

    Raises:
        MdsError: They did not answer in time, or one refused.
    """
    question = json.dumps({"user": user, "conf": dict(conf), "roles": list(roles), "command": command})
    try:
        done = subprocess.run(  # noqa: S603  # the program is ours
            program, input=question.encode(), capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise MdsError(errno.ETIMEDOUT, f"{_named(roles)} did not answer within {seconds:g} s") from None
    try:
        found = orjson.loads(done.stdout)
    except orjson.JSONDecodeError:
        said = done.stderr.decode("utf-8", "replace").strip()[-_MOST:]
        raise MdsError(errno.EIO, f"{_named(roles)} could not be asked: status {done.returncode}, {said}") from None
    if "error" in found:
        number, message = found["error"]
        raise MdsError(number, f"{_named(roles)} could not be asked: {message}")
    answers = []
    for role, (number, output, message) in zip(roles, found["answers"], strict=True):
        if number:
            raise MdsError(abs(number), f"MDS daemon of {role}: {message or output or 'failed'}")
        answers.append(orjson.loads(output))
    return answers


def _named(roles: Sequence[str]) -> str:
    return f"the MDS daemons of {', '.join(roles)}"
