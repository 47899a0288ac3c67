"""A small object store with TLS for claims to buckets, and pods that use what claims have."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from e2e import environment as env
from e2e import objectstores, s3
from e2e.api import Manifest, condition
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

STORE = "claimed"
PORT = 443
CA = "claimed-ca"
"""The ConfigMap with the authority of the store's certificate, in each namespace that has a pod."""


def deploy(environment: Environment) -> None:
    """Make the store, and wait until it is Ready."""
    with TemporaryDirectory() as directory:
        secret = objectstores.make_certificate(environment, Path(directory), STORE)
    gateway = {"instances": 1, "securePort": PORT, "sslCertificateRef": secret, **objectstores.SMALL}
    spec = {"metadataPool": objectstores.ONE_COPY, "dataPool": objectstores.ONE_COPY, "gateway": gateway}
    objectstores.make(environment, STORE, spec, deadline=180)


def remove(environment: Environment) -> None:
    """Delete the store with its pools; no claim holds it."""
    environment.api.delete("CephObjectStore", STORE, env.NAMESPACE)
    env.gone(environment, "CephObjectStore", STORE, env.NAMESPACE, deadline=180)
    environment.api.delete("Secret", f"{STORE}-tls", env.NAMESPACE)


def storage_class(
    environment: Environment, name: str, *, store: str = STORE, reclaim: str = "Delete", bucket: str = ""
) -> None:
    """A StorageClass for buckets of a store."""
    parameters = {"objectStoreName": store, "objectStoreNamespace": env.NAMESPACE}
    environment.api.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": f"{env.NAMESPACE}.ceph.rook.io/bucket",
            "reclaimPolicy": reclaim,
            "parameters": parameters | ({"bucketName": bucket} if bucket else {}),
        }
    )


def claim(
    environment: Environment,
    namespace: str,
    name: str,
    storage_class_name: str,
    *,
    labels: Mapping[str, str] | None = None,
    **spec: object,
) -> None:
    """Ask for a bucket. It is not waited for."""
    environment.api.apply(
        {
            "apiVersion": "objectbucket.io/v1alpha1",
            "kind": "ObjectBucketClaim",
            "metadata": {"name": name, "namespace": namespace, "labels": dict(labels or {})},
            "spec": {"generateBucketName": "e2e", "storageClassName": storage_class_name, **spec},
        }
    )


def bound(environment: Environment, namespace: str, name: str, *, deadline: float = 60.0) -> Manifest:
    """Wait until a claim has all that its newest spec asks for."""

    def look() -> Manifest:
        found = environment.api.get("ObjectBucketClaim", name, namespace)
        status = found.get("status", {})
        ready = condition(found, "Ready").get("status") == "True"
        if not ready or status.get("observedGeneration") != found["metadata"]["generation"]:
            raise NotYetError(env.progress(found))
        assert status["phase"] == "Bound"
        return found

    return eventually(f"claim {name} to be bound", look, deadline=deadline)


def keys(environment: Environment, namespace: str, name: str) -> tuple[str, str]:
    """The key in a claim's Secret."""
    access, secret = s3.secret_values(environment, namespace, name, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return access, secret


def pod(environment: Environment, namespace: str, name: str) -> None:
    """A client with the environment that a claim of its name gives it."""
    (authority,) = s3.secret_values(environment, env.NAMESPACE, f"{STORE}-tls", "ca.crt")
    meta = {"name": CA, "namespace": namespace}
    environment.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"ca.crt": authority}})
    s3.start(environment, namespace, name, trusted={"configMap": {"name": CA}}, claim=name)


def ask(
    environment: Environment, namespace: str, name: str, expression: str, key: tuple[str, str] = ("", "")
) -> object:
    """What the store answers a claim's pod; see `s3.User.ask`. `key`: another key than the claim's."""
    return s3.User(environment, namespace, name, s3.Login("", *key)).ask(expression)


def users(environment: Environment, prefix: str) -> list[str]:
    """The users whose names begin so."""
    return [user for user in objectstores.asked(environment, STORE, "user", "list") if user.startswith(prefix)]
