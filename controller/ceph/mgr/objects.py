"""The Kubernetes objects that a mgr is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.pods import (
    CLUSTER_LABEL,
    cluster_labels,
    deployment,
    environment,
    family_fields,
    flags,
    image_fields,
    ip_flags,
    pod_template,
    pod_with_data,
    probes,
    security_context,
)
from controller.framework.disruption import budget
from controller.framework.monitoring import SERVICE_MONITOR, monitor, scrape_annotations
from controller.framework.placement import keep_apart, spread

if TYPE_CHECKING:
    from controller.apis.ceph.cluster import MgrSpec
    from controller.ceph.pods import Context, Daemon
    from informers import JsonObject

APP = "rook-ceph-mgr"
BUDGET = "rook-ceph-mgr-pdb"
ROLE_LABEL = "mgr_role"
ACTIVE, STANDBY = "active", "standby"
METRICS_PORT = 9283


def mgr_deployment(spec: MgrSpec, context: Context, daemon: Daemon) -> JsonObject:
    """A mgr's Deployment."""
    data = f"/var/lib/ceph/mgr/ceph-{daemon.id}"
    container: JsonObject = {
        "name": "mgr",
        "command": ["ceph-mgr"],
        "args": [*flags(context, daemon), "--public-addr=$(ROOK_POD_IP)", *ip_flags(context)],
        **image_fields(context),
        "env": [*environment(), {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "ports": [
            {"name": "mgr", "containerPort": 6800, "protocol": "TCP"},
            {"name": "http-metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "securityContext": security_context(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **context.pods.container_resources("mgr"),
        **probes(context, daemon),
    }
    template = pod_template(context, daemon, pod_with_data(context, container, keyring_name(daemon), data))
    # Also where there is only one: it need not be restarted then when another is wanted.
    mgrs = {"app": APP, CLUSTER_LABEL: context.namespace}
    keep_apart(template["spec"], mgrs, strictly=not spec.allow_multiple_per_node)
    spread(template["spec"], mgrs, context.zone_label, strictly=False)
    return deployment(context, daemon, template)


def keyring_name(daemon: Daemon) -> str:
    """The Secret with a daemon's keyring."""
    return f"{daemon.name}-keyring"


def monitoring_wanted(context: Context) -> bool:
    """Whether Prometheus is to find the metrics by itself."""
    return context.monitoring.enabled and not context.monitoring.metrics_disabled


def service_monitor(context: Context) -> JsonObject:
    """The ServiceMonitor of `metrics_service`, with the labels by which a Prometheus chooses what it collects."""
    labels = {**context.pods.labels.get("monitoring", {}), **cluster_labels(context.owner, APP)}
    meta, selector = context.owner.metadata(APP, labels), {"app": APP, CLUSTER_LABEL: context.namespace}
    return monitor(SERVICE_MONITOR, meta, selector, "http-metrics", interval=context.monitoring.interval)


def metrics_service(context: Context, *, annotated: bool = False) -> JsonObject:
    """The Service that Prometheus scrapes: the active mgr. `annotated`: it is found by that."""
    more: JsonObject = {"annotations": scrape_annotations(METRICS_PORT)} if annotated else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": context.owner.metadata(APP, cluster_labels(context.owner, APP), **more),
        "spec": {
            "type": "ClusterIP",
            "selector": {"app": APP, CLUSTER_LABEL: context.namespace, ROLE_LABEL: ACTIVE},
            "ports": [{"name": "http-metrics", "port": METRICS_PORT, "targetPort": METRICS_PORT, "protocol": "TCP"}],
            **family_fields(context),
        },
    }


def budgets(spec: MgrSpec, context: Context) -> tuple[JsonObject, ...]:
    """A drain may take one mgr away while the other stands by."""
    if spec.count <= 1 or not context.budgets:
        return ()
    selector = {"matchLabels": {"app": APP, CLUSTER_LABEL: context.namespace}}
    return (budget(context.owner, BUDGET, cluster_labels(context.owner, APP), selector, maxUnavailable=1),)
