"""`helm test`: every operator replica is ready, and the API server serves every type of the chart.

Runs in the operator's image with nothing but the standard library. Arguments: the host name under which the replicas'
addresses are found, the number of replicas, then the names of the CustomResourceDefinitions. Exits with an error that
says what is wrong.
"""

import http.client
import json
import os
import socket
import ssl
import sys
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT = 10.0
"""Seconds for one answer."""


def check_ready(host: str, replicas: int) -> None:
    """Every address behind the host name answers on /readyz, and there are as many as there should be."""
    addresses = sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, 9090, type=socket.SOCK_STREAM)})
    if len(addresses) != replicas:
        sys.exit(f"{host} has {len(addresses)} ready replicas ({', '.join(addresses)}), {replicas} are wanted")
    for address in addresses:
        get(http.client.HTTPConnection(address, 9090, timeout=TIMEOUT), "/readyz")
        print(f"{address}: ready")


def check_established(name: str) -> None:
    """The API server serves the type."""
    server = http.client.HTTPSConnection(
        os.environ["KUBERNETES_SERVICE_HOST"],
        int(os.environ["KUBERNETES_SERVICE_PORT"]),
        timeout=TIMEOUT,
        context=ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt")),
    )
    token = (ACCOUNT / "token").read_text()
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
    conditions = json.loads(get(server, path, {"Authorization": f"Bearer {token}"}))["status"]["conditions"]
    if not any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
        sys.exit(f"CustomResourceDefinition {name} is not established: {conditions}")
    print(f"{name}: established")


def get(server: http.client.HTTPConnection, path: str, headers: dict[str, str] | None = None) -> bytes:
    """The body of the answer, if it is 200."""
    server.request("GET", path, headers=headers or {})
    answer = server.getresponse()
    body = answer.read()
    if answer.status != http.client.OK:
        sys.exit(f"{server.host}{path}: {answer.status} {body.decode(errors='replace')[:300]}")
    return body


if __name__ == "__main__":
    check_ready(sys.argv[1], int(sys.argv[2]))
    for crd in sys.argv[3:]:
        check_established(crd)
