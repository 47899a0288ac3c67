"""`radosgw-admin` for a zone in its zone group in its realm."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

Json = dict[str, Any]

ENOENT = 2
TIMEOUT = 120
CREDENTIALS = "/etc/rook/rgw"
"""Where the Secret with the keys of a user is mounted."""
KEYRING = "/etc/ceph/keyring-store/keyring"


class CommandError(Exception):
    """`radosgw-admin` failed; `code` is its exit status: an error number, mostly."""

    def __init__(self, command: str, code: int, output: str) -> None:
        super().__init__(f"radosgw-admin {command}: {output or 'failed'} (exit status {code})")
        self.code, self.output = code, output


class RefusedError(Exception):
    """What there is is not what it should be, and nobody may guess whose it is."""


class Site:
    """A zone in its zone group in its realm, and the calls of `radosgw-admin` on them.

    Args:
        entity: The cephx user, such as "client.rgw.my-store.a".
        realm: Names, of which none is empty.
        zonegroup: As above.
        zone: As above.
    """

    def __init__(self, entity: str, realm: str, zonegroup: str, zone: str) -> None:
        self.realm, self.zonegroup, self.zone = realm, zonegroup, zone
        self.changed: list[str] = []
        self._entity = entity
        self._own = [
            "--name", entity, "--keyring", KEYRING,
            f"--rgw-realm={realm}", f"--rgw-zonegroup={zonegroup}", f"--rgw-zone={zone}",
        ]  # fmt: skip

    def beside(self, zonegroup: str, zone: str) -> Site:
        """The same for another zone of the realm; what is changed there is told of here."""
        other = Site(self._entity, self.realm, zonegroup, zone)
        other.changed = self.changed
        return other

    def run(self, *command: str, stdin: str = "", secret: str = "") -> str:
        """Runs `radosgw-admin`; returns what it printed. `secret`: further arguments, passed by the environment.

        Raises:
            CommandError: It failed.
        """
        words = " ".join(word for word in command if not word.startswith("-"))
        arguments = ["radosgw-admin", *command, *self._own]
        given = {**os.environ, "CEPH_ARGS": f"{os.environ.get('CEPH_ARGS', '')} {secret}".strip()} if secret else None
        try:
            result = subprocess.run(  # noqa: S603
                arguments, input=stdin, env=given, capture_output=True, text=True, timeout=TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            raise CommandError(words, -1, f"no answer within {TIMEOUT} s") from None
        if result.returncode:
            raise CommandError(words, result.returncode, said(result.stderr))
        return result.stdout

    def read(self, *command: str) -> Json | None:
        """What a command prints, decoded; None: there is no such thing."""
        try:
            found: Json = json.loads(self.run(*command))
        except CommandError as error:
            if error.code == ENOENT:
                return None
            raise
        return found

    def change(self, what: str, *command: str, stdin: str = "", secret: str = "") -> None:
        """Runs a command that changes something, which is told of as `what`."""
        self.run(*command, stdin=stdin, secret=secret)
        self.changed.append(what)
        log(what)

    def write(self, kind: str, content: Json) -> None:
        """Writes a zone or zone group back whole."""
        self.change(f"{kind} changed", kind, "set", stdin=json.dumps(content))


def said(output: str) -> str:
    """What an error output says, in a line: its first error, without what logs put before each line."""
    lines = [re.sub(r"^\d{4}-\S+ \S+ +-?\d+ ", "", line.strip()) for line in output.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "")


def credentials(access: str, secret: str) -> tuple[str, str]:
    """The keys of a user, out of these files of the mounted Secret.

    Raises:
        RefusedError: They are none.
    """
    found = [Path(CREDENTIALS, name).read_text().strip() for name in (access, secret)]
    if not all(found) or any(len(key.split()) > 1 for key in found):
        raise RefusedError(f"the Secret has no keys: expected {access} and {secret}, neither empty nor with blanks")
    return found[0], found[1]


def missing(kind: str, name: str) -> NoReturn:
    """Raises that something that was there, or was made, is not there."""
    raise CommandError(f"{kind} get", ENOENT, f"{kind} {name} is not there by now")


def log(message: str) -> None:
    """Tells whoever reads the pod's log."""
    sys.stderr.write(f"{message}\n")
