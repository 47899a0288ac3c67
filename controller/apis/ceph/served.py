"""Which fields of Ceph's kinds are served; what else is set is named in the condition FieldsHonoured."""

from __future__ import annotations

from collections.abc import Mapping

from controller.apis.served import Honoured, Moot, only

_BY_DAEMON: Mapping[str, Honoured] = dict.fromkeys(("all", "mon", "mgr", "osd", "prepareosd", "cleanup"))
_DAEMON_PROBES: Mapping[str, Honoured] = dict.fromkeys(("mon", "mgr", "osd"))
_CONFIG_OF_DEVICES: Mapping[str, Honoured] = {
    **dict.fromkeys(("deviceClass", "crushRoot", "initialWeight", "overwriteUnknownData")),
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

CLUSTER: Mapping[str, Honoured] = {
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
    "annotations": {**_BY_DAEMON, "cmdreporter": None},
    "labels": {**_BY_DAEMON, "cmdreporter": None, "monitoring": None},
    "priorityClassNames": _BY_DAEMON,
    "cephConfig": None,
    "cephConfigFromSecret": None,
    "monitoring": {"enabled": None, "interval": None, "metricsDisabled": None},
    "crashCollector": {"disable": Moot("none is run")},
    "healthCheck": {
        "daemonHealth": {"mon": None, "osd": {"interval": None}, "status": {"interval": None}},
        "livenessProbe": _DAEMON_PROBES,
        "startupProbe": _DAEMON_PROBES,
    },
    "disruptionManagement": {"managePodBudgets": None, "osdMaintenanceTimeout": None, "pgHealthyRegex": None},
    "cleanupPolicy": {"confirmation": None, "sanitizeDisks": None, "allowUninstallWithVolumes": None},
    "skipUpgradeChecks": None,
    "removeOSDsIfOutAndSafeToRemove": None,
    "csi": {"readAffinity": {"enabled": None, "crushLocationLabels": None}, "skipUserCreation": None},
    "security": {"cephx": {"csi": {"keyType": only("aes")}}},
}
"""The fields of a CephCluster's spec that are served."""

_SNAPSHOT_SCHEDULE: Mapping[str, Honoured] = {"interval": None, "startTime": None}

POOL: Mapping[str, Honoured] = {
    "name": None,
    "application": None,
    "failureDomain": None,
    "crushRoot": None,
    "deviceClass": None,
    "enableCrushUpdates": None,
    "compressionMode": None,
    "parameters": None,
    "quotas": None,
    "replicated": {
        "size": None,
        "requireSafeReplicaSize": None,
        "targetSizeRatio": None,
        "replicasPerFailureDomain": only(1),
    },
    "erasureCoded": {"dataChunks": None, "codingChunks": None, "algorithm": None, "stripeUnit": None},
    "mirroring": {"enabled": None, "mode": None, "peers": None, "snapshotSchedules": _SNAPSHOT_SCHEDULE},
    "statusCheck": {"mirror": {"disabled": None, "interval": None, "timeout": Moot("it has none")}},
}
"""The fields of a CephBlockPool's spec that are served."""

RADOS_NAMESPACE: Mapping[str, Honoured] = {
    "name": None,
    "blockPoolName": None,
    "clusterID": None,
    "mirroring": {"mode": None, "remoteNamespace": None, "snapshotSchedules": _SNAPSHOT_SCHEDULE},
}
"""The fields of a CephBlockPoolRadosNamespace's spec that are served."""

_FILESYSTEM_POOL: Mapping[str, Honoured] = {
    **{name: below for name, below in POOL.items() if name not in ("application", "mirroring")},
    "statusCheck": Moot("only the mirroring of images is looked at, and the pool has none"),
}

FILESYSTEM: Mapping[str, Honoured] = {
    "metadataPool": {
        **{name: below for name, below in _FILESYSTEM_POOL.items() if name != "erasureCoded"},
        "application": only("cephfs"),
    },
    "dataPools": {**_FILESYSTEM_POOL, "application": only("cephfs")},
    "metadataServer": {
        "activeCount": None,
        "activeStandby": None,
        "placement": None,
        "resources": None,
        "annotations": None,
        "labels": None,
        "priorityClassName": None,
        "livenessProbe": None,
        "startupProbe": None,
        "cacheMemoryLimitFactor": None,
        "cacheMemoryRequestFactor": None,
    },
    "preservePoolNames": None,
    "preservePoolsOnDelete": None,
    "preserveFilesystemOnDelete": None,
    "mirroring": {
        "enabled": None,
        "peers": None,
        "snapshotSchedules": {**_SNAPSHOT_SCHEDULE, "path": None},
        "snapshotRetention": None,
        "directories": None,
    },
    "statusCheck": POOL["statusCheck"],
}
"""The fields of a CephFilesystem's spec that are served."""

_STORE_POOL: Mapping[str, Honoured] = {
    **{name: below for name, below in POOL.items() if name not in ("name", "application", "mirroring")},
    "application": only("rgw"),
    "statusCheck": Moot("objects are not mirrored by their pools"),
}

OBJECT_STORE: Mapping[str, Honoured] = {
    "metadataPool": {name: below for name, below in _STORE_POOL.items() if name != "erasureCoded"},
    "dataPool": _STORE_POOL,
    "sharedPools": None,
    "preservePoolsOnDelete": None,
    "gateway": {
        "instances": None,
        "port": None,
        "securePort": None,
        "sslCertificateRef": None,
        "caBundleRef": None,
        "hostNetwork": None,
        "placement": None,
        "resources": None,
        "annotations": None,
        "labels": None,
        "priorityClassName": None,
        "service": None,
        "rgwConfig": None,
        "rgwConfigFromSecret": None,
        "rgwCommandFlags": None,
        "additionalVolumeMounts": None,
        "opsLogSidecar": None,
        "disableMultisiteSyncTraffic": None,
        "type": only("s3"),
    },
    "protocols": None,
    "zone": None,
    "healthCheck": None,
    "allowUsersInNamespaces": None,
    "hosting": None,
    "defaultRealm": None,
}
"""The fields of a CephObjectStore's spec that are served."""

OBJECT_ZONE: Mapping[str, Honoured] = {
    "zoneGroup": None,
    "metadataPool": OBJECT_STORE["metadataPool"],
    "dataPool": OBJECT_STORE["dataPool"],
    "sharedPools": None,
    "customEndpoints": None,
    "preservePoolsOnDelete": None,
}
"""The fields of a CephObjectZone's spec that are served."""

SUBVOLUME_GROUP: Mapping[str, Honoured] = {
    "filesystemName": None,
    "name": None,
    "quota": None,
    "dataPoolName": None,
    "pinning": None,
}
"""The fields of a CephFilesystemSubVolumeGroup's spec that are served."""

_POD: Mapping[str, Honoured] = dict.fromkeys(("placement", "annotations", "labels", "resources", "priorityClassName"))

RBD_MIRROR: Mapping[str, Honoured] = {**_POD, "count": None, "peers": None}
"""The fields of a CephRBDMirror's spec that are served."""

FILESYSTEM_MIRROR: Mapping[str, Honoured] = _POD
"""The fields of a CephFilesystemMirror's spec that are served."""

CLIENT: Mapping[str, Honoured] = {
    "caps": None,
    "secretName": None,
    "removeSecret": None,
    "security": None,
}
"""The fields of a CephClient's spec that are served."""

NFS: Mapping[str, Honoured] = {
    "rados": {"pool": only(".nfs")},
    "server": None,
    "security": None,
}
"""The fields of a CephNFS's spec that are served; `rados.namespace` may be the CephNFS's own name."""

NVMEOF_GATEWAY: Mapping[str, Honoured] = {
    **_POD,
    "image": None,
    "instances": None,
    "group": None,
    "configMapRef": None,
    "nvmeofConfig": None,
    "ports": dict.fromkeys(("ioPort", "gatewayPort", "discoveryPort")),
    "hostNetwork": None,
    "livenessProbe": None,
}
"""The fields of a CephNVMeOFGateway's spec that are served; `ports.monitorPort` may be the one that gateways take."""

_NO_POD = Moot("the operator is the driver, and runs no pod for it")

COSI_DRIVER: Mapping[str, Honoured] = {
    "deploymentStrategy": None,
    **dict.fromkeys(("image", "objectProvisionerImage", "placement", "resources"), _NO_POD),
}
"""The fields of a CephCOSIDriver's spec that are served."""
