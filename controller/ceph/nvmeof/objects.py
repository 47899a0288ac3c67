"""The Kubernetes objects that a gateway is made of."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_NVMEOF_GATEWAY
from controller.apis.ceph.health import CephClusterHealthCheckSpec
from controller.ceph.instances import LETTER_LABEL, Service
from controller.ceph.nvmeof.configuration import CONF_DIR, POD_IP, ports, render, settings
from controller.ceph.nvmeof.spec import CONFIG_KEY, entity, gateway_id
from controller.ceph.pods import (
    CONFIG_OVERRIDE,
    KEYRING_KEY,
    MON_CONFIG,
    VERSION_LABEL,
    Daemon,
    deployment,
    family_fields,
    image_fields,
    pod_template,
)
from controller.ceph.services import context_for, with_network
from controller.framework import workload
from controller.framework.disruption import budget
from controller.framework.labels import recommended
from controller.framework.placement import keep_apart, spread
from controller.framework.workload import no_rights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephCluster, CephNVMeOFGateway
    from controller.ceph.nvmeof.configuration import Ports
    from controller.ceph.pods import Context, Release
    from informers import JsonObject

GATEWAYS = Service(app="rook-ceph-nvmeof", label="ceph_nvmeof_gateway")
KEY = "nvmeof"
"""Under which `PodSettings` speaks of gateways."""
HASH_ANNOTATION = "config-hash"

_GIVEN, _KEYRING, _OVERRIDE = "/etc/nvmeof-config", "/etc/ceph-keyring", "/etc/ceph-override"
_FILE = "nvmeof.conf"

PREPARE = f"""\
umask 077
cat {_OVERRIDE}/ceph.conf > {CONF_DIR}/ceph.conf
cat >> {CONF_DIR}/ceph.conf <<END

[global]
mon_host = $ROOK_CEPH_MON_HOST
log_to_stderr = true
keyring = {CONF_DIR}/keyring
END
cat {_KEYRING}/{KEYRING_KEY} > {CONF_DIR}/keyring
sed "s/{POD_IP}/$POD_IP/g" {_GIVEN}/{_FILE} > {CONF_DIR}/{_FILE}
"""
"""Gateways look for files, the key among them, in one directory only, and know their own address by one of these."""

CAPS = {"mon": "profile rbd", "osd": "profile rbd"}
"""What a gateway may do: use images, in whatever pool users have them. As Ceph's own orchestrator gives it."""


def context(gateway: CephNVMeOFGateway, cluster: CephCluster, release: Release) -> Context:
    """What gateways are given of their cluster, with what the CephNVMeOFGateway says of their pods."""
    spec, health = gateway.spec, CephClusterHealthCheckSpec(liveness_probe={KEY: gateway.spec.liveness_probe})
    given = context_for(CEPH_NVMEOF_GATEWAY, gateway.metadata, spec, KEY, cluster, release)
    return replace(with_network(given, spec.host_network), health=health)


def daemon_of(name: str, letter: str) -> Daemon:
    """A gateway as one of the cluster's daemons."""
    return Daemon(type="nvmeof", id=f"{name}-{letter}")


def keyring_name(name: str, letter: str) -> str:
    """The Secret with a gateway's keyring."""
    return f"{daemon_of(name, letter).name}-keyring"


def config_name(name: str, letter: str) -> str:
    """The ConfigMap with a gateway's configuration; upstream's."""
    return f"{daemon_of(name, letter).name}-config"


def labels(context: Context, letter: str) -> dict[str, str]:
    """The labels of a gateway's objects."""
    name = context.owner.name
    return {**daemon_of(name, letter).labels(context.owner), GATEWAYS.label: name, LETTER_LABEL: letter}


class Gateways:
    """The objects of the gateways of a CephNVMeOFGateway.

    Args:
        gateway: The CephNVMeOFGateway.
        context: What gateways are given of their cluster.
        group: The group that they are of.
        image: What they run.
        base: The settings of the file that it names; None: it names none.
    """

    def __init__(
        self,
        gateway: CephNVMeOFGateway,
        context: Context,
        *,
        group: str,
        image: str,
        base: Mapping[str, Mapping[str, str]] | None,
    ) -> None:
        self.context = context
        self._name, self._spec = gateway.metadata.name, gateway.spec
        self._group, self._image = group, image
        self._settings = settings(gateway.spec, base, ipv6=context.network.ip_family == "IPv6")

    @property
    def ports(self) -> Ports:
        """Where they listen."""
        return ports(self._spec, self._settings)

    def config_map(self, letter: str) -> JsonObject:
        """The ConfigMap with a gateway's configuration."""
        meta = self.context.owner.metadata(config_name(self._name, letter), labels(self.context, letter))
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {CONFIG_KEY: self._file(letter)}}

    def service(self, letter: str) -> JsonObject:
        """The Service of a gateway: a listener is at one gateway, so each has its own."""
        context, daemon = self.context, daemon_of(self._name, letter)
        spec: JsonObject = {
            "selector": daemon.selector(context.namespace),
            "ports": [
                {"name": what, "port": port, "targetPort": port, "protocol": "TCP"}
                for what, port in self.ports.named().items()
            ],
            **family_fields(context),
        }
        if context.host_network:
            spec["clusterIP"] = "None"
        meta = context.owner.metadata(daemon.name, labels(context, letter))
        return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}

    def deployment(self, letter: str) -> JsonObject:
        """A gateway's Deployment."""
        context, daemon = self.context, daemon_of(self._name, letter)
        pod: JsonObject = {
            "initContainers": [self._prepare()],
            "containers": [self._gateway()],
            "volumes": self._volumes(letter),
        }
        if not context.host_network:
            # Listeners are made for a gateway by its host name.
            pod["hostname"] = daemon.name
        template = pod_template(context, daemon, pod)
        own = {GATEWAYS.label: self._name, LETTER_LABEL: letter}
        template["metadata"]["labels"] |= own
        annotations = template["metadata"].setdefault("annotations", {})
        digest = hashlib.sha256(self._file(letter).encode()).hexdigest()[:16]
        template["metadata"]["annotations"] = {**annotations, HASH_ANNOTATION: digest}
        apart = GATEWAYS.selector(context.namespace, self._name)
        # Two gateways on one node's network would want the same ports.
        keep_apart(template["spec"], apart, strictly=context.host_network)
        spread(template["spec"], apart, context.zone_label, strictly=False)
        found = deployment(context, daemon, template)
        found["metadata"]["labels"] |= own
        # What a gateway runs is no release that the cluster is upgraded to.
        del found["metadata"]["labels"][VERSION_LABEL]
        return found

    def budget(self) -> tuple[JsonObject, ...]:
        """A drain may take one gateway away at a time: the others stand in for it."""
        context, owner = self.context, self.context.owner
        if not context.budgets:
            return ()
        selector = GATEWAYS.selector(context.namespace, owner.name)
        own = {
            **recommended(name="ceph-nvmeof", instance=owner.name, component=owner.kind.crd_name, part_of=owner.name),
            **selector,
        }
        name = f"{GATEWAYS.app}-{owner.name}"
        return (budget(owner, name, own, {"matchLabels": selector}, maxUnavailable=1),)

    def _file(self, letter: str) -> str:
        user = entity(self._name, letter).removeprefix("client.")
        name = gateway_id(self._name, letter)
        return render(self._settings, gateway=name, group=self._group, user=user)

    def _volumes(self, letter: str) -> list[JsonObject]:
        override = {"name": CONFIG_OVERRIDE, "items": [{"key": "config", "path": "ceph.conf"}]}
        given = {"name": config_name(self._name, letter), "items": [{"key": CONFIG_KEY, "path": _FILE}]}
        found: list[JsonObject] = [
            {"name": "rook-config-override", "configMap": override},
            {"name": "keyring", "secret": {"secretName": keyring_name(self._name, letter)}},
            {"name": "gateway-config", "configMap": given},
            # It has the key.
            {"name": "etc-ceph", "emptyDir": {"medium": "Memory"}},
        ]
        if self._huge_pages:
            found.append({"name": "hugepages", "emptyDir": {"medium": "HugePages"}})
        return found

    @property
    def _huge_pages(self) -> bool:
        return any(name.startswith("hugepages-") for name in (self._spec.resources.get("limits") or {}))

    def _prepare(self) -> JsonObject:
        mon_host = {"secretKeyRef": {"name": MON_CONFIG, "key": "mon_host"}}
        return {
            "name": "generate-ceph-conf",
            "command": ["sh", "-euc", PREPARE],
            **image_fields(self.context),
            "env": [
                {"name": "ROOK_CEPH_MON_HOST", "valueFrom": mon_host},
                {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            ],
            "volumeMounts": [
                {"name": "rook-config-override", "mountPath": _OVERRIDE, "readOnly": True},
                {"name": "keyring", "mountPath": _KEYRING, "readOnly": True},
                {"name": "gateway-config", "mountPath": _GIVEN, "readOnly": True},
                {"name": "etc-ceph", "mountPath": CONF_DIR},
            ],
            "securityContext": {**no_rights(), "runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}},
        }

    def _gateway(self) -> JsonObject:
        mounts = [{"name": "etc-ceph", "mountPath": CONF_DIR, "readOnly": True}]
        if self._huge_pages:
            mounts.append({"name": "hugepages", "mountPath": "/dev/hugepages"})
        return {
            "name": "nvmeof-gateway",
            "args": ["-c", f"{CONF_DIR}/{_FILE}"],
            "image": self._image,
            "imagePullPolicy": "IfNotPresent",
            "ports": [
                {"name": what, "containerPort": port, "protocol": "TCP"} for what, port in self.ports.named().items()
            ],
            "volumeMounts": mounts,
            # As upstream: no gateway could be run to find out what less it can do with.
            "securityContext": {"privileged": True, "runAsUser": 0},
            "terminationMessagePolicy": "FallbackToLogsOnError",
            **self.context.pods.container_resources(KEY),
            **self._probes(),
        }

    def _probes(self) -> JsonObject:
        # It listens for management last of all. For hosts it listens only once somebody has made a listener.
        ask = {"tcpSocket": {"port": self.ports.gateway}}
        own: Mapping[str, JsonObject] = {
            "livenessProbe": {**ask, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 10},
            "startupProbe": {**ask, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 150},
        }
        return workload.probes(own, {"livenessProbe": self.context.health.liveness_probe.get(KEY)})
