"""The namespaces of scenarios: each has one of its own, and leaves nothing to the next."""

import uuid

from e2e.api import Api, ApiError
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

KINDS = ("Pod", "ObjectBucketClaim", "VolumeGroupSnapshot", "VolumeSnapshot", "PersistentVolumeClaim")
"""What scenarios make that takes a while to go."""
GONE_SECONDS = 120.0


def make(environment: Environment) -> str:
    """A new namespace; its name."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    environment.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def remove(environment: Environment, namespace: str) -> None:
    """Delete the namespace, and wait until nothing of `KINDS` is left in it, nor any volume that goes with its claim.

    The rest of it goes meanwhile, and is not waited for: Kubernetes begins after five seconds, and pauses for eight or
    more each time that it has found a finalizer. So all is deleted here that has one.
    """
    environment.api.delete("Namespace", namespace)  # from now on nothing new is made in it
    for kind in KINDS:
        for name in present(environment.api, kind, namespace):
            environment.api.delete(kind, name, namespace)

    def look() -> None:
        left = [f"{kind} {name}" for kind in KINDS for name in present(environment.api, kind, namespace)]
        left += [f"PersistentVolume {name}" for name in volumes(environment.api, namespace)]
        if left:
            raise NotYetError(f"{len(left)} left: {', '.join(left[:8])}")

    eventually(f"namespace {namespace} to be empty", look, deadline=GONE_SECONDS)


def present(api: Api, kind: str, namespace: str) -> list[str]:
    """The names of the objects of a kind; none where the kind is not served."""
    try:
        return [found["metadata"]["name"] for found in api.list(kind, namespace)]
    except ApiError as error:
        if error.status != 404:
            raise
        return []


def volumes(api: Api, namespace: str) -> list[str]:
    """The names of the volumes of a namespace's claims, but for those that stay when their claim goes."""
    return [
        volume["metadata"]["name"]
        for volume in api.list("PersistentVolume")
        if volume["spec"].get("claimRef", {}).get("namespace") == namespace
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
    ]
