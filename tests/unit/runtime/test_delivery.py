"""What a leader has sent and nobody has acknowledged is dropped before another may lead."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from controller.runtime import LeaderElection, Manager, Program
from informers import Client
from informers.configuration import kubeconfig
from informers.http import HttpTransport


@pytest.fixture
async def config(tmp_path: Path) -> Any:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        path = tmp_path / "config"
        path.write_text(
            json.dumps(
                {
                    "current-context": "test",
                    "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                    "users": [{"name": "test", "user": {"token": "t"}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                }
            )
        )
        yield str(path)


def drop_after(client: Client) -> set[int]:
    """Milliseconds after which the kernel drops what requests have sent, of all connections."""
    transport = client.transport
    assert isinstance(transport, HttpTransport)
    assert transport._sessions is not None
    connector = transport._sessions[0].connector
    assert connector is not None
    transports = [protocol.transport for found in connector._conns.values() for protocol, _ in found]
    sockets = [transport.get_extra_info("socket") for transport in transports if transport is not None]
    return {found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) for found in sockets}


async def test_a_leader_s_writes_are_dropped_within_what_the_lease_leaves_for_them(config: str) -> None:
    election = LeaderElection(namespace="ns", name="n", lease_duration=15, renew_deadline=10)
    async with (
        Client(HttpTransport(kubeconfig(config), user_agent="test")) as client,
        Client(HttpTransport(kubeconfig(config), user_agent="test")) as lease_client,
    ):
        Manager(
            client,
            program=Program("test"),
            namespaces=None,
            identity="a",
            leader_election=election,
            lease_client=lease_client,
        )
        await client.request("GET", "/x")
        await lease_client.request("GET", "/x")
        assert drop_after(client) == {5000}
        assert drop_after(lease_client) == {60_000}
