"""How the kernel's Ceph clients, of block devices and of file systems, speak to a cluster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MS_MODES = ("legacy", "crc", "secure", "prefer-crc", "prefer-secure")
"""The values of the kernel clients' option `ms_mode`."""

_NEAREST_SINCE = (5, 8)
"""The first kernel whose clients read from the nearest OSD."""

_LOCATION = re.compile(r"[\w.-]+:[\w.-]+(\|[\w.-]+:[\w.-]+)*")
"""A place in the CRUSH map as the kernel's clients take it, "zone:a|host:n1"."""

_MS_MODE_SINCE = (5, 11)
"""The first kernel whose clients have that option, and the second version of the protocol."""


def ms_mode_problem(mode: str, release: str) -> str:
    """Why a kernel cannot speak to a cluster; empty when it can.

    Args:
        mode: The `ms_mode` that the cluster asks for; empty: any.
        release: The kernel's release, "6.1.0-18-amd64".
    """
    if mode in ("", "legacy") or _version(release) >= _MS_MODE_SINCE:
        return ""
    return f"kernel {release} does not speak to the cluster with ms_mode={mode}: 5.11 does"


def nearest_options(location: str, given: Iterable[str], release: str) -> tuple[str, ...]:
    """Options by which a kernel's client reads from the nearest OSD: of its rbd driver and of its file system alike.

    Args:
        location: Where the node is in the CRUSH map, "zone:a|host:n1"; empty: it is to read from any.
        given: Options that the volume's class has: what it says itself stands.
        release: The kernel's release. One that knows no such options reads from any.
    """
    said = any(option.partition("=")[0] == "read_from_replica" for option in given)
    if said or not is_location(location) or _version(release) < _NEAREST_SINCE:
        return ()
    return ("read_from_replica=localize", f"crush_location={location}")


def is_location(text: str) -> bool:
    """Whether a text is a place in the CRUSH map that can be handed to a client, among other options."""
    return _LOCATION.fullmatch(text) is not None


def _version(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", release)[:2])
