"""The watch API of Kubernetes: a client, and informers that keep a local copy of a resource and notify of changes.

    async with Client.connect(user_agent="example") as client:
        factory = InformerFactory(client)
        pods = factory.informer(POD, Pod)
        pods.add_handler(lambda delta: queue.add((delta.namespace, delta.name)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(factory.run)
            await pods.wait_synced()

It knows nothing of storage, nor of controllers.
"""

from informers.client import Client
from informers.configuration import ConfigurationError
from informers.errors import ApiError, IncompleteIndexError, RefusedError, TransportError, UndecodableError
from informers.factory import InformerFactory
from informers.informer import Delta, Informer
from informers.resource import JsonObject, Key, Named, Resource
from informers.store import CacheStats
from informers.transport import ClientStats, StalledError
from informers.watcher import WatcherStats

__all__ = [
    "ApiError",
    "CacheStats",
    "Client",
    "ClientStats",
    "ConfigurationError",
    "Delta",
    "IncompleteIndexError",
    "Informer",
    "InformerFactory",
    "JsonObject",
    "Key",
    "Named",
    "RefusedError",
    "Resource",
    "StalledError",
    "TransportError",
    "UndecodableError",
    "WatcherStats",
]
