"""Which replica of the operator leads."""

from e2e import environment as env
from e2e.api import Manifest
from e2e.environment import Environment
from e2e.eventually import NotYetError

LEASE = "rook-ceph-operator"


def holder(environment: Environment) -> str:
    """Who holds the lease; empty: nobody."""
    found = environment.api.find("Lease", LEASE, env.NAMESPACE)
    return str((found or {}).get("spec", {}).get("holderIdentity") or "")


def leader(environment: Environment) -> Manifest:
    """The pod of the replica that holds the lease."""
    identity = holder(environment)
    pods = environment.api.list("Pod", env.NAMESPACE, labels="app=rook-ceph-operator")
    found = [pod for pod in env.running(pods) if pod["metadata"]["name"] in identity]
    if len(found) != 1:
        raise NotYetError(f"the lease's holder is {identity!r}")
    return found[0]
