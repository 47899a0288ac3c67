"""Snapshots, copies and read-only views of CephFS volumes, on a cluster in memory."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from controller.ceph.cephfs.backend import CephfsBackend
from controller.testkit import virtual_time
from controller.volumes.backend import BackendError, NewVolume, ParameterError, Source, UnderWayError, Volume
from controller.volumes.features import Snapshot
from tests.unit.ceph.cephfs.cephfs import (
    CANCELED,
    DRIVER,
    FAILED,
    HANDLE,
    NAME,
    PENDING,
    RETAINED,
    RUNNING,
    UID,
    Ceph,
    Subvolume,
    backend,
    session,
    storage_class,
)

GIB = 1 << 30
SNAPSHOT, COPY = "99999999-2222-3333-4444-555555555555", "88888888-2222-3333-4444-555555555555"
SNAP, HELPER = f"csi-snap-{SNAPSHOT}", f"csi-clone-{COPY}"
AT = f"rook-ceph/myfs/csi/{NAME}/{SNAP}"
CREATED = 1800000000123456000
STATIC = Volume(
    driver=DRIVER,
    attributes={"clusterID": "rook-ceph", "fsName": "myfs", "staticVolume": "true", "rootPath": "/shared"},
    handle="shared",
)


def volume(uid: str = UID, **parameters: str) -> Volume:
    found = backend(None).describe(storage_class(**parameters), uid, filesystem=True).volume
    return replace(found, handle=HANDLE.replace(UID, uid))


def new(source: Source, uid: str = COPY, *, size: int = GIB, read_only: bool = False, **parameters: str) -> NewVolume:
    found = backend(None).describe(storage_class(**parameters), uid, filesystem=True)
    return NewVolume(
        volume=found.volume,
        size=size,
        options=found.options,
        source=source,
        read_only=read_only,
    )


def of_snapshot(handle: str = AT) -> Source:
    return Source(volume=Volume(driver=DRIVER, attributes={}, handle=handle), size=GIB, is_snapshot=True)


def of_volume() -> Source:
    return Source(volume=volume(), size=GIB)


@pytest.fixture
def ceph() -> Ceph:
    """With a volume that has "A"."""
    found = Ceph()
    found.subvolumes["csi", NAME] = Subvolume(GIB, "777", data="A")
    return found


async def whole(ceph: Ceph, wanted: NewVolume, found: CephfsBackend | None = None) -> Subvolume:
    """Makes a copy, while Ceph works."""
    found = found or backend(ceph)
    for _ in range(5):
        try:
            await found.create(wanted)
        except UnderWayError:
            ceph.work()
        else:
            return ceph.subvolumes[wanted.volume.attributes["subvolumeGroup"], f"csi-vol-{COPY}"]
    raise AssertionError("it is not copied")


async def test_a_snapshot_has_the_volumes_size_and_its_time(ceph: Ceph) -> None:
    snapshots = backend(ceph).snapshots
    assert snapshots.handle(volume(), SNAPSHOT) == AT
    taken = await snapshots.take(volume(), AT)
    assert taken == Snapshot(size=GIB, created=CREATED) == await snapshots.find(DRIVER, AT)
    ceph.subvolumes["csi", NAME].data = "B"
    assert await snapshots.take(volume(), AT) == taken
    assert ceph.subvolumes["csi", NAME].snapshots[SNAP].data == "A"
    await backend(ceph).delete(volume())
    assert await snapshots.take(volume(), AT) == Snapshot(size=0, created=CREATED)
    assert snapshots.unserved({"clusterID": "x", "fsName": "y", "snapshotNamePrefix": "z"}) == ("snapshotNamePrefix",)


async def test_a_volume_in_another_group_has_its_snapshots_there(ceph: Ceph) -> None:
    this = volume(subvolumeGroup="team", volumeNamePrefix="a-")
    ceph.subvolumes["team", f"a-{UID}"] = Subvolume(None, "777")
    handle = backend(ceph).snapshots.handle(this, SNAPSHOT)
    assert handle == f"rook-ceph/myfs/team/a-{UID}/{SNAP}"
    assert (await backend(ceph).snapshots.take(this, handle)).size == 0
    assert list(ceph.subvolumes["team", f"a-{UID}"].snapshots) == [SNAP]


@pytest.mark.parametrize(
    ("this", "why"),
    [
        (STATIC, "volume shared was made by hand: expected one that was provisioned"),
        (Volume(driver=DRIVER, attributes={}, handle=HANDLE), "was made by hand"),
        (replace(volume(), attributes={**volume().attributes, "backingSnapshotID": AT}), "shows a snapshot itself"),
    ],
)
def test_volumes_of_which_no_snapshot_is_taken(this: Volume, why: str) -> None:
    with pytest.raises(ParameterError, match=why):
        backend(None).snapshots.handle(this, SNAPSHOT)


@pytest.mark.parametrize("handle", ["x", AT.replace("csi/", "../"), f"{AT}/x", AT.replace("myfs", "my fs"), HANDLE])
async def test_a_handle_of_another_form_is_told(handle: str, ceph: Ceph) -> None:
    with pytest.raises(BackendError, match=r"expected <clusterID>/<file system>/<group>/<subvolume>/<snapshot>"):
        await backend(ceph).snapshots.find(DRIVER, handle)
    with pytest.raises(BackendError, match="expected <clusterID>"):
        await backend(ceph).snapshots.destroy(DRIVER, handle, None)


async def test_a_snapshot_that_somebody_took_by_hand_is_found(ceph: Ceph) -> None:
    by_hand = AT.replace(SNAP, "monday")
    assert await backend(ceph).snapshots.find(DRIVER, by_hand) is None
    await backend(ceph).snapshots.take(volume(), by_hand)
    assert await backend(ceph).snapshots.find(DRIVER, by_hand) == Snapshot(size=GIB, created=CREATED)
    ceph.filesystems.clear()
    assert await backend(ceph).snapshots.find(DRIVER, by_hand) is None
    await backend(ceph).snapshots.destroy(DRIVER, by_hand, None)


async def test_too_many_snapshots_are_told_with_numbers(ceph: Ceph) -> None:
    ceph.max_snaps = 2
    for number in range(2):
        await backend(ceph).snapshots.take(volume(), AT.replace(SNAP, f"s{number}"))
    with pytest.raises(BackendError, match=r"has 2 snapshots: expected less than 100 \(mds_max_snaps_per_dir"):
        await backend(ceph).snapshots.take(volume(), AT)


@pytest.mark.parametrize("source", [of_snapshot(), of_volume()], ids=["snapshot", "volume"])
async def test_a_copy_has_what_its_source_had_and_is_as_large_as_asked(source: Source, ceph: Ceph) -> None:
    await backend(ceph).snapshots.take(volume(), AT)
    wanted = new(source, size=3 * GIB, pool="fast", subvolumeGroup="team")
    found = backend(ceph)
    with pytest.raises(UnderWayError, match=f"subvolume myfs/team/csi-vol-{COPY} is being copied from myfs/csi/{NAME}"):
        await found.create(wanted)
    ceph.subvolumes["csi", NAME].data = "B"
    with pytest.raises(UnderWayError, match="is being copied: pending"):
        await found.create(wanted)
    ceph.work()
    with pytest.raises(UnderWayError, match=r"copied: in-progress \(12.24%, 376M/3.0G\)"):
        await found.create(wanted)
    copy = await whole(ceph, wanted, found)
    assert (copy.data, copy.quota, copy.pool) == ("A", 3 * GIB, "fast")
    assert list(ceph.subvolumes["csi", NAME].snapshots) == [SNAP]
    assert ceph.asked.count("fs subvolume snapshot clone") == 1
    assert (await found.create(wanted)).size == 3 * GIB


async def test_a_copy_is_never_smaller_than_what_it_was_copied_from(ceph: Ceph) -> None:
    await backend(ceph).snapshots.take(volume(), AT)
    assert (await whole(ceph, new(of_snapshot(), size=1))).quota == GIB
    ceph.subvolumes["csi", NAME].quota = None
    del ceph.subvolumes["csi", f"csi-vol-{COPY}"]
    assert (await whole(ceph, new(of_volume(), size=7))).quota == 7


@pytest.mark.parametrize(("end", "why"), [(FAILED, r"failed \(No space left on device\)"), (CANCELED, "canceled")])
async def test_a_copy_that_failed_is_begun_again(end: str, why: str, ceph: Ceph) -> None:
    found, wanted = backend(ceph), new(of_volume())
    for _ in range(2):
        with pytest.raises(UnderWayError):
            await found.create(wanted)
        ceph.work()
        ceph.work(to=end)
        with pytest.raises(BackendError, match=f"was not copied: {why}; it is begun again") as told:
            await found.create(wanted)
        assert not isinstance(told.value, UnderWayError)
        assert ceph.listed() == [NAME]
    assert (await whole(ceph, wanted, found)).data == "A"
    assert ceph.subvolumes["csi", NAME].snapshots == {}


async def test_copies_wait_for_each_other(ceph: Ceph) -> None:
    """Ceph since 18.2.4 refuses more than it works on; before, it takes any number."""
    await backend(ceph).snapshots.take(volume(), AT)
    for waits in (True, False):
        ceph.waits, ceph.max_clones, found = waits, 2, backend(ceph)
        told: list[str] = []
        wanted = [new(of_snapshot(), COPY.replace("8", digit)) for digit in "03567"]
        for _ in range(9):
            for each in wanted:
                try:
                    await found.create(each)
                except UnderWayError as progress:
                    told.append(str(progress))
            assert len(ceph.copying()) <= 2
            ceph.work()
        assert len(ceph.listed()) == 6
        assert f"csi-vol-{COPY.replace('8', '7')} waits for one of 2 that are copied now (max_con" in " ".join(told)
        for each in wanted:
            await found.delete(each.volume)
        assert ceph.listed() == [NAME]
    ceph.waits = True
    for each in wanted[:2]:
        with pytest.raises(UnderWayError):
            await found.create(each)
    with pytest.raises(UnderWayError, match="waits to be copied: all cloner threads are busy"):
        await backend(ceph).create(wanted[2])  # another operator, which knows of no others


@pytest.mark.parametrize("others", [0, 4])
@virtual_time
async def test_what_ceph_is_asked_for_each_copy_does_not_grow_with_how_many_wait(others: int, ceph: Ceph) -> None:
    """Each waiting claim comes again each round; `others`: copies that somebody else makes all the while."""
    await backend(ceph).snapshots.take(volume(), AT)
    for number in range(others):
        key = ("csi", f"foreign-{number}")
        ceph.subvolumes[key] = Subvolume(1, "777", state=PENDING, is_clone=True)
    ceph.max_clones += others - bool(others)
    costs = []
    for many in (20, 80):
        found, left = backend(ceph), [new(of_snapshot(), f"{number:08}{COPY[8:]}") for number in range(many)]
        ceph.questions, made = 0, len(ceph.listed())
        while left:
            left = [each for each in left if not await is_made(found, each)]
            ceph.work()
            await anyio.sleep(30)
        assert len(ceph.listed()) == made + many
        costs.append(ceph.questions / many)
        for each in [key for key, subvolume in ceph.subvolumes.items() if subvolume.is_clone and key[1][0] != "f"]:
            del ceph.subvolumes[each]
    assert costs[1] < costs[0] * 1.2
    assert costs[1] < 17


async def is_made(found: CephfsBackend, wanted: NewVolume) -> bool:
    try:
        await found.create(wanted)
    except UnderWayError:
        return False
    return True


async def test_a_copy_whose_turn_comes_is_begun_also_after_another_was_forgotten(ceph: Ceph) -> None:
    await backend(ceph).snapshots.take(volume(), AT)
    ceph.max_clones, found = 1, backend(ceph)
    first, second = (new(of_snapshot(), COPY.replace("8", digit)) for digit in "03")
    for each in (first, second, second):
        assert not await is_made(found, each)
    questions = ceph.questions
    assert not await is_made(found, second)
    assert ceph.questions == questions, "nobody is asked while the first is copied"
    ceph.work()
    ceph.work()
    await found.delete(first.volume)
    assert not await is_made(found, second)
    assert ceph.copying() == [("csi", f"csi-vol-{COPY.replace('8', '3')}")]


@pytest.mark.parametrize("state", [PENDING, RUNNING])
async def test_a_copy_that_nobody_wants_any_more_is_stopped(state: str, ceph: Ceph) -> None:
    found, wanted = backend(ceph), new(of_volume())
    with pytest.raises(UnderWayError):
        await found.create(wanted)
    if state == RUNNING:
        ceph.work()
        with pytest.raises(UnderWayError, match=r"is being copied.*in-progress.* is being stopped"):
            await found.delete(wanted.volume)
        ceph.stop()
    await found.delete(wanted.volume)
    assert ceph.listed() == [NAME]
    assert list(ceph.subvolumes["csi", NAME].snapshots) == [HELPER]
    await found.snapshots.abandon(wanted.volume, of_volume())
    assert ceph.subvolumes["csi", NAME].snapshots == {}


async def test_a_snapshot_that_is_being_copied_is_kept_and_the_copies_are_named(ceph: Ceph) -> None:
    found = backend(ceph)
    await found.snapshots.take(volume(), AT)
    wanted = new(of_snapshot(), subvolumeGroup="team")
    with pytest.raises(UnderWayError):
        await found.create(wanted)
    with pytest.raises(BackendError, match=f"snapshot .*{SNAP} is being copied to team/csi-vol-{COPY}$"):
        await found.snapshots.destroy(DRIVER, AT, volume())
    ceph.names_copies = False
    with pytest.raises(BackendError, match=f"{SNAP} is being copied$"):
        await found.snapshots.destroy(DRIVER, AT, volume())
    await found.delete(volume())
    assert (await whole(ceph, wanted)).data == "A"
    await found.snapshots.destroy(DRIVER, AT, volume())
    assert ceph.listed() == [f"csi-vol-{COPY}"]


async def test_a_volume_goes_before_its_snapshots_and_the_rest_with_the_last_of_them(ceph: Ceph) -> None:
    found, other = backend(ceph), AT.replace("9999", "7777")
    for handle in (AT, other):
        await found.snapshots.take(volume(), handle)
    for _ in range(2):
        await found.delete(volume())
        assert ceph.subvolumes["csi", NAME].state == RETAINED
    assert (await whole(ceph, new(of_snapshot()))).data == "A"
    for handle in (AT, other, other):
        await found.snapshots.destroy(DRIVER, handle, None)
    assert ceph.listed() == [f"csi-vol-{COPY}"]


async def test_what_a_mgr_that_died_left_goes_with_the_next_look(ceph: Ceph) -> None:
    ceph.subvolumes["csi", NAME].state = RETAINED
    await backend(ceph).snapshots.destroy(DRIVER, AT, None)
    assert ceph.listed() == []


async def test_snapshots_of_others_keep_a_volume(ceph: Ceph) -> None:
    found = backend(ceph)
    for handle in (AT, AT.replace(SNAP, "mine")):
        await found.snapshots.take(volume(), handle)
    with pytest.raises(BackendError, match=f"subvolume myfs/csi/{NAME}: it has snapshots: mine$"):
        await found.delete(volume())
    assert ceph.subvolumes["csi", NAME].data == "A"


async def test_an_old_subvolume_goes_after_its_snapshots(ceph: Ceph) -> None:
    ceph.subvolumes["csi", NAME].retains = False
    await backend(ceph).snapshots.take(volume(), AT)
    with pytest.raises(BackendError, match=f"it has snapshots, before which Ceph cannot remove it: {SNAP}"):
        await backend(ceph).delete(volume())
    assert ceph.subvolumes["csi", NAME].data == "A"


async def test_a_volume_that_is_being_copied_stays_and_what_a_dead_operator_left_goes_with_it(ceph: Ceph) -> None:
    found = backend(ceph)
    with pytest.raises(UnderWayError):
        await found.create(new(of_volume()))
    with pytest.raises(BackendError, match=f"{HELPER} is being copied to csi/csi-vol-{COPY}"):
        await found.delete(volume())
    ceph.work()
    ceph.work()
    await found.delete(volume())
    assert ceph.listed() == [f"csi-vol-{COPY}"]


async def test_a_volume_that_nobody_writes_shows_the_snapshot_itself(ceph: Ceph) -> None:
    found = backend(ceph)
    await found.snapshots.take(volume(), AT)
    wanted = new(of_snapshot(), read_only=True)
    created = await found.create(wanted)
    root = f"/volumes/csi/{NAME}"
    assert created.attributes == {"backingSnapshotID": AT, "snapshotRoot": root, "snapshotName": SNAP}
    assert (created.handle, created.size) == (HANDLE.replace(UID, COPY), GIB)
    assert ceph.listed() == [NAME]
    shown = replace(wanted.volume, handle=created.handle, attributes={**wanted.volume.attributes, **created.attributes})
    assert shown.shows == AT
    assert found.identity(shown) not in (found.identity(volume()), found.identity(replace(shown, attributes={})))
    with pytest.raises(BackendError, match=r"shows the snapshot .*: it does not grow"):
        await found.expand(shown, 2 * GIB)
    assert (await found.attachment(shown, {}, {}))["fsName"] == "myfs"

    # What is a copy of it is one of the snapshot.
    copied = await whole(ceph, new(Source(volume=shown, size=GIB), COPY))
    assert copied.data == "A"
    await found.delete(new(of_volume(), COPY).volume)
    assert list(ceph.subvolumes["csi", NAME].snapshots) == [SNAP]
    await found.delete(shown)
    assert list(ceph.subvolumes["csi", NAME].snapshots) == [SNAP]


async def test_whoever_sees_a_snapshot_of_a_volume_does_not_have_it_open(ceph: Ceph) -> None:
    base = f"/volumes/csi/{NAME}"
    ceph.sessions = [session("10.0.0.7:0/1", base), session("10.0.0.7:0/2", ceph.path("csi", NAME))]
    this = replace(volume(), attributes={**volume().attributes, "subvolumePath": ceph.path("csi", NAME)})
    by_hand = replace(STATIC, attributes={**STATIC.attributes, "rootPath": base})
    old = replace(this, attributes={**this.attributes, "subvolumePath": base})
    for each, expected in ((this, ["10.0.0.7:0/2"]), (by_hand, ["10.0.0.7:0/1", "10.0.0.7:0/2"]), (old, None)):
        found = [holder.client for holder in await backend(ceph).holders(each)]
        assert found == (expected or ["10.0.0.7:0/1", "10.0.0.7:0/2"])


async def test_a_snapshot_of_a_volume_that_is_gone_is_shown(ceph: Ceph) -> None:
    await backend(ceph).snapshots.take(volume(), AT)
    await backend(ceph).delete(volume())
    created = await backend(ceph).create(new(of_snapshot(), read_only=True))
    assert created.attributes["snapshotName"] == SNAP


@pytest.mark.parametrize("case", ["class", "writer", "volume", "old"])
async def test_a_copy_is_made_where_the_class_or_ceph_wants_it(case: str, ceph: Ceph) -> None:
    await backend(ceph).snapshots.take(volume(), AT)
    ceph.subvolumes["csi", NAME].retains = case != "old"
    source = of_volume() if case == "volume" else of_snapshot()
    shows = "false" if case == "class" else "true"
    assert (await whole(ceph, new(source, read_only=case != "writer", backingSnapshot=shows))).data == "A"


async def test_what_cannot_be_copied(ceph: Ceph) -> None:
    found = backend(ceph)
    for wanted in (new(of_snapshot()), new(of_snapshot(), read_only=True)):
        with pytest.raises(BackendError, match=f"snapshot .*{SNAP}.* does not exist"):
            await found.create(wanted)
    with pytest.raises(BackendError, match="path /shared of file system myfs was made by hand"):
        await found.create(new(Source(volume=STATIC, size=1)))
    elsewhere = AT.replace("myfs", "other")
    ceph.filesystems["other"] = "up:active"
    for read_only in (False, True):
        with pytest.raises(BackendError, match="in the file system rook-ceph/other: expected rook-ceph/myfs"):
            await found.create(new(of_snapshot(elsewhere), read_only=read_only))
    with pytest.raises(BackendError, match="subvolume group 'no' does not exist"):
        await found.create(new(of_volume(), subvolumeGroup="no"))


@pytest.mark.parametrize("call", ["take", "find", "destroy", "create", "abandon"])
async def test_without_an_mds_daemon_or_a_mgr_nothing_waits(call: str, ceph: Ceph) -> None:
    found = backend(ceph)

    async def ask() -> Any:
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "take": lambda: found.snapshots.take(volume(), AT),
            "find": lambda: found.snapshots.find(DRIVER, AT),
            "destroy": lambda: found.snapshots.destroy(DRIVER, AT, None),
            "create": lambda: found.create(new(of_snapshot())),
            "abandon": lambda: found.snapshots.abandon(volume(COPY), of_volume()),
        }
        return await calls[call]()

    ceph.filesystems["myfs"] = "up:replay"
    with pytest.raises(BackendError, match="no MDS daemon of file system myfs is active"):
        await ask()
    assert ceph.asked == []
    ceph.filesystems["myfs"], ceph.down = "up:active", errno.ETIMEDOUT
    with pytest.raises(BackendError, match=r"myfs.*: no answer"):
        await ask()
