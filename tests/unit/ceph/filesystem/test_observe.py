"""What is taken together of a file system, from caches and a cluster that answers as it did in truth."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from controller.ceph.access.rados import CephError
from controller.ceph.filesystem import observe as observing
from controller.ceph.filesystem.observe import Observer
from controller.framework.deletion import Dependents
from controller.runtime.kube import Deployment
from tests.unit.ceph.cases import RELEASE
from tests.unit.ceph.filesystem.test_act import Ceph
from tests.unit.ceph.filesystem.test_state import ANSWER
from tests.unit.ceph.filesystems import NEWER, a_filesystem, cluster, deployed

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster, CephFilesystem
    from controller.ceph.filesystem.observe import FilesystemObservation
    from informers import JsonObject

POOLS = [
    {
        "pool_name": name,
        "pool_id": number,
        "crush_rule": 0,
        "erasure_code_profile": "",
        "application_metadata": {"cephfs": {}},
        "pg_num_target": 8,
        "pg_placement_num_target": 8,
        "quota_max_bytes": 0,
        "quota_max_objects": 0,
    }
    for number, name in ((2, "myfs-metadata"), (3, "myfs-data0"))
]
ANSWERS: dict[str, Any] = {
    "osd pool ls": POOLS,
    "osd pool get": {"size": 3},
    "osd crush rule dump": [],
    "osd crush class ls": ["ssd"],
    "config-key dump": {},
    "fs subvolumegroup ls": [{"name": "csi"}],
    "fs subvolume ls": [],
}


class Store:
    """A cache with these objects."""

    def __init__(self, *objects: Any) -> None:
        self._objects = objects

    def list(self, _: str | None = None) -> list[Any]:
        return list(self._objects)


def daemon(kind: str, release: str = str(RELEASE.version), *, replaced: bool = True) -> Deployment:
    labels = {"ceph_daemon_type": kind, "ceph_daemon_id": "0", "ceph-version": release, "app": f"rook-ceph-{kind}"}
    meta: JsonObject = {"name": f"rook-ceph-{kind}-0", "labels": labels}
    return msgspec.convert({"metadata": meta, "status": {"updatedReplicas": int(replaced), "replicas": 1}}, Deployment)


@pytest.fixture(autouse=True)
def _no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> dict[tuple[str, str], JsonObject]:
        return {}

    monkeypatch.setattr(observing, "snapshot", nothing)


async def look(
    filesystem: CephFilesystem,
    ceph: Ceph | None,
    *daemons: Deployment,
    of: CephCluster | None = None,
    others: tuple[CephFilesystem, ...] = (),
) -> FilesystemObservation:
    caches = SimpleNamespace(deployments=Store(*daemons), pods=Store(), children=(), secrets=Store())
    connections = SimpleNamespace(get=lambda _: ceph)
    observer = Observer(
        cast("Any", caches),
        cast("Any", Store(filesystem, *others)),
        cast("Any", Store(of if of is not None else cluster())),
        cast("Any", connections),
        cast("Any", None),
        Dependents(()),
    )
    return await observer.observe(filesystem, 1.0)


async def test_a_file_system_that_is_there() -> None:
    mds = [deployed(a_filesystem(), name)[1] for name in ("myfs-a", "myfs-b")]
    seen = await look(a_filesystem(), Ceph(ANSWERS), *mds)
    assert seen.state is not None
    assert (seen.state.fscid, seen.standbys, seen.groups) == (1, frozenset({"myfs-c"}), ("csi",))
    assert (sorted(seen.deployments), seen.late, seen.hold_upgrade) == (["myfs-a", "myfs-b"], (), "")
    states = {name: pool.state.pool_id for name, pool in seen.pools.items() if pool.state is not None}
    assert states == {"myfs-metadata": 2, "myfs-data0": 3}


async def test_one_that_is_not_there_has_its_pools_looked_into() -> None:
    nothing: JsonObject = {"standbys": [], "filesystems": []}
    seen = await look(a_filesystem(), Ceph({**ANSWERS, "fs dump": nothing}, {"myfs-metadata": "600.0"}))
    assert seen.state is None
    assert {name: pool.contents for name, pool in seen.pools.items()} == {
        "myfs-metadata": ("objects, such as 600.0",),
        "myfs-data0": (),
    }


async def test_one_that_goes_is_asked_for_what_is_in_it() -> None:
    busy = {**ANSWERS, "fs subvolume ls": [{"name": "v"}], "fs subvolume snapshot ls": []}
    assert (await look(a_filesystem(deleting=True), Ceph(busy))).contents == ("subvolume v", "subvolume csi/v")
    kept = a_filesystem({"preserveFilesystemOnDelete": True}, deleting=True)
    assert (await look(kept, Ceph(busy))).contents == ()
    down = {**ANSWER["filesystems"][0], "mdsmap": {**ANSWER["filesystems"][0]["mdsmap"], "info": {}}}
    idle = Ceph({**ANSWERS, "fs dump": {"standbys": [], "filesystems": [down]}})
    assert (await look(a_filesystem(deleting=True), idle)).contents == ("subvolumes that no MDS can list",)


async def test_who_does_not_answer_is_waited_for() -> None:
    ceph = Ceph({**ANSWERS, "fs dump": CephError(110, "no answer")})
    assert (await look(a_filesystem(), ceph)).waits_for == "CephCluster my-cluster to answer"
    assert (await look(a_filesystem(), None)).waits_for == "CephCluster my-cluster to answer"
    no_mgr = Ceph({**ANSWERS, "fs subvolumegroup ls": CephError(110, "no answer")})
    seen = await look(a_filesystem(), no_mgr)
    assert (seen.waits_for, seen.groups) == ("", None)


@pytest.mark.parametrize(
    ("daemons", "expected"),
    [
        ((daemon("mon"), daemon("mgr"), daemon("osd")), ""),
        ((daemon("mon"), daemon("mgr"), daemon("osd", "18.2.6-0")), "osd 0 to run Ceph 18.2.7-0"),
        ((daemon("mon"), daemon("mgr", replaced=False)), "mgr 0 to run Ceph 18.2.7-0"),
    ],
)
async def test_mds_daemons_are_upgraded_after_all_others(daemons: tuple[Deployment, ...], expected: str) -> None:
    assert (await look(a_filesystem(), Ceph(ANSWERS), *daemons)).hold_upgrade == expected


async def test_one_file_system_is_upgraded_at_a_time() -> None:
    begun = {"mdsUpgrade": {"maxMds": 1}}
    other = a_filesystem(name="a", status=begun)
    expected = "the MDS daemons of CephFilesystem a to be upgraded"
    assert (await look(a_filesystem(), Ceph(ANSWERS), others=(other,))).hold_upgrade == expected
    assert (await look(a_filesystem(status=begun), Ceph(ANSWERS), others=(other,))).hold_upgrade == ""
    idle = a_filesystem(name="a")
    assert (await look(a_filesystem(), Ceph(ANSWERS), others=(idle,))).hold_upgrade == ""
    outdated = deployed(idle, "a-a", NEWER)[1]
    assert (await look(a_filesystem(), Ceph(ANSWERS), outdated, others=(idle,))).hold_upgrade == expected
    after = a_filesystem(name="z")
    outdated = deployed(after, "z-a", NEWER)[1]
    assert (await look(a_filesystem(), Ceph(ANSWERS), outdated, others=(after,))).hold_upgrade == ""
