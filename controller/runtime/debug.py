"""What the pages below `/debug/` show of controllers and caches: which objects, how many, since when; no contents.

Lists are cut off, and say how many more there are: a page must not hold up the daemon that it is to explain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.runtime.probes import DebugPage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.runtime.controller import Controller
    from informers import InformerFactory, JsonObject
    from informers.cache import Cache
    from informers.watcher import Watcher

MOST_LISTED = 100
"""Keys of one kind that a page lists of one queue."""


def debug_pages(controllers: Sequence[Controller], informers: InformerFactory) -> Mapping[str, DebugPage]:
    """Pages by their names; what they show is read when they are asked for."""
    return {
        "queues": DebugPage(
            "per controller the requests that are ready, delayed, and being reconciled",
            lambda: {controller.name: _queue(controller) for controller in controllers},
        ),
        "reconciles": DebugPage(
            "per controller the slowest reconciles since the start",
            lambda: {controller.name: _slowest(controller) for controller in controllers},
        ),
        "caches": DebugPage(
            "per cache its size, how far it has followed the API server, and what holds it up",
            lambda: [_cache(cache, watchers) for cache, watchers in informers.caches()],
        ),
    }


def _queue(controller: Controller) -> JsonObject:
    queue = controller.queue
    ready = [{"request": str(key), "priority": priority} for key, priority in queue.next_ready(MOST_LISTED)]
    delayed = [
        {"request": str(key), "dueSeconds": round(due, 3), "failures": queue.requeues(key)}
        for key, due in queue.next_delayed(MOST_LISTED)
    ]
    active = [{"request": str(request), "seconds": round(seconds, 3)} for request, seconds in controller.active]
    return {
        "ready": _listed(ready, len(queue)),
        "delayed": _listed(delayed, queue.delayed()),
        "active": _listed(active[:MOST_LISTED], len(active)),
        "workers": controller.workers,
    }


def _listed(first: list[dict[str, Any]], count: int) -> JsonObject:
    return {"count": count, "first": first, "more": count - len(first)}


def _slowest(controller: Controller) -> list[JsonObject]:
    return [
        {
            "request": str(slow.request),
            "seconds": round(slow.seconds, 3),
            "ended": slow.ended.isoformat(timespec="milliseconds"),
            "reconcileID": slow.id,
        }
        for slow in controller.stats.slowest
    ]


def _cache(cache: Cache, watchers: Sequence[Watcher]) -> JsonObject:
    return {
        "resource": str(cache.resource),
        "metadataOnly": cache.partial,
        "selectors": {name: value for watcher in watchers for name, value in watcher.selectors.items()},
        "objects": len(cache),
        "bytes": cache.size(),
        "indexes": len(cache.indexes),
        "synced": cache.synced,
        "trouble": cache.trouble,
        "scopes": [_scope(watcher) for watcher in watchers],
    }


def _scope(watcher: Watcher) -> JsonObject:
    age = watcher.last_event_age
    return {
        "namespace": watcher.scope.namespace,
        "resourceVersion": watcher.scope.version,
        "synced": watcher.scope.synced,
        "trouble": watcher.scope.trouble,
        "lastEventSeconds": None if age is None else round(age, 3),
        "watches": watcher.stats.watches,
        "stalls": watcher.stats.stalls,
    }
