"""Reading one's own writes: a reconciler never acts on a cache that is older than what it wrote last time.

Each write's answer goes into the caches at once, where it is newer than what they have (write-through), so that the wait
before the next reconcile of the same request is mostly none. Where a cache has not seen a write yet, the wait is for its
resource version to get there; bookmarks move it on though no object changes. Versions of one resource can be compared:
https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/5504-comparable-resource-version
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.runtime.reconciler import Write, current_reconcile
from workqueue import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from informers import InformerFactory, JsonObject, Resource

WAIT = 5.0
"""Seconds to wait for the caches before a request is put back."""

WAIT_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
