"""The Jobs that make OSDs of chosen devices, and what they report.

A Job runs in the Ceph image on the devices' node, without access to the API. It reports in the termination message of
its pod; the operator that reads it, now or after a restart, makes the OSDs' Deployments from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from controller.ceph.daemon import (
    Daemon,
    Release,
    container_resources,
    environment,
    image_fields,
    metadata,
    pod_template,
    security_context,
    volume_mounts,
    volumes,
)
from controller.ceph.script_image import script_command, script_mount, with_script
from controller.framework.names import label_value, object_name
from controller.framework.placement import HOSTNAME_LABEL, over, within
from controller.framework.pods import termination_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.apis.ceph import CephCluster
    from controller.runtime.kube import Job, Pod
    from informers import JsonObject

APP = "rook-ceph-osd-prepare"
TYPE = "osd-prepare"
BOOTSTRAP_USER = "client.bootstrap-osd"
BOOTSTRAP_CAPS: Mapping[str, str] = {"mon": "allow profile bootstrap-osd"}
BOOTSTRAP_SECRET = "rook-ceph-osd-bootstrap-keyring"  # noqa: S105  # the Secret's name
OLD_SCRIPTS = "rook-ceph-osd-scripts"
"""The ConfigMap from which pods that an earlier release made run the script."""
DEVICES_VARIABLE = "ROOK_DEVICES"
RESULT_PATH = "/tmp/result.json"  # noqa: S108  # the pod's own

MAX_DEVICES = 16
"""Devices that one Job prepares: what it reports of them has to fit into a termination message of 4096 bytes."""
MAX_RETRIES = 3


@dataclass(frozen=True, slots=True)
class Target:
    """A device to become an OSD.

    Attributes:
        path: The device file, which may be another device's after a reboot.
        device_class: What it gets; empty: what Ceph takes it for.
        links: Stable links that led to it when it was chosen.
        size: Bytes that it had then; 0: not known.
    """

    path: str
    device_class: str = ""
    links: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareDevices:
    """Make OSDs of these devices of a node. `replaces`: uid of the Job that was there before, which has ended."""

    node: str
    hostname: str
    targets: tuple[Target, ...]
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An OSD that a Job made or found."""

    node: str
    path: str
    osd_id: int
    uuid: str
    device_class: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A device that a Job did not make an OSD of, and why."""

    node: str
    path: str
    error: str


class _Reported(msgspec.Struct, frozen=True, rename="camel"):
    device: str
    id: int = -1
    uuid: str = ""
    device_class: str = ""
    error: str = ""


_REPORT = msgspec.json.Decoder(list[_Reported])


def daemon(hostname: str) -> Daemon:
    """Stands for the preparing pod of a node where daemons have names and labels."""
    return Daemon(type=TYPE, id=label_value(hostname))


def job_name(hostname: str) -> str:
    """The name of a node's Job."""
    return object_name(f"{APP}-{hostname}")


def device_volumes() -> list[JsonObject]:
    """The volumes through which a pod has the node's devices."""
    return [{"name": "devices", "hostPath": {"path": "/dev", "type": "Directory"}}]


def device_mounts() -> list[JsonObject]:
    """Where a container sees `device_volumes`."""
    return [{"name": "devices", "mountPath": "/dev"}]


def prepare_job(
    cluster: CephCluster, fsid: str, release: Release, action: PrepareDevices, uuids: tuple[str, ...], image: str
) -> JsonObject:
    """The Job that carries out `action`.

    Args:
        cluster: The cluster.
        fsid: Its identity.
        release: What its daemons should run.
        action: Which devices of which node.
        uuids: Those of the OSDs to be, one for each target.
        image: The operator's, which has the script.
    """
    own = daemon(action.hostname)
    resources = container_resources(cluster, "prepareosd")
    devices = [
        {
            "path": target.path,
            "uuid": uuid,
            "deviceClass": target.device_class,
            "links": target.links,
            "size": target.size,
        }
        for target, uuid in zip(action.targets, uuids, strict=True)
    ]
    container: JsonObject = {
        "name": "provision",
        "command": script_command("prepare"),
        **image_fields(cluster, release),
        "env": [
            *environment(),
            {"name": "ROOK_FSID", "value": fsid},
            {"name": "ROOK_RESULT", "value": RESULT_PATH},
            {"name": DEVICES_VARIABLE, "value": json.dumps(devices)},
        ],
        "volumeMounts": [*volume_mounts(), *device_mounts(), script_mount()],
        # The container runtime keeps unprivileged containers from opening a node's block devices.
        "securityContext": security_context(privileged=True),
        "terminationMessagePath": RESULT_PATH,
        **resources,
    }
    pod: JsonObject = {
        "restartPolicy": "Never",
        "nodeSelector": {HOSTNAME_LABEL: action.hostname},
        "containers": [container],
        "volumes": [*volumes(BOOTSTRAP_SECRET), *device_volumes()],
    }
    placement = over(osd_placement(cluster), cluster.spec.placement.get("prepareosd", {}))
    template = pod_template(cluster, own, pod, key="prepareosd", placement=placement)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(cluster, job_name(action.hostname), own.labels(cluster)),
        "spec": {
            "backoffLimit": MAX_RETRIES,
            "template": with_script(template, image, resources),
        },
    }


def osd_placement(cluster: CephCluster) -> dict[str, Any]:
    """Where OSDs may run: on nodes that both `all` and `osd` of `spec.placement` allow, or `osd` alone."""
    own = cluster.spec.placement.get("osd", {})
    if cluster.spec.storage.only_apply_osd_placement:
        return dict(own)
    return within(cluster.spec.placement.get("all", {}), own)


def targets_of(job: Job) -> tuple[str, ...]:
    """The paths of the devices that a Job prepares."""
    for container in job.spec.template.spec.containers:
        for variable in container.env:
            if variable.name == DEVICES_VARIABLE:
                return tuple(device["path"] for device in json.loads(variable.value))
    return ()


def read_results(pods: Iterable[Pod]) -> tuple[tuple[Prepared, ...], tuple[Refusal, ...]]:
    """What preparing pods that have ended reported.

    A later pod's word on a device takes the place of an earlier one's. A message that cannot be read, as of a pod that
    was killed, says nothing.
    """
    found: dict[tuple[str, str], Prepared | Refusal] = {}
    for pod in sorted(pods, key=lambda p: p.metadata.creation_timestamp or ""):
        message = termination_message(pod)
        if not message:
            continue
        try:
            reported = _REPORT.decode(message)
        except msgspec.DecodeError:
            continue
        node = pod.spec.node_name
        for entry in reported:
            found[node, entry.device] = (
                Refusal(node, entry.device, entry.error)
                if entry.error
                else Prepared(node, entry.device, entry.id, entry.uuid, entry.device_class)
            )
    return (
        tuple(result for result in found.values() if isinstance(result, Prepared)),
        tuple(result for result in found.values() if isinstance(result, Refusal)),
    )
