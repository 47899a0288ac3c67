"""Clients of object stores within the cluster: pods of the operator's image, which has boto3.

One asks a store as a user, another is told of objects.
"""

import base64
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from e2e import pods
from e2e.api import Manifest
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

TRUSTED = "/trusted/ca.crt"
"""Where a client has the CA that it trusts, if it is given one."""
STATUS = "['ResponseMetadata']['HTTPStatusCode']"
"""What follows a call in an expression of which nothing but its status matters."""

CONNECT = f"""\
import boto3, json, os, sys
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import URLLib3Session

(endpoint, access, secret), attempts = json.loads(sys.argv[1])
endpoint = endpoint or "https://{{BUCKET_HOST}}:{{BUCKET_PORT}}".format_map(os.environ)
access, secret = access or os.environ["AWS_ACCESS_KEY_ID"], secret or os.environ["AWS_SECRET_ACCESS_KEY"]
bucket = os.environ.get("BUCKET_NAME", "")
trusted = "{TRUSTED}" if endpoint.startswith("https") else None
s3 = boto3.client(
    "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=access, aws_secret_access_key=secret,
    verify=trusted,
    config=Config(
        connect_timeout=5, read_timeout=20, s3={{"addressing_style": "path"}},
        retries={{"mode": "standard", "total_max_attempts": attempts}},
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
    ),
)
"""
"""What each program begins with: `s3` is the user at the store, `bucket` the one of the claim that the pod has."""

_ASK = """\
def admin(path):
    request = AWSRequest(method="GET", url=f"{endpoint}/admin/{path}")
    S3SigV4Auth(Credentials(access, secret), "s3", "us-east-1").add_auth(request)
    return URLLib3Session(verify=trusted).send(request.prepare()).status_code

try:
    print(json.dumps(eval(sys.argv[2])))
except ClientError as error:
    print(json.dumps({"refused": error.response["Error"]["Code"]}))
except BotoCoreError as error:
    print(json.dumps({"refused": str(error)}))
"""

_LISTEN = """\
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        with open("/tmp/told", "ab") as file:
            file.write(self.rfile.read(int(self.headers["Content-Length"])) + b"\\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


class Login(NamedTuple):
    """Who asks, and where. What is empty is as the claim has it whose environment the pod has."""

    endpoint: str = ""
    access: str = ""
    secret: str = ""


@dataclass(frozen=True)
class User:
    """A user at a store, who asks from a pod."""

    environment: Environment
    namespace: str
    pod: str
    login: Login
    attempts: int = 4
    """How often a request is tried."""

    @property
    def place(self) -> str:
        """The first argument of a program that begins with `CONNECT`."""
        return json.dumps([self.login, self.attempts])

    def ask(self, expression: str) -> Any:
        """What an expression of Python is that has `s3`, `bucket` and `admin`, or {"refused": why} by the store.

        Args:
            expression: Such as "s3.list_objects_v2(Bucket=bucket)['KeyCount']"; "admin('user?uid=x')" is the status of
                a request to the Admin Ops API.
        """
        output = self.execute("python3", "-c", CONNECT + _ASK, self.place, expression)
        return json.loads(output.strip().splitlines()[-1])

    def eventually(self, what: str, expression: str, *, deadline: float) -> Any:
        """Ask until it is not refused any more."""

        def look() -> Any:
            found = self.ask(expression)
            if isinstance(found, dict) and "refused" in found:
                raise NotYetError(str(found["refused"]))
            return found

        return eventually(what, look, deadline=deadline)

    def execute(self, *command: str) -> str:
        """What a command in the pod wrote."""
        return self.environment.execute(self.pod, *command, namespace=self.namespace, deadline=120)


def start(
    environment: Environment, namespace: str, name: str, *, trusted: Manifest | None = None, claim: str = ""
) -> None:
    """A pod from which users ask.

    Args:
        environment: The cluster.
        namespace: The pod's.
        name: The pod's.
        trusted: The volume with `ca.crt`, the CA of stores that speak HTTPS.
        claim: The claim to a bucket whose ConfigMap and Secret are the pod's environment.
    """
    mounts, volumes = [], []
    if trusted is not None:
        mounts = [{"name": "trusted", "mountPath": TRUSTED.rpartition("/")[0]}]
        volumes = [{"name": "trusted", **trusted}]
    sources = [{kind: {"name": claim}} for kind in ("configMapRef", "secretRef")] if claim else []
    container = {"command": ["sleep", "infinity"], "envFrom": sources, "volumeMounts": mounts}
    _start(environment, namespace, name, container, volumes)


def start_listener(environment: Environment, namespace: str, name: str) -> Manifest:
    """A pod that is told of objects on port 8080."""
    return _start(environment, namespace, name, {"command": ["python3", "-c", _LISTEN]})


def told(environment: Environment, namespace: str, name: str) -> list[Manifest]:
    """The records of all notifications that a listener has got."""
    text = environment.execute(name, "sh", "-c", "cat /tmp/told 2>/dev/null || true", namespace=namespace)
    return [record for line in text.splitlines() if line.strip() for record in json.loads(line)["Records"]]


def secret_values(environment: Environment, namespace: str, name: str, *keys: str) -> tuple[str, ...]:
    """What a Secret has by these keys."""
    data = environment.api.get("Secret", name, namespace)["data"]
    return tuple(base64.b64decode(data[key]).decode() for key in keys)


def _start(
    environment: Environment, namespace: str, name: str, container: Manifest, volumes: list[Manifest] | None = None
) -> Manifest:
    tmp = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108  # the pod's own
    container = {
        "name": "client",
        "image": environment.images["operator"],
        "imagePullPolicy": "IfNotPresent",
        **container,
        "volumeMounts": [*container.get("volumeMounts", []), tmp],
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [*(volumes or []), {"name": "tmp", "emptyDir": {}}],
    }
    metadata = {"name": name, "namespace": namespace}
    environment.api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    return pods.wait(environment, namespace, name)
