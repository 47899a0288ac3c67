"""What explains a scenario that failed: the cluster's objects, events and logs, as files."""

import json
from collections.abc import Iterable
from pathlib import Path

from e2e.api import ApiError, Manifest
from e2e.environment import Environment


def write(environment: Environment, directory: Path, namespaces: Iterable[str]) -> None:
    """Write what a person needs to see why a scenario failed: objects, events, and every container's log."""
    directory.mkdir(parents=True, exist_ok=True)
    for kind in ("Node", "PersistentVolume", "VolumeAttachment", "CSINode", "StorageClass"):
        _write_kind(environment, directory / f"{kind}.json", kind, "")
    for namespace in namespaces:
        place = directory / namespace
        place.mkdir(exist_ok=True)
        for kind in ("Event", "Pod", "Deployment", "DaemonSet", "StatefulSet", "Job", "ConfigMap", "Lease"):
            _write_kind(environment, place / f"{kind}.json", kind, namespace)
        for kind in ("CephCluster", "CephBlockPool", "CephFilesystem", "CephFilesystemSubVolumeGroup", "CephNFS"):
            _write_kind(environment, place / f"{kind}.json", kind, namespace)
        _write_kind(environment, place / "CephObjectStore.json", "CephObjectStore", namespace)
        for kind in ("CassandraCluster", "CassandraOperation", "PersistentVolumeClaim"):
            _write_kind(environment, place / f"{kind}.json", kind, namespace)
        for pod in environment.api.list("Pod", namespace):
            _write_logs(environment, place, pod)


def _write_kind(environment: Environment, file: Path, kind: str, namespace: str) -> None:
    try:
        items = environment.api.list(kind, namespace)
    except ApiError as error:
        file.write_text(str(error))
        return
    for item in items:
        item["metadata"].pop("managedFields", None)
    file.write_text(json.dumps(items, indent=1))


def _write_logs(environment: Environment, place: Path, pod: Manifest) -> None:
    name = pod["metadata"]["name"]
    for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
        for previous in (False, True):
            try:
                text = environment.api.logs(name, pod["metadata"]["namespace"], container["name"], previous=previous)
            except ApiError:
                continue
            suffix = ".previous.log" if previous else ".log"
            (place / f"{name}.{container['name']}{suffix}").write_text(text)
