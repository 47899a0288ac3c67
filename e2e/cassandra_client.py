"""An application on Cassandra, run in a pod: `client.py HOST COMMAND`. Prints what came of it as JSON. It speaks TLS.

create COPIES: a keyspace and a table. fill FROM TO, delete FROM TO: rows, at QUORUM. count: how many rows there are, at
QUORUM, and what is missing between the first and the last. load: rows one after the other, until there is /tmp/stop.
drop NAME: the keyspace and the role of that name, and how many rows its table of orders had.
"""

import asyncio
import json
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from controller.cassandra.access import cql
from controller.cassandra.access.answers import AccessError
from controller.cassandra.access.members import Login

STOP = Path("/tmp/stop")  # noqa: S108  # the pod's own
LOGIN = Path("/login")
TRUSTED = Path("/ca/ca.crt")
PATIENCE = 60.0
"""Seconds after which a write has failed that no member takes."""


class Client:
    """Asks one member, and another one when that does not answer, as a driver does."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._context = ssl.create_default_context(cafile=str(TRUSTED))
        self._login = Login((LOGIN / "username").read_text(), (LOGIN / "password").read_text())
        self._stack = AsyncExitStack()
        self._session: cql.CqlSession | None = None
        self._at = 0
        self.moved = 0

    async def query(self, statement: str) -> Sequence[Any]:
        """The rows; raises the last error when no member gives them in time."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if self._session is None:
                    hosts = sorted({found[4][0] for found in socket.getaddrinfo(self._host, 9042)})
                    self._at += 1
                    chosen = str(hosts[self._at % len(hosts)])
                    connection = cql.connect(chosen, self._login, context=self._context, name=self._host)
                    self._session = await self._stack.enter_async_context(connection)
                return await self._session.query(statement, quorum=True)
            except (AccessError, OSError):
                self.moved += 1
                self._session = None
                await self._stack.aclose()
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.2)


async def main(host: str, command: str, *arguments: str) -> dict[str, Any]:
    """Carries out a command; returns what came of it."""
    client = Client(host)
    match command:
        case "create":
            options = f"{{'class': 'NetworkTopologyStrategy', 'dc1': {int(arguments[0])}}}"
            await client.query(f"CREATE KEYSPACE IF NOT EXISTS shop WITH replication = {options}")
            await client.query("CREATE TABLE IF NOT EXISTS shop.orders (id int PRIMARY KEY, text text)")
            return {}
        case "fill":
            first, last = map(int, arguments)
            for number in range(first, last):
                await client.query(_insert(number))
            return {"written": last - first}
        case "delete":
            first, last = map(int, arguments)
            for number in range(first, last):
                await client.query(f"DELETE FROM shop.orders WHERE id = {number}")  # noqa: S608  # a number
            return {"deleted": last - first}
        case "count":
            rows = await client.query("SELECT id FROM shop.orders")
            found = {row["id"] for row in rows}
            return {"rows": len(found), "missing": sorted(set(range(max(found, default=-1) + 1)) - found)[:20]}
        case "drop":
            (name,) = arguments
            rows = await client.query(f"SELECT id FROM {name}.orders")  # noqa: S608  a name of ours
            await client.query(f"DROP KEYSPACE {name}")
            await client.query(f"DROP ROLE {name}")
            return {"rows": len(rows)}
        case "load":
            acknowledged, failed = [], 0
            for number in _numbers():
                try:
                    await client.query(_insert(number))
                    acknowledged.append(number)
                except (AccessError, OSError):
                    failed += 1
            rows = await client.query("SELECT id FROM shop.orders")
            found = {row["id"] for row in rows}
            lost = [written for written in acknowledged if written not in found]
            return {"written": len(acknowledged), "moved": client.moved, "failed": failed, "lost": lost[:20]}
    raise SystemExit(f"unknown command {command}")


def _numbers() -> Iterator[int]:
    """Numbers of rows, until the application is to stop."""
    number = 1_000_000
    while not STOP.exists():
        yield number
        number += 1


def _insert(number: int) -> str:
    return f"INSERT INTO shop.orders (id, text) VALUES ({number}, 'order {number}')"  # noqa: S608  # numbers


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:]))) + "\n")
