"""The Kubernetes objects that a file system's MDS daemons are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_FILESYSTEM
from controller.apis.ceph.health import CephClusterHealthCheckSpec
from controller.ceph.filesystem.spec import cache_bytes
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
from controller.framework.disruption import budget
from controller.framework.labels import recommended
from controller.framework.placement import keep_apart, spread

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster, CephFilesystem
    from controller.ceph.pods import Context, Release
    from informers import JsonObject

APP = "rook-ceph-mds"
FILESYSTEM_LABEL = "rook_file_system"
KEY = "mds"
"""Under which `PodSettings` speaks of MDS daemons."""


def context(filesystem: CephFilesystem, cluster: CephCluster, release: Release) -> Context:
    """What MDS daemons are given of their cluster, with what the CephFilesystem says of their pods."""
    spec = filesystem.spec.metadata_server
    health = CephClusterHealthCheckSpec(
        liveness_probe={KEY: spec.liveness_probe}, startup_probe={KEY: spec.startup_probe}
    )
    return replace(context_for(CEPH_FILESYSTEM, filesystem.metadata, spec, KEY, cluster, release), health=health)


def daemon_of(mds_id: str) -> Daemon:
    """The MDS daemon of this id."""
    return Daemon(type="mds", id=mds_id)


def keyring_name(mds_id: str) -> str:
    """The Secret with a daemon's keyring."""
    return f"{daemon_of(mds_id).name}-keyring"


def labels(context: Context, mds_id: str) -> dict[str, str]:
    """The labels of a daemon's objects."""
    return {**daemon_of(mds_id).labels(context.owner), FILESYSTEM_LABEL: context.owner.name}


def mds_deployment(filesystem: CephFilesystem, context: Context, mds_id: str) -> JsonObject:
    """An MDS daemon's Deployment."""
    daemon, data = daemon_of(mds_id), f"/var/lib/ceph/mds/ceph-{mds_id}"
    cache = cache_bytes(filesystem.spec.metadata_server)
    container: JsonObject = {
        "name": "mds",
        "command": ["ceph-mds"],
        "args": [
            *flags(context, daemon),
            "--public-addr=$(ROOK_POD_IP)",
            *ip_flags(context),
            f"--mds-join-fs={context.owner.name}",
            *([f"--mds-cache-memory-limit={cache}"] if cache is not None else []),
        ],
        **image_fields(context),
        "env": environment(),
        "securityContext": security_context(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **context.pods.container_resources(KEY),
        # Answered without the daemon's own locks, and without mons: neither a long replay nor their outage kills it.
        **probes(context, daemon, prefix="version"),
    }
    template = pod_template(context, daemon, pod_with_data(context, container, keyring_name(mds_id), data))
    template["metadata"]["labels"][FILESYSTEM_LABEL] = context.owner.name
    # A node that is lost takes as few of one file system's daemons with it as can be.
    alike = _selector(context)
    keep_apart(template["spec"], alike, strictly=False)
    spread(template["spec"], alike, context.zone_label, strictly=False)
    found = deployment(context, daemon, template)
    found["metadata"]["labels"][FILESYSTEM_LABEL] = context.owner.name
    return found


def mds_budget(context: Context) -> tuple[JsonObject, ...]:
    """A drain may take one MDS daemon away at a time: another one takes its rank over meanwhile."""
    if not context.budgets:
        return ()
    name, owner = f"{APP}-{context.owner.name}", context.owner
    own = {
        **recommended(name="ceph-mds", instance=owner.name, component=owner.kind.crd_name, part_of=owner.name),
        **_selector(context),
    }
    return (budget(owner, name, own, {"matchLabels": _selector(context)}, maxUnavailable=1),)


def _selector(context: Context) -> dict[str, str]:
    return {"app": APP, CLUSTER_LABEL: context.namespace, FILESYSTEM_LABEL: context.owner.name}
