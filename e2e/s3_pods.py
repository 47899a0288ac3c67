"""Pods that are clients of an object store: one that asks by boto3, and one that is told of objects."""

import json
from typing import Any

from e2e import pods
from e2e.api import Manifest
from e2e.environment import Environment

_ASK = """\
import json, sys
import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session
endpoint, access, secret, expression = sys.argv[1:]
s3 = boto3.client(
    "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=access, aws_secret_access_key=secret,
    config=Config(
        retries={"total_max_attempts": 4}, s3={"addressing_style": "path"},
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
    ),
)
def admin(path):
    request = AWSRequest(method="GET", url=f"{endpoint}/admin/{path}")
    S3SigV4Auth(Credentials(access, secret), "s3", "us-east-1").add_auth(request)
    return URLLib3Session().send(request.prepare()).status_code
try:
    print(json.dumps(eval(expression)))
except ClientError as error:
    print(json.dumps({"refused": error.response["Error"]["Code"]}))
"""
"""What a client runs: an expression of Python with `s3` and `admin`; its result, or what the store refused."""

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


def start(environment: Environment, namespace: str, name: str, *, listens: bool = False) -> Manifest:
    """A pod of the operator's image, which has boto3: it waits for `ask`, or is told of objects on port 8080."""
    container = {
        "name": "client",
        "image": environment.images["operator"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", _LISTEN] if listens else ["sleep", "infinity"],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  # the pod's own
    }
    spec: dict[str, Any] = {
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    metadata = {"name": name, "namespace": namespace}
    environment.api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    return pods.wait(environment, namespace, name)


def ask(environment: Environment, namespace: str, name: str, place: tuple[str, str, str], expression: str) -> object:
    """What an expression of Python is in the pod, which has `s3` and `admin`.

    Args:
        environment: The cluster.
        namespace: The pod's.
        name: The pod.
        place: The store's URL, and the access and secret key of who asks.
        expression: Such as "s3.list_buckets()['Buckets']".
    """
    output = environment.execute(name, "python3", "-c", _ASK, *place, expression, namespace=namespace)
    return json.loads(output.strip().splitlines()[-1])


def told(environment: Environment, namespace: str, name: str) -> list[Manifest]:
    """The records of all notifications that the pod that listens has got."""
    text = environment.execute(name, "sh", "-c", "cat /tmp/told 2>/dev/null || true", namespace=namespace)
    return [record for line in text.splitlines() if line.strip() for record in json.loads(line)["Records"]]
