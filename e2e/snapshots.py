"""Snapshots in the cluster: kinds and controller of external-snapshotter, and what scenarios ask for."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from e2e import binaries
from e2e import environment as env
from e2e.api import load
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

CONTROLLER = "snapshot-controller"
SYSTEM = "kube-system"
CLASS = "rook-ceph-block"
_MODULE = "github.com/kubernetes-csi/external-snapshotter"


def install(environment: Environment) -> None:
    """Install the kinds and the controller as their module has them, with an image of ours, and our class."""
    kinds = _module(f"{_MODULE}/client/v8") / "config" / "crd"
    files = sorted(kinds.glob("snapshot.storage.k8s.io_*.yaml"))
    deploy = _module(f"{_MODULE}/v8") / "deploy" / "kubernetes" / CONTROLLER
    files.append(deploy / f"rbac-{CONTROLLER}.yaml")
    (deployment,) = load(deploy / f"setup-{CONTROLLER}.yaml")
    deployment["spec"].update(replicas=1, minReadySeconds=0)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container.update(image=environment.images[CONTROLLER], imagePullPolicy="IfNotPresent")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as changed:
        yaml.safe_dump(deployment, changed)
        changed.flush()
        for file in (*files, Path(changed.name)):
            environment.run("kubectl", "apply", "--server-side", "--filename", file)

    def look() -> None:
        if not env.rolled_out(environment.api.get("Deployment", CONTROLLER, SYSTEM), 1):
            raise NotYetError("its pod to be ready")

    eventually(CONTROLLER, look, deadline=120)
    for manifest in load(env.EXAMPLES / "snapshotclass.yaml"):
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
