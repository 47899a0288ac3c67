"""A Deployment of daemons that copy images or files, and what it needs: one for each namespace, with one Ceph user.

Such a daemon keeps nothing: whichever of its pods runs, it finds in Ceph how far the copies are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.ceph.pods import (
    CLUSTER_LABEL,
    Daemon,
    deployment,
    environment,
    flags,
    image_fields,
    ip_flags,
    pod_template,
    pod_with_data,
    probes,
    security_context,
)
from controller.ceph.services import context_for
from controller.framework.placement import keep_apart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephCluster, MirrorDaemonSpec
    from controller.apis.meta import Kind, ObjectMeta
    from controller.ceph.pods import Context, Release
    from informers import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorDaemon:
    """Daemons of one kind.

    Attributes:
        name: The name of the Deployment; upstream's.
        daemon: Their type and id.
        user: Their user within Ceph.
        caps: What it may do.
        container: The name of their container.
        program: What runs in it.
    """

    name: str
    daemon: Daemon
    user: str
    caps: Mapping[str, str]
    container: str
    program: str

    @property
    def keyring(self) -> str:
        """The Secret with their key."""
        return f"{self.name}-keyring"


def context(
    daemon: MirrorDaemon, kind: Kind, meta: ObjectMeta, spec: MirrorDaemonSpec, cluster: CephCluster, release: Release
) -> Context:
    """What daemons are given of their cluster, with what their object says of their pods."""
    return context_for(kind, meta, spec, daemon.daemon.type, cluster, release)


def deployment_of(daemon: MirrorDaemon, context: Context, count: int) -> JsonObject:
    """The Deployment of `count` daemons, which are replaced one after the other."""
    one = daemon.daemon
    data = f"/var/lib/ceph/{one.type}"
    container: JsonObject = {
        "name": daemon.container,
        "command": [daemon.program],
        "args": [
            *flags(context, one),
            f"--name={daemon.user}",
            f"--admin-socket={one.admin_socket}",
            *ip_flags(context),
        ],
        **image_fields(context),
        "env": environment(),
        "securityContext": security_context(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **context.pods.container_resources(one.type),
        # Answered without mons and without the other cluster: the outage of neither kills a daemon.
        **probes(context, one, prefix="version"),
    }
    template = pod_template(context, one, pod_with_data(context, container, daemon.keyring, data))
    keep_apart(template["spec"], {"app": one.app, CLUSTER_LABEL: context.namespace}, strictly=False)
    found = deployment(context, one, template)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    found["metadata"]["name"] = daemon.name
    return {**found, "spec": {**found["spec"], "replicas": count, "strategy": rolling}}
