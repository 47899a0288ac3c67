"""`run`: the pod's main process. `install`: this package and the jars for the pod, out of the operator's image."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from pathlib import Path

from .files import JARS, PROGRAM
from .program import Program
from .server import ADMIN_PORT, PROBE_PORT, Admin, Handler, Probes, Server

PACKAGE = "rook_member"
"""What the copy is called."""


def run() -> int:
    """The pod's main process."""
    program = Program()
    Handler.program = program
    signal.signal(signal.SIGTERM, program.stop)
    signal.signal(signal.SIGINT, program.stop)
    for server in (Server(PROBE_PORT, Probes), Server(ADMIN_PORT, Admin, tls=True)):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    return program.run()


def install() -> int:
    """Copies this program and the jars to `PROGRAM`."""
    # A node that was restarted does it again, in a pod where it was done.
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(str(Path(__file__).parent), str(PROGRAM / "rook_member"), ignore=without, dirs_exist_ok=True)
    for name in ("jolokia", "exporter"):
        shutil.copy(str(JARS / f"{name}.jar"), str(PROGRAM / f"{name}.jar"))
    return 0


if __name__ == "__main__":
    sys.exit({"run": run, "install": install}[sys.argv[1]]())
