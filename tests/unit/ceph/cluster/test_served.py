"""Nothing is claimed that is not so: a field that counts as served has an effect, and no other is silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.apis.ceph import (
    CephBlockPool,
    CephBlockPoolRadosNamespaceSpec,
    CephClientSpec,
    CephCluster,
    CephClusterSpec,
    CephFilesystemSpec,
    CephFilesystemSubVolumeGroupSpec,
    CephNFSSpec,
    NamedBlockPoolSpec,
)
from controller.apis.ceph.served import CLIENT, CLUSTER, FILESYSTEM, NFS, POOL, RADOS_NAMESPACE, SUBVOLUME_GROUP
from controller.apis.schema import schema_of
from controller.ceph.client import spec as client_spec
from controller.ceph.cluster.served import unserved
from controller.ceph.crush import Rule
from controller.ceph.filesystem import spec as filesystem_spec
from controller.ceph.mirroring.images import MirrorState
from controller.ceph.mirroring.observe import MirrorObservation
from controller.ceph.mirroring.place import Mode
from controller.ceph.mirroring.schedules import Schedule, Scheduled
from controller.ceph.mirroring.sources import Offer
from controller.ceph.nfs import spec as nfs_spec
from controller.ceph.pool import analyze as pool_plan
from controller.ceph.pool import spec as pool_spec
from controller.ceph.pool.status import show
from controller.ceph.radosnamespace import spec as rados_namespace_spec
from controller.ceph.subvolumegroup import spec as group_spec
from controller.framework.kind import Look
from controller.framework.owned import Owned
from controller.framework.plan import APPLY, preview
from tests.unit.ceph import pools
from tests.unit.ceph.fields import (
    ITEM,
    Path,
    dotted,
    has_place,
    is_served,
    leaves,
    samples,
    served_leaves,
    with_value,
)
from tests.unit.ceph.pool import test_analyze as test_pool
from tests.unit.ceph.scenes import SCENES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from controller.apis.served import Honoured
    from controller.ceph.pool.observe import BlockPoolObservation
    from informers import JsonObject

CLUSTER_SCHEMA: JsonObject = schema_of(CephCluster)["properties"]["spec"]

TOLERATION = {"tolerations": [{"key": "x", "operator": "Exists"}]}
AFFINITY = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "x"}]}}

VALUES: dict[str, Sequence[Any]] = {
    "cleanupPolicy.confirmation": ["yes-really-destroy-data"],
    "dataDirHostPath": ["/srv/rook"],
    "disruptionManagement.managePodBudgets": [False],
    "disruptionManagement.osdMaintenanceTimeout": [600],
    "disruptionManagement.pgHealthyRegex": ["^active"],
    "healthCheck.daemonHealth.mon.interval": ["10s"],
    "healthCheck.daemonHealth.mon.timeout": ["2h", "0"],
    "healthCheck.daemonHealth.osd.interval": ["10s"],
    "healthCheck.daemonHealth.status.interval": ["10s"],
    "mgr.count": [2],
    "mon.count": [1, 5],
    "mon.volumeClaimTemplate": [{"spec": {"storageClassName": "fast"}}],
    "mon.zones[].arbiter": [True],
    "mon.zones[].name": ["b"],
    "network.provider": ["host"],
    "placement.cleanup": [AFFINITY],
    "storage.deviceFilter": ["^sdc$"],
    "storage.devicePathFilter": ["^/dev/sdc$"],
    "storage.devices[].fullpath": ["/dev/sdb"],
    "storage.devices[].name": ["sdb"],
    "storage.nodes[].deviceFilter": ["^sdc$"],
    "storage.nodes[].devicePathFilter": ["^/dev/sdc$"],
    "storage.nodes[].devices[].fullpath": ["/dev/sdb"],
    "storage.nodes[].devices[].name": ["sdb"],
    "storage.osdMaxUpdatesInParallel": [1],
    "cephConfigFromSecret.*.*.key": ["b"],
    "cephConfigFromSecret.*.*.optional": [True],
}
"""Values of fields of which not any value will do."""


def values_of(path: Path, schema: JsonObject) -> Sequence[Any]:
    name = dotted(path)
    if name in VALUES:
        return VALUES[name]
    if name.endswith(".overwriteUnknownData"):
        return ["true"]
    if name.endswith(".disabled"):
        return [True]
    if name.endswith(".probe"):
        return [{"periodSeconds": 33}]
    if path[0] == "placement":
        return [TOLERATION]
    return samples(schema)


SERVED_FIELDS = [
    (path, value) for path, schema in served_leaves(CLUSTER, CLUSTER_SCHEMA) for value in values_of(path, schema)
]


async def test_every_field_that_counts_as_served_changes_what_comes_of_a_look() -> None:
    before = {name: await scene.look(scene.full_spec) for name, scene in SCENES.items()}
    noticed = dict.fromkeys(SCENES, 0)
    silent: list[str] = []
    for path, value in SERVED_FIELDS:
        asks = False
        for name in sorted(SCENES, key=lambda name: -noticed[name]):
            scene = SCENES[name]
            if not has_place(scene.full_spec, path):
                continue
            spec = with_value(scene.full_spec, path, value)
            if scene.cluster(spec).spec == scene.cluster(scene.full_spec).spec:
                continue
            asks = True
            looked = await scene.look(spec)
            if looked != before[name] and not scene.is_impossible(looked):
                noticed[name] += 1
                break
        else:
            # A value that is every scene's own already asks for nothing.
            if asks or not any(has_place(scene.full_spec, path) for scene in SCENES.values()):
                silent.append(f"{dotted(path)}={value}")
    assert silent == []


POOL_SCHEMA: JsonObject = schema_of(CephBlockPool)["properties"]["spec"]
REPLICATED: JsonObject = {"replicated": {"size": 3}}
CODED: JsonObject = {"erasureCoded": {"dataChunks": 2, "codingChunks": 1}}
MIRRORED = MirrorObservation(
    state=MirrorState(mode=Mode.IMAGE, pool_mode=Mode.IMAGE, site_name="a"),
    owned={"mode": Owned("image", "image"), "schedules": Owned("1h", "")},
    scheduled=(Scheduled("replicapool/", (Schedule("1h"),)),),
    offer=Offer("s1", current=True),
)
POOL_SCENES: dict[str, tuple[JsonObject, BlockPoolObservation]] = {
    "no pool": (REPLICATED, pools.seen()),
    "no pool, coded": (CODED, pools.seen()),
    "a pool": (REPLICATED, pools.seen(pools.present())),
    "a pool, spread otherwise": (
        REPLICATED,
        pools.seen(pools.present(), rules={"replicapool": Rule("default", "osd")}),
    ),
    "a mirrored pool": (
        {**REPLICATED, "mirroring": {"enabled": True, "mode": "image", "snapshotSchedules": [{"interval": "1h"}]}},
        pools.seen(pools.present(), mirror=MIRRORED),
    ),
}
POOL_VALUES: dict[str, Sequence[Any]] = {
    "deviceClass": ["ssd"],
    "enableCrushUpdates": [True],
    "erasureCoded.dataChunks": [4],
    "failureDomain": ["rack"],
    "mirroring.mode": ["pool", "init-only"],
    "mirroring.snapshotSchedules[].interval": ["12h"],
    "mirroring.snapshotSchedules[].startTime": ["10:00:00"],
    "name": [".mgr"],
    "quotas.maxSize": ["10Gi"],
    "statusCheck.mirror.disabled": [True],
    "statusCheck.mirror.interval": ["30s"],
}
ELSEWHERE = {"replicated.requireSafeReplicaSize": test_pool.test_spec_that_cannot_be_carried_out}
"""Fields whose effect is none of a plan's: the test that has it."""

SERVED_POOL_FIELDS = [
    (path, value)
    for path, schema in served_leaves(POOL, POOL_SCHEMA)
    for value in POOL_VALUES.get(dotted(path), samples(schema))
    if dotted(path) not in ELSEWHERE
]


@pytest.mark.parametrize(
    ("path", "value"), SERVED_POOL_FIELDS, ids=[f"{dotted(path)}={value}" for path, value in SERVED_POOL_FIELDS]
)
def test_every_field_of_a_pool_that_counts_as_served_changes_what_comes_of_a_look(path: Path, value: Any) -> None:
    def look(spec: JsonObject, seen: BlockPoolObservation) -> Any:
        found = pools.pool(spec)
        plan = pool_plan.analyze(found, seen)
        shown = show(Look(obj=found, spec={}, mode=APPLY, now=0.0), seen, preview(plan))
        # The spec's own words are no effect.
        return plan, msgspec.structs.replace(shown, info=None)

    noticed = [
        name
        for name, (spec, seen) in POOL_SCENES.items()
        if not pool_spec.problems(pools.pool(with_value(spec, path, value)).spec)
        and look(with_value(spec, path, value), seen) != look(spec, seen)
    ]
    assert noticed


def _unserved(schema: JsonObject, tree: Mapping[str, Honoured]) -> list[Any]:
    return [
        pytest.param(path, samples, id=dotted(path)) for path, samples in leaves(schema) if not is_served(tree, path)
    ]


@pytest.mark.parametrize(("path", "schema"), _unserved(CLUSTER_SCHEMA, CLUSTER))
def test_every_field_that_is_not_served_is_named_when_it_is_set(path: Path, schema: JsonObject) -> None:
    _assert_named(CLUSTER_SCHEMA, CephClusterSpec, unserved, path, values_of(path, schema))


@pytest.mark.parametrize(("path", "schema"), _unserved(POOL_SCHEMA, POOL))
def test_every_field_of_a_pool_that_is_not_served_is_named_when_it_is_set(path: Path, schema: JsonObject) -> None:
    _assert_named(POOL_SCHEMA, NamedBlockPoolSpec, pool_spec.unserved, path, samples(schema))


FILESYSTEM_SCHEMA = schema_of(CephFilesystemSpec)
GROUP_SCHEMA = schema_of(CephFilesystemSubVolumeGroupSpec)


@pytest.mark.parametrize(("path", "schema"), _unserved(FILESYSTEM_SCHEMA, FILESYSTEM))
def test_every_field_of_a_file_system_that_is_not_served_is_named_when_it_is_set(
    path: Path, schema: JsonObject
) -> None:
    pool = {"dataPools": [{"name": "x"}]}
    _assert_named(FILESYSTEM_SCHEMA, CephFilesystemSpec, filesystem_spec.unserved, path, samples(schema), on=pool)


RADOS_NAMESPACE_SCHEMA = schema_of(CephBlockPoolRadosNamespaceSpec)


@pytest.mark.parametrize(("path", "schema"), _unserved(RADOS_NAMESPACE_SCHEMA, RADOS_NAMESPACE))
def test_every_field_of_a_rados_namespace_that_is_not_served_is_named_when_it_is_set(
    path: Path, schema: JsonObject
) -> None:
    named = rados_namespace_spec.unserved
    _assert_named(RADOS_NAMESPACE_SCHEMA, CephBlockPoolRadosNamespaceSpec, named, path, samples(schema))


CLIENT_SCHEMA = schema_of(CephClientSpec)


NFS_SCHEMA = schema_of(CephNFSSpec)


@pytest.mark.parametrize(("path", "schema"), _unserved(NFS_SCHEMA, NFS))
def test_every_field_of_nfs_servers_that_is_not_served_is_named_when_it_is_set(path: Path, schema: JsonObject) -> None:
    def named(spec: JsonObject) -> Sequence[str]:
        return nfs_spec.unserved(spec, "another")

    _assert_named(NFS_SCHEMA, CephNFSSpec, named, path, samples(schema))


@pytest.mark.parametrize(("path", "schema"), _unserved(CLIENT_SCHEMA, CLIENT))
def test_every_field_of_a_user_that_is_not_served_is_named_when_it_is_set(path: Path, schema: JsonObject) -> None:
    def named(spec: JsonObject) -> Sequence[str]:
        return client_spec.unserved(spec, "another")

    _assert_named(CLIENT_SCHEMA, CephClientSpec, named, path, samples(schema))


@pytest.mark.parametrize(("path", "schema"), _unserved(GROUP_SCHEMA, SUBVOLUME_GROUP))
def test_every_field_of_a_group_that_is_not_served_is_named_when_it_is_set(path: Path, schema: JsonObject) -> None:
    _assert_named(GROUP_SCHEMA, CephFilesystemSubVolumeGroupSpec, group_spec.unserved, path, samples(schema))


def _assert_named(
    schema: JsonObject,
    struct: type[msgspec.Struct],
    named: Callable[[JsonObject], Sequence[str]],
    path: Path,
    values: Sequence[Any],
    *,
    on: JsonObject | None = None,
) -> None:
    on = on or {}
    for depth in range(1, len(path)):
        # What is below a switch that is off asks for nothing.
        switch = (*path[:depth], "enabled")
        if switch != path and "enabled" in _at(schema, path[:depth]).get("properties", {}):
            on = with_value(on, switch, value=True)
    specs = [with_value(on, path, value) for value in values]
    asking = [spec for spec in specs if msgspec.convert(spec, struct) != msgspec.convert(on, struct)]
    assert asking
    for spec in asking:
        assert set(named(spec)) - set(named(on)), spec


def _at(schema: JsonObject, path: Path) -> JsonObject:
    for name in path:
        if name == ITEM:
            schema = schema["items"]
        else:
            schema = schema.get("properties", {}).get(name) or schema["additionalProperties"]
    return schema


DEVICES: JsonObject = {"useAllNodes": True, "useAllDevices": True}
PRODUCTION: JsonObject = {
    "cephVersion": {"image": "ceph:v20.2.2", "allowUnsupported": False},
    "dataDirHostPath": "/var/lib/rook",
    "skipUpgradeChecks": False,
    "continueUpgradeAfterChecksEvenIfNotHealthy": False,
    "waitTimeoutForHealthyOSDInMinutes": 10,
    "upgradeOSDRequiresHealthyPGs": False,
    "mon": {"count": 3, "allowMultiplePerNode": False},
    "mgr": {"count": 2, "allowMultiplePerNode": False, "modules": [{"name": "rook", "enabled": True}]},
    "dashboard": {"enabled": True, "ssl": True},
    "monitoring": {
        "enabled": False,
        "metricsDisabled": False,
        "exporter": {"perfCountersPrioLimit": 5, "statsPeriodSeconds": 5},
    },
    "network": {
        "connections": {"encryption": {"enabled": False}, "compression": {"enabled": False}, "requireMsgr2": False}
    },
    "crashCollector": {"disable": False},
    "logCollector": {"enabled": True, "periodicity": "daily", "maxLogSize": "500M"},
    "cleanupPolicy": {
        "confirmation": "",
        "sanitizeDisks": {"method": "quick", "dataSource": "zero", "iteration": 1},
        "allowUninstallWithVolumes": False,
    },
    "annotations": None,
    "labels": None,
    "resources": None,
    "removeOSDsIfOutAndSafeToRemove": False,
    "priorityClassNames": {"mon": "system-node-critical", "osd": "system-node-critical"},
    "storage": {
        **DEVICES,
        "config": None,
        "allowDeviceClassUpdate": False,
        "allowOsdCrushWeightUpdate": False,
        "scheduleAlways": False,
        "onlyApplyOSDPlacement": False,
    },
    "disruptionManagement": {"managePodBudgets": True, "osdMaintenanceTimeout": 30},
    "security": {"cephx": {"csi": {"keyType": "aes"}}},
    "csi": {"readAffinity": {"enabled": False}, "cephfs": None},
    "healthCheck": {
        "daemonHealth": {
            "mon": {"disabled": False, "interval": "45s"},
            "osd": {"disabled": False, "interval": "60s"},
            "status": {"disabled": False, "interval": "60s"},
        },
        "livenessProbe": {kind: {"disabled": False} for kind in ("mon", "mgr", "osd")},
        "startupProbe": {kind: {"disabled": False} for kind in ("mon", "mgr", "osd")},
    },
}
DASHBOARD_AND_LOGS = (
    "dashboard.enabled",
    "dashboard.ssl",
    "logCollector.enabled",
    "logCollector.periodicity",
    "logCollector.maxLogSize",
)
SMALL: JsonObject = {
    "mon": {"count": 1, "allowMultiplePerNode": True},
    "skipUpgradeChecks": True,
    "mgr": {"count": 1, "allowMultiplePerNode": True, "modules": [{"name": "rook", "enabled": True}]},
    "dashboard": {"enabled": True},
    "crashCollector": {"disable": True},
    "storage": {**DEVICES, "allowDeviceClassUpdate": True, "allowOsdCrushWeightUpdate": False},
    "monitoring": {"enabled": False},
    "healthCheck": {"daemonHealth": {"mon": {"interval": "45s", "timeout": "600s"}}},
    "priorityClassNames": {"all": "system-node-critical", "mgr": "system-cluster-critical"},
    "disruptionManagement": {"managePodBudgets": True},
    "cephConfig": {"global": {"osd_pool_default_size": "1"}},
    "security": {"cephx": {"csi": {"keyType": "aes"}}},
}
SETS = [{"name": "set1", "count": 3, "portable": True, "volumeClaimTemplates": [{"metadata": {"name": "data"}}]}]
ZONES = [{"name": "a", "arbiter": True}, {"name": "b"}, {"name": "c"}]


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        pytest.param(PRODUCTION, DASHBOARD_AND_LOGS, id="cluster"),
        pytest.param(SMALL, ("dashboard.enabled",), id="cluster for tests"),
        pytest.param(
            {"mon": {"volumeClaimTemplate": {"spec": {}}}, "storage": {"storageClassDeviceSets": SETS}},
            ("storage.storageClassDeviceSets",),
            id="cluster on claims",
        ),
        pytest.param(
            {
                "mon": {"count": 5, "stretchCluster": {"subFailureDomain": "host", "zones": ZONES}},
                "placement": {"osd": {"tolerations": []}, "arbiter": {"tolerations": [{"key": "x"}]}},
            },
            ("mon.stretchCluster.zones", "placement.arbiter"),
            id="stretched cluster",
        ),
        pytest.param(
            {"network": {"provider": "multus", "selectors": {"public": "ns/public", "cluster": "ns/cluster"}}},
            ("network.provider=multus", "network.selectors"),
            id="cluster with multus",
        ),
        pytest.param(
            {"external": {"enable": True}, "crashCollector": {"disable": True}},
            ("external.enable",),
            id="external cluster",
        ),
    ],
)
def test_of_a_cluster_as_upstream_shows_it_just_what_is_not_done_is_named(
    spec: JsonObject, named: tuple[str, ...]
) -> None:
    assert unserved(spec) == named


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        pytest.param(
            {
                "failureDomain": "host",
                "replicated": {"size": 3, "requireSafeReplicaSize": True},
                "parameters": {"compression_mode": "none"},
                "mirroring": {"enabled": False, "mode": "image"},
                "statusCheck": {"mirror": {"disabled": False, "interval": "60s"}},
            },
            (),
            id="pool",
        ),
        pytest.param({"name": ".mgr", "replicated": {"size": 1, "requireSafeReplicaSize": False}}, (), id="mgr's pool"),
        pytest.param({"failureDomain": "osd", "erasureCoded": {"dataChunks": 2, "codingChunks": 1}}, (), id="coded"),
        pytest.param(
            {"replicated": {"size": 3}, "mirroring": {"enabled": True, "mode": "image"}},
            (),
            id="mirrored pool",
        ),
        pytest.param(
            {
                "failureDomain": "zone",
                "replicated": {"size": 4, "replicasPerFailureDomain": 2, "subFailureDomain": "host"},
            },
            ("replicated.replicasPerFailureDomain=2", "replicated.subFailureDomain"),
            id="pool of a stretched cluster",
        ),
    ],
)
def test_of_a_pool_as_upstream_shows_it_just_what_is_not_done_is_named(
    spec: JsonObject, named: tuple[str, ...]
) -> None:
    assert pool_spec.unserved(spec) == named
