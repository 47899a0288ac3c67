"""A program that puts a question to MDS daemons, by libcephfs; run by `controller.ceph.access.mds`.

libcephfs waits without end for a daemon that has died since it was asked, and nothing takes the question back. A
thread would wait with it for ever; a process is ended. This file stands alone: it needs rados and cephfs, and nothing
else that is not Python's own.

It reads a JSON object: `user`, `conf` (options of librados, the key among them), `roles` ("myfs:0") and `command`. It
writes one: `answers`, a list of [number, text, message] in the order of the roles, or `error`, as [number, message].
"""

from __future__ import annotations

import errno
import json
import sys
from typing import Any


def main() -> None:
    """Asks each role in turn."""
    question = json.load(sys.stdin)
    try:
        answer: dict[str, Any] = {"answers": ask(question)}
    except Exception as error:
        answer = {"error": [abs(getattr(error, "errno", None) or errno.EIO), str(error)]}
    json.dump(answer, sys.stdout)


def ask(question: dict[str, Any]) -> list[tuple[int, str, str]]:
    """The answer of each role: error number, text, message."""
    import cephfs
    import rados

    cluster = rados.Rados(name=question["user"], conf=question["conf"])
    cluster.connect()
    mdss = cephfs.LibCephFS(rados_inst=cluster)
    mdss.init()
    answers = []
    for role in question["roles"]:
        number, output, message = _tell(mdss, role, question["command"])
        answers.append((number, bytes(output or b"").decode("utf-8", "replace"), str(message or "")))
    return answers  # the end of the process ends the connections, too


def _tell(mdss: Any, role: str, command: str) -> Any:
    try:
        return mdss.mds_command(role, [command], b"")
    except TypeError:  # some releases take the command itself, others a list of its parts
        return mdss.mds_command(role, command, b"")


if __name__ == "__main__":
    main()
