"""Which fields of CephCluster's spec are served; what else is set is named in the condition FieldsHonoured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CephClusterSpec
from controller.framework.honoured import Honoured, Moot, only, unhonoured

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_DAEMON: Mapping[str, Honoured] = dict.fromkeys(("all", "mon", "mgr", "osd", "prepareosd", "cleanup"))
_DAEMON_PROBES: Mapping[str, Honoured] = dict.fromkeys(("mon", "mgr", "osd"))
_CONFIG_OF_DEVICES: Mapping[str, Honoured] = {
    **dict.fromkeys(("deviceClass", "crushRoot", "initialWeight")),
    "osdsPerDevice": only("1"),
    "encryptedDevice": only("false"),
    "storeType": only("bluestore"),
}
_DEVICE: Mapping[str, Honoured] = {"name": None, "fullpath": None, "config": _CONFIG_OF_DEVICES}
_SELECTION: Mapping[str, Honoured] = {
    "useAllDevices": None,
    "deviceFilter": None,
    "devicePathFilter": None,
    "devices": _DEVICE,
    "config": _CONFIG_OF_DEVICES,
}

SERVED: Mapping[str, Honoured] = {
    "cephVersion": None,
    "dataDirHostPath": None,
    "mon": {
        "count": None,
        "allowMultiplePerNode": None,
        "failureDomainLabel": None,
        "volumeClaimTemplate": None,
        "zones": {"name": None},
        "externalMonIDs": None,
    },
    "mgr": {"count": None, "allowMultiplePerNode": None, "modules": {"name": None, "enabled": None}},
    "storage": {
        **_SELECTION,
        "useAllNodes": None,
        "nodes": {**_SELECTION, "name": None, "resources": None},
        "onlyApplyOSDPlacement": None,
        "allowDeviceClassUpdate": None,
        "osdMaxUpdatesInParallel": None,
        "store": {"type": only("bluestore")},
    },
    "network": {
        "provider": None,
        "hostNetwork": None,
        "connections": None,
        "ipFamily": None,
    },
    "placement": _BY_DAEMON,
    "resources": {**dict.fromkeys(("mon", "mgr", "osd", "osd-*", "prepareosd", "cleanup", "cmd-reporter"))},
    "annotations": _BY_DAEMON,
    "labels": _BY_DAEMON,
    "priorityClassNames": _BY_DAEMON,
    "cephConfig": None,
    "cephConfigFromSecret": None,
    "monitoring": {"metricsDisabled": None},
    "crashCollector": {"disable": Moot("none is run")},
    "healthCheck": {
        "daemonHealth": {"mon": None, "osd": {"interval": None}, "status": {"interval": None}},
        "livenessProbe": _DAEMON_PROBES,
        "startupProbe": _DAEMON_PROBES,
    },
    "disruptionManagement": {"managePodBudgets": None},
    "cleanupPolicy": {"confirmation": None, "sanitizeDisks": None, "allowUninstallWithVolumes": None},
    "skipUpgradeChecks": None,
    "removeOSDsIfOutAndSafeToRemove": None,
    "csi": {"skipUserCreation": None},
    "security": {"cephx": {"csi": {"keyType": only("aes")}}},
}


def unserved(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of the spec, as the user wrote it, that are set and not served; the most important first."""
    found = unhonoured(spec, SERVED, CephClusterSpec)
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
