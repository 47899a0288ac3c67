"""No runtime: reads a stream as fast as the server sends it, and looks at nothing but the end of the list in it.

What this takes is what no client can go below: the server's time to encode and to send, and TLS. `--protobuf` reads
that encoding. With `--record` the sequence numbers in events after the list count as reconciled.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.runtime.peers.common import GROUP, SEQUENCE, VERSION, options, say

if TYPE_CHECKING:
    from collections.abc import Iterator

END = b"k8s.io/initial-events-end"
READ = 1 << 14
"""A record of TLS, of which one is read at a time. To make room for more costs more than all the rest."""
PATHS = {"pods": "/api/v1/pods", "widgets": f"/apis/{GROUP}/{VERSION}/widgets"}
QUERY = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
ANNOTATION = re.compile(re.escape(SEQUENCE.encode()) + rb"(?:\":\"|\x12.)(\d+)(?=\D)", re.DOTALL)
"""An entry of the annotations: the key; what JSON has between, or protobuf's tag and length; the value."""


@contextmanager
def opened(kubeconfig: Path, resource: str, accept: str) -> Iterator[ssl.SSLSocket]:
    """The stream of a resource: its list, then its events."""
    config = json.loads(kubeconfig.read_text())  # as the bench writes it
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    server = urlsplit(cluster["server"])
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    request = [f"GET {PATHS[resource]}?{QUERY} HTTP/1.1", f"Host: {server.netloc}", f"Accept: {accept}"]
    request += [f"Authorization: Bearer {user['token']}", "", ""]
    with (
        socket.create_connection((server.hostname, server.port)) as connection,
        context.wrap_socket(connection, server_hostname=server.hostname) as stream,
    ):
        stream.sendall("\r\n".join(request).encode())
        yield stream


def read_list(stream: ssl.SSLSocket) -> None:
    """Read from the first byte of the answer to the event that marks the end of the list."""
    tail = b""
    while data := stream.recv(READ):
        if END in tail + data:
            return
        tail = data[-len(END) :]
    raise ConnectionError("the stream ended before the list did")


def record_events(stream: ssl.SSLSocket) -> None:
    """Note when each sequence number came, and say those that are new whenever the bench asks."""
    seen: list[tuple[int, int]] = []

    def answer() -> None:
        for _ in sys.stdin:
            new = seen[:]  # the other thread adds at the end meanwhile
            del seen[: len(new)]
            say("seen", seen=new)

    threading.Thread(target=answer, daemon=True).start()
    rest = b""
    while data := stream.recv(READ):
        at, end = time.time_ns(), 0
        rest += data
        for found in ANNOTATION.finditer(rest):
            seen.append((int(found[1]), at))
            end = found.end()
        rest = rest[max(end, len(rest) - len(SEQUENCE) - 20) :]
    raise ConnectionError("the stream ended")


if __name__ == "__main__":
    protobuf = "--protobuf" in sys.argv
    if protobuf:
        sys.argv.remove("--protobuf")
    arguments = options()
    accept = "application/vnd.kubernetes.protobuf;stream=watch" if protobuf else "application/json"
    with opened(Path(arguments.kubeconfig), arguments.resource, accept) as events:
        read_list(events)
        say("synced")
        if arguments.record:
            say("first")
            record_events(events)
        time.sleep(3600)  # it is looked at, and killed, long before
