"""No runtime: reads the stream of a first list as fast as the server sends it, and looks at nothing but its end.

What this takes is what no client can go below: the server's time to encode, and TLS. `--protobuf` reads that encoding.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from bench.runtime.peers.common import GROUP, VERSION, options, say

END = b"k8s.io/initial-events-end"
READ = 1 << 20
PATHS = {"pods": "/api/v1/pods", "widgets": f"/apis/{GROUP}/{VERSION}/widgets"}
QUERY = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"


def read_list(kubeconfig: Path, resource: str, accept: str) -> None:
    """Read from the first byte of the answer to the event that marks the end of the list."""
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
        tail = b""
        while data := stream.recv(READ):
            if END in tail + data:
                return
            tail = data[-len(END) :]
    raise ConnectionError("the stream ended before the list did")


if __name__ == "__main__":
    protobuf = "--protobuf" in sys.argv
    if protobuf:
        sys.argv.remove("--protobuf")
    arguments = options()
    read_list(
        Path(arguments.kubeconfig),
        arguments.resource,
        "application/vnd.kubernetes.protobuf;stream=watch" if protobuf else "application/json",
    )
    say("synced")
    time.sleep(3600)  # it is looked at, and killed, long before
