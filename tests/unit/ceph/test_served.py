"""Nothing is claimed that is not so: a field that counts as served has an effect, and no other is silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.apis.ceph import CephBlockPool, CephCluster, CephClusterSpec, NamedBlockPoolSpec
from controller.apis.ceph.served import CLUSTER, POOL
from controller.apis.schema import schema_of
from controller.ceph import pool, pool_plan
from controller.ceph.crush import Rule
from controller.ceph.served import unserved
from controller.framework.plan import preview
from tests.unit.ceph import test_pool
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
from tests.unit.ceph.scenes import SCENES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from controller.apis.served import Honoured
    from controller.ceph.pool_plan import PoolObservation
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
POOL_SCENES: dict[str, tuple[JsonObject, PoolObservation]] = {
    "no pool": (REPLICATED, test_pool.seen()),
    "no pool, coded": (CODED, test_pool.seen()),
    "a pool": (REPLICATED, test_pool.seen(test_pool.present())),
    "a pool, spread otherwise": (
        REPLICATED,
        test_pool.seen(test_pool.present(), rules={"replicapool": Rule("default", "osd")}),
    ),
}
POOL_VALUES: dict[str, Sequence[Any]] = {
    "deviceClass": ["ssd"],
    "enableCrushUpdates": [True],
    "erasureCoded.dataChunks": [4],
    "failureDomain": ["rack"],
    "name": [".mgr"],
    "quotas.maxSize": ["10Gi"],
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
    def look(spec: JsonObject, seen: PoolObservation) -> Any:
        found = test_pool.pool(spec)
        plan = pool_plan.analyze(found, seen)
        shown = pool.status(found, seen, preview(plan), mode="apply", unserved=(), now=test_pool.NOW)
        # The spec's own words are no effect.
        return plan, msgspec.structs.replace(shown, info=None)

    noticed = [
        name
        for name, (spec, seen) in POOL_SCENES.items()
        if not pool_plan.problems(test_pool.pool(with_value(spec, path, value)).spec)
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
    _assert_named(POOL_SCHEMA, NamedBlockPoolSpec, pool_plan.unserved, path, samples(schema))


def _assert_named(
    schema: JsonObject,
    struct: type[msgspec.Struct],
    named: Callable[[JsonObject], Sequence[str]],
    path: Path,
    values: Sequence[Any],
) -> None:
    on: JsonObject = {}
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
