"""Where things are in the pod, and how files are read and written there."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from informers import JsonObject

PROGRAM = Path("/opt/rook")
"""Where this package and the jars are copied to."""
JARS = Path("/usr/share/rook/jars")
"""Where the operator's image has the jars."""
CONFIG = Path("/etc/rook/cassandra")
"""The rack's configuration."""
RECORDS = Path("/etc/rook/members")
"""How each member is to be started, as the operator wrote it."""
ADMIN = Path("/etc/rook/admin")
"""Who is let in."""
TLS = Path("/etc/rook/tls")
"""The member's key and certificate, and the authority's; nothing where the cluster has none."""
RUN = Path("/run/rook")
"""What is written anew at each start."""
VOLUME = Path("/var/lib/cassandra")
MARK = VOLUME / "rook.json"
"""Whose data the volume holds, once they have a place in the ring."""
HOME = Path(os.environ.get("CASSANDRA_HOME", "/opt/cassandra"))


def log(text: str) -> None:
    """Writes a line for `kubectl logs`."""
    sys.stderr.write(f"rook: {text}\n")
    sys.stderr.flush()


def read_json(path: Path) -> JsonObject | None:
    """The object in a file; None where there is none."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Puts a file in place at once, so that whoever reads it has the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    with os.fdopen(os.open(str(temporary), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class Certificates(NamedTuple):
    """A certificate, its key, and the authorities to trust, as PEM; all are empty where the cluster has none."""

    certificate: str = ""
    key: str = ""
    trusted: str = ""

    @property
    def fingerprint(self) -> str:
        """Tells a certificate with its authorities from others; empty: there is none."""
        told = f"{self.certificate}\0{self.trusted}".encode()
        return hashlib.sha256(told).hexdigest()[:16] if self.key else ""


def certificates() -> Certificates:
    """The certificates as they are now."""
    paths = [TLS / name for name in ("tls.crt", "tls.key", "ca.crt")]
    return Certificates(*(path.read_text() if path.exists() else "" for path in paths))
