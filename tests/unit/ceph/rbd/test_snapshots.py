"""Snapshots, restores and copies of images: whatever dies when, nothing is lost and nothing is left over."""

from __future__ import annotations

import itertools
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ceph.access.rados_namespaces import cluster_id
from controller.ceph.rbd import copies
from controller.ceph.rbd import images as rbd_image
from controller.ceph.rbd.backend import RbdBackend
from controller.ceph.rbd.snapshots import Handle, parse
from controller.volumes.backend import BackendError, NewVolume, ParameterError, Source, Volume
from tests.unit.ceph.rados_namespaces import a_namespace
from tests.unit.ceph.rbd.librbd import IN_TRASH, Cluster, CrashError, parents_of
from tests.unit.ceph.rbd.test_backend import backend
from tests.unit.ceph.volumes import DRIVER, HANDLE, UID

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SNAPSHOT = "99999999-2222-3333-4444-555555555555"
SNAP = f"csi-snap-{SNAPSHOT}"
COPY = "88888888-2222-3333-4444-555555555555"
THIRD = "77777777-2222-3333-4444-555555555555"


def volume(uid: str = UID, pool: str = "p", **attributes: str) -> Volume:
    number = {"p": 1, "q": 2}[pool]
    made = {"clusterID": "rook-ceph", "pool": pool, "imageName": f"csi-vol-{uid}", **attributes}
    return Volume(driver=DRIVER, attributes=made, handle=f"0001-0009-rook-ceph-{number:016x}-{uid}")


def operator(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, **kept: Any) -> RbdBackend:
    """A fresh one."""
    found = backend(**kept)
    monkeypatch.setattr(rbd_image, "library", lambda: cluster)
    monkeypatch.setattr(found.calls, "_connections", {"rook-ceph": cluster})
    return found


def snapshot_handle(of: Volume, uid: str = SNAPSHOT) -> str:
    return f"{of.handle[:-36]}{uid}"


def of_snapshot(handle: str, size: int = 1) -> Source:
    return Source(volume=Volume(driver=DRIVER, attributes={}, handle=handle), size=size, is_snapshot=True)


def new(this: Volume, source: Source, size: int = 1) -> NewVolume:
    return NewVolume(volume=this, size=size, options={}, source=source)


@pytest.fixture
def cluster() -> Cluster:
    """With a volume in one of its pools."""
    made = Cluster("p", "q")
    made.add("p", f"csi-vol-{UID}", "A", size=5)
    return made


def image(cluster: Cluster, name: str, pool: str = "p") -> Any:
    return cluster.pools[pool].images[name]


@pytest.mark.parametrize("crash_at", range(1, 14))
async def test_a_snapshot_is_whole_whenever_its_making_was_cut_off(
    crash_at: int, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    this, handle = volume(), snapshot_handle(volume())
    cluster.crash_at = crash_at
    with suppress(CrashError):
        await operator(cluster, monkeypatch).snapshots.take(this, handle)
    cluster.crash_at = None
    taken = await operator(cluster, monkeypatch).snapshots.take(this, handle)
    assert (taken.size, taken.created) == (5, 1767225600 * 10**9)
    made = image(cluster, SNAP)
    assert [(snap.name, snap.data) for snap in made.snaps] == [(SNAP, "A")]
    assert [snap.namespace for snap in image(cluster, f"csi-vol-{UID}").snaps] == [IN_TRASH]
    assert await operator(cluster, monkeypatch).snapshots.find(DRIVER, handle) == taken


@pytest.mark.parametrize("crash_at", range(1, 14))
async def test_one_that_is_discarded_in_the_midst_leaves_nothing(
    crash_at: int, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    this, handle = volume(), snapshot_handle(volume())
    cluster.crash_at = crash_at
    with suppress(CrashError):
        await operator(cluster, monkeypatch).snapshots.take(this, handle)
    for after in (cluster.writes + crash_at, None):
        cluster.crash_at = after
        with suppress(CrashError):
            await operator(cluster, monkeypatch).snapshots.destroy(DRIVER, handle, this)
    assert cluster.left() == [f"csi-vol-{UID}"]
    assert image(cluster, f"csi-vol-{UID}").snaps == []


@pytest.mark.parametrize("pool", ["p", "q"])
@pytest.mark.parametrize("crash_at", range(1, 10))
async def test_a_volume_of_a_snapshot_has_what_the_snapshot_has(
    crash_at: int, pool: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    this, handle = volume(), snapshot_handle(volume())
    await operator(cluster, monkeypatch).snapshots.take(this, handle)
    image(cluster, f"csi-vol-{UID}").data = "B"
    cluster.crash_at = cluster.writes + crash_at
    wanted = new(volume(COPY, pool), of_snapshot(handle), size=9)
    with suppress(CrashError):
        await operator(cluster, monkeypatch).create(wanted)
    cluster.crash_at = None
    made = await operator(cluster, monkeypatch).create(wanted)
    assert made.size == 9
    assert image(cluster, f"csi-vol-{COPY}", pool).content() == "A"
    assert image(cluster, f"csi-vol-{COPY}", pool).size == 9


@pytest.mark.parametrize("crash_at", range(1, 14))
async def test_a_copy_of_a_volume(crash_at: int, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.crash_at = crash_at
    wanted = new(volume(COPY), Source(volume=volume(), size=5))
    with suppress(CrashError):
        await operator(cluster, monkeypatch).create(wanted)
    cluster.crash_at = None
    made = await operator(cluster, monkeypatch).create(wanted)
    assert made.size == 5, "never smaller than what it is a copy of"
    assert image(cluster, f"csi-vol-{COPY}").content() == "A"
    assert [snap.namespace for snap in image(cluster, f"csi-vol-{UID}").snaps] == [IN_TRASH]


async def test_the_lock_of_a_client_that_may_come_back_is_not_taken(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """librbd would have that client fenced, to grow the image or to take a snapshot of it."""
    stored, found = image(cluster, f"csi-vol-{UID}"), operator(cluster, monkeypatch)
    stored.owner = "10.0.0.1:0/1"
    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: found.expand(volume(), 9),
        lambda: found.create(new(volume(COPY), Source(volume=volume(), size=5))),
        lambda: found.snapshots.take(volume(), snapshot_handle(volume())),
    ]
    for change in changes:
        with pytest.raises(BackendError, match=r"10\.0\.0\.1:0/1 owns its lock and does not answer"):
            await change()
    assert (stored.size, stored.snaps, cluster.left()) == (5, [], [f"csi-vol-{UID}"])
    stored.watched = True
    for change in changes:
        await change()


@pytest.mark.parametrize("order", list(itertools.permutations("VSR")), ids="".join)
@pytest.mark.parametrize("crash_at", [None, *range(1, 8)])
async def test_volume_snapshot_and_what_was_restored_go_in_any_order(
    order: tuple[str, ...], crash_at: int | None, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    this, handle, copied = volume(), snapshot_handle(volume()), volume(COPY, "q")
    await operator(cluster, monkeypatch).snapshots.take(this, handle)
    await operator(cluster, monkeypatch).create(new(copied, of_snapshot(handle)))
    cluster.crash_at = None if crash_at is None else cluster.writes + crash_at
    for which in order:
        done = False
        while not done:
            fresh = operator(cluster, monkeypatch)
            with suppress(CrashError):
                if which == "S":
                    await fresh.snapshots.destroy(DRIVER, handle, this)
                else:
                    await fresh.delete(this if which == "V" else copied)
                done = True
        if f"csi-vol-{COPY}" in cluster.pools["q"].images:
            assert image(cluster, f"csi-vol-{COPY}", "q").content() == "A"
    for pool in cluster.pools:  # what died after the last of its clones is found by the next removal in the pool
        await operator(cluster, monkeypatch).delete(volume("7" * 36, pool))
    assert cluster.left() == []


async def test_the_last_clone_takes_along_its_parents_in_other_pools(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, first, second = operator(cluster, monkeypatch), snapshot_handle(volume()), snapshot_handle(volume(COPY, "q"))
    await found.snapshots.take(volume(), first)
    await found.create(new(volume(COPY, "q"), of_snapshot(first)))
    await found.snapshots.take(volume(COPY, "q"), second)
    for this in (volume(), volume(COPY, "q")):
        await found.delete(this)
    await found.snapshots.destroy(DRIVER, first, volume())
    assert len(cluster.left()) == 4, "the last snapshot needs them all"
    await found.snapshots.destroy(DRIVER, second, volume(COPY, "q"))
    assert cluster.left() == []


async def test_what_others_moved_to_the_trash_stays_there(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.trash_move(cluster.pools["p"], f"csi-vol-{UID}", 0)
    await operator(cluster, monkeypatch).delete(volume())
    assert cluster.left() == [f"csi-vol-{UID}"]


async def test_a_removal_that_is_under_way_holds_up_no_other(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """librbd's Python module fails on it."""
    await operator(cluster, monkeypatch).create(new(volume(COPY), Source(volume=volume(), size=5)))
    cluster.add("p", "removed").source = 3
    cluster.trash_move(cluster.pools["p"], "removed", 0)
    await operator(cluster, monkeypatch).delete(volume())
    await operator(cluster, monkeypatch).delete(volume(COPY))
    assert cluster.left() == [f"csi-vol-{UID}", "removed"]
    cluster.pools["p"].trash = {key: kept for key, kept in cluster.pools["p"].trash.items() if not kept.source}
    await operator(cluster, monkeypatch).delete(volume(COPY))
    assert cluster.left() == []


async def test_nor_is_a_clone_of_a_deleted_image_taken_for_deleted(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone gets its parent's metadata, as long as somebody makes one of an image that is about to go."""
    image(cluster, f"csi-vol-{UID}").metadata["rook.io/deleted"] = image(cluster, f"csi-vol-{UID}").id
    await operator(cluster, monkeypatch).create(new(volume(COPY), Source(volume=volume(), size=5)))
    assert "rook.io/deleted" in image(cluster, f"csi-vol-{COPY}").metadata
    cluster.trash_move(cluster.pools["p"], f"csi-vol-{COPY}", 0)
    await operator(cluster, monkeypatch).delete(volume("7" * 36))
    assert f"csi-vol-{COPY}" in cluster.left()


async def test_an_image_with_somebody_elses_snapshot_is_not_removed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.Image(cluster.pools["p"], f"csi-vol-{UID}").create_snap("mine")
    with pytest.raises(BackendError, match=r"image p/csi-vol-\S+: it has snapshots: mine"):
        await operator(cluster, monkeypatch).delete(volume())
    assert image(cluster, f"csi-vol-{UID}").data == "A"
    cluster.Image(cluster.pools["p"], f"csi-vol-{UID}").remove_snap("mine")
    await operator(cluster, monkeypatch).delete(volume())
    assert cluster.left() == []


async def test_an_image_that_somebody_has_open_is_not_removed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(cluster, f"csi-vol-{UID}").watched = True
    with pytest.raises(BackendError, match="a client has it open"):
        await operator(cluster, monkeypatch).delete(volume())
    assert image(cluster, f"csi-vol-{UID}").data == "A"


async def test_what_an_operator_that_died_left_of_a_copy_does_not_keep_a_volume(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.crash_at = 2  # after the snapshot
    with pytest.raises(CrashError):
        await operator(cluster, monkeypatch).create(new(volume(COPY), Source(volume=volume(), size=5)))
    fresh = operator(cluster, monkeypatch)
    copying = fresh.calls.changes.alone(volume(COPY), "copied")
    with copying, pytest.raises(BackendError, match=f"it is being copied to csi-vol-{COPY}"):
        await fresh.delete(volume())
    await fresh.delete(volume())
    assert f"csi-vol-{UID}" not in cluster.left()


async def test_what_an_operator_that_died_left_of_a_copy_that_nobody_wants_any_more_goes(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(volume=volume(), size=5)
    cluster.crash_at = 2  # after the snapshot
    with pytest.raises(CrashError):
        await operator(cluster, monkeypatch).create(new(volume(COPY), source))
    fresh = operator(cluster, monkeypatch)
    await fresh.delete(volume(COPY))
    assert [snap.name for snap in image(cluster, f"csi-vol-{UID}").snaps] == [f"rook-copy-csi-vol-{COPY}"]
    for _ in range(2):
        await fresh.snapshots.abandon(volume(COPY), source)
        assert not image(cluster, f"csi-vol-{UID}").snaps
    await fresh.snapshots.abandon(volume(COPY), of_snapshot(snapshot_handle(volume())))


async def test_a_volume_in_use_is_never_taken_for_a_copy_that_was_cut_off(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that is behind has it made again after it was made independent of its source, and written to."""
    await operator(cluster, monkeypatch).create(new(volume(COPY), Source(volume=volume(), size=5)))
    with cluster.Image(cluster.pools["p"], f"csi-vol-{COPY}") as opened:
        opened.flatten()
    image(cluster, f"csi-vol-{COPY}").data = "C"
    await operator(cluster, monkeypatch).delete(volume())
    await operator(cluster, monkeypatch).create(new(volume(COPY), Source(volume=volume(), size=5)))
    assert image(cluster, f"csi-vol-{COPY}").data == "C"


async def test_chains_of_copies_are_not_longer_than_they_may_be(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, last = operator(cluster, monkeypatch), volume()
    for _ in range(12):
        handle = snapshot_handle(last, str(uuid.uuid4()))
        await found.snapshots.take(last, handle)
        last = volume(str(uuid.uuid4()))
        await found.create(new(last, of_snapshot(handle)))
        assert image(cluster, last.attributes["imageName"]).content() == "A"
        assert parents_of(image(cluster, last.attributes["imageName"])) <= copies.DEEPEST
    assert cluster.most_parents <= copies.DEEPEST + 1, "the one more was there only until it was made independent"


async def test_a_source_that_is_deleted_while_its_copy_is_made_independent_goes_after_that(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "DEEPEST", 0)
    wanted = new(volume(COPY), Source(volume=volume(), size=5))
    cluster.crash_at = 8  # the copy is there, and not independent yet
    with pytest.raises(CrashError):
        await operator(cluster, monkeypatch).create(wanted)
    await operator(cluster, monkeypatch).delete(volume())
    assert len(cluster.left()) == 2
    await operator(cluster, monkeypatch).create(wanted)
    assert cluster.left() == [f"csi-vol-{COPY}"]
    assert image(cluster, f"csi-vol-{COPY}").content() == "A"


async def test_an_image_has_no_more_snapshots_than_the_kernels_client_bears(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MOST_SNAPSHOTS", 2)
    found, this = operator(cluster, monkeypatch), volume()
    handles = [snapshot_handle(this, str(uuid.uuid4())) for _ in range(3)]
    for handle in handles[:2]:
        await found.snapshots.take(this, handle)
    with pytest.raises(BackendError, match=r"has 2 snapshots, those in the trash that have clones included: expected"):
        await found.snapshots.take(this, handles[2])
    await found.snapshots.destroy(DRIVER, handles[0], this)
    await found.snapshots.take(this, handles[2])


async def test_an_image_that_cannot_be_cloned_is_told(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    image(cluster, f"csi-vol-{UID}").features = 4
    with pytest.raises(BackendError, match="lacks the feature layering, by which it is copied"):
        await operator(cluster, monkeypatch).snapshots.take(volume(), snapshot_handle(volume()))
    assert cluster.left() == [f"csi-vol-{UID}"]


@pytest.mark.parametrize(
    ("this", "why"),
    [
        (volume(staticVolume="true"), "was made by hand"),
        (Volume(driver=DRIVER, attributes={}, handle="archive"), "was made by hand"),
        (volume(radosNamespace="n"), "is in the RADOS namespace n: expected one in none"),
    ],
)
def test_volumes_of_which_no_snapshot_is_taken(this: Volume, why: str) -> None:
    with pytest.raises(ParameterError, match=why):
        backend().snapshots.handle(this, SNAPSHOT)


def test_handles() -> None:
    this = Volume(driver=DRIVER, attributes={}, handle=HANDLE)
    handle = backend().snapshots.handle(this, SNAPSHOT)
    assert handle == f"0001-0009-rook-ceph-0000000000000002-{SNAPSHOT}"
    assert parse(handle) == Handle("rook-ceph", 2, SNAPSHOT)
    assert parse(handle.replace("0009", "0008")) is None
    assert backend().snapshots.unserved({"clusterID": "x", "snapshotNamePrefix": "y"}) == ("snapshotNamePrefix",)


async def test_a_snapshot_that_is_not_there(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    found, handle = operator(cluster, monkeypatch), snapshot_handle(volume())
    assert await found.snapshots.find(DRIVER, handle) is None
    with pytest.raises(BackendError, match="does not exist"):
        await found.create(new(volume(COPY), of_snapshot(handle)))
    nowhere = handle.replace("0000000000000001", "0000000000000007")
    assert await found.snapshots.find(DRIVER, nowhere) is None
    await found.snapshots.destroy(DRIVER, nowhere, None)
    with pytest.raises(BackendError, match=r"snapshot handle 'x': expected the form of Ceph's CSI driver"):
        await found.snapshots.find(DRIVER, "x")
    assert cluster.left() == [f"csi-vol-{UID}"]


async def test_a_copy_is_made_in_the_cluster_of_its_source_only(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = volume(COPY, clusterID="other")
    with pytest.raises(BackendError, match="is in the cluster of namespace other: expected rook-ceph"):
        await operator(cluster, monkeypatch).create(new(volume(), Source(volume=elsewhere, size=5)))


RADOS = a_namespace({"blockPoolName": "p"})


def in_namespace(uid: str = UID, **attributes: str) -> Volume:
    """A volume whose clusterID is that of a RADOS namespace."""
    found = cluster_id(RADOS)
    handle = f"0001-{len(found):04x}-{found}-{1:016x}-{uid}"
    return Volume(driver=DRIVER, attributes={**volume(uid).attributes, "clusterID": found, **attributes}, handle=handle)


async def test_in_a_rados_namespace_that_the_cluster_id_tells_snapshots_and_copies_stay(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = operator(cluster, monkeypatch, rados=(RADOS,))
    here = {"radosNamespace": "namespace-a"}
    # One as this operator makes them, and one as Ceph's CSI driver does.
    for this in (in_namespace(**here), in_namespace()):
        handle = found.snapshots.handle(this, SNAPSHOT)
        assert handle == snapshot_handle(this)
        taken = await found.snapshots.take(this, handle)
        assert await found.snapshots.find(DRIVER, handle) == taken
        await found.create(new(in_namespace(COPY, **here), of_snapshot(handle)))
        await found.create(new(in_namespace(THIRD, **here), Source(volume=this, size=5)))
        assert [image(cluster, f"csi-vol-{uid}").content() for uid in (COPY, THIRD)] == ["A", "A"]
        for uid in (COPY, THIRD):
            await found.delete(in_namespace(uid))
        await found.snapshots.destroy(DRIVER, handle, this)
    assert cluster.left() == [f"csi-vol-{UID}"]
    assert cluster.namespaces == {"namespace-a"}


async def test_a_copy_is_made_in_the_rados_namespace_of_its_source_only(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = operator(cluster, monkeypatch, rados=(RADOS,))
    with pytest.raises(BackendError, match="is in the RADOS namespace namespace-a: expected none"):
        await found.create(new(volume(COPY), Source(volume=in_namespace(), size=5)))
    with pytest.raises(BackendError, match="is in the RADOS namespace none: expected namespace-a"):
        await found.create(new(in_namespace(COPY, radosNamespace="namespace-a"), Source(volume=volume(), size=5)))


STEPS = st.lists(st.tuples(st.sampled_from("TRCVS"), st.integers(0, 5), st.integers(0, 16)), max_size=14)


@given(STEPS)
async def test_whatever_is_done_and_dies_nothing_is_lost_and_nothing_is_left(steps: list[tuple[str, int, int]]) -> None:
    """What is done: a letter of `Story`'s, to which volume or snapshot, and after how many writes the operator dies."""
    with pytest.MonkeyPatch.context() as patch:
        story = Story(patch)
        for what, which, crash in steps:
            story.cluster.crash_at = story.cluster.writes + crash if crash else None
            await story.step(what, which)
            await story.check()
        await story.end()
        assert story.cluster.left() == []


class Story:
    """What users do, with operators that may die: they are followed by others, which go on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.cluster, self.volumes, self.snapshots = Cluster("p", "q"), [volume()], dict[str, Volume]()
        self.cluster.add("p", f"csi-vol-{UID}", "A")
        self._patch = patch
        self._uids = (str(uuid.UUID(int=number)) for number in itertools.count(1))

    async def step(self, what: str, which: int) -> None:
        if what in "RS" and self.snapshots:
            handle = list(self.snapshots)[which % len(self.snapshots)]
            await (self._restore if what == "R" else self._destroy_snapshot)(handle)
        elif what in "TCV" and self.volumes:
            this = self.volumes[which % len(self.volumes)]
            await {"T": self._take, "C": self._copy, "V": self._destroy_volume}[what](this)

    async def check(self) -> None:
        for this in self.volumes:
            assert image(self.cluster, this.attributes["imageName"], this.attributes["pool"]).content() == "A"
        for handle in self.snapshots:
            assert await operator(self.cluster, self._patch).snapshots.find(DRIVER, handle) is not None

    async def end(self) -> None:
        """Everything is destroyed; what died after the last of its clones is found by the next removal in the pool."""
        self.cluster.crash_at = None
        while self.volumes or self.snapshots:
            await self.step("V" if self.volumes else "S", 0)
        for pool in self.cluster.pools:
            await operator(self.cluster, self._patch).delete(volume("7" * 36, pool))

    async def _until_done(self, work: Callable[[RbdBackend], Awaitable[object]]) -> None:
        with suppress(CrashError):
            await work(operator(self.cluster, self._patch))
        self.cluster.crash_at = None
        await work(operator(self.cluster, self._patch))

    async def _take(self, this: Volume) -> None:
        handle = snapshot_handle(this, next(self._uids))
        await self._until_done(lambda found: found.snapshots.take(this, handle))
        self.snapshots[handle] = this

    async def _restore(self, handle: str) -> None:
        uid = next(self._uids)
        await self._make(volume(uid, "pq"[int(uid[-1], 16) % 2]), of_snapshot(handle))

    async def _copy(self, this: Volume) -> None:
        await self._make(volume(next(self._uids), this.attributes["pool"]), Source(volume=this, size=1))

    async def _make(self, this: Volume, source: Source) -> None:
        await self._until_done(lambda found: found.create(new(this, source)))
        self.volumes.append(this)

    async def _destroy_volume(self, this: Volume) -> None:
        self.volumes.remove(this)
        await self._until_done(lambda found: found.delete(this))

    async def _destroy_snapshot(self, handle: str) -> None:
        of = self.snapshots.pop(handle)
        await self._until_done(lambda found: found.snapshots.destroy(DRIVER, handle, of))
