"""Namespaces, services, service accounts, and configuration."""

from __future__ import annotations

import msgspec

from controller.apis.meta import ApiStruct, ObjectMeta
from controller.runtime.kube.meta import IntOrString


class NamespaceStatus(ApiStruct, frozen=True, kw_only=True):
    """How a namespace is: Active or Terminating."""

    phase: str = ""


class Namespace(ApiStruct, frozen=True, kw_only=True):
    """A v1 Namespace."""

    metadata: ObjectMeta = ObjectMeta()
    status: NamespaceStatus = NamespaceStatus()


class ServicePort(ApiStruct, frozen=True, kw_only=True):
    """A port that a service offers."""

    name: str = ""
    protocol: str = "TCP"
    port: int = 0
    target_port: IntOrString = 0
    node_port: int = 0


class ServiceSpec(ApiStruct, frozen=True, kw_only=True):
    """What a service offers."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] = msgspec.field(name="clusterIPs", default=())
    selector: dict[str, str] = msgspec.field(default_factory=dict)
    ports: tuple[ServicePort, ...] = ()
    publish_not_ready_addresses: bool = False


class Service(ApiStruct, frozen=True, kw_only=True):
    """A v1 Service."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec = ServiceSpec()


class ServiceAccount(ApiStruct, frozen=True, kw_only=True):
    """A v1 ServiceAccount."""

    metadata: ObjectMeta = ObjectMeta()


class ConfigMap(ApiStruct, frozen=True, kw_only=True):
    """A v1 ConfigMap; `binary_data` is decoded from base64."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = msgspec.field(default_factory=dict)
    binary_data: dict[str, bytes] = msgspec.field(default_factory=dict)
    immutable: bool = False


class Secret(ApiStruct, frozen=True, kw_only=True):
    """A v1 Secret; `data` is decoded from base64. Its representation as text shows the keys only."""

    metadata: ObjectMeta = ObjectMeta()
    type: str = ""
    data: dict[str, bytes] = msgspec.field(default_factory=dict)
    immutable: bool = False

    def __repr__(self) -> str:
        return f"Secret({self.metadata.namespace}/{self.metadata.name}, type={self.type!r}, keys={sorted(self.data)})"
