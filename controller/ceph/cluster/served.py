"""What a CephCluster's spec asks for that is not served, and which of it the cluster is nothing without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CephClusterSpec
from controller.apis.ceph.served import CLUSTER
from controller.framework.honoured import unhonoured

if TYPE_CHECKING:
    from collections.abc import Mapping


def unserved(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of the spec, as the user wrote it, that are set and not served; the most important first."""
    found = unhonoured(spec, CLUSTER, CephClusterSpec)
    if spec.get("network", {}).get("provider") == "multus":
        found = ("network.provider=multus", *found)
    return found


def absent(spec: CephClusterSpec) -> tuple[str, ...]:
    """What upstream runs where the spec does not say otherwise, and this operator does not."""
    crash = () if spec.crash_collector.disable else ("crash collectors (crashCollector)",)
    exporters = () if spec.monitoring.metrics_disabled else ("metrics exporters on the nodes (monitoring.exporter)",)
    return (*crash, *exporters)


def unserved_intents(spec: CephClusterSpec) -> tuple[str, ...]:
    """The fields that are set, are not served, and without which the cluster is not what was asked for.

    A cluster that could not be made into it later is not made at all; see `unmendable_intents`.
    """
    storage = spec.storage
    found = {
        "storage.storageClassDeviceSets": bool(storage.storage_class_device_sets),
        "storage.volumeClaimTemplates": bool(storage.volume_claim_templates),
        "storage.nodes[].volumeClaimTemplates": any(node.volume_claim_templates for node in storage.nodes),
    }
    return (*unmendable_intents(spec), *(path for path, is_set in found.items() if is_set))


def unmendable_intents(spec: CephClusterSpec) -> tuple[str, ...]:
    """Those that decide where mons are and by which network they are reached: a running cluster cannot change them."""
    found = {
        "network.provider=multus": spec.network.provider == "multus",
        "network.dualStack": spec.network.dual_stack,
        "mon.stretchCluster": spec.mon.stretch_cluster is not None,
        "mon.floatingMon": spec.mon.floating_mon is not None,
    }
    return tuple(path for path, is_set in found.items() if is_set)
