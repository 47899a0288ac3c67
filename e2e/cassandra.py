"""A Cassandra cluster on the environment, and an application that writes to it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from e2e import environment as env
from e2e.api import Manifest, condition
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

NAME = "store"
DATACENTER = "dc1"
KIND, OPERATION, SCHEDULE = "CassandraCluster", "CassandraOperation", "CassandraOperationSchedule"
CLIENT = "cassandra-client"
SHOP = "corner"
JOIN_SECONDS = 150.0
"""How long a member may take to join, its volume and its image included."""
FAST = (
    "-Dcassandra.ring_delay_ms=5000",
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.superuser_setup_delay_ms=0",
    "-XX:TieredStopAtLevel=1",
)
"""What makes members quicker than they are by themselves. No user should have it."""


def manifest(environment: Environment, racks: Mapping[str, int], *, image: str) -> Manifest:
    """A cluster with so many members in each rack, small ones."""
    repository, version = environment.images[image].rsplit(":", 1)
    claim = {
        "metadata": {"name": "data"},
        "spec": {"storageClassName": env.STORAGE_CLASS, "resources": {"requests": {"storage": "1Gi"}}},
    }
    resources = {"requests": {"cpu": "50m", "memory": "700Mi"}, "limits": {"memory": "1200Mi"}}
    return {
        "apiVersion": "cassandra.rook.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": NAME, "namespace": env.NAMESPACE},
        "spec": {
            "version": version,
            "repository": repository,
            "imagePullPolicy": "IfNotPresent",
            "config": {"commitlog_total_space": "128MiB"},
            "jvm": {"heapSize": "320Mi", "options": list(FAST)},
            "upgrade": {"soakSeconds": 5},
            "encryption": {"internode": True, "client": "Required"},
            "monitoring": {"enabled": True},
            "datacenter": {
                "name": DATACENTER,
                "racks": [
                    {
                        "name": name,
                        "members": members,
                        "storage": {"volumeClaimTemplates": [claim]},
                        "resources": resources,
                    }
                    for name, members in racks.items()
                ],
            },
        },
    }


def member(rack: str, ordinal: int) -> str:
    """A member's name, which is that of its pod."""
    return f"{NAME}-{DATACENTER}-{rack}-{ordinal}"


def get(environment: Environment) -> Manifest:
    """The cluster."""
    return environment.api.get(KIND, NAME, env.NAMESPACE)


def edit(environment: Environment, spec: Manifest) -> None:
    """Change fields of the spec, as `kubectl edit` does."""
    environment.api.patch(KIND, NAME, env.NAMESPACE, {"spec": spec})


def scale(environment: Environment, racks: Mapping[str, int]) -> None:
    """Change how many members racks have."""
    found = get(environment)["spec"]["datacenter"]["racks"]
    wanted = [{**rack, "members": racks.get(rack["name"], rack["members"])} for rack in found]
    edit(environment, {"datacenter": {"racks": wanted}})


def members(environment: Environment) -> dict[str, Manifest]:
    """What the status says of each member, by name."""
    found: dict[str, Manifest] = get(environment).get("status", {}).get("members", {})
    return found


def wait(environment: Environment, racks: Mapping[str, int], *, deadline: float) -> None:
    """Wait until the cluster is Ready for its newest spec, with exactly these members."""
    wanted = {member(rack, ordinal) for rack, count in racks.items() for ordinal in range(count)}

    def look() -> None:
        found = get(environment)
        status = found.get("status", {})
        ready = condition(found, "Ready")
        newest = found["metadata"]["generation"]
        if status.get("observedGeneration") != newest or ready.get("observedGeneration") != newest:
            raise NotYetError("the operator to see its spec")
        present = status.get("members", {})
        if ready.get("status") != "True" or present.keys() != wanted:
            states = ", ".join(f"{name} {m.get('state', '')}" for name, m in sorted(present.items()))
            raise NotYetError(f"{env.progress(found)} ({states or 'no members'})")

    eventually("the Cassandra cluster", look, deadline=deadline)


def operation(name: str, **act: object) -> Manifest:
    """An Operation on the cluster."""
    return {
        "apiVersion": "cassandra.rook.io/v1alpha1",
        "kind": "Operation",
        "metadata": {"name": name, "namespace": env.NAMESPACE},
        "spec": {"cluster": NAME, **act},
    }


def operate(environment: Environment, name: str, act: Manifest, *, deadline: float) -> Manifest:
    """Carry out an Operation on the cluster; its status when it has ended."""
    environment.api.delete(OPERATION, name, env.NAMESPACE)
    env.gone(environment, OPERATION, name, env.NAMESPACE)
    environment.api.apply(operation(name, **act), kind=OPERATION)
    return ended(environment, name, deadline=deadline)


def ended(environment: Environment, name: str, *, deadline: float) -> Manifest:
    """Wait until an Operation has ended; its status."""

    def look() -> Manifest:
        status: Manifest = environment.api.get(OPERATION, name, env.NAMESPACE).get("status", {})
        if status.get("phase") not in ("Succeeded", "Failed"):
            raise NotYetError(f"{status.get('phase', 'the operator to see it')}: {status.get('message', '')}")
        return status

    return eventually(f"Operation {name}", look, deadline=deadline)


def deploy_client(environment: Environment) -> None:
    """A pod with the application, in the operator's image, which has a client for CQL."""
    script = (Path(__file__).parent / "cassandra_client.py").read_text()
    meta = {"name": CLIENT, "namespace": env.NAMESPACE}
    environment.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"client.py": script}})
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("script", "login", "ca")]
    container = {
        "name": "client",
        "image": environment.images["operator"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  # the pod's own
    }
    volumes = [
        {"name": "script", "configMap": {"name": CLIENT}},
        {"name": "login", "secret": {"secretName": f"{NAME}-superuser"}},
        {"name": "ca", "configMap": {"name": f"{NAME}-ca"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": volumes}
    environment.api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})

    def look() -> None:
        if not env.running([environment.api.get("Pod", CLIENT, env.NAMESPACE)]):
            raise NotYetError("its pod to run")

    eventually("the application", look, deadline=120)


def client(environment: Environment, *command: str, deadline: float = 180.0) -> Manifest:
    """What the application says after a command; see `cassandra_client.py`."""
    host = f"{NAME}-client.{env.NAMESPACE}"
    told = environment.execute(
        CLIENT, "python3", "/script/client.py", host, *command, namespace=env.NAMESPACE, deadline=deadline
    )
    found: Manifest = json.loads(told.strip().splitlines()[-1])
    return found


def deploy_example(environment: Environment, *, image: str) -> None:
    """The examples' application on this cluster, under the name of `SHOP`: the e2e's own keyspace has the example's."""
    text = (env.EXAMPLES.parent / "cassandra" / "application.yaml").read_text()
    text = text.replace("namespace: rook-cassandra", f"namespace: {env.NAMESPACE}").replace("rook-cassandra", NAME)
    text = text.replace("us-east-1", DATACENTER).replace("shop", SHOP)
    for manifest in filter(None, yaml.safe_load_all(text)):
        if manifest["kind"] == "Deployment":
            pod = manifest["spec"]["template"]["spec"]
            for container in (*pod["initContainers"], *pod["containers"]):
                container.update(image=environment.images[image], imagePullPolicy="IfNotPresent")
        environment.api.apply(manifest)


def wait_for_orders(environment: Environment, *, deadline: float) -> None:
    """Wait until the example's application has written orders, and read them back."""

    def look() -> None:
        pods = env.running(environment.api.list("Pod", env.NAMESPACE, labels=f"app={SHOP}"))
        if not pods:
            raise NotYetError("its pod to run")
        log = environment.api.logs(pods[0]["metadata"]["name"], env.NAMESPACE, SHOP)
        if len(re.findall(r"^ *order [0-9a-f-]{36} *$", log, re.MULTILINE)) < 2:
            raise NotYetError(log[-300:] or "it to say something")

    eventually("the example's application", look, deadline=deadline)


def remove_example(environment: Environment) -> int:
    """Remove the example's application with its keyspace and role; return how many orders there were."""
    environment.api.delete("Deployment", SHOP, env.NAMESPACE)
    for kind in ("Secret", "ConfigMap"):
        environment.api.delete(kind, SHOP, env.NAMESPACE)
    for pod in environment.api.list("Pod", env.NAMESPACE, labels=f"app={SHOP}"):
        env.gone(environment, "Pod", pod["metadata"]["name"], env.NAMESPACE)
    return int(client(environment, "drop", SHOP)["rows"])


def begin_load(environment: Environment) -> None:
    """Have the application write without a pause, until `end_load`."""
    host = f"{NAME}-client.{env.NAMESPACE}"
    script = f"rm -f /tmp/stop; nohup python3 /script/client.py {host} load >/tmp/load 2>&1 </dev/null &"
    environment.execute(CLIENT, "sh", "-c", script, namespace=env.NAMESPACE)


def end_load(environment: Environment) -> Manifest:
    """What became of the writes: how many there were, how many had to be sent to another member, how many failed."""
    environment.execute(CLIENT, "touch", "/tmp/stop", namespace=env.NAMESPACE)  # noqa: S108  # the pod's own

    def look() -> Manifest:
        told = environment.execute(CLIENT, "cat", "/tmp/load", namespace=env.NAMESPACE)  # noqa: S108  # the pod's own
        try:
            found: Manifest = json.loads(told.strip().splitlines()[-1])
        except (IndexError, ValueError):
            raise NotYetError(told[-300:] or "it to say something") from None
        return found

    return eventually("the application to end its writes", look, deadline=60)


def remove(environment: Environment) -> None:
    """Delete the cluster with its volumes, the application, and what was made of operations."""
    for kind in (SCHEDULE, OPERATION):
        for found in environment.api.list(kind, env.NAMESPACE):
            environment.api.delete(kind, found["metadata"]["name"], env.NAMESPACE)
    environment.api.delete("Pod", CLIENT, env.NAMESPACE)
    environment.api.delete("ConfigMap", CLIENT, env.NAMESPACE)
    if environment.api.find(KIND, NAME, env.NAMESPACE) is not None:
        edit(environment, {"claimRetention": {"whenDeleted": "Delete"}})
        environment.api.delete(KIND, NAME, env.NAMESPACE)
        env.gone(environment, KIND, NAME, env.NAMESPACE, deadline=600)
