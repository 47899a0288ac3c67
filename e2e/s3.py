"""A client of S3 within the cluster: a pod of the operator's image, which has boto3."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager

from e2e import environment as env
from e2e.api import Manifest
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

CLIENT = "s3-client"
_PROGRAM = """\
import json, sys
import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

asked = json.load(sys.stdin)
config = Config(
    connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 2}, s3={"addressing_style": "path"},
    request_checksum_calculation="when_required", response_checksum_validation="when_required",
)
client = boto3.client(
    "s3", endpoint_url=asked["endpoint"], region_name="us-east-1", config=config,
    aws_access_key_id=asked["access"], aws_secret_access_key=asked["secret"],
)
try:
    found = getattr(client, asked["call"])(**asked["arguments"])
except (BotoCoreError, ClientError) as error:
    print(json.dumps({"error": str(error)}))
else:
    body = found.pop("Body", None)
    text = body.read().decode() if body is not None else ""
    print(json.dumps({"text": text, "found": found}, default=str))
"""


class S3Error(Exception):
    """A store refused a request, or did not answer."""


class S3:
    """A user at an endpoint."""

    def __init__(self, environment: Environment, endpoint: str, access: str, secret: str) -> None:
        self._environment = environment
        self._login = {"endpoint": endpoint, "access": access, "secret": secret}

    def call(self, what: str, body: str = "", **arguments: str) -> Manifest:
        """What a method of boto3's client answers, as JSON, with the `text` of an object beside it.

        Raises:
            S3Error: It was refused.
        """
        given: Manifest = {**arguments, **({"Body": body} if body else {})}
        asked = json.dumps({**self._login, "call": what, "arguments": given})
        # By a file, since what is asked has a key in it.
        script = f"import base64, io, sys; sys.stdin = io.StringIO(base64.b64decode({_coded(asked)!r}).decode())\n"
        told = self._environment.execute(CLIENT, "python3", "-c", script + _PROGRAM, namespace=env.NAMESPACE)
        answer: Manifest = json.loads(told.strip().splitlines()[-1])
        if "error" in answer:
            raise S3Error(answer["error"])
        return answer

    def empty(self, bucket: str) -> None:
        """Delete a bucket with its few objects."""
        for found in self.call("list_objects_v2", Bucket=bucket)["found"].get("Contents", []):
            self.call("delete_object", Bucket=bucket, Key=found["Key"])
        self.call("delete_bucket", Bucket=bucket)

    def eventually(self, what: str, call: str, *, deadline: float, **arguments: str) -> Manifest:
        """Call until it is not refused any more."""

        def look() -> Manifest:
            try:
                return self.call(call, **arguments)
            except S3Error as error:
                raise NotYetError(str(error)) from error

        return eventually(what, look, deadline=deadline)


def user(environment: Environment, endpoint: str, secret: str) -> S3:
    """A user by the Secret that a CephObjectStoreUser has."""
    data = environment.api.get("Secret", secret, env.NAMESPACE)["data"]
    access, key = (base64.b64decode(data[name]).decode() for name in ("AccessKey", "SecretKey"))
    return S3(environment, endpoint, access, key)


@contextmanager
def client(environment: Environment) -> Iterator[None]:
    """The client's pod."""
    container = {
        "name": "client",
        "image": environment.images["operator"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
    }
    meta = {"name": CLIENT, "namespace": env.NAMESPACE}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    environment.api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})

    def look() -> None:
        if not env.running([environment.api.get("Pod", CLIENT, env.NAMESPACE)]):
            raise NotYetError("its pod to run")

    eventually("the client of S3", look, deadline=60)
    yield
    environment.api.delete("Pod", CLIENT, env.NAMESPACE)


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
