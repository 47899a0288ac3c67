"""Snapshots in the cluster: kinds and controller of external-snapshotter, and what scenarios ask for."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from e2e import binaries, pods
from e2e import environment as env
from e2e.api import Manifest, load
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

CONTROLLER = "snapshot-controller"
SYSTEM = "kube-system"
CLASS = "rook-ceph-block"
_MODULE = "github.com/kubernetes-csi/external-snapshotter"

_QUICK = ("--kube-api-qps=50", "--kube-api-burst=100")
"""What docs/volumes.md says to give the controller: by default it asks the API server five times a second."""


def install(environment: Environment) -> None:
    """Install the kinds and the controller as their module has them, with an image of ours, and our class."""
    kinds = _module(f"{_MODULE}/client/v8") / "config" / "crd"
    groups = [kind for file in sorted(kinds.glob("groupsnapshot.storage.k8s.io_*.yaml")) for kind in load(file)]
    for kind in groups:  # nobody converts here, and nobody asks for another version than the newest
        kind["spec"].pop("conversion", None)
    deploy = _module(f"{_MODULE}/v8") / "deploy" / "kubernetes" / CONTROLLER
    (deployment,) = load(deploy / f"setup-{CONTROLLER}.yaml")
    deployment["spec"].update(replicas=1, minReadySeconds=0)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container.update(image=environment.images[CONTROLLER], imagePullPolicy="IfNotPresent")
    container["args"] += ["--feature-gates=CSIVolumeGroupSnapshot=true", *_QUICK]
    for file in (*sorted(kinds.glob("snapshot.storage.k8s.io_*.yaml")), deploy / f"rbac-{CONTROLLER}.yaml"):
        environment.run("kubectl", "apply", "--server-side", "--filename", file)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as changed:
        yaml.safe_dump_all([*groups, deployment], changed)
        changed.flush()
        environment.run("kubectl", "apply", "--server-side", "--filename", Path(changed.name))

    def look() -> None:
        if not env.rolled_out(environment.api.get("Deployment", CONTROLLER, SYSTEM), 1):
            raise NotYetError("its pod to be ready")

    eventually(CONTROLLER, look, deadline=120)
    for example in ("snapshotclass.yaml", "groupsnapshotclass.yaml"):
        for manifest in load(env.EXAMPLES / example):
            environment.api.apply(manifest)


def take(environment: Environment, namespace: str, name: str, claim: str, *, snapshot_class: str = CLASS) -> None:
    """Take a snapshot of a claim, and wait until it is ready to use."""
    ask(environment, namespace, name, claim, snapshot_class=snapshot_class)
    wait(environment, namespace, name)


def ask(environment: Environment, namespace: str, name: str, claim: str, *, snapshot_class: str = CLASS) -> None:
    """Ask for a snapshot of a claim."""
    environment.api.apply(
        {
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshot",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"volumeSnapshotClassName": snapshot_class, "source": {"persistentVolumeClaimName": claim}},
        }
    )


def wait(environment: Environment, namespace: str, name: str) -> None:
    """Wait until a snapshot is ready to use."""

    def look() -> None:
        status = environment.api.get("VolumeSnapshot", name, namespace).get("status", {})
        if not status.get("readyToUse"):
            raise NotYetError(status.get("error", {}).get("message", "it to be ready to use"))

    eventually(f"snapshot {name}", look, deadline=120)


def take_group(environment: Environment, namespace: str) -> tuple[str, dict[str, str]]:
    """Take the example's group snapshot, and wait until its members are ready to use.

    Returns:
        Its name, and by claim the name of the VolumeSnapshot that is of it.
    """
    (manifest,) = load(env.EXAMPLES / "groupsnapshot.yaml")
    manifest["metadata"]["namespace"] = namespace
    labels = manifest["spec"]["source"]["selector"]["matchLabels"]
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    claims = {
        claim["metadata"]["name"] for claim in environment.api.list("PersistentVolumeClaim", namespace, labels=selector)
    }
    name: str = environment.api.apply(manifest)["metadata"]["name"]

    def look() -> dict[str, str]:
        status = environment.api.get("VolumeGroupSnapshot", name, namespace).get("status", {})
        if not status.get("readyToUse"):
            raise NotYetError(status.get("error", {}).get("message", "it to be ready to use"))
        members = environment.api.list("VolumeSnapshot", namespace)
        ready = [member for member in members if member.get("status", {}).get("readyToUse")]
        found = {one["spec"]["source"]["persistentVolumeClaimName"]: one["metadata"]["name"] for one in ready}
        if missing := claims - found.keys():
            raise NotYetError(f"the members of {', '.join(sorted(missing))} to be ready to use")
        return found

    return name, eventually(f"group snapshot {name}", look, deadline=120)


def pod_of(
    environment: Environment,
    namespace: str,
    name: str,
    claims: Sequence[str],
    *,
    node: str,
    script: str = "sleep infinity",
) -> Manifest:
    """A pod that has each claim's volume at the claim's name below `pods.PATH`, and runs a script. Waits for it."""
    container = {
        "name": "shell",
        "image": environment.images["postgres"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["bash", "-euc", script],
        "volumeMounts": [{"name": claim, "mountPath": f"{pods.PATH}/{claim}"} for claim in claims],
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims],
        "nodeSelector": {"kubernetes.io/hostname": node},
    }
    metadata = {"name": name, "namespace": namespace}
    environment.api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    return pods.wait(environment, namespace, name)


def copy(environment: Environment, namespace: str, claim: str, /, **source: str) -> None:
    """Ask for a volume that begins as a copy."""
    spec: dict[str, Any] = {
        "storageClassName": env.STORAGE_CLASS,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "dataSource": source,
    }
    meta = {"name": claim, "namespace": namespace}
    environment.api.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec})


def _module(path: str) -> Path:
    """The directory of a Go module of the controller's recipe, whose go.sum says what is in it."""
    done = subprocess.run(
        ["go", "mod", "download", "-json", path],
        cwd=binaries.RECIPES_DIRECTORY / "snapshotter",
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{path} cannot be had:\n{done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])
