"""`helm test`: every operator replica is ready, and the API server serves every type of the chart.

Runs in the operator's image with nothing but the standard library. Arguments: the host name under which the replicas'
addresses are found, the number of replicas, then the names of the CustomResourceDefinitions. Exits with an error that
says what is wrong.
"""

import json
import os
import socket
import ssl
import sys
import urllib.request
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
        url = f"http://[{address}]:9090/readyz" if ":" in address else f"http://{address}:9090/readyz"
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            print(f"{url}: {answer.status}")


def check_established(name: str) -> None:
    """The API server serves the type."""
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    host = f"[{host}]" if ":" in host else host
    request = urllib.request.Request(
        f"https://{host}:{os.environ['KUBERNETES_SERVICE_PORT']}/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}",
        headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"},
    )
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=TIMEOUT, context=trust) as answer:
        conditions = json.load(answer)["status"]["conditions"]
    if not any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
        sys.exit(f"CustomResourceDefinition {name} is not established: {conditions}")
    print(f"{name}: established")


if __name__ == "__main__":
    check_ready(sys.argv[1], int(sys.argv[2]))
    for crd in sys.argv[3:]:
        check_established(crd)
