"""Group snapshots of images: one moment for all of them, whatever dies when, and nothing is left over."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ceph.rbd import copies
from controller.volumes.backend import BackendError, ParameterError
from controller.volumes.features import Member
from tests.unit.ceph.rbd.librbd import EXCLUSIVE_LOCK, INCOMPLETE, Cluster, CrashError, Stored
from tests.unit.ceph.rbd.test_backend import backend
from tests.unit.ceph.rbd.test_snapshots import image, new, of_snapshot, operator, snapshot_handle, volume
from tests.unit.ceph.volumes import DRIVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.volumes.backend import Volume

GROUP = "66666666-2222-3333-4444-555555555555"
NAME = f"csi-group-{GROUP}"
VOLUMES = [volume(str(uuid.UUID(int=number))) for number in (1, 2, 3)]
HANDLE = snapshot_handle(VOLUMES[0], GROUP)
SIZE = 400


class Writer:
    """A client of all images, which writes to one after the other: to the next only after the one before.

    An image of which librbd holds the lock keeps it waiting.
    """

    def __init__(self, cluster: Cluster, images: Sequence[Stored]) -> None:
        self._cluster, self._images, self._turn, self.stopped = cluster, images, 0, False
        cluster.client = self

    def __call__(self) -> None:
        for _ in range(5):
            this = self._images[self._turn % len(self._images)]
            if self.stopped or this in self._cluster.locked or len(this.data) >= this.size:
                return
            this.data += "x"
            self._turn += 1


MEMBERS = [
    Member(handle=snapshot_handle(this, str(uuid.UUID(int=100 + number))), volume=this)
    for number, this in enumerate(VOLUMES)
]
SNAPSHOTS = [f"csi-snap-{member.handle[-36:]}" for member in MEMBERS]


class Busy(Cluster):
    """With the volumes, which somebody writes to."""

    def __init__(self) -> None:
        super().__init__("p", "q")
        images = [self.add("p", this.attributes["imageName"], size=SIZE) for this in VOLUMES]
        for this in images:
            this.features |= EXCLUSIVE_LOCK
        self.writer = Writer(self, images)


@pytest.fixture
def cluster() -> Busy:
    return Busy()


def check_moment(cluster: Cluster, names: Sequence[str] = SNAPSHOTS) -> None:
    """No later write is there where an earlier one is missing."""
    counts = [image(cluster, name).snaps[0].data.rstrip("\0").count("x") for name in names]
    assert counts == sorted(counts, reverse=True), counts
    assert counts[0] - counts[-1] <= 1, counts


def check_volumes(cluster: Cluster) -> None:
    """Nothing is left of the group at the volumes but the snapshots in the trash, which their clones need."""
    for this in VOLUMES:
        stored = image(cluster, this.attributes["imageName"])
        assert stored.group == ""
        assert [snap.name for snap in stored.snaps if snap.namespace != 2] == []


async def test_all_members_are_of_one_moment(cluster: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    assert [snapshot.size for snapshot in taken] == [SIZE] * 3
    check_moment(cluster)
    check_volumes(cluster)
    assert cluster.left() == sorted([*SNAPSHOTS, *(this.attributes["imageName"] for this in VOLUMES)])


async def test_the_lock_of_a_client_that_may_come_back_is_not_taken(
    cluster: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = cluster.pools["p"].images[VOLUMES[1].attributes["imageName"]]
    stored.owner = "10.0.0.1:0/1"
    with pytest.raises(BackendError, match="owns its lock and does not answer: no group snapshot is taken"):
        await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    assert not [snap for this in VOLUMES for snap in cluster.pools["p"].images[this.attributes["imageName"]].snaps]


async def test_by_themselves_they_would_not_be(cluster: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in's client writes between any two calls, so that the other tests are worth something."""
    for member in reversed(MEMBERS):
        assert member.volume is not None
        await operator(cluster, monkeypatch).snapshots.take(member.volume, member.handle)
    with pytest.raises(AssertionError):
        check_moment(cluster)


@pytest.mark.parametrize("crash_at", range(1, 70))
async def test_they_are_of_one_moment_whenever_their_making_was_cut_off(
    crash_at: int, cluster: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.crash_at = crash_at
    with suppress(CrashError):
        await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    cluster.crash_at = cluster.writes + crash_at
    with suppress(CrashError):
        await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    cluster.crash_at = None
    taken = await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    assert await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS) == taken
    check_moment(cluster)
    check_volumes(cluster)


@pytest.mark.parametrize("crash_at", range(1, 70))
async def test_one_that_is_discarded_in_the_midst_leaves_nothing(
    crash_at: int, cluster: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.crash_at = crash_at
    with suppress(CrashError):
        await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    for after in (cluster.writes + crash_at, None):
        cluster.crash_at = after
        with suppress(CrashError):
            await operator(cluster, monkeypatch).groups.destroy(DRIVER, HANDLE, MEMBERS)
    assert cluster.left() == [this.attributes["imageName"] for this in VOLUMES]
    assert [image(cluster, this.attributes["imageName"]).snaps for this in VOLUMES] == [[], [], []]
    check_volumes(cluster)


OPERATIONS = st.lists(st.tuples(st.sampled_from("TRVMG"), st.integers(0, 2), st.integers(0, 40)), max_size=12)


@given(OPERATIONS)
async def test_in_whatever_order_things_go_nothing_is_lost_and_nothing_is_left(
    operations: list[tuple[str, int, int]],
) -> None:
    """What is done: a letter of `Story`'s, to which volume or member, and after how many writes the operator dies."""
    with pytest.MonkeyPatch.context() as patch:
        story = Story(patch)
        for what, which, crash in operations:
            story.cluster.crash_at = story.cluster.writes + crash if crash else None
            await story.step(what, which)
            story.check()
        await story.end()
        assert story.cluster.left() == []


class Story:
    """What users do, with operators that may die: they are followed by others, which go on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.cluster, self._patch = Busy(), patch
        self._volumes, self._members = set(range(3)), set[int]()
        self._restored: dict[int, str] = {}

    async def step(self, what: str, which: int) -> None:
        work = {"T": self._take, "R": self._restore, "V": self._destroy_volume, "M": self._destroy_member}
        for _ in range(2):
            with suppress(CrashError):
                await (work[what](which) if what in work else self._destroy_group())
            self.cluster.crash_at = None

    def check(self) -> None:
        if len(self._members) == 3:
            check_moment(self.cluster)
        for which, data in self._restored.items():
            restored = self._restores(which)
            assert image(self.cluster, restored.attributes["imageName"], restored.attributes["pool"]).content() == data

    async def end(self) -> None:
        """Everything is destroyed; what died after the last of its clones is found by the next removal in the pool."""
        self.cluster.writer.stopped = True
        found = operator(self.cluster, self._patch)
        await self._destroy_group()
        for this in (*(VOLUMES[which] for which in self._volumes), *map(self._restores, self._restored)):
            await found.delete(this)
        for pool in self.cluster.pools:
            await found.delete(volume("7" * 36, pool))

    async def _take(self, _: int) -> None:
        if len(self._volumes) == 3 and not 0 < len(self._members) < 3:
            await operator(self.cluster, self._patch).groups.take(HANDLE, MEMBERS)
            self._members = set(range(3))

    async def _restore(self, which: int) -> None:
        if which in self._members:
            this = self._restores(which)
            await operator(self.cluster, self._patch).create(new(this, of_snapshot(MEMBERS[which].handle)))
            self._restored.setdefault(which, image(self.cluster, SNAPSHOTS[which]).snaps[0].data)

    async def _destroy_volume(self, which: int) -> None:
        if which in self._volumes and NAME not in self.cluster.pools["p"].groups:
            await operator(self.cluster, self._patch).delete(VOLUMES[which])
            self._volumes.discard(which)

    async def _destroy_member(self, which: int) -> None:
        """As by somebody else's content of the same handle."""
        if which in self._members:
            await operator(self.cluster, self._patch).snapshots.destroy(DRIVER, MEMBERS[which].handle, VOLUMES[which])
            self._members.discard(which)

    async def _destroy_group(self) -> None:
        await operator(self.cluster, self._patch).groups.destroy(DRIVER, HANDLE, MEMBERS)
        self._members.clear()

    def _restores(self, which: int) -> Volume:
        return volume(str(uuid.UUID(int=200 + which)), "pq"[which % 2])


async def test_what_changes_meanwhile_is_caught_up_with_and_nothing_else(
    cluster: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume that grows, and one whose data are discarded, between its own snapshot and the moment of all."""
    cluster.writer.stopped = True
    grown, emptied, still = (image(cluster, this.attributes["imageName"]) for this in VOLUMES)
    grown.data, emptied.data, still.data = "abc", "abc", "abc"

    def meanwhile() -> None:
        if grown.snaps and emptied.snaps and not emptied.group:
            grown.size, grown.data = SIZE + 5, "abd".ljust(SIZE + 4, "\0") + "e"
            emptied.data = "\0b\0"

    cluster.client = meanwhile
    taken = await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    assert [snapshot.size for snapshot in taken] == [SIZE + 5, SIZE, SIZE]
    got = [image(cluster, name).content().rstrip("\0") for name in SNAPSHOTS]
    assert got == [grown.data, "\0b", "abc"]
    assert image(cluster, SNAPSHOTS[2]).data == "", "it shares everything with its volume"


async def test_a_moment_that_some_images_lack_is_not_taken_for_one(
    cluster: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.crash_at = 15
    with pytest.raises(CrashError):
        await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    assert cluster.pools["p"].groups[NAME].snaps == {NAME: INCOMPLETE}
    await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    check_moment(cluster)


async def test_members_of_another_moment_are_never_added(cluster: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    await operator(cluster, monkeypatch).snapshots.destroy(DRIVER, MEMBERS[1].handle, VOLUMES[1])
    with pytest.raises(BackendError, match="is not kept any more, so the others of that moment cannot be made"):
        await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    assert NAME not in cluster.pools["p"].groups


async def test_nor_is_a_copy_made_of_one_of_two_moments(cluster: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another operator would leave them that was still taking the group."""
    cluster.crash_at = 19  # the moment is kept
    with pytest.raises(CrashError):
        await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    this = image(cluster, VOLUMES[1].attributes["imageName"])
    (kept,) = (snap for snap in this.snaps if snap.group)
    this.snaps.append(replace(kept, id=next(cluster.snap_ids)))
    with pytest.raises(BackendError, match=f"has 2 snapshots of the group {NAME}: expected 1"):
        await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)


async def test_an_image_of_another_group_is_named(cluster: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.group_create(cluster.pools["p"], "mine")
    name = VOLUMES[1].attributes["imageName"]
    cluster.Group(cluster.pools["p"], "mine").add_image(cluster.pools["p"], name)
    with pytest.raises(BackendError, match=f"group p/{NAME}: {name} is in the group mine: expected it in none"):
        await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    await operator(cluster, monkeypatch).groups.destroy(DRIVER, HANDLE, MEMBERS)
    assert image(cluster, name).group == "mine"
    assert [this.snaps for this in cluster.pools["p"].images.values()] == [[], [], []]


async def test_a_volume_is_not_removed_while_it_is_in_a_group(cluster: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own snapshot would go first, without which its copy cannot be made any more."""
    cluster.crash_at = 19
    with pytest.raises(CrashError):
        await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    with pytest.raises(BackendError, match=f"it is in the group {NAME}"):
        await operator(cluster, monkeypatch).delete(VOLUMES[0])
    await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    check_moment(cluster)
    await operator(cluster, monkeypatch).delete(VOLUMES[0])


async def test_an_image_whose_clients_cannot_be_held_is_refused(cluster: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    name = VOLUMES[2].attributes["imageName"]
    image(cluster, name).features = 1
    with pytest.raises(BackendError, match=f"{name} lacks the feature exclusive-lock"):
        await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    await operator(cluster, monkeypatch).groups.destroy(DRIVER, HANDLE, MEMBERS)
    check_volumes(cluster)


async def test_an_image_that_is_gone_is_told(cluster: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    await operator(cluster, monkeypatch).delete(VOLUMES[1])
    with pytest.raises(BackendError, match=f"{VOLUMES[1].attributes['imageName']} does not exist"):
        await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    with pytest.raises(BackendError, match="not all of its volumes are known"):
        await operator(cluster, monkeypatch).groups.take(HANDLE, [*MEMBERS, Member(handle=HANDLE)])


async def test_members_with_many_parents_are_made_independent(cluster: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "DEEPEST", 0)
    await operator(cluster, monkeypatch).groups.take(HANDLE, MEMBERS)
    check_moment(cluster)
    assert [image(cluster, name).parent for name in SNAPSHOTS] == [None] * 3


def test_a_groups_handle() -> None:
    assert backend().groups.handle(VOLUMES, GROUP) == f"0001-0009-rook-ceph-0000000000000001-{GROUP}"


@pytest.mark.parametrize(
    ("this", "why"),
    [
        (
            volume(pool="q"),
            "is in pool q of clusterID rook-ceph: expected pool p of clusterID rook-ceph, as volume 0001",
        ),
        (
            replace(volume(), handle=volume().handle.replace("0009-rook-ceph", "0005-other")),
            "is in pool p of clusterID other: expected pool p of clusterID rook-ceph",
        ),
        (volume(staticVolume="true"), "was made by hand"),
        (volume(radosNamespace="n"), "is in the RADOS namespace n"),
    ],
)
def test_volumes_that_have_no_moment_in_common(this: Volume, why: str) -> None:
    with pytest.raises(ParameterError, match=why):
        backend().groups.handle([*VOLUMES, this], GROUP)


async def test_a_group_whose_pool_is_gone(cluster: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = HANDLE.replace("0000000000000001", "0000000000000007")
    await operator(cluster, monkeypatch).groups.destroy(DRIVER, nowhere, [])
