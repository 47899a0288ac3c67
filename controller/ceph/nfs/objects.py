"""The Kubernetes objects that an NFS server is made of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_NFS
from controller.apis.ceph.health import CephClusterHealthCheckSpec
from controller.ceph.access.ganesha import POOL
from controller.ceph.instances import LETTER_LABEL, Service
from controller.ceph.nfs.configuration import CEPH_CONF, ganesha
from controller.ceph.nfs.security import FILES, files, parts
from controller.ceph.nfs.spec import METRICS_PORT, entity, port
from controller.ceph.pods import (
    CONFIG_OVERRIDE,
    KEYRING_DIR,
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
from controller.framework.names import LIMIT
from controller.framework.placement import keep_apart, spread
from controller.framework.workload import no_rights

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.apis.ceph import CephCluster, CephNFS
    from controller.ceph.pods import Context, Release
    from informers import JsonObject

NFS = Service(app="rook-ceph-nfs", label="ceph_nfs")
KEY = "nfs"
"""Under which `PodSettings` speaks of NFS servers."""
HASH_ANNOTATION = "config-hash"

_RUN = "/run/ganesha"
_OVERRIDE = "/etc/ceph-override"

START = f"""\
cat {_OVERRIDE}/ceph.conf > {CEPH_CONF}
cat >> {CEPH_CONF} <<END

[global]
mon_host = $ROOK_CEPH_MON_HOST
[$1]
keyring = {KEYRING_DIR}/{KEYRING_KEY}
END
shift
exec ganesha.nfsd "$@"
"""
"""Servers take Ceph's settings from a file only. Where the mons are is known anew whenever a container starts."""

PING = """\
import socket, struct, sys
call = struct.pack('>10I', 1, 0, 2, 100003, 4, 0, 0, 0, 0, 0)
with socket.create_connection(('localhost', int(sys.argv[1])), 4) as server:
    server.sendall(struct.pack('>I', 1 << 31 | len(call)) + call)
    sys.exit(server.recv(8, socket.MSG_WAITALL)[4:] != call[:4])
"""
"""Calls the procedure of NFSv4 that does nothing, which a server answers whatever Ceph does, and in grace periods."""


def context(nfs: CephNFS, cluster: CephCluster, release: Release) -> Context:
    """What servers are given of their cluster, with what the CephNFS says of their pods."""
    spec = nfs.spec.server
    given = with_network(context_for(CEPH_NFS, nfs.metadata, spec, KEY, cluster, release), spec.host_network)
    return replace(
        given,
        release=replace(release, image=spec.image or release.image),
        pull_policy=spec.image_pull_policy or given.pull_policy,
        health=CephClusterHealthCheckSpec(liveness_probe={KEY: spec.liveness_probe}),
    )


def daemon_of(name: str, server: str) -> Daemon:
    """A server as one of the cluster's daemons."""
    return Daemon(type="nfs", id=f"{name}-{server}")


def keyring_name(name: str, server: str) -> str:
    """The Secret with a server's keyring."""
    return f"{daemon_of(name, server).name}-keyring"


def caps(name: str) -> dict[str, str]:
    """What a server itself may do; exports have users of their own. Upstream's."""
    return {"mon": "allow r", "osd": f"allow rw pool={POOL} namespace={name}"}


def labels(context: Context, server: str) -> dict[str, str]:
    """The labels of a server's objects."""
    name = context.owner.name
    return {**daemon_of(name, server).labels(context.owner), NFS.label: name, LETTER_LABEL: server}


def config_map(nfs: CephNFS, context: Context, server: str) -> JsonObject:
    """The ConfigMap with a server's files."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": context.owner.metadata(daemon_of(nfs.metadata.name, server).name, labels(context, server)),
        "data": _data(nfs, server),
    }


def service(nfs: CephNFS, context: Context, server: str) -> JsonObject:
    """The Service of a server: clients keep their state at one server, so each has its own."""
    daemon = daemon_of(nfs.metadata.name, server)
    ports = (("nfs", port(nfs)), ("nfs-metrics", METRICS_PORT))
    spec: JsonObject = {
        "selector": daemon.selector(context.namespace),
        "ports": [{"name": name, "port": n, "targetPort": n, "protocol": "TCP"} for name, n in ports],
        **family_fields(context),
    }
    if context.host_network:
        spec["clusterIP"] = "None"
    meta = context.owner.metadata(daemon.name, labels(context, server))
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def server_deployment(nfs: CephNFS, context: Context, server: str) -> JsonObject:
    """A server's Deployment."""
    name = nfs.metadata.name
    daemon, more = daemon_of(name, server), parts(nfs.spec.security)
    pod: JsonObject = {
        "containers": [_ganesha(nfs, context, server, more.mounts), *more.beside],
        "volumes": [*_volumes(nfs, daemon, keyring_name(name, server)), *more.volumes],
    }
    if more.init:
        pod["initContainers"] = list(more.init)
    host = f"{context.namespace}-{name}"
    if len(host) <= LIMIT and not context.host_network:
        # By Kerberos, servers are one service: all have the name that its principal and keytab are for.
        pod["hostname"] = host
    template = pod_template(context, daemon, pod)
    own = {NFS.label: name, LETTER_LABEL: server}
    template["metadata"]["labels"] |= own
    annotations = template["metadata"].setdefault("annotations", {})
    template["metadata"]["annotations"] = {**annotations, HASH_ANNOTATION: _digest(_data(nfs, server))}
    # Two servers on one node's network would want the same port.
    keep_apart(template["spec"], _selector(context), strictly=context.host_network)
    spread(template["spec"], _selector(context), context.zone_label, strictly=False)
    found = deployment(context, daemon, template)
    found["metadata"]["labels"] |= own
    if nfs.spec.server.image:
        # What is in an image of its own is not known, and is no release that the cluster is upgraded to.
        del found["metadata"]["labels"][VERSION_LABEL]
    return found


def server_budget(context: Context) -> tuple[JsonObject, ...]:
    """A drain may take one server away at a time: each that starts begins a grace period for all."""
    if not context.budgets:
        return ()
    owner = context.owner
    own = {
        **recommended(name="ceph-nfs", instance=owner.name, component=owner.kind.crd_name, part_of=owner.name),
        **_selector(context),
    }
    return (budget(owner, f"{NFS.app}-{owner.name}", own, {"matchLabels": _selector(context)}, maxUnavailable=1),)


def _selector(context: Context) -> dict[str, str]:
    return NFS.selector(context.namespace, context.owner.name)


def _data(nfs: CephNFS, server: str) -> dict[str, str]:
    return {"config": ganesha(nfs, server), **files(nfs.spec.security)}


def _digest(data: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _volumes(nfs: CephNFS, daemon: Daemon, keyring: str) -> list[JsonObject]:
    items = [{"key": "config", "path": "ganesha.conf"}, *({"key": n, "path": n} for n in files(nfs.spec.security))]
    override = {"name": CONFIG_OVERRIDE, "items": [{"key": "config", "path": "ceph.conf"}]}
    return [
        {"name": "rook-config-override", "configMap": override},
        {"name": "keyring", "secret": {"secretName": keyring}},
        {"name": FILES, "configMap": {"name": daemon.name, "items": items}},
        {"name": "etc-ceph", "emptyDir": {}},
        {"name": "run", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
    ]


def _ganesha(nfs: CephNFS, context: Context, server: str, mounts: Iterable[JsonObject]) -> JsonObject:
    mon_host = {"secretKeyRef": {"name": MON_CONFIG, "key": "mon_host"}}
    return {
        "name": "nfs-ganesha",
        "command": ["sh", "-euc", START, "sh", entity(nfs.metadata.name, server)],
        "args": ["-F", "-L", "STDERR", "-p", f"{_RUN}/ganesha.pid", "-N", nfs.spec.server.log_level or "NIV_INFO"],
        **image_fields(context),
        "env": [{"name": "ROOK_CEPH_MON_HOST", "valueFrom": mon_host}],
        "volumeMounts": [
            {"name": FILES, "mountPath": "/etc/ganesha/ganesha.conf", "subPath": "ganesha.conf", "readOnly": True},
            {"name": "etc-ceph", "mountPath": "/etc/ceph"},
            {"name": "keyring", "mountPath": KEYRING_DIR, "readOnly": True},
            {"name": "rook-config-override", "mountPath": _OVERRIDE, "readOnly": True},
            *mounts,
            {"name": "run", "mountPath": _RUN},
            *({"name": "tmp", "mountPath": path} for path in ("/tmp", "/var/tmp")),  # noqa: S108  # the pod's own
        ],
        "securityContext": _rights(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **context.pods.container_resources(KEY),
        **_probes(nfs, context),
    }


def _probes(nfs: CephNFS, context: Context) -> JsonObject:
    ask = {"exec": {"command": ["python3", "-ISc", PING, str(port(nfs))]}}
    own: Mapping[str, JsonObject] = {
        "livenessProbe": {**ask, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 10},
        "startupProbe": {**ask, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 150},
    }
    return workload.probes(own, {"livenessProbe": context.health.liveness_probe.get(KEY)})


def _rights() -> JsonObject:
    """Root without any capability: the keys are root's, and nothing else that a server does takes one."""
    return {**no_rights(), "runAsUser": 0, "privileged": False, "seccompProfile": {"type": "RuntimeDefault"}}
