"""Which clients of an image are daemons that mirror it: they watch it as whoever uses it does, and write nothing to it.

The watch of a daemon of the other cluster has an address that says nothing. The mons know by which key it has come:
each knows the clients that have a session with it (`ceph tell mon.<id> sessions`).

These functions block: they run in a worker thread, with a connection.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from controller.ceph.access.clients import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DAEMONS = "client.rbd-mirror"
"""What the names of the daemons' cephx users begin with, those that come with another cluster's token included."""
TIMEOUT = 5
"""Seconds for the answer of a mon."""
MIRRORED = 1
"""The state of an image that is mirrored, by librbd's number."""


def is_mirrored(image: Any) -> bool:
    """Whether daemons may have an image open."""
    return bool(image.mirror_image_get_info()["state"] == MIRRORED)


def mirror_daemons(handle: Any) -> frozenset[str]:
    """The clients that are daemons, as "10.0.0.1:0/123"; those of a mon that does not answer are left out."""
    status = _ask(handle, "quorum_status")
    mons = status.get("quorum_names", ()) if isinstance(status, dict) else ()
    return frozenset(client for mon in mons for session in _sessions(handle, mon) for client in _clients(session))


def _sessions(handle: Any, mon: str) -> Iterator[Mapping[str, Any]]:
    found = _ask(handle, "sessions", target=mon)
    for session in found if isinstance(found, list) else ():
        if str(session.get("entity_name", "")).startswith(DAEMONS):
            yield session


def _clients(session: Mapping[str, Any]) -> Iterator[str]:
    for address in session.get("addrs", {}).get("addrvec", ()):
        yield plain(f"{address['addr']}/{address['nonce']}")


def _ask(handle: Any, prefix: str, **target: str) -> Any:
    """The answer of the mons, or of one; None: there is none."""
    command = json.dumps({"prefix": prefix, "format": "json"})
    number, output, _ = handle.mon_command(command, b"", TIMEOUT, **target)
    return json.loads(output) if not number and output else None
