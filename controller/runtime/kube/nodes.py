"""Nodes."""

from __future__ import annotations

import msgspec

from controller.apis.meta import ApiStruct, Condition, ObjectMeta
from controller.runtime.kube.meta import IntOrString


class Taint(ApiStruct, frozen=True, kw_only=True):
    """Keeps pods off a node."""

    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(ApiStruct, frozen=True, kw_only=True):
    """What is wanted of a node."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    provider_id: str = msgspec.field(name="providerID", default="")


class NodeAddress(ApiStruct, frozen=True, kw_only=True):
    """An address of a node, and its type: InternalIP, Hostname, …"""

    type: str = ""
    address: str = ""


class NodeSystemInfo(ApiStruct, frozen=True, kw_only=True):
    """What a node runs."""

    architecture: str = ""
    boot_id: str = msgspec.field(name="bootID", default="")
    kernel_version: str = ""
    kubelet_version: str = ""
    operating_system: str = ""
    os_image: str = ""
    container_runtime_version: str = ""


class AttachedVolume(ApiStruct, frozen=True, kw_only=True):
    """A volume that is attached to a node."""

    name: str = ""
    device_path: str = ""


class NodeStatus(ApiStruct, frozen=True, kw_only=True):
    """How a node is."""

    capacity: dict[str, IntOrString] = msgspec.field(default_factory=dict)
    allocatable: dict[str, IntOrString] = msgspec.field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()
    node_info: NodeSystemInfo = NodeSystemInfo()
    volumes_in_use: tuple[str, ...] = ()
    volumes_attached: tuple[AttachedVolume, ...] = ()


class Node(ApiStruct, frozen=True, kw_only=True):
    """A v1 Node."""

    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def ready(self) -> bool:
        """Whether its kubelet says that it takes pods."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)
