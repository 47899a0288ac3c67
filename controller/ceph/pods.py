"""What the pods of all Ceph daemons have in common: labels, flags, configuration and key volumes, probes, privileges.

Names and labels are upstream's, which dashboards, selectors and users' scripts know. A daemon's configuration file is
the user's ConfigMap `rook-config-override`; where its mons are comes from the Secret `rook-ceph-config` at each start,
so that a change of mons changes no pod template and restarts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CEPH_CLUSTER, CephCluster
from controller.ceph.releases import CephVersion
from controller.framework import upgrade, workload
from controller.framework.labels import recommended
from controller.framework.placement import HOSTNAME_LABEL, ZONE_LABEL
from controller.framework.workload import Owner, PodSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.apis.ceph.cluster import MonitoringSpec
    from controller.apis.ceph.health import CephClusterHealthCheckSpec
    from controller.apis.ceph.network import NetworkSpec
    from controller.runtime.kube import Deployment
    from informers import JsonObject

CLUSTER_LABEL = "rook_cluster"
MON_CONFIG = "rook-ceph-config"  # the Secret's name
CONFIG_OVERRIDE = "rook-config-override"
CONFIG_DIR = "/etc/ceph"
KEYRING_DIR = "/etc/ceph/keyring-store"
RUN_DIR = "/run/ceph"
VERSION_LABEL = "ceph-version"
SKIP_LABEL = "ceph.rook.io/do-not-reconcile"
"""On a daemon's Deployment: leave it alone."""

ACCOUNT = "rook-ceph-default"
"""Service account of Ceph's pods. It has no token in them; pull secrets and admission policies go by it."""
ACCOUNTS: Mapping[str, str] = {
    "mgr": "rook-ceph-mgr",
    "osd": "rook-ceph-osd",
    "osd-prepare": "rook-ceph-osd",
    "cleanup": "rook-ceph-osd",
}
"""Service accounts of daemons, by type, that have another one; upstream's names."""

ROOT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID")
"""What root needs to give directories to user `ceph` and become it; no daemon keeps more, nor stays root."""

MOVE_SOON: Mapping[str, Any] = {
    "key": "node.kubernetes.io/unreachable",
    "operator": "Exists",
    "effect": "NoExecute",
    "tolerationSeconds": 5,
}
"""A daemon that is not bound to its node is started elsewhere after this many seconds; Kubernetes' own value is 300."""

Release = upgrade.Release[CephVersion]
"""A Ceph release as an image that holds it."""

ASK_ADMIN_SOCKET = """\
import socket, struct, sys
daemon = socket.socket(socket.AF_UNIX)
daemon.settimeout(4)
daemon.connect(sys.argv[1])
daemon.sendall(b'{"prefix": "%s"}\\0' % sys.argv[2].encode())
size, = struct.unpack('>I', daemon.recv(4, socket.MSG_WAITALL))
daemon.recv(size, socket.MSG_WAITALL)
"""
"""Asks a daemon by its admin socket whether it lives, for a tenth of the CPU time that `ceph daemon` takes to start."""


KEYRING_KEY = "keyring"
"""Under which a Secret has the keyring of a daemon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """One daemon of a cluster.

    Attributes:
        type: "mon", "mgr", "osd", …
        id: "a", "0", …
    """

    type: str
    id: str

    @property
    def app(self) -> str:
        """The value of label `app`, which daemons of the type share."""
        return f"rook-ceph-{self.type}"

    @property
    def name(self) -> str:
        """The name of its Deployment and of its other objects."""
        return f"{self.app}-{self.id}"

    @property
    def entity(self) -> str:
        """Its name within Ceph, such as "mgr.a"."""
        return f"{self.type}.{self.id}"

    @property
    def admin_socket(self) -> str:
        """Where it answers within its pod."""
        return f"{RUN_DIR}/ceph-{self.entity}.asok"

    def selector(self, namespace: str) -> dict[str, str]:
        """The labels that select its pods; they never change, as a Deployment's selector cannot."""
        return {"app": self.app, "ceph_daemon_id": self.id, CLUSTER_LABEL: namespace}

    def labels(self, owner: Owner) -> dict[str, str]:
        """The labels of its objects."""
        return {
            **recommended(
                name=f"ceph-{self.type}", instance=self.id, component=owner.kind.crd_name, part_of=owner.name
            ),
            **self.selector(owner.namespace),
            "ceph_daemon_type": self.type,
            self.type: self.id,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What each part of a cluster (mons, mgrs, OSDs, …) is given of its CephCluster besides its own slice of the spec.

    Attributes:
        owner: The CephCluster, for which objects are made.
        fsid: The cluster's identity.
        release: What its daemons should run.
        pull_policy: When nodes pull the image.
        network: The network that its daemons have.
        pods: What the spec says of daemons' pods.
        health: How daemons are probed, and how long one may be out.
        monitoring: Whether and how metrics are served.
        data_dir: The nodes' directory for the data of daemons; empty: they have none there.
        zone_label: The node label over whose values mons and mgrs are spread.
        budgets: Whether drains of nodes are held back by the operator's PodDisruptionBudgets.
    """

    owner: Owner
    fsid: str
    release: Release
    pull_policy: str
    network: NetworkSpec
    pods: PodSettings
    health: CephClusterHealthCheckSpec
    monitoring: MonitoringSpec
    data_dir: str
    zone_label: str
    budgets: bool

    @property
    def namespace(self) -> str:
        """Where the cluster is; also how Ceph's volumes name it."""
        return self.owner.namespace

    @property
    def host_network(self) -> bool:
        """Whether the daemons run in the network of their nodes."""
        return self.pods.host_network


def owner_of(cluster: CephCluster) -> Owner:
    """A CephCluster as the owner of its objects."""
    return Owner.of(CEPH_CLUSTER, cluster.metadata)


def context_of(cluster: CephCluster, fsid: str, release: Release) -> Context:
    """What each part of a cluster is given of it."""
    spec = cluster.spec
    return Context(
        owner=owner_of(cluster),
        fsid=fsid,
        release=release,
        pull_policy=spec.ceph_version.image_pull_policy,
        network=spec.network,
        pods=pod_settings(cluster),
        health=spec.health_check,
        monitoring=spec.monitoring,
        data_dir=spec.data_dir_host_path,
        zone_label=spec.mon.failure_domain_label or ZONE_LABEL,
        budgets=spec.disruption_management.manage_pod_budgets is not False,
    )


def pod_settings(cluster: CephCluster) -> PodSettings:
    """What a cluster's spec says of the pods of its daemons."""
    spec = cluster.spec
    return PodSettings(
        placement=spec.placement,
        resources=spec.resources,
        labels=spec.labels,
        annotations=spec.annotations,
        priority_class_names=spec.priority_class_names,
        host_network=host_network(spec.network),
    )


def cluster_labels(owner: Owner, app: str) -> dict[str, str]:
    """The labels of an object that belongs to the cluster as a whole."""
    return {
        **recommended(name=app, instance=owner.name, component=owner.kind.crd_name, part_of=owner.name),
        "app": app,
        CLUSTER_LABEL: owner.namespace,
    }


def flags(context: Context, daemon: Daemon) -> list[str]:
    """The arguments that every daemon gets. No key is among them: those come from a mounted Secret."""
    return [
        f"--fsid={context.fsid}",
        f"--id={daemon.id}",
        f"--keyring={KEYRING_DIR}/{KEYRING_KEY}",
        "--mon-host=$(ROOK_CEPH_MON_HOST)",
        "--mon-initial-members=$(ROOK_CEPH_MON_INITIAL_MEMBERS)",
        "--setuser=ceph",
        "--setgroup=ceph",
        "--foreground",
        "--default-log-to-stderr=true",
        "--default-err-to-stderr=true",
        "--default-mon-cluster-log-to-stderr=true",
        "--default-log-stderr-prefix=debug ",
        "--default-log-to-file=false",
        "--default-mon-cluster-log-to-file=false",
    ]


def environment() -> list[JsonObject]:
    """The environment that `flags` refers to, and what the pod knows of itself."""

    def from_config(name: str, key: str) -> JsonObject:
        return {"name": name, "valueFrom": {"secretKeyRef": {"name": MON_CONFIG, "key": key}}}

    def from_pod(name: str, path: str) -> JsonObject:
        return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}

    return [
        from_config("ROOK_CEPH_MON_HOST", "mon_host"),
        from_config("ROOK_CEPH_MON_INITIAL_MEMBERS", "mon_initial_members"),
        from_pod("NODE_NAME", "spec.nodeName"),
        from_pod("POD_NAME", "metadata.name"),
        from_pod("ROOK_POD_IP", "status.podIP"),
        # For people who run `ceph` in the pod.
        {"name": "CEPH_ARGS", "value": f"-m $(ROOK_CEPH_MON_HOST) -k {KEYRING_DIR}/{KEYRING_KEY}"},
    ]


def volumes(keyring_secret: str) -> list[JsonObject]:
    """The volumes of a daemon's pod besides its data: configuration, key, and room for what it writes at run time."""
    return [
        {
            "name": "rook-config-override",
            "configMap": {"name": CONFIG_OVERRIDE, "items": [{"key": "config", "path": "ceph.conf"}]},
        },
        {"name": "keyring", "secret": {"secretName": keyring_secret}},
        {"name": "run", "emptyDir": {}},
        {"name": "log", "emptyDir": {}},
        {"name": "crash", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
    ]


def volume_mounts() -> list[JsonObject]:
    """Where a container of a daemon sees `volumes`."""
    return [
        {"name": "rook-config-override", "mountPath": CONFIG_DIR, "readOnly": True},
        {"name": "keyring", "mountPath": KEYRING_DIR, "readOnly": True},
        {"name": "run", "mountPath": RUN_DIR},
        {"name": "log", "mountPath": "/var/log/ceph"},
        {"name": "crash", "mountPath": "/var/lib/ceph/crash"},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # the pod's own
    ]


def security_context(capabilities: Sequence[str] = ROOT_CAPABILITIES, *, privileged: bool = False) -> JsonObject:
    """Privileges of a container that starts as root and becomes user `ceph`, whose number differs between images."""
    if privileged:
        return {"runAsUser": 0, "privileged": True, "readOnlyRootFilesystem": True}
    return {
        "runAsUser": 0,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": sorted(capabilities)},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def probes(context: Context, daemon: Daemon, prefix: str = "status") -> JsonObject:
    """The liveness and startup probe of a daemon's container, by `spec.healthCheck`.

    Args:
        context: Whose spec may switch probes off or replace fields of them.
        daemon: Who is probed.
        prefix: The admin socket command that it answers when it lives.
    """
    ask = {"exec": {"command": ["python3", "-ISc", ASK_ADMIN_SOCKET, daemon.admin_socket, prefix]}}
    own: Mapping[str, JsonObject] = {
        "livenessProbe": {**ask, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
        # Short period: a pod counts as available after it, and rollouts wait for that.
        "startupProbe": {**ask, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 360},
    }
    chosen = {
        "livenessProbe": context.health.liveness_probe.get(daemon.type),
        "startupProbe": context.health.startup_probe.get(daemon.type),
    }
    return workload.probes(own, chosen)


def pod_with_data(context: Context, container: JsonObject, keyring_secret: str, path: str) -> JsonObject:
    """The pod of a daemon that keeps nothing: its container has an empty directory at `path`, for the user `ceph`."""
    container = {**container, "volumeMounts": [*volume_mounts(), {"name": "data", "mountPath": path}]}
    give_to_ceph = {
        "name": "chown-data",
        "command": ["chown", "ceph:ceph", path, "/run/ceph", "/var/log/ceph", "/var/lib/ceph/crash"],
        **image_fields(context),
        "volumeMounts": container["volumeMounts"],
        "securityContext": security_context(("CHOWN", "DAC_OVERRIDE")),
    }
    return {
        "initContainers": [give_to_ceph],
        "containers": [container],
        "volumes": [*volumes(keyring_secret), {"name": "data", "emptyDir": {}}],
    }


def pod_template(
    context: Context,
    daemon: Daemon,
    pod_spec: JsonObject,
    *,
    key: str = "",
    placement: Mapping[str, Any] | None = None,
) -> JsonObject:
    """A daemon's pod template: `pod_spec` with what the cluster's spec says by kind of daemon.

    Args:
        context: The cluster.
        daemon: Whose pod it is.
        pod_spec: Containers, volumes, and whatever binds the pod to a node.
        key: Under which the spec speaks of such daemons; by default, the daemon's type.
        placement: Where it may run; by default, what `spec.placement` has for the key over "all".
    """
    key = key or daemon.type
    allowed = dict(placement) if placement is not None else context.pods.placement_of(key)
    if HOSTNAME_LABEL not in pod_spec.get("nodeSelector", {}):
        allowed["tolerations"] = [*allowed.get("tolerations", ()), MOVE_SOON]
    return workload.pod_template(
        context.pods,
        key,
        pod_spec,
        labels=daemon.labels(context.owner),
        account=ACCOUNTS.get(daemon.type, ACCOUNT),
        placement=allowed,
    )


def deployment(context: Context, daemon: Daemon, template: JsonObject) -> JsonObject:
    """The Deployment of one daemon."""
    labels = {**daemon.labels(context.owner), VERSION_LABEL: str(context.release.version)}
    meta = context.owner.metadata(daemon.name, labels)
    return workload.deployment(meta, daemon.selector(context.namespace), template)


def family_fields(context: Context) -> JsonObject:
    """The fields of a Service's spec by which it has an address of the cluster's IP family."""
    if context.network.ip_family != "IPv6":
        return {}
    return {"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"}


def declared(deployments: Iterable[Deployment]) -> frozenset[Release]:
    """The releases that the Deployments of daemons have."""
    found: set[tuple[str, str]] = set()
    for deployment in deployments:
        labels, containers = deployment.metadata.labels, deployment.spec.template.spec.containers
        if labels.get("ceph_daemon_type") and labels.get(VERSION_LABEL) and containers:
            found.add((containers[0].image, labels[VERSION_LABEL]))
    return frozenset(Release(image, CephVersion.parse(version)) for image, version in found)


def is_kept(found: Deployment | None) -> bool:
    """Whether somebody works on a daemon, by the label that keeps the operator off its Deployment."""
    return found is not None and SKIP_LABEL in found.metadata.labels


def kept_by(daemon: Daemon) -> str:
    """What a daemon that somebody works on is waited for by, as `Step.waits_for`."""
    return f"label {SKIP_LABEL} to be taken off Deployment {daemon.name}"


def image_fields(context: Context) -> JsonObject:
    """The image fields of a container that runs the cluster's Ceph."""
    return {"image": context.release.image, "imagePullPolicy": context.pull_policy}


def ip_flags(context: Context) -> list[str]:
    """The flags by which a daemon listens on IPv6; by default it listens on IPv4 alone."""
    return ["--ms-bind-ipv4=false", "--ms-bind-ipv6=true"] if context.network.ip_family == "IPv6" else []


def host_network(network: NetworkSpec) -> bool:
    """Whether daemons run in the network of their nodes."""
    return network.host_network or network.provider == "host"
