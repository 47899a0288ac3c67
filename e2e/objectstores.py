"""Object stores in the cluster, small enough for a test machine."""

import base64
import json
from pathlib import Path
from typing import Any

from e2e import certificates
from e2e import environment as env
from e2e.api import load
from e2e.environment import Environment
from e2e.s3 import secret_values

FORCE = {"metadata": {"annotations": {"rook.io/force-deletion": "true"}}}
ONE_COPY: dict[str, Any] = {"failureDomain": "osd", "replicated": {"size": 1, "requireSafeReplicaSize": False}}
"""Pools of a store that need not outlive an OSD."""
SMALL: dict[str, Any] = {
    "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
    "rgwConfig": {"rgw_thread_pool_size": "32"},
}
"""Of gateways: half a thousand threads for each are too many for a test machine."""


def spec_of(instances: int = 1, **gateway: Any) -> dict[str, Any]:
    """A store whose pools have two copies each on three OSDs."""
    copies = {"size": 2, "requireSafeReplicaSize": False}
    pool = {"failureDomain": "osd", "replicated": copies, "parameters": {"pg_num": "4", "pg_num_min": "4"}}
    return {
        "metadataPool": pool,
        "dataPool": pool,
        "gateway": {"port": 80, "instances": instances, **SMALL, **gateway},
    }


def make(environment: Environment, name: str, spec: dict[str, Any], *, deadline: float = 240.0) -> None:
    """A store by the example with this spec; wait until it is Ready."""
    (manifest,) = load(env.EXAMPLES / "object.yaml")
    manifest["metadata"]["name"] = name
    environment.api.apply({**manifest, "spec": spec})
    env.wait_for_phase(environment, "CephObjectStore", name, deadline=deadline)


def remove(environment: Environment, name: str) -> None:
    """Delete a store with all that is in it, if there is one, and wait until it is gone."""
    if environment.api.find("CephObjectStore", name, env.NAMESPACE) is None:
        return
    environment.api.patch("CephObjectStore", name, env.NAMESPACE, FORCE)
    environment.api.delete("CephObjectStore", name, env.NAMESPACE)
    env.gone(environment, "CephObjectStore", name, env.NAMESPACE, deadline=180)


def host(name: str) -> str:
    """The DNS name of a store's Service."""
    return f"rook-ceph-rgw-{name}.{env.NAMESPACE}.svc"


def make_certificate(environment: Environment, directory: Path, name: str) -> str:
    """The Secret with a certificate of a store by a CA of the scenario's own, which it has, too; the Secret's name.

    Args:
        environment: The cluster.
        directory: Where the CA is, or is to be.
        name: The store.
    """
    if not (directory / "ca.crt").exists():
        certificates.make_authority(directory)
    certificates.make_server_certificate(directory, name, host(name))
    files = {"tls.crt": f"{name}.crt", "tls.key": f"{name}.key", "ca.crt": "ca.crt"}
    data = {key: base64.b64encode((directory / file).read_bytes()).decode() for key, file in files.items()}
    metadata = {"name": f"{name}-tls", "namespace": env.NAMESPACE}
    environment.api.apply(
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data}
    )
    return f"{name}-tls"


def keys(environment: Environment, name: str) -> tuple[str, str]:
    """The keys of the operator's own user of a store."""
    access, secret = secret_values(environment, env.NAMESPACE, f"rgw-admin-ops-user-{name}", "accessKey", "secretKey")
    return access, secret


def radosgw_admin(environment: Environment, name: str, *command: str) -> str:
    """What `radosgw-admin` writes about a store; without the names of a zone it would make one."""
    flags = (f"--rgw-realm={name}", f"--rgw-zonegroup={name}", f"--rgw-zone={name}")
    return env.in_toolbox(environment, "radosgw-admin", *command, *flags)


def asked(environment: Environment, name: str, *command: str) -> Any:
    """The JSON answer of `radosgw-admin`."""
    return json.loads(radosgw_admin(environment, name, *command))
