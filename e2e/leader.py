"""The operator's replica that leads, and what it tells of itself."""

import re

from e2e import environment as env
from e2e.api import Manifest
from e2e.environment import Environment
from e2e.eventually import NotYetError

LEASE = "rook-ceph-operator"


def holder(environment: Environment) -> str:
    """Who holds the lease."""
    found = environment.api.find("Lease", LEASE, env.NAMESPACE)
    return str((found or {}).get("spec", {}).get("holderIdentity") or "")


def leader(environment: Environment) -> Manifest:
    """The pod of the replica that holds the lease. Raises `NotYetError` while none does."""
    identity = holder(environment)
    pods = environment.api.list("Pod", env.NAMESPACE, labels="app=rook-ceph-operator")
    found = [pod for pod in env.running(pods) if pod["metadata"]["name"] in identity]
    if len(found) != 1:
        raise NotYetError(f"the lease's holder is {identity!r}")
    return found[0]


def metrics(environment: Environment, pod: Manifest) -> str:
    """A replica's metrics, as text."""
    name = pod["metadata"]["name"]
    path = f"/api/v1/namespaces/{env.NAMESPACE}/pods/{name}:9090/proxy/metrics"
    return environment.api.request("GET", path).decode()


def looks(text: str, controller: str) -> float:
    """How many reconciles of a controller have ended well, by a replica's metrics."""
    ended = (
        rf'^controller_runtime_reconcile_total{{controller="{controller}",result="(?:success|requeue_after)"}} (\S+)$'
    )
    return sum(float(count) for count in re.findall(ended, text, re.MULTILINE))
