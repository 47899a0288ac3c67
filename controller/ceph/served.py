"""Which fields of CephCluster's spec are served; what else is set is named in the condition FieldsHonoured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.framework.honoured import Honoured, unhonoured

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_DAEMON: Mapping[str, Honoured] = dict.fromkeys(("all", "mon", "mgr", "osd", "prepareosd", "cleanup"))
_DAEMON_PROBES: Mapping[str, Honoured] = dict.fromkeys(("mon", "mgr", "osd"))
_CONFIG_OF_DEVICES: Mapping[str, Honoured] = dict.fromkeys(("deviceClass", "crushRoot", "initialWeight"))
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
        "store": {"type": None},
    },
    "network": {
        "provider": None,
        "hostNetwork": None,
        "connections": None,
        "ipFamily": None,
    },
    "placement": _BY_DAEMON,
    "resources": {**_BY_DAEMON, "cmd-reporter": None},
    "annotations": _BY_DAEMON,
    "labels": _BY_DAEMON,
    "priorityClassNames": _BY_DAEMON,
    "cephConfig": None,
    "cephConfigFromSecret": None,
    "monitoring": {"metricsDisabled": None},
    # None is run, so that one that is switched off is served.
    "crashCollector": {"disable": None},
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
}


def unserved(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of the spec, as the user wrote it, that are set and not served."""
    found = unhonoured(spec, SERVED)
    if spec.get("network", {}).get("provider") == "multus":
        found = (*found, "network.provider=multus")
    return found
