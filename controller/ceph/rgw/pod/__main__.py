"""`install`: this package, out of the operator's image. Anything else: an act, with its input from the environment."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from .converge import converge, remove
from .multisite import promote, realm, remove_realm, remove_zone, remove_zonegroup, zone, zonegroup
from .site import CommandError, RefusedError, Site, log

MESSAGE_LIMIT = 4096
ERROR_LIMIT = 600

ACTS = {
    "converge": converge,
    "remove": remove,
    "realm": realm,
    "zonegroup": zonegroup,
    "zone": zone,
    "promote": promote,
    "remove-realm": remove_realm,
    "remove-zonegroup": remove_zonegroup,
    "remove-zone": remove_zone,
}
"""What can be done, by name."""


def work(what: str) -> int:
    """Does one of `ACTS`; leaves its result, or why there is none, as termination message."""
    wanted = json.loads(os.environ["ROOK_RGW_WANTED"])
    names = wanted["names"]
    site = Site(os.environ["ROOK_RGW_ENTITY"], names["realm"], names["zonegroup"], names["zone"])
    status = 0
    try:
        text = json.dumps({**ACTS[what](site, wanted), "changed": site.changed})
    except (CommandError, RefusedError, OSError, ValueError) as error:
        status, text = 1, str(error)[:ERROR_LIMIT]
        log(text)
    Path(os.environ["ROOK_RESULT"]).write_text(text[:MESSAGE_LIMIT])
    return status


def install(directory: str) -> int:
    """Copies this package."""
    # A node that was restarted does it again, in a pod where it was done.
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(str(Path(__file__).parent), directory, ignore=without, dirs_exist_ok=True)
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "install":
        sys.exit(install(sys.argv[2]))
    elif sys.argv[1] in ACTS:
        sys.exit(work(sys.argv[1]))
    else:
        sys.exit(f"unknown act {sys.argv[1]!r}: expected install, {' or '.join(ACTS)}")
