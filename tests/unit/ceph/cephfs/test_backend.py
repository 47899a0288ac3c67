"""CephFS volumes as the controllers of volumes see them, on a cluster in memory."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest

from controller.ceph.cephfs.backend import CAPABILITIES, CephfsBackend
from controller.volumes.backend import BackendError, Created, GoneError, Holder, NewVolume, Volume
from controller.volumes.capabilities import BLOCK, FILESYSTEM, MANY, ONCE, exclusive, modes_problem
from tests.unit.ceph.cephfs.cephfs import (
    DRIVER,
    HANDLE,
    NAME,
    UID,
    Ceph,
    Point,
    Subvolume,
    backend,
    session,
    storage_class,
)

GIB = 1 << 30
STATIC = Volume(
    driver=DRIVER,
    attributes={"clusterID": "rook-ceph", "fsName": "myfs", "staticVolume": "true", "rootPath": "/shared"},
    handle="shared",
)


def wanted(size: int = GIB, **parameters: str) -> NewVolume:
    found = backend(None).describe(storage_class(**parameters), UID, filesystem=True)
    return NewVolume(volume=found.volume, size=size, options=found.options)


def bound(created: Created, made: NewVolume) -> Volume:
    """The volume as its PersistentVolume has it."""
    return replace(made.volume, handle=created.handle, attributes={**made.volume.attributes, **created.attributes})


@pytest.mark.parametrize(
    ("driver", "served", "expected"),
    [
        (DRIVER, (), True),
        ("ceph-csi.cephfs.csi.ceph.com", (), False),  # another operator's
        (DRIVER, ("other",), False),
        ("rook.cephfs.csi.ceph.com", ("rook-ceph",), True),
        ("rook-ceph.rbd.csi.ceph.com", (), False),
    ],
)
def test_drivers_are_named_after_the_operators_namespace_or_a_clusters(
    driver: str, served: tuple[str, ...], expected: bool
) -> None:
    found = backend(None, *served)
    assert found.serves(driver) is expected
    assert found.driver_of(storage_class(driver)) == (driver if expected else "")


def test_a_class_by_a_driver_that_nobody_is_is_told_what_is_served() -> None:
    told = backend(None).not_served(storage_class("another.cephfs.csi.ceph.com"))
    assert told.endswith("expected rook.cephfs.csi.ceph.com or rook-ceph.cephfs.csi.ceph.com")
    assert backend(None).not_served(storage_class()) == ""


def test_what_volumes_can_be() -> None:
    assert modes_problem(CAPABILITIES, ("ReadWriteMany", "ReadOnlyMany", "ReadWriteOncePod"), FILESYSTEM) == ""
    assert modes_problem(CAPABILITIES, (MANY,), BLOCK) == "spec.volumeMode is Block: expected Filesystem"
    assert exclusive(CAPABILITIES, (ONCE,), FILESYSTEM)
    assert not exclusive(CAPABILITIES, (MANY,), FILESYSTEM)


async def test_a_subvolume_is_made_with_its_size_as_quota() -> None:
    ceph = Ceph()
    created = await backend(ceph).create(wanted(pool="fast"))
    assert created == Created(handle=HANDLE, size=GIB, attributes={"subvolumePath": ceph.path("csi", NAME)})
    assert ceph.subvolumes == {("csi", NAME): Subvolume(GIB, "777", "fast")}


async def test_one_that_is_there_keeps_what_it_has() -> None:
    ceph = Ceph()
    ceph.subvolumes["csi", NAME] = Subvolume(2 * GIB, "750")
    created = await backend(ceph).create(wanted())
    assert created.size == 2 * GIB
    assert ceph.subvolumes == {("csi", NAME): Subvolume(2 * GIB, "750")}
    ceph.subvolumes["csi", NAME].quota = None
    assert (await backend(ceph).create(wanted())).size == GIB
    assert ceph.subvolumes == {("csi", NAME): Subvolume(None, "750")}


@pytest.mark.parametrize("quota", [GIB, None])
async def test_the_quota_grows_and_never_shrinks(quota: int | None) -> None:
    ceph = Ceph()
    made = wanted()
    volume = bound(await backend(ceph).create(made), made)
    ceph.subvolumes["csi", NAME].quota = quota
    assert await backend(ceph).expand(volume, 3 * GIB) == 3 * GIB
    assert await backend(ceph).expand(volume, 2 * GIB) == (3 * GIB if quota else 2 * GIB)
    assert ceph.subvolumes["csi", NAME].quota == (3 * GIB if quota else None)


async def test_a_quota_that_a_late_call_has_cut_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    ceph, made = Ceph(), wanted()
    volume = bound(await backend(ceph).create(made), made)
    real = ceph.mgr

    async def late(prefix: str, /, **args: Any) -> Any:
        answer = await real(prefix, **args)
        if prefix == "fs subvolume resize":
            ceph.subvolumes["csi", NAME].quota = 2 * GIB
        return answer

    monkeypatch.setattr(ceph, "mgr", late)
    with pytest.raises(BackendError, match=f"has a quota of {2 * GIB} bytes: expected {3 * GIB}"):
        await backend(ceph).expand(volume, 3 * GIB)


async def test_what_is_removed_is_the_subvolume_and_nothing_else() -> None:
    ceph, made = Ceph(), wanted(subvolumeGroup="team")
    others = {("csi", NAME): Subvolume(GIB, "777"), ("team", "home"): Subvolume(None, "755")}
    ceph.subvolumes |= others
    volume = bound(await backend(ceph).create(made), made)
    assert ("team", NAME) in ceph.subvolumes
    await backend(ceph).delete(volume)
    await backend(ceph).delete(volume)
    assert ceph.subvolumes == others


async def test_snapshots_keep_a_subvolume() -> None:
    ceph, made = Ceph(), wanted()
    volume = bound(await backend(ceph).create(made), made)
    ceph.subvolumes["csi", NAME].snapshots = {f"s{i}": Point() for i in range(7)}
    with pytest.raises(BackendError, match=f"subvolume myfs/csi/{NAME}: it has snapshots: s0, s1, s2, s3, s4, …"):
        await backend(ceph).delete(volume)
    assert ("csi", NAME) in ceph.subvolumes


async def test_what_was_made_by_hand_is_neither_removed_nor_grown() -> None:
    ceph = Ceph()
    with pytest.raises(BackendError, match="path /shared of file system myfs was made by hand: it is never removed"):
        await backend(ceph).delete(STATIC)
    with pytest.raises(BackendError, match="its quota is not changed"):
        await backend(ceph).expand(STATIC, GIB)
    assert not backend(ceph).is_made_for(STATIC, "shared")
    assert ceph.asked == []


async def test_while_no_mds_daemon_is_active_the_mgr_is_not_asked() -> None:
    ceph = Ceph()
    ceph.filesystems["myfs"] = "up:replay"
    for call in (backend(ceph).create(wanted()), backend(ceph).delete(wanted().volume)):
        with pytest.raises(BackendError, match="no MDS daemon of file system myfs is active"):
            await call
    assert ceph.asked == []


async def test_without_the_file_system() -> None:
    ceph = Ceph()
    ceph.filesystems.clear()
    with pytest.raises(BackendError, match=r"file system 'myfs' \(fsName\) does not exist"):
        await backend(ceph).create(wanted())
    await backend(ceph).delete(wanted().volume)


async def test_none_is_made_in_a_file_system_that_is_to_go() -> None:
    ceph = Ceph()
    with pytest.raises(BackendError, match="CephFilesystem rook-ceph/myfs is being deleted"):
        await backend(ceph, deleting=True).create(wanted())
    assert ceph.asked == []


async def test_a_group_that_is_not_there_is_named() -> None:
    with pytest.raises(BackendError, match=f"subvolume myfs/no/{NAME}: subvolume group 'no' does not exist"):
        await backend(Ceph()).create(wanted(subvolumeGroup="no"))


@pytest.mark.parametrize("call", ["create", "delete", "expand"])
async def test_a_cluster_that_does_not_answer_is_an_error_that_names_the_volume(call: str) -> None:
    ceph = Ceph()
    ceph.down = errno.ETIMEDOUT
    found = backend(ceph)
    made = wanted()
    calls = {"create": found.create(made), "delete": found.delete(made.volume), "expand": found.expand(made.volume, 1)}
    for name, coroutine in calls.items():
        if name != call:
            coroutine.close()
    with pytest.raises(BackendError, match=f"subvolume myfs/csi/{NAME}: no answer"):
        await calls[call]


async def test_without_a_cluster() -> None:
    gone = replace(wanted().volume, attributes={**wanted().volume.attributes, "clusterID": "gone"})
    with pytest.raises(GoneError, match=r"no CephCluster in namespace 'gone' \(clusterID of subvolume myfs/csi"):
        await backend(Ceph()).delete(gone)
    with pytest.raises(BackendError, match="has not been reached yet"):
        await backend(None).delete(wanted().volume)


@pytest.mark.parametrize("volume", [wanted().volume, STATIC], ids=["made", "by hand"])
async def test_what_a_node_is_told(volume: Volume) -> None:
    told = await backend(Ceph()).attachment(volume, {}, {})
    directory = {"subvolumeGroup": "csi", "subvolumeName": NAME}
    if volume.is_static:
        directory = {"staticVolume": "true", "rootPath": "/shared"}
    way = {"fsid": "f", "monitors": "10.0.0.1:6789"}
    assert told == {"clusterID": "rook-ceph", "fsName": "myfs", **directory, **way}
    incomplete = replace(volume, attributes={**volume.attributes, "fsName": ""})
    with pytest.raises(BackendError, match="has no 'fsName'"):
        await backend(Ceph()).attachment(incomplete, {}, {})


async def test_a_client_is_evicted_also_when_the_volume_is_known_by_what_the_node_was_told() -> None:
    ceph = Ceph()
    found = backend(ceph)
    told = await found.attachment(STATIC, {}, {})
    for number, volume in enumerate((STATIC, Volume(driver=DRIVER, attributes=told))):
        client = f"10.0.0.7:0/{number}"
        ceph.sessions = [session(client, "/shared", host="a"), session("10.0.0.7:0/99", "/shared/too", host="b")]
        (holder, other) = await found.holders(volume)
        assert holder == Holder(address="10.0.0.7", client=client, host="a")
        await found.fence(volume, holder)
        assert ceph.fenced[-1] == client
        assert await found.holders(volume) == (other,)


async def test_a_client_that_is_not_evicted_yet_is_not_fenced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.ceph.cephfs.backend._EVICTION_WAITS", (0.0, 0.0))
    ceph = Ceph()
    ceph.evicts, ceph.sessions = False, [session("10.0.0.7:0/1", "/shared")]
    (holder,) = await backend(ceph).holders(STATIC)
    with pytest.raises(BackendError, match=r"client 10\.0\.0\.7:0/1 of path /shared .* has a session at an MDS daemon"):
        await backend(ceph).fence(STATIC, holder)
    assert ceph.fenced == ["10.0.0.7:0/1"], "the OSDs refuse it already"


async def test_one_that_is_not_heard_of_is_absent() -> None:
    ceph = Ceph()
    ceph.sessions = [session("10.0.0.7:0/1", "/shared", state="stale"), session("10.0.0.7:0/2", "/shared")]
    holders, absent = await backend(ceph).holders(STATIC), await backend(ceph).absent(STATIC)
    assert [[found.client for found in clients] for clients in (holders, absent)] == [
        ["10.0.0.7:0/2"],
        ["10.0.0.7:0/1"],
    ]


@pytest.mark.parametrize(("state", "told"), [("up:replay", "no MDS daemon of file system myfs is active")])
async def test_who_has_a_volume_is_not_guessed_while_mds_daemons_do_not_serve(state: str, told: str) -> None:
    ceph = Ceph()
    ceph.filesystems["myfs"] = state
    with pytest.raises(BackendError, match=told):
        await backend(ceph).holders(STATIC)
    ceph.filesystems["myfs"], ceph.down = "up:active", errno.ETIMEDOUT
    with pytest.raises(BackendError, match="path /shared of file system myfs: no answer"):
        await backend(ceph).holders(STATIC)


async def test_nobody_has_what_is_gone_with_its_file_system_or_cluster() -> None:
    ceph = Ceph()
    ceph.filesystems.clear()
    assert await backend(ceph).holders(STATIC) == ()
    gone = replace(STATIC, attributes={**STATIC.attributes, "clusterID": "gone"})
    assert await backend(ceph).holders(gone) == ()
    nameless = replace(STATIC, attributes={"clusterID": "rook-ceph", "fsName": "myfs", "staticVolume": "true"})
    assert await backend(ceph).holders(nameless) == ()


def test_volumes_of_one_subvolume_are_one() -> None:
    found: CephfsBackend = backend(None)
    made = wanted().volume
    path = {"rootPath": f"/volumes/csi/{NAME}/x", "staticVolume": "true", "clusterID": "rook-ceph", "fsName": "myfs"}
    by_hand = Volume(driver="rook.cephfs.csi.ceph.com", attributes=path, handle="pv")
    assert found.identity(made) == found.identity(by_hand)
    assert found.identity(made) != found.identity(STATIC)
    assert found.is_made_for(made, UID)
    assert not found.is_made_for(made, UID.replace("1", "9"))
