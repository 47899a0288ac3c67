"""PostgreSQL in a StatefulSet on a claim of ours: the stateful application of the demo and of the scenarios."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.api import Manifest, load
from e2e.environment import EXAMPLES, STORAGE_CLASS, Environment, gone, running
from e2e.eventually import NotYetError, eventually

POD = "postgres-0"

COMMITS = r"""
rm -f /tmp/stop
n=0
while [ ! -e /tmp/stop ]; do
    psql -U postgres -Xqc 'INSERT INTO talk (said) VALUES ($$tick$$)' || exit 1
    n=$((n + 1))
done
echo "$n"
"""
"""Commits until told to stop, and says how often; ends with an error at the first commit that fails."""

START_SECONDS = 180.0
MOVE_SECONDS = 180.0


def deploy(environment: Environment, namespace: str) -> Manifest:
    """Apply the example and wait until the database answers; return its pod."""
    if environment.api.find("Namespace", namespace) is None:
        environment.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    for manifest in load(EXAMPLES / "postgres.yaml"):
        manifest["metadata"]["namespace"] = namespace
        if manifest["kind"] == "StatefulSet":
            (container,) = manifest["spec"]["template"]["spec"]["containers"]
            container["image"] = environment.images["postgres"]
            (claim,) = manifest["spec"]["volumeClaimTemplates"]
            claim["spec"]["storageClassName"] = STORAGE_CLASS
        environment.api.apply(manifest)
    return wait(environment, namespace, START_SECONDS)


def wait(environment: Environment, namespace: str, deadline: float, *, not_uid: str = "") -> Manifest:
    """Wait until the database's pod is ready, one other than that of the given UID."""

    def look() -> Manifest:
        pod = environment.api.find("Pod", POD, namespace)
        if pod is None or pod["metadata"]["uid"] == not_uid:
            raise NotYetError("the old pod to go" if pod else "the pod to be created")
        if not running([pod]):
            raise NotYetError(why_not_running(environment, pod))
        return pod

    return eventually("PostgreSQL", look, deadline=deadline)


def why_not_running(environment: Environment, pod: Manifest) -> str:
    """What holds a pod back, from its claim, its containers and the last warning about it."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    for volume in pod["spec"].get("volumes", []):
        claim_name = volume.get("persistentVolumeClaim", {}).get("claimName")
        claim = environment.api.find("PersistentVolumeClaim", claim_name, namespace) if claim_name else None
        if claim is not None and claim.get("status", {}).get("phase") != "Bound":
            reason = last_warning(environment, namespace, claim_name)
            return f"claim {claim_name} is {claim.get('status', {}).get('phase', 'new')} {reason}".rstrip()
    if warning := last_warning(environment, namespace, name):
        return warning
    for status in pod.get("status", {}).get("containerStatuses", []):
        waiting = status["state"].get("waiting")
        if waiting:
            return f"container {status['name']}: {waiting.get('message') or waiting.get('reason')}"
    return f"pod is {pod.get('status', {}).get('phase', 'new')}"


def last_warning(environment: Environment, namespace: str, name: str) -> str:
    """The message of the newest event that says that something failed with an object, or nothing."""
    events = environment.api.list("Event", namespace, fields=f"involvedObject.name={name},type=Warning")
    failures = [event for event in events if "Fail" in event["reason"]]
    newest = max(failures, key=lambda event: int(event["metadata"]["resourceVersion"]), default=None)
    return str(newest.get("message", ""))[:300] if newest else ""


def query(environment: Environment, namespace: str, sql: str, *, deadline: float = 60.0) -> str:
    """What psql prints for the statements, unadorned. Raises `RuntimeError` with the server's error."""
    command = ["psql", "--username=postgres", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]
    command += ["--set=ON_ERROR_STOP=1", "--command", sql]
    return environment.execute(POD, *command, namespace=namespace, deadline=deadline).strip()


def write_rows(environment: Environment, namespace: str) -> None:
    """Add a thousand rows, in one transaction that is on disk when this returns."""
    query(
        environment,
        namespace,
        "CREATE TABLE IF NOT EXISTS talk (id serial PRIMARY KEY, said text NOT NULL, at timestamptz DEFAULT now());"
        "INSERT INTO talk (said) SELECT md5(random()::text) FROM generate_series(1, 1000);",
    )


def rows(environment: Environment, namespace: str) -> tuple[int, str]:
    """How many rows there are, and a digest of all of them."""
    answer = query(
        environment,
        namespace,
        "SELECT count(*) || ' ' || md5(string_agg(id || said || extract(epoch FROM at), ',' ORDER BY id)) FROM talk;",
    )
    count, digest = answer.split()
    return int(count), digest


@contextmanager
def commits_meanwhile(environment: Environment, namespace: str) -> Iterator[None]:
    """Commit rows one after the other all the while; afterwards assert that each succeeded and is there."""
    before, _ = rows(environment, namespace)
    in_pod = ("exec", "--namespace", namespace, POD, "--", "bash", "-c", COMMITS)
    command = [str(environment.programs / "kubectl"), f"--kubeconfig={environment.kubeconfig}", *in_pod]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as writer:
        try:
            wait_for_rows(environment, namespace, more_than=before)
            yield
            seen, _ = rows(environment, namespace)
            wait_for_rows(environment, namespace, more_than=seen)
        finally:
            environment.execute(POD, "touch", "/tmp/stop", namespace=namespace)  # noqa: S108  # in the pod
            output, errors = writer.communicate(timeout=60)
    assert writer.returncode == 0, errors
    after, _ = rows(environment, namespace)
    assert after == before + int(output), "a row that was committed is not there"


def wait_for_rows(environment: Environment, namespace: str, *, more_than: int) -> None:
    """Wait until there are more rows than that."""

    def look() -> None:
        if rows(environment, namespace)[0] <= more_than:
            raise NotYetError(f"still {more_than}")

    eventually("more rows", look, deadline=120)


def move(environment: Environment, namespace: str) -> tuple[str, str]:
    """Delete the pod and make it come back on another node; return the names of both nodes."""
    pod = environment.api.get("Pod", POD, namespace)
    first = pod["spec"]["nodeName"]
    cordon(environment, first, on=True)
    try:
        environment.api.delete("Pod", POD, namespace)
        again = wait(environment, namespace, MOVE_SECONDS, not_uid=pod["metadata"]["uid"])
    finally:
        cordon(environment, first, on=False)
    second = again["spec"]["nodeName"]
    assert second != first, f"{POD} came back on {first}, which was cordoned"
    return first, second


def cordon(environment: Environment, node: str, *, on: bool) -> None:
    """Keep new pods off a node, or let them on it again."""
    environment.api.patch("Node", node, "", {"spec": {"unschedulable": on or None}})


def remove(environment: Environment, namespace: str) -> None:
    """Delete the namespace with the database and its claim, and wait until they are gone."""
    environment.api.delete("Namespace", namespace)
    gone(environment, "Namespace", namespace, deadline=120)
