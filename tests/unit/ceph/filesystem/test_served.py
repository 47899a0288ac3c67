"""Every field that is named as served brings something about: another plan, another pod, or another word of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from controller.apis.ceph import CephFilesystemSpec
from controller.apis.ceph.served import FILESYSTEM
from controller.apis.schema import schema_of
from controller.ceph.filesystem.analyze import analyze, kept
from controller.ceph.filesystem.mirroring import wanted
from controller.ceph.filesystem.mirroring.act import remote_of
from controller.ceph.filesystem.spec import problems
from controller.ceph.filesystem.status import show
from controller.framework.kind import Look
from controller.framework.plan import APPLY, preview
from tests.unit.ceph import fs_mirrors as mirroring
from tests.unit.ceph.fields import dotted, samples, served_leaves, with_value
from tests.unit.ceph.filesystems import PLAIN, a_context, a_filesystem, a_state, no_pools, running
from tests.unit.ceph.fs_mirrors import a_token

if TYPE_CHECKING:
    from controller.framework.plan import Plan
    from informers import JsonObject
    from tests.unit.ceph.fields import Path

LEAVES = list(served_leaves(FILESYSTEM, schema_of(CephFilesystemSpec)))
TOKEN = a_token("b")
MIRRORING: JsonObject = {
    "enabled": True,
    "snapshotSchedules": [{"path": "/a", "interval": "24h"}],
    "snapshotRetention": [{"path": "/a", "duration": "7d"}],
}
RESOURCES = {"requests": {"memory": "1Gi"}}
VALUES: dict[str, Any] = {
    "metadataPool.quotas.maxSize": "1Gi",
    "dataPools[].quotas.maxSize": "1Gi",
    "metadataServer.cacheMemoryLimitFactor": 0.25,
    "metadataServer.placement": {"tolerations": [{"key": "x", "operator": "Exists"}]},
    "metadataServer.livenessProbe.probe": {"periodSeconds": 33},
    "metadataServer.startupProbe.probe": {"periodSeconds": 33},
    "mirroring.snapshotSchedules[].interval": "1h",
    "mirroring.snapshotSchedules[].startTime": "14:00:00-05:00",
    "mirroring.snapshotSchedules[].path": "/b",
    "mirroring.snapshotRetention[].duration": "24h",
    "mirroring.snapshotRetention[].path": "/b",
    "mirroring.directories[]": "/a",
    "statusCheck.mirror.interval": "20s",
}


def looked(spec: JsonObject) -> list[Any]:
    """All that a spec can bring about: for a file system that is to be made, one that is there, and one that goes."""
    filesystem = a_filesystem(spec)
    nothing = running(filesystem, None, pools=no_pools(filesystem), deployments={}, live={})
    there = replace(running(a_filesystem(), a_state("myfs-a")), context=a_context(filesystem))
    pools = {**nothing.pools, **there.pools}
    there = replace(there, pools=pools)
    going = a_filesystem(spec, deleting=True)
    mirrored = replace(
        there,
        state=a_state("myfs-a", mirrored=True, peers={"u1": remote_of(TOKEN)}),
        mirroring=mirroring.seen(wanted.of(filesystem), TOKEN),
    )
    plans: list[Plan] = [
        analyze(filesystem, nothing),
        analyze(filesystem, there),
        analyze(filesystem, mirrored),
        analyze(going, there),
    ]
    status = show(Look(obj=filesystem, spec=spec, mode=APPLY, now=0.0), mirrored, preview(plans[2]))
    return [problems(filesystem), kept(filesystem, there), status.mirroring_status, *plans]


@pytest.mark.parametrize(("path", "schema"), LEAVES, ids=[dotted(path) for path, _ in LEAVES])
def test_what_is_served_brings_something_about(path: Path, schema: JsonObject) -> None:
    values = [VALUES[dotted(path)]] if dotted(path) in VALUES else samples(schema)
    base = dict(PLAIN)
    if "cacheMemory" in path[-1]:
        limits = {"limits": {"memory": "2Gi"}} if "Limit" in path[-1] else RESOURCES
        base = {**base, "metadataServer": {"activeCount": 1, "resources": limits}}
    if path[-1] in ("algorithm", "stripeUnit"):
        coded = {"erasureCoded": {"dataChunks": 2, "codingChunks": 1}}
        base = {**base, "dataPools": [coded]}
    if path[-1] == "requireSafeReplicaSize":
        base = {**base, "metadataPool": {"replicated": {"size": 1}}, "dataPools": [{"replicated": {"size": 1}}]}
    if path[-1] == "enableCrushUpdates":
        moved = {"replicated": {"size": 3}, "failureDomain": "zone"}
        base = {**base, "metadataPool": moved, "dataPools": [moved]}
    if path == ("preservePoolNames",):
        named = {"name": "n", "replicated": {"size": 3}}
        base = {**base, "dataPools": [named]}
    if path[0] == "mirroring" and path[-1] != "enabled":
        base = {**base, "mirroring": copy.deepcopy(MIRRORING)}
    if path[0] == "statusCheck":
        base = {**base, "mirroring": {"enabled": True}}
    assert any(looked(with_value(base, path, value)) != looked(base) for value in values), values
