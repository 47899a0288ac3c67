"""Small pods and claims that scenarios make: a shell beside a volume."""

from typing import Any

from e2e import postgres
from e2e.api import Manifest
from e2e.environment import STORAGE_CLASS, Environment, gone, running
from e2e.eventually import NotYetError, eventually

PATH = "/data"
"""Where a pod has its volume: a directory, or the block device itself."""


def claim(
    environment: Environment,
    namespace: str,
    name: str,
    *,
    storage_class: str = STORAGE_CLASS,
    size: str = "512Mi",
    block: bool = False,
    access: str = "ReadWriteOnce",
    attributes: str = "",
) -> Manifest:
    """Ask for a volume, for one node where `access` says nothing else; `attributes`: its VolumeAttributesClass."""
    return environment.api.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "storageClassName": storage_class,
                "accessModes": [access],
                "volumeMode": "Block" if block else "Filesystem",
                "resources": {"requests": {"storage": size}},
                **({"volumeAttributesClassName": attributes} if attributes else {}),
            },
        }
    )


def pod(
    environment: Environment,
    namespace: str,
    name: str,
    claim_name: str,
    *,
    node: str = "",
    block: bool = False,
    read_only: bool = False,
) -> Manifest:
    """A pod that has the claim's volume and waits for commands. It is not waited for."""
    volume: dict[str, Any] = {"persistentVolumeClaim": {"claimName": claim_name, "readOnly": read_only}}
    attached = {"volumeDevices": [{"name": "data", "devicePath": PATH}]}
    mounted = {"volumeMounts": [{"name": "data", "mountPath": PATH, "readOnly": read_only}]}
    container = {
        "name": "shell",
        "image": environment.images["postgres"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        **(attached if block else mounted),
    }
    spec: dict[str, Any] = {
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [{"name": "data", **volume}],
        "nodeSelector": {"kubernetes.io/hostname": node} if node else {},
    }
    metadata = {"name": name, "namespace": namespace}
    return environment.api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def wait(environment: Environment, namespace: str, name: str, *, deadline: float = 90.0) -> Manifest:
    """Wait until the pod runs."""

    def look() -> Manifest:
        found = environment.api.get("Pod", name, namespace)
        if not running([found]):
            raise NotYetError(postgres.why_not_running(environment, found))
        return found

    return eventually(f"pod {name}", look, deadline=deadline)


def shell(environment: Environment, namespace: str, name: str, script: str) -> str:
    """What a script in the pod wrote to stdout. Raises `RuntimeError` with its stderr when it fails."""
    return environment.execute(name, "bash", "-euc", script, namespace=namespace).strip()


def delete(environment: Environment, namespace: str, name: str) -> None:
    """Delete the pod and wait until it is gone."""
    environment.api.delete("Pod", name, namespace)
    gone(environment, "Pod", name, namespace)


def volume_of(environment: Environment, namespace: str, claim_name: str) -> Manifest:
    """The PersistentVolume that a claim is bound to; waits until it is."""

    def look() -> Manifest:
        found = environment.api.get("PersistentVolumeClaim", claim_name, namespace)
        if found.get("status", {}).get("phase") != "Bound":
            raise NotYetError(f"claim {claim_name} is {found.get('status', {}).get('phase', 'new')}")
        return environment.api.get("PersistentVolume", found["spec"]["volumeName"])

    return eventually(f"claim {claim_name}", look, deadline=60)
