"""An API server in memory, and connections to it."""

from __future__ import annotations

from dataclasses import dataclass

from controller.testkit.connection import Connection
from controller.testkit.network import Network
from controller.testkit.objects import DEFAULT_MANAGER
from informers import Client


@dataclass(eq=False)
class ApiServer(Network):
    """The server. At first it serves the built-in kinds of `controller.runtime.kube`, and has some namespaces.

    Its methods act at once, like requests of another client, and raise the `ApiError` that a client would get. They
    return copies, which the caller may change.

    Args:
        namespaces: Names of the first namespaces.
        now: The wall clock.
        collects: Whether it does the work of the garbage collector and the namespace controller.

    Attributes:
        storage: The objects, and their history.
        streaming: Whether it serves streaming lists (`sendInitialEvents`).
        chunk: Most bytes that one read of a stream returns.
        page_limit: Most objects of a page, even if a client asks for more.
        refusals: Errors for the next requests, one for each.
        stopped: Whether it is stopped.
        requests: All requests that were sent.
        streams: The open watches.
        pages: The rest of lists that are read in pages, with their version, by token.
    """

    def client(self, *, manager: str = DEFAULT_MANAGER) -> Client:
        """A new client of this server, with its own connection.

        Args:
            manager: Owner of fields of writes that name no field manager; a real server takes the user agent's name.
        """
        return Client(self.connection(manager=manager))

    def connection(self, *, manager: str = DEFAULT_MANAGER) -> Connection:
        """A new connection for `Client`. It can be made slow, or be cut off."""
        return Connection(self, manager)
