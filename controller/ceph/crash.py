"""What keeps the pod of a Ceph daemon from running: what its container says of it, unless that is how a crash ends.

A daemon that crashes says why, then dumps what happened before over pages, and ends with a line about the signal. That
line is all that a container's termination message has of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from controller.framework import pods

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.runtime.kube import Deployment, Pod

_END = re.compile(r"reraise_fatal: default handler for signal (\d+) didn't terminate the process\?")


def trouble(found: Iterable[Pod], workload: Deployment | None = None) -> str:
    """As `controller.framework.pods.trouble`, and where a crash is told of in the log."""
    return _END.sub(_crash, pods.trouble(found, workload))


def _crash(end: re.Match[str]) -> str:
    where = 'above the first "Caught signal" in its log (kubectl logs --previous)'
    return f"it crashed with signal {end[1]}, and says why {where}"
