"""An API server in memory, and the ways to it."""

from __future__ import annotations

from dataclasses import dataclass

from controller.testkit.connection import Connection
from controller.testkit.network import Network
from controller.testkit.objects import DEFAULT_MANAGER
from informers import Client


@dataclass(eq=False)
class ApiServer(Network):
    """The server. It begins with the built-in kinds of `controller.runtime.kube`, and some namespaces.

    Its methods act at once, as another client would, and raise the `ApiError` that a client would get. Objects that
    they return are the caller's own.

    Args:
        namespaces: Names of the first namespaces.
        now: The wall clock.
        collects: Whether it does what the garbage collector and the namespace controller do.

    Attributes:
        storage: The objects, and their history.
        streaming: Whether it knows streaming lists (`sendInitialEvents`).
        chunk: Bytes that one read of a stream returns at most.
        page_limit: Objects of one page at most, though a client asks for more.
        refusals: Errors for the requests to come, one each.
        stopped: Whether it has been stopped.
        requests: All requests that were sent.
        streams: The watches that are open.
        pages: What is left of lists that were read by pages, with its version, by token.
    """

    def client(self, *, manager: str = DEFAULT_MANAGER) -> Client:
        """A new client of this server, by a connection of its own.

        Args:
            manager: Owns the fields of writes that name no field manager, as the user agent's name does elsewhere.
        """
        return Client(self.connection(manager=manager))

    def connection(self, *, manager: str = DEFAULT_MANAGER) -> Connection:
        """A new connection, for `Client`, which can be slow or cut off."""
        return Connection(self, manager)
