"""Object stores in the cluster, small enough for a test machine, and a pod that is a client of theirs, by boto3."""

import base64
import json
from pathlib import Path
from typing import Any

from e2e import certificates, pods
from e2e import environment as env
from e2e.api import load
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

CLIENT = "objectstore-client"
TRUSTED = "/trusted/ca.crt"
FORCE = {"metadata": {"annotations": {"rook.io/force-deletion": "true"}}}

SMALL: dict[str, Any] = {
    "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
    "rgwConfig": {"rgw_thread_pool_size": "32"},
}
"""Of gateways: half a thousand threads for each are too many for a test machine."""

_CONNECT = f"""\
import boto3, json, os, pathlib, sys
from botocore.config import Config

def connect(endpoint, access_key, secret_key):
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=access_key,
        aws_secret_access_key=secret_key, verify="{TRUSTED}" if endpoint.startswith("https") else None,
        config=Config(
            connect_timeout=5, read_timeout=20, s3={{"addressing_style": "path"}},
            retries={{"mode": "standard", "total_max_attempts": 8}},
            request_checksum_calculation="when_required", response_checksum_validation="when_required",
        ),
    )

client = connect(*json.loads(os.environ["S3"]))
"""
_LOAD = """\
import hashlib, threading, traceback
place = pathlib.Path(f"/tmp/load-{bucket}")
place.mkdir(exist_ok=True)
try:
    client.create_bucket(Bucket=bucket)
except client.exceptions.BucketAlreadyOwnedByYou:
    pass

def work(number):
    done = 0
    while not (place / "stop").exists():
        body = os.urandom(4096)
        try:
            client.put_object(Bucket=bucket, Key=f"{number}-{done % 50}", Body=body)
            if client.get_object(Bucket=bucket, Key=f"{number}-{done % 50}")["Body"].read() != body:
                raise RuntimeError("another object was read than was written")
        except Exception:
            with (place / "failed").open("a") as file:
                file.write(traceback.format_exc(limit=1))
        done += 1
        (place / f"done-{number}").write_text(str(done))

threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def spec_of(instances: int = 1, **gateway: Any) -> dict[str, Any]:
    """A store whose pools have one copy each on three OSDs."""
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
    data = environment.api.get("Secret", f"rgw-admin-ops-user-{name}", env.NAMESPACE)["data"]
    access, secret = (base64.b64decode(data[key]).decode() for key in ("accessKey", "secretKey"))
    return access, secret


def start_client(environment: Environment, trusted: str) -> None:
    """A pod with boto3 that trusts the CA in a Secret; it waits for programs."""
    container = {
        "name": "client",
        "image": environment.images["operator"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "volumeMounts": [
            {"name": "trusted", "mountPath": "/trusted"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # the pod's own
        ],
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [
            {"name": "trusted", "secret": {"secretName": trusted, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    metadata = {"name": CLIENT, "namespace": env.NAMESPACE}
    environment.api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    pods.wait(environment, env.NAMESPACE, CLIENT)


def stop_client(environment: Environment) -> None:
    """Delete the pod."""
    environment.api.delete("Pod", CLIENT, env.NAMESPACE)


def client(environment: Environment, endpoint: str, pair: tuple[str, str], program: str) -> str:
    """What a program printed that has a `client` of S3.

    Args:
        environment: The cluster.
        endpoint: The store's URL.
        pair: The keys of the user that it acts as.
        program: Lines of Python.
    """
    given = f"S3={json.dumps([endpoint, *pair])}"
    arguments = ("env", given, "python3", "-c", _CONNECT + program)
    return environment.execute(CLIENT, *arguments, namespace=env.NAMESPACE, deadline=120)


def start_load(environment: Environment, endpoint: str, pair: tuple[str, str], bucket: str) -> None:
    """Have four clients put objects into a bucket and read them, without end; each tries a request some times."""
    given = f"S3={json.dumps([endpoint, *pair])}"
    program = f'{_CONNECT}bucket = "{bucket}"\n{_LOAD}'
    start = f'rm -rf /tmp/load-{bucket}; nohup env "$1" python3 -c "$0" > /tmp/load-{bucket}.log 2>&1 &'
    environment.execute(CLIENT, "sh", "-c", start, program, given, namespace=env.NAMESPACE)
    wait_for_load(environment, bucket)


def done(environment: Environment, bucket: str) -> int:
    """How many objects were put and read."""
    script = f"for file in /tmp/load-{bucket}/done-*; do cat $file; echo; done"
    lines = environment.execute(CLIENT, "sh", "-c", script, namespace=env.NAMESPACE).split()
    return sum(int(line) for line in lines if line.isdecimal())


def wait_for_load(environment: Environment, bucket: str, more: int = 40) -> None:
    """Wait until so many more objects were put and read."""
    wanted = done(environment, bucket) + more

    def look() -> None:
        if (number := done(environment, bucket)) < wanted:
            log = environment.execute(CLIENT, "sh", "-c", f"tail -n 3 /tmp/load-{bucket}.log", namespace=env.NAMESPACE)
            raise NotYetError(f"{number} of {wanted} objects; {log.strip()}")

    eventually(f"objects in bucket {bucket}", look, deadline=60)


def failures(environment: Environment, bucket: str) -> str:
    """What the clients of a load could not do, though they tried again."""
    script = f"cat /tmp/load-{bucket}/failed 2>/dev/null || true"
    return environment.execute(CLIENT, "sh", "-c", script, namespace=env.NAMESPACE).strip()


def stop_load(environment: Environment, bucket: str) -> None:
    """Stop the clients of a load."""
    environment.execute(CLIENT, "sh", "-c", f"touch /tmp/load-{bucket}/stop", namespace=env.NAMESPACE)
