"""How the kernel's Ceph clients, of block devices and of file systems, speak to a cluster."""

from __future__ import annotations

import re

MS_MODES = ("legacy", "crc", "secure", "prefer-crc", "prefer-secure")
"""The values of the kernel clients' option `ms_mode`."""

_MS_MODE_SINCE = (5, 11)
"""The first kernel whose clients have that option, and the second version of the protocol."""


def ms_mode_problem(mode: str, release: str) -> str:
    """Why a kernel cannot speak to a cluster; empty when it can.

    Args:
        mode: The `ms_mode` that the cluster asks for; empty: any.
        release: The kernel's release, "6.1.0-18-amd64".
    """
    if mode in ("", "legacy") or tuple(int(number) for number in re.findall(r"\d+", release)[:2]) >= _MS_MODE_SINCE:
        return ""
    return f"kernel {release} does not speak to the cluster with ms_mode={mode}: 5.11 does"
