"""An object store for backups: Minio in a pod, with a bucket. What it holds goes with the pod."""

from typing import Any

from e2e import cassandra
from e2e import environment as env
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

NAME = "minio"
BUCKET = "backups"
SECRET = "minio-credentials"  # noqa: S105  # its name
PORT = 9000
_LOGIN = {"AWS_ACCESS_KEY_ID": "e2e", "AWS_SECRET_ACCESS_KEY": "of-the-scenarios"}
_MAKE_BUCKET = f"""\
import boto3
client = boto3.client(
    "s3", endpoint_url="http://{NAME}.{env.NAMESPACE}:{PORT}", region_name="us-east-1",
    aws_access_key_id="{_LOGIN["AWS_ACCESS_KEY_ID"]}", aws_secret_access_key="{_LOGIN["AWS_SECRET_ACCESS_KEY"]}",
)
try:
    client.create_bucket(Bucket="{BUCKET}")
except client.exceptions.BucketAlreadyOwnedByYou:
    pass
"""


def location() -> dict[str, Any]:
    """The field `s3` of an Operation."""
    return {
        "bucket": BUCKET,
        "prefix": "e2e",
        "endpoint": f"http://{NAME}.{env.NAMESPACE}:{PORT}",
        "credentialsSecretName": SECRET,
    }


def deploy(environment: Environment) -> None:
    """Make the pod, its Service, the Secret and the bucket; the application of `e2e.cassandra` has to run."""
    api = environment.api
    meta = {"name": NAME, "namespace": env.NAMESPACE}
    api.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {**meta, "name": SECRET},
            "stringData": _LOGIN,
        }
    )
    root = {"MINIO_ROOT_USER": "AWS_ACCESS_KEY_ID", "MINIO_ROOT_PASSWORD": "AWS_SECRET_ACCESS_KEY"}
    container = {
        "name": "minio",
        "image": environment.images["minio"],
        "imagePullPolicy": "IfNotPresent",
        "env": [
            {"name": "HOME", "value": "/data"},
            *(
                {"name": name, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": key}}}
                for name, key in root.items()
            ),
        ],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/minio/health/ready", "port": PORT}, "periodSeconds": 2},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    spec = {
        "securityContext": {"fsGroup": 1000},
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {}}],
    }
    labelled = {**meta, "labels": {"app": NAME}}
    api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": labelled, "spec": spec})
    service = {"selector": {"app": NAME}, "ports": [{"port": PORT}]}
    api.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service})

    def look() -> None:
        if not env.running([api.get("Pod", NAME, env.NAMESPACE)]):
            raise NotYetError("its pod to run")

    eventually("Minio", look, deadline=120)

    def make() -> None:
        try:
            environment.execute(cassandra.CLIENT, "python3", "-c", _MAKE_BUCKET, namespace=env.NAMESPACE)
        except RuntimeError as error:
            raise NotYetError(str(error)[-300:]) from error

    # Nodes learn of a new Service, and of a pod that is ready, a little later than the API server.
    eventually("Minio to make a bucket", make, deadline=60)


def remove(environment: Environment) -> None:
    """Delete all of it."""
    for kind, name in (("Pod", NAME), ("Service", NAME), ("Secret", SECRET)):
        environment.api.delete(kind, name, env.NAMESPACE)
