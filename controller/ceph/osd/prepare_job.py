"""The Job that makes OSDs of chosen devices of a node.

It runs in the Ceph image, without access to the API, and reports in the termination message of its pod. The operator
that reads it, now or after a restart, makes the OSDs' Deployments from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from controller.ceph.osd.script_image import script_command, script_mount, with_script
from controller.ceph.pods import (
    Daemon,
    environment,
    image_fields,
    pod_template,
    security_context,
    volume_mounts,
    volumes,
)
from controller.framework.jobs import FIRST
from controller.framework.names import label_value, object_name
from controller.framework.placement import HOSTNAME_LABEL, over, within
from controller.framework.pods import termination_message
from controller.framework.workload import ALL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.apis.ceph.storage import StorageScopeSpec
    from controller.ceph.pods import Context
    from controller.framework.jobs import Attempt
    from controller.framework.workload import PodSettings
    from controller.runtime.kube import Job, Pod
    from informers import JsonObject

APP = "rook-ceph-osd-prepare"
TYPE = "osd-prepare"
BOOTSTRAP_SECRET = "rook-ceph-osd-bootstrap-keyring"  # noqa: S105  # the Secret's name
DEVICES_VARIABLE = "ROOK_DEVICES"
RESULT_PATH = "/tmp/result.json"  # noqa: S108  # the pod's own
MAX_RETRIES = 3
DEADLINE = 1800.0
"""Seconds that a Job may take. Making an OSD takes one minute or less, also on a slow disk."""
TRIED = "rook.io/tried-before"
"""Annotation of a Job: paths of devices that earlier Jobs of the node tried in vain, the longest ago first."""


@dataclass(frozen=True, slots=True)
class Target:
    """A device to become an OSD.

    Attributes:
        path: The device file, which may be another device's after a reboot.
        device_class: What it gets; empty: what Ceph takes it for.
        links: Stable links that led to it when it was chosen.
        size: Bytes that it had then; 0: not known.
        overwrite: Whether the spec consents that data on it goes that is no known file system.
        identities: What tells that it is the same device wherever it is seen.
    """

    path: str
    device_class: str = ""
    links: tuple[str, ...] = ()
    size: int = 0
    overwrite: bool = False
    identities: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareDevices:
    """Make OSDs of these devices of a node.

    Attributes:
        node: The Node's name.
        hostname: Its label `kubernetes.io/hostname`.
        targets: The devices, in the order in which they are tried.
        attempt: The Job, of those that tried the same devices.
        tried: Paths of devices that were tried before, the longest ago first.
    """

    node: str
    hostname: str
    targets: tuple[Target, ...]
    attempt: Attempt = FIRST
    tried: tuple[str, ...] = ()


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
    spec: StorageScopeSpec, context: Context, action: PrepareDevices, uuids: tuple[str, ...], image: str
) -> JsonObject:
    """The Job that carries out `action`.

    Args:
        spec: What is wanted of OSDs.
        context: The cluster.
        action: Which devices of which node.
        uuids: Those of the OSDs to be, one for each target.
        image: The operator's, which has the script.
    """
    own = daemon(action.hostname)
    resources = context.pods.container_resources("prepareosd")
    devices = [
        {
            "path": target.path,
            "uuid": uuid,
            "deviceClass": target.device_class,
            "links": target.links,
            "size": target.size,
            **({"overwrite": True} if target.overwrite else {}),
        }
        for target, uuid in zip(action.targets, uuids, strict=True)
    ]
    container: JsonObject = {
        "name": "provision",
        "command": script_command("prepare"),
        **image_fields(context),
        "env": [
            *environment(),
            {"name": "ROOK_FSID", "value": context.fsid},
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
    placement = over(osd_placement(spec, context.pods), context.pods.placement.get("prepareosd", {}))
    template = pod_template(context, own, pod, key="prepareosd", placement=placement)
    meta = context.owner.metadata(job_name(action.hostname), own.labels(context.owner))
    if action.tried:
        meta["annotations"] = {TRIED: json.dumps(action.tried)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {
            "backoffLimit": MAX_RETRIES,
            "activeDeadlineSeconds": int(DEADLINE),
            "template": with_script(template, image, resources),
        },
    }


def osd_placement(spec: StorageScopeSpec, pods: PodSettings) -> dict[str, Any]:
    """Where OSDs may run: on nodes that both `all` and `osd` of `spec.placement` allow, or `osd` alone."""
    own = pods.placement.get("osd", {})
    if spec.only_apply_osd_placement:
        return dict(own)
    return within(pods.placement.get(ALL, {}), own)


def targets_of(job: Job) -> tuple[str, ...]:
    """The paths of the devices that a Job prepares, in its order."""
    for container in job.spec.template.spec.containers:
        for variable in container.env:
            if variable.name == DEVICES_VARIABLE:
                return tuple(device["path"] for device in json.loads(variable.value))
    return ()


def tried_by(job: Job) -> tuple[str, ...]:
    """Paths of the devices that a Job, and those before it, have tried; the longest ago first."""
    try:
        before = msgspec.json.decode(job.metadata.annotations.get(TRIED, "[]"), type=tuple[str, ...])
    except msgspec.DecodeError:
        before = ()
    now = targets_of(job)
    return (*(path for path in before if path not in now), *now)


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
