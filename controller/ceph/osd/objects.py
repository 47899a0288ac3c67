"""The Deployment of an OSD, and what a Deployment that is there says of its OSD.

The pod finds its device by the OSD's UUID, whatever the kernel calls it since the last boot; the path in the Deployment
is only where to look first. What the spec said of a device when its OSD was made stays with the OSD when the spec no
longer selects the device: data must not move because a line was taken out of a list.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec

from controller.ceph.crush import LEVELS, location, place, spelled
from controller.ceph.osd.prepare_job import device_mounts, device_volumes, osd_placement
from controller.ceph.osd.script_image import script_command, script_mount, with_script
from controller.ceph.pods import (
    Daemon,
    deployment,
    environment,
    flags,
    image_fields,
    ip_flags,
    pod_template,
    probes,
    security_context,
    volume_mounts,
    volumes,
)
from controller.framework.names import label_value
from controller.framework.placement import HOSTNAME_LABEL
from controller.framework.resources import memory_bytes, requirements

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph.storage import StorageScopeSpec
    from controller.ceph.pods import Context
    from controller.runtime.kube import Deployment, Node
    from informers import JsonObject

APP = "rook-ceph-osd"
RECORD_ANNOTATION = "rook.io/osd"
DATA_ROOT = "/var/lib/ceph/osd"
LOCATION_FLAG = "--crush-location="

MEMORY_TARGET_RATIO = 0.8
"""Part of a container's memory limit that the OSD aims for; upstream's value. The rest is for what it cannot count."""
MIN_MEMORY_TARGET = 896 * 1024**2
"""Bytes below which Ceph takes no memory target."""

SETTINGS = ("crushRoot", "deviceClass", "initialWeight")
"""Settings of a device that its OSD keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Osd:
    """An OSD and where it is.

    Attributes:
        osd_id: Its number.
        uuid: Which tells its device from all others.
        node: Name of the Node that has the device.
        path: Where the device was when the OSD was first seen there.
        settings: What the spec says of the device, of `SETTINGS`.
        place: Where it is in CRUSH, below the root: names by level. Empty: nowhere yet, so that its node's labels say.
        found_class: The device class that it has in Ceph; empty where it has none yet.
    """

    osd_id: int
    uuid: str
    node: str
    path: str
    settings: Mapping[str, str] = field(default_factory=dict)
    place: Mapping[str, str] = field(default_factory=dict)
    found_class: str = ""

    @property
    def daemon(self) -> Daemon:
        """The OSD as a daemon."""
        return Daemon(type="osd", id=str(self.osd_id))


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    uuid: str
    node: str
    path: str
    settings: dict[str, str] = {}


def read_osd(found: Deployment) -> Osd | None:
    """The OSD that a Deployment is of; None where it is not one of ours."""
    record = found.metadata.annotations.get(RECORD_ANNOTATION, "")
    number = found.metadata.labels.get("ceph-osd-id", "")
    try:
        known = msgspec.json.decode(record, type=_Record)
        return Osd(
            osd_id=int(number),
            uuid=known.uuid,
            node=known.node,
            path=known.path,
            settings=known.settings,
            place=_place(found),
        )
    except (msgspec.DecodeError, ValueError):
        return None


def _place(found: Deployment) -> dict[str, str]:
    """Where the OSD of a Deployment is told to be, below the root."""
    for container in found.spec.template.spec.containers:
        for argument in container.args:
            if argument.startswith(LOCATION_FLAG):
                named = (part.partition("=") for part in argument.removeprefix(LOCATION_FLAG).split())
                return {level: name for level, _, name in named if level in LEVELS}
    return {}


def with_settings(osd: Osd, config: Mapping[str, str] | None) -> Osd:
    """The OSD with what the spec says of its device; as it is where the spec does not select the device."""
    if config is None:
        return osd
    return replace(osd, settings={name: config[name] for name in SETTINGS if config.get(name)})


def osd_deployment(
    spec: StorageScopeSpec,
    context: Context,
    osd: Osd,
    node: Node,
    resources: Mapping[str, Any],
    script_image: str,
) -> JsonObject:
    """An OSD's Deployment.

    Args:
        spec: What is wanted of OSDs.
        context: The cluster.
        osd: The OSD.
        node: The node that has its device.
        resources: Requests and limits from `spec.storage.nodes`, which go before `spec.resources`; empty for none.
        script_image: The image of an operator, which has the script.
    """
    own = osd.daemon
    data = f"{DATA_ROOT}/ceph-{osd.osd_id}"
    where = location(osd.place or place(node.metadata.labels), osd.settings.get("crushRoot", ""))
    mounts = [*volume_mounts(), *device_mounts(), script_mount(), {"name": "data", "mountPath": data}]
    limits = dict(resources) or _resources(context, osd)
    limited: JsonObject = {"resources": limits} if limits else {}
    container: JsonObject = {
        "name": "osd",
        "command": script_command("run"),
        "args": [*flags(context, own), *ip_flags(context), f"{LOCATION_FLAG}{spelled(where)}", *_tuning(osd, limits)],
        **image_fields(context),
        "env": [
            *environment(),
            {"name": "ROOK_OSD_ID", "value": str(osd.osd_id)},
            {"name": "ROOK_OSD_UUID", "value": osd.uuid},
            {"name": "ROOK_FSID", "value": context.fsid},
            {"name": "ROOK_BLOCK_PATH", "value": osd.path},
        ],
        # The key is on the device: the script puts it where the keys of other daemons are mounted.
        "volumeMounts": [{k: v for k, v in m.items() if m["name"] != "keyring" or k != "readOnly"} for m in mounts],
        # The container runtime keeps unprivileged containers from opening a node's block devices.
        "securityContext": security_context(privileged=True),
        "terminationMessagePath": "/run/ceph/osd.message",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **limited,
        **probes(context, own),
    }
    keyring = {"name": "keyring", "emptyDir": {"medium": "Memory"}}
    pod: JsonObject = {
        "nodeSelector": {HOSTNAME_LABEL: node.metadata.labels[HOSTNAME_LABEL]},
        "containers": [container],
        "volumes": [
            *(keyring if volume["name"] == "keyring" else volume for volume in volumes("")),
            *device_volumes(),
            {"name": "data", "emptyDir": {}},
        ],
    }
    template = pod_template(context, own, pod, placement=osd_placement(spec, context.pods))
    labels = {
        "ceph-osd-id": str(osd.osd_id),
        "failure-domain": label_value(where["host"]),
        "portable": "false",
        "encrypted": "false",
    }
    labels |= {f"topology-location-{level}": label_value(name) for level, name in where.items()}
    if osd.settings.get("deviceClass"):
        labels["device-class"] = label_value(osd.settings["deviceClass"])
    template["metadata"]["labels"] |= labels
    result = deployment(context, own, with_script(template, script_image, limited))
    record = _Record(uuid=osd.uuid, node=osd.node, path=osd.path, settings=dict(osd.settings))
    result["metadata"]["labels"] |= labels
    result["metadata"]["annotations"] = {RECORD_ANNOTATION: msgspec.json.encode(record).decode()}
    return result


def _resources(context: Context, osd: Osd) -> JsonObject:
    device_class = osd.settings.get("deviceClass") or osd.found_class
    keys = (f"osd-{device_class}", "osd") if device_class else ("osd",)
    return requirements(context.pods.resources, *keys)


def _tuning(osd: Osd, resources: Mapping[str, Any]) -> list[str]:
    arguments = []
    if osd.settings.get("initialWeight"):
        arguments.append(f"--osd-crush-initial-weight={osd.settings['initialWeight']}")
    limit = memory_bytes(resources)
    if limit is not None:
        target = max(MIN_MEMORY_TARGET, int(limit * MEMORY_TARGET_RATIO))
        # A default, so that a value that somebody sets in the mons' configuration goes before it.
        arguments.append(f"--default-osd-memory-target={target}")
    return arguments
