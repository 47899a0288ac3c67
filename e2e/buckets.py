"""A small object store with TLS for claims to buckets, and pods that use what claims have."""

import base64
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from e2e import certificates, objectstores, pods
from e2e import environment as env
from e2e.api import Manifest, condition
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

STORE = "claimed"
PORT = 443
CA = "claimed-ca"
"""The ConfigMap with the authority of the store's certificate, in each namespace that has a pod."""
_POOL = {"failureDomain": "osd", "replicated": {"size": 1, "requireSafeReplicaSize": False}}
CLIENT = """\
import json, os, sys
import boto3
from botocore.exceptions import ClientError
own = [os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]]
keys = json.loads(sys.argv[2]) if len(sys.argv) > 2 else own
s3 = boto3.client(
    "s3", endpoint_url=f"https://{os.environ['BUCKET_HOST']}:{os.environ['BUCKET_PORT']}", region_name="us-east-1",
    aws_access_key_id=keys[0], aws_secret_access_key=keys[1], verify="/ca/ca.crt",
)
bucket = os.environ["BUCKET_NAME"]
try:
    print(json.dumps(eval(sys.argv[1])))
except ClientError as error:
    print(json.dumps({"refused": error.response["Error"]["Code"]}))
"""
"""What a pod does: an expression of Python with `s3` and `bucket`; its result, or what the store refused."""


def deploy(environment: Environment) -> None:
    """Make the store, and wait until it is Ready."""
    host = f"rook-ceph-rgw-{STORE}.{env.NAMESPACE}.svc"
    with TemporaryDirectory() as directory:
        place = Path(directory)
        certificates.make_authority(place)
        certificates.make_server_certificate(place, "store", host)
        parts = {key: (place / file).read_text() for key, file in (("tls.crt", "store.crt"), ("tls.key", "store.key"))}
        parts["ca.crt"] = (place / "ca.crt").read_text()
    meta = {"name": STORE, "namespace": env.NAMESPACE}
    tls = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "stringData": parts}
    environment.api.apply({**tls, "metadata": {**meta, "name": f"{STORE}-tls"}})
    gateway = {"instances": 1, "securePort": PORT, "sslCertificateRef": f"{STORE}-tls", **objectstores.SMALL}
    spec = {"metadataPool": _POOL, "dataPool": _POOL, "gateway": gateway}
    environment.api.apply({"apiVersion": "ceph.rook.io/v1", "kind": "CephObjectStore", "metadata": meta, "spec": spec})
    env.wait_for_phase(environment, "CephObjectStore", STORE, deadline=180)


def remove(environment: Environment) -> None:
    """Delete the store with its pools."""
    environment.api.delete("CephObjectStore", STORE, env.NAMESPACE)
    env.gone(environment, "CephObjectStore", STORE, env.NAMESPACE, deadline=180)
    environment.api.delete("Secret", f"{STORE}-tls", env.NAMESPACE)


def storage_class(environment: Environment, name: str, *, reclaim: str = "Delete", bucket: str = "") -> None:
    """A StorageClass for buckets of the store."""
    parameters = {"objectStoreName": STORE, "objectStoreNamespace": env.NAMESPACE}
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


def claim(environment: Environment, namespace: str, name: str, storage_class_name: str, **spec: object) -> None:
    """Ask for a bucket. It is not waited for."""
    environment.api.apply(
        {
            "apiVersion": "objectbucket.io/v1alpha1",
            "kind": "ObjectBucketClaim",
            "metadata": {"name": name, "namespace": namespace},
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
    data = environment.api.get("Secret", name, namespace)["data"]
    access, secret = (base64.b64decode(data[f"AWS_{part}"]).decode() for part in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    return access, secret


def pod(environment: Environment, namespace: str, name: str) -> None:
    """A pod of the operator's image, which has boto3, with the environment that a claim of its name gives it."""
    authority = environment.api.get("Secret", f"{STORE}-tls", env.NAMESPACE)["data"]["ca.crt"]
    text = base64.b64decode(authority).decode()
    meta = {"name": CA, "namespace": namespace}
    environment.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"ca.crt": text}})
    container = {
        "name": "client",
        "image": environment.images["operator"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "envFrom": [{"configMapRef": {"name": name}}, {"secretRef": {"name": name}}],
        "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [{"name": "ca", "configMap": {"name": CA}}],
    }
    meta = {"name": name, "namespace": namespace}
    environment.api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    pods.wait(environment, namespace, name)


def ask(
    environment: Environment, namespace: str, name: str, expression: str, key: tuple[str, str] | None = None
) -> object:
    """What the store answers a pod; see `CLIENT`. `key`: with another key than the pod's own."""
    more = (json.dumps(key),) if key is not None else ()
    told = environment.execute(name, "python3", "-c", CLIENT, expression, *more, namespace=namespace)
    return json.loads(told)


def admin(environment: Environment, *command: str) -> object:
    """The JSON answer of `radosgw-admin`."""
    place = (f"--rgw-realm={STORE}", f"--rgw-zonegroup={STORE}", f"--rgw-zone={STORE}")
    return json.loads(env.in_toolbox(environment, "radosgw-admin", *command, *place))


def users(environment: Environment, prefix: str) -> list[str]:
    """The users whose names begin so."""
    found = admin(environment, "user", "list")
    assert isinstance(found, list)
    return [user for user in found if user.startswith(prefix)]
