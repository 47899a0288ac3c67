"""A de-duplicating, rate-limited, prioritised queue of keys for asyncio workers. It knows nothing of Kubernetes.

The contract is that of client-go's `util/workqueue`, with the priorities of controller-runtime's `priorityqueue`:
a key is in the queue once however often it is added, one key is never handed to two workers at once, and a key that is
added while it is processed is handed out again afterwards.
"""

from workqueue.clock import loop_clock
from workqueue.queue import LOW_PRIORITY, QueueShutDown, WorkQueue
from workqueue.ratelimit import (
    ItemExponentialBackoff,
    MaxOf,
    RateLimiter,
    TokenBucket,
    default_rate_limiter,
)
from workqueue.stats import Histogram, QueueStats

__all__ = [
    "LOW_PRIORITY",
    "Histogram",
    "ItemExponentialBackoff",
    "MaxOf",
    "QueueShutDown",
    "QueueStats",
    "RateLimiter",
    "TokenBucket",
    "WorkQueue",
    "default_rate_limiter",
    "loop_clock",
]
