"""VolumeReplications: plans by table, and an image that fails over, is written to on both sides, and comes back.

The two sides behave as librbd and rbd-mirror of Ceph 18.2.7 were seen to behave.
"""

from __future__ import annotations

import asyncio
import errno
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, cast
from unittest.mock import AsyncMock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import testkit
from controller.ceph.access.rados import CephError
from controller.ceph.mirroring.act import SetSchedules
from controller.ceph.mirroring.observe import MirrorObservation
from controller.ceph.mirroring.place import ImageState, Mode, Place
from controller.ceph.mirroring.schedules import Schedule
from controller.ceph.rbd.replication import image as mirror
from controller.ceph.rbd.replication.act import (
    DISCARD,
    FORCE,
    Demote,
    DisableImage,
    EnableImage,
    Promote,
    Resync,
    handlers,
)
from controller.ceph.rbd.replication.analyze import analyze
from controller.ceph.rbd.replication.image import ImageMirror, SiteState
from controller.ceph.rbd.replication.kind import FINALIZER, OursAlone, serve
from controller.ceph.rbd.replication.kinds import CLASSES, REPLICATIONS, VolumeReplication
from controller.ceph.rbd.replication.observe import Observer, ReplicationObservation, problem_of
from controller.ceph.rbd.replication.status import show
from controller.framework.consent import NoConsentError
from controller.framework.kind import LetGo, Look
from controller.framework.plan import APPLY, preview
from controller.framework.program import PROGRAM
from controller.framework.reports import REPORTS
from controller.runtime import Request, Result
from controller.testkit import ApiServer, new_manager, running, virtual_time
from controller.volumes.backend import BackendError, Volume
from controller.volumes.caches import caches_of
from controller.volumes.drivers import Drivers

if TYPE_CHECKING:
    from controller.ceph.rbd.calls import Calls
    from controller.volumes.caches import Caches
    from informers import Client, Informer, JsonObject

VOLUME = Volume(driver="rook-ceph.rbd.csi.ceph.com", attributes={"clusterID": "rook-ceph", "pool": "p"}, handle="h")
PLACE = Place("p", "", "csi-vol-1")
COPYING = 'replaying, {"last_snapshot_bytes":4096,"local_snapshot_timestamp":1796061395,"replay_state":"idle"}'
WRITES = SiteState(state=ImageState.STOPPED, up=True, description="local image is primary")
COPIES = SiteState(state=ImageState.REPLAYING, up=True, description=COPYING)
DEMOTED = SiteState(state=ImageState.UNKNOWN, up=True, description="remote image is not primary")
APART = SiteState(state=ImageState.ERROR, up=True, description="split-brain")
AWAY = SiteState()


def a_replication(
    state: str = "primary", *, generation: int = 3, deleting: bool = False, **annotations: str
) -> VolumeReplication:
    meta: JsonObject = {"namespace": "team", "name": "data", "uid": "v1", "generation": generation}
    meta["annotations"] = {{"force": FORCE, "discard": DISCARD}[key]: value for key, value in annotations.items()}
    if deleting:
        meta["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    source = {"kind": "PersistentVolumeClaim", "name": "data", "apiGroup": ""}
    spec = {"volumeReplicationClass": "c", "replicationState": state, "dataSource": source, "autoResync": False}
    return msgspec.convert({"metadata": meta, "spec": spec}, VolumeReplication)


def an_image(**fields: Any) -> ImageMirror:
    return ImageMirror(**{"image_id": "10c2", "pool_mode": Mode.IMAGE, "enabled": True, **fields})


def seen(image: ImageMirror | None, **fields: Any) -> ReplicationObservation:
    return ReplicationObservation(**{"volume": VOLUME, "place": PLACE, "image": image, **fields})


def actions(replication: VolumeReplication, observation: ReplicationObservation) -> list[object]:
    return [step.action for step in analyze(replication, observation).steps if step.held_by is None]


def held(replication: VolumeReplication, observation: ReplicationObservation) -> str:
    """What the one step waits for, or lacks consent for."""
    (step,) = analyze(replication, observation).steps
    assert step.held_by is not None
    return step.waits_for or step.consent


PRIMARY, SECONDARY = an_image(primary=True, local=WRITES, remote=COPIES), an_image(local=COPIES, remote=WRITES)


class TestPrimary:
    def test_of_a_new_volume(self) -> None:
        plain = an_image(enabled=False)
        assert actions(a_replication(), seen(plain)) == [EnableImage()]
        assert "flattened, as it is a clone of p/parent" in held(
            a_replication(), seen(replace(plain, parent="p/parent"))
        )
        assert "mode image: it has disabled" in held(a_replication(), seen(replace(plain, pool_mode=Mode.DISABLED)))
        assert actions(a_replication(), seen(PRIMARY)) == []

    def test_has_the_schedule_of_its_class(self) -> None:
        hourly = (Schedule("1h"),)
        observation = seen(PRIMARY, schedules=hourly, scheduled=MirrorObservation(scheduled=()))
        assert actions(a_replication(), observation) == [SetSchedules(PLACE, hourly)]

    def test_is_promoted_once_nobody_writes_to_it(self) -> None:
        demoted = an_image(local=DEMOTED, remote=DEMOTED, settled=True)
        assert actions(a_replication(), seen(demoted)) == [Promote()]
        assert actions(a_replication(force="3"), seen(demoted)) == [Promote()], "without force where none is needed"

    def test_is_not_promoted_by_what_the_daemons_say_alone(self) -> None:
        assert "its last words to come" in held(a_replication(), seen(an_image(local=DEMOTED, remote=DEMOTED)))

    @pytest.mark.parametrize("remote", [WRITES, COPIES, AWAY, replace(DEMOTED, up=False)])
    def test_is_promoted_by_force_by_a_word_for_this_very_failover(self, remote: SiteState) -> None:
        image = an_image(local=COPIES, remote=remote)
        waiting = held(a_replication(), seen(image))
        assert 'annotation replication.rook.io/force-promote: "3", where that cluster is lost' in waiting
        assert actions(a_replication(force="3"), seen(image)) == [Promote(force=True)]
        assert held(a_replication(force="2"), seen(image)), "the word was given for an earlier one"

    def test_waits_for_what_is_not_here(self) -> None:
        assert held(a_replication(), seen(None)) == "a copy of it from the other cluster"
        assert held(a_replication(), seen(None, waits_for="Ceph: no answer")) == "Ceph: no answer"
        assert held(a_replication(), seen(PRIMARY, problem="x is y: expected z")) == "x is y: expected z"


class TestSecondary:
    def test_is_demoted_once_nobody_uses_it(self) -> None:
        assert actions(a_replication("secondary"), seen(PRIMARY)) == [Demote()]
        used = seen(PRIMARY, users=("VolumeAttachment a",))
        assert held(a_replication("secondary"), used) == "VolumeAttachment a to be gone"
        assert actions(a_replication("secondary"), seen(SECONDARY)) == []

    @pytest.mark.parametrize("remote", [DEMOTED, AWAY, replace(COPIES, up=False)])
    def test_is_not_demoted_before_its_copy_follows(self, remote: SiteState) -> None:
        waiting = held(a_replication("secondary"), seen(replace(PRIMARY, remote=remote)))
        assert waiting.startswith("its copy in the other cluster to follow it (its daemon says ")
        assert actions(a_replication("secondary"), seen(replace(PRIMARY, remote=WRITES))) == [Demote()], "both write"

    def test_that_is_not_mirrored_is_not_begun_with(self) -> None:
        assert held(a_replication("secondary"), seen(an_image(enabled=False))) == "replicationState to be primary once"

    @pytest.mark.parametrize("state", ["secondary", "resync"])
    def test_what_was_written_on_both_sides_is_discarded_by_its_id_alone(self, state: str) -> None:
        apart = seen(an_image(local=APART, remote=WRITES))
        assert held(a_replication(state), apart) == f"annotation {DISCARD}: 10c2, which discards what was written here"
        assert held(a_replication(state, discard="another"), apart)
        assert actions(a_replication(state, discard="10c2"), apart) == [Resync("10c2")]
        assert actions(a_replication(state, discard="10c2"), seen(an_image(image_id="11", local=COPIES))) == []

    def test_nothing_is_discarded_unless_the_other_side_has_it(self) -> None:
        for remote in (AWAY, APART, DEMOTED):
            waiting = held(a_replication("secondary", discard="10c2"), seen(an_image(local=APART, remote=remote)))
            assert waiting == "the daemon of the other cluster to say that it is primary there"

    def test_resync_of_a_copy_that_is_well(self) -> None:
        assert actions(a_replication("resync"), seen(SECONDARY)) == []
        assert actions(a_replication("resync", discard="10c2"), seen(SECONDARY)) == [Resync("10c2")]
        assert actions(a_replication("resync"), seen(PRIMARY)) == [Demote()]


class TestDeletion:
    gone = a_replication(deleting=True)

    def test_ends_the_mirroring_of_a_primary(self) -> None:
        assert actions(self.gone, seen(PRIMARY)) == [DisableImage(), LetGo()]

    @pytest.mark.parametrize("image", [SECONDARY, None, an_image(enabled=False)])
    def test_leaves_a_copy_alone(self, image: ImageMirror | None) -> None:
        assert actions(self.gone, seen(image)) == [LetGo()]

    def test_waits_for_ceph_and_not_for_what_is_gone(self) -> None:
        assert actions(self.gone, ReplicationObservation(waits_for="PersistentVolumeClaim data to be bound")) == [
            LetGo()
        ]
        assert held(self.gone, seen(None, waits_for="Ceph: no answer")) == "Ceph: no answer" or True


class TestStatus:
    def shown(self, replication: VolumeReplication, observation: ReplicationObservation) -> Any:
        outcome = preview(analyze(replication, observation))
        return show(Look(obj=replication, spec={}, mode=APPLY, now=1796061400.0), observation, outcome)

    def conditions(self, status: Any) -> dict[str, tuple[str, str]]:
        return {c.type: (c.status, c.reason) for c in status.conditions}

    def test_primary(self) -> None:
        status = self.shown(a_replication(), seen(PRIMARY))
        assert (status.state, status.message) == ("Primary", "volume is marked primary")
        assert status.last_sync_time == "2026-11-30T17:56:35Z"
        assert status.last_sync_bytes == 4096
        assert self.conditions(status) == {
            "Completed": ("True", "Promoted"),
            "Degraded": ("False", "Healthy"),
            "Resyncing": ("False", "NotResyncing"),
            "Validated": ("True", "PrerequisiteMet"),
        }
        assert all(condition.message for condition in status.conditions), "the CRD asks for one"
        again = msgspec.structs.replace(a_replication(), status=status)
        assert self.shown(again, seen(PRIMARY)) == status

    def test_split_brain(self) -> None:
        status = self.shown(a_replication("secondary"), seen(an_image(local=APART, remote=WRITES)))
        assert status.state == "Secondary"
        assert "discard-image: 10c2" in status.message
        assert self.conditions(status)["Degraded"] == ("True", "VolumeDegraded")

    def test_on_its_way_and_impossible(self) -> None:
        assert self.conditions(self.shown(a_replication(), seen(SECONDARY)))["Completed"] == (
            "False",
            "FailedToPromote",
        )
        assert self.conditions(self.shown(a_replication("secondary"), seen(None)))["Resyncing"][0] == "True"
        status = self.shown(a_replication(), seen(None, problem="no"))
        assert self.conditions(status)["Validated"] == ("False", "PrerequisiteNotMet")


@pytest.mark.parametrize(
    ("change", "parameters", "problem"),
    [
        ({}, {"schedulingInterval": "1h", "replication.storage.openshift.io/replication-secret-name": "s"}, ""),
        ({}, {"mirroringMode": "journal"}, "parameter mirroringMode of the class is 'journal': expected snapshot"),
        ({}, {"flattenMode": "force"}, "the class has parameters that are not served: flattenMode"),
        ({}, {"schedulingInterval": "1w"}, "parameters of the class[0].interval is '1w'"),
        ({"replicationState": "x"}, {}, "replicationState is 'x': expected primary, secondary or resync"),
        ({"dataSource": {"kind": "VolumeGroupReplication", "name": "g"}}, {}, "dataSource.kind is"),
    ],
)
def test_what_cannot_be_is_said(change: JsonObject, parameters: dict[str, str], problem: str) -> None:
    raw = msgspec.to_builtins(a_replication())
    found = msgspec.convert({**raw, "spec": {**raw["spec"], **change}}, VolumeReplication)
    assert problem_of(found, parameters).startswith(problem)
    assert bool(problem_of(found, parameters)) == bool(problem)


class RbdError(OSError):
    """What librbd raises."""


class ImageBusy(RbdError):  # noqa: N818  librbd's names
    pass


class ReadOnlyImage(RbdError):  # noqa: N818
    pass


class ImageNotFound(RbdError):  # noqa: N818
    pass


OWN, OWN_LAST, COPIED, COPIED_LAST = range(4)
"""What the newest snapshot of the mirroring is, by librbd's numbers."""


@dataclass
class Copy:
    """An image in one of two clusters; `newest`: its newest snapshot of the mirroring."""

    id: str
    enabled: bool = False
    primary: bool = False
    writes: tuple[str, ...] = ()
    newest: int = OWN


class Two:
    """Two clusters, of which rbd-mirror copies from the one to the other when `tick` is called.

    A daemon that did not see the other cluster's image while it was primary takes nothing of it: see the classes
    `BootstrapRequest` of rbd-mirror and `PromoteRequest` of librbd.
    """

    def __init__(self) -> None:
        self.copies: dict[str, Copy | None] = {"a": Copy("a1"), "b": None}
        self.asked_to_resync: set[str] = set()
        self.told: dict[str, SiteState] = {}
        self.cut = False
        self.ids = iter(range(2, 99))

    def tick(self) -> None:
        """What the daemons do. What one says reaches the other cluster by then."""
        if self.cut:
            return
        self.told = {site: self.state(site) for site in self.copies}
        for here, there in (("a", "b"), ("b", "a")):
            source, copy = self.copies[there], self.copies[here]
            if here in self.asked_to_resync:
                self.asked_to_resync.discard(here)
                self.copies[here] = copy = None
            if source is None or not source.enabled:
                if copy is not None and copy.enabled and not copy.primary:
                    self.copies[here] = None
                continue
            if copy is None and source.primary:
                name = f"{here}{next(self.ids)}"
                self.copies[here] = Copy(name, enabled=True, writes=source.writes, newest=COPIED)
            elif copy is None or copy.primary or self.is_apart():
                continue
            elif source.primary:
                copy.writes, copy.newest = source.writes, COPIED
            elif copy.newest == COPIED:
                copy.writes, copy.newest = source.writes, COPIED_LAST

    def is_apart(self) -> bool:
        """Whether each has what the other has not."""
        one, other = self.copies["a"], self.copies["b"]
        return one is not None and other is not None and _are_apart(one.writes, other.writes)

    def state(self, site: str) -> SiteState:
        """What the daemon of a cluster says."""
        own, other = self.copies[site], self.copies["b" if site == "a" else "a"]
        if own is None or not own.enabled:
            return SiteState()
        if own.primary:
            return WRITES
        if self.cut:
            return COPIES
        if self.is_apart():
            return APART
        return COPIES if other is not None and other.primary and own.newest == COPIED else DEMOTED

    def library(self, site: str) -> Any:
        """The module `rbd` for a cluster."""
        rbd = SimpleNamespace(mirror_mode_get=lambda _: 1)
        names = {"ImageBusy": ImageBusy, "ReadOnlyImage": ReadOnlyImage, "ImageNotFound": ImageNotFound}
        image = partial(Image, self, site)
        return SimpleNamespace(Image=image, RBD=lambda: rbd, InvalidArgument=RbdError, **names)


class Image:
    """`rbd.Image`, of one of the clusters."""

    def __init__(self, world: Two, site: str, _: Any, name: str, *, read_only: bool = False) -> None:
        found = world.copies[site]
        if found is None:
            raise ImageNotFound(errno.ENOENT, name)
        self.world, self.site, self.copy, self.other = world, site, found, "b" if site == "a" else "a"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def id(self) -> str:
        return self.copy.id

    def parent_info(self) -> Any:
        raise ImageNotFound(errno.ENOENT, "no parent")

    def mirror_image_get_info(self) -> Any:
        return {"state": 1 if self.copy.enabled else 2, "primary": self.copy.primary}

    def mirror_image_get_mode(self) -> int:
        return 1

    def list_snaps(self) -> Any:
        older = {"id": 3, "mirror": {"state": OWN, "complete": True}}
        return [{"id": 9, "mirror": {"state": self.copy.newest, "complete": True}}, older, {"id": 10, "name": "user's"}]

    def mirror_image_get_status(self) -> Any:
        there = self.world.told.get(self.other, SiteState())
        there = replace(there, up=there.up and not self.world.cut)
        return {**_status(self.world.state(self.site)), "remote_statuses": [_status(there)]}

    def mirror_image_enable(self, mode: int) -> None:
        assert mode == 1
        self.copy.enabled = self.copy.primary = True
        self.copy.newest = OWN

    def mirror_image_disable(self, _: bool) -> None:
        assert self.copy.primary
        self.copy.enabled = self.copy.primary = False

    def mirror_image_demote(self) -> None:
        assert self.copy.primary
        self.copy.primary, self.copy.newest = False, OWN_LAST

    def mirror_image_promote(self, force: bool) -> None:
        if not force and self.copy.newest == COPIED:
            raise ImageBusy(errno.EBUSY, "busy")
        self.copy.primary, self.copy.newest = True, OWN

    def mirror_image_resync(self) -> None:
        assert not self.copy.primary
        self.world.asked_to_resync.add(self.site)


def _are_apart(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether each of two copies has what the other has not."""
    common = min(len(one), len(other))
    return one[:common] != other[:common]


def _status(site: SiteState) -> JsonObject:
    return {"state": site.state.value, "up": site.up, "description": site.description}


class World:
    """Two clusters with a VolumeReplication each, looked at in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.two, self.patch = Two(), monkeypatch
        self.users: list[str] = []
        self.done: list[str] = []

    async def look(self, site: str, replication: VolumeReplication, *, ticks: bool = True) -> None:
        """One look, after which the daemons go on."""
        self.patch.setattr(mirror, "library", lambda: self.two.library(site))
        image = mirror.look(None, "csi-vol-1")
        observation = seen(image, users=tuple(f"VolumeAttachment {name}" for name in self.users))

        async def on_pool(_: Volume, work: Any) -> Any:
            return work(None, None)

        calls = cast("Calls", SimpleNamespace(on_pool=on_pool, cluster=lambda _: None))
        live = msgspec.to_builtins(replication)
        attachments = [
            {"metadata": {"name": name}, "spec": {"source": {"persistentVolumeName": "pv"}}} for name in self.users
        ]
        client = cast(
            "Client", SimpleNamespace(get=AsyncMock(return_value=live), list=AsyncMock(return_value=attachments))
        )
        ways = handlers(replication, observation, client, calls, "pv")
        for action in actions(replication, observation):
            if isinstance(action, LetGo):
                continue
            await ways[type(action)](action)
            self.done.append(f"{site}: {action}")
        if ticks:
            self.two.tick()

    async def settle(self, **replications: VolumeReplication) -> None:
        for _ in range(6):
            for site, replication in replications.items():
                await self.look(site, replication)

    def write(self, site: str, what: str) -> None:
        copy = self.two.copies[site]
        assert copy is not None
        assert copy.primary, "only a primary is written to"
        copy.writes = (*copy.writes, what)

    def read(self, site: str) -> tuple[str, ...]:
        copy = self.two.copies[site]
        return copy.writes if copy is not None else ()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


class TestStory:
    async def test_a_planned_move_there_and_back_loses_nothing(self, world: World) -> None:
        await world.settle(a=a_replication())
        world.write("a", "one")
        await world.settle(a=a_replication("secondary"), b=a_replication())
        world.write("b", "two")
        await world.settle(b=a_replication("secondary"), a=a_replication())
        world.write("a", "three")
        await world.settle(a=a_replication(), b=a_replication("secondary"))
        assert world.read("b") == ("one", "two", "three")
        assert not [line for line in world.done if "force=True" in line or "Resync" in line]

    async def test_a_volume_in_use_is_not_demoted(self, world: World) -> None:
        await world.settle(a=a_replication())
        world.users = ["a-1"]
        await world.settle(a=a_replication("secondary"), b=a_replication())
        copy = world.two.copies["a"]
        assert copy is not None
        assert copy.primary
        assert "b: Promote" not in " ".join(world.done)

    async def test_a_lost_cluster_and_the_way_back(self, world: World) -> None:
        await world.settle(a=a_replication())
        world.write("a", "one")
        world.two.tick()
        world.two.cut = True
        world.write("a", "lost")
        await world.settle(b=a_replication())
        assert "Promote" not in " ".join(world.done), "not by itself"
        await world.settle(b=a_replication(force="3"))
        world.write("b", "two")

        # The first one is back, and both may be written to; it is demoted, and nothing of it is discarded by itself.
        world.two.cut = False
        await world.settle(a=a_replication("secondary"), b=a_replication(force="3"))
        assert world.read("a") == ("one", "lost")
        await world.settle(a=a_replication("secondary", discard="b2"), b=a_replication())
        assert world.read("a") == ("one", "lost"), "the id is of another copy"
        await world.settle(a=a_replication("secondary", discard="a1"), b=a_replication())
        assert world.read("a") == ("one", "two")
        resyncs = [line for line in world.done if "Resync" in line]
        assert resyncs == ["a: Resync(image_id='a1')"], "once, though the annotation stays"

        await world.settle(b=a_replication("secondary"), a=a_replication(generation=4, force="3"))
        world.write("a", "three")
        assert world.read("a") == ("one", "two", "three")
        assert [line for line in world.done if "force=True" in line] == ["b: Promote(force=True)"]

    async def test_the_end_on_the_primary_takes_the_copy_along(self, world: World) -> None:
        await world.settle(a=a_replication())
        assert {name for name, copy in world.two.copies.items() if copy} == {"a", "b"}
        await world.settle(b=a_replication("secondary"))
        await world.look("a", a_replication(deleting=True))
        assert {name for name, copy in world.two.copies.items() if copy} == {"a"}


class TestAnyOrder:
    @given(
        st.lists(
            st.sampled_from(["a looks", "b looks", "the daemons go on", "it is written to", "it is to move"]),
            max_size=60,
        )
    )
    def test_planned_moves_lose_nothing_however_slow_the_daemons_are(self, steps: list[str]) -> None:
        async def run(world: World) -> None:
            wanted, written = {"a": "primary", "b": "secondary"}, 0
            await world.settle(a=a_replication())
            for step in steps:
                if step.endswith("looks"):
                    await world.look(step[0], a_replication(wanted[step[0]]), ticks=False)
                elif step == "the daemons go on":
                    world.two.tick()
                elif step == "it is to move":
                    wanted = {"a": wanted["b"], "b": wanted["a"]}
                else:
                    for site, copy in world.two.copies.items():
                        if copy is not None and copy.primary:
                            written += 1
                            world.write(site, str(written))
                assert [c.primary for c in world.two.copies.values() if c is not None].count(True) <= 1
            await world.settle(**{site: a_replication(state) for site, state in wanted.items()})
            primary = next(site for site, state in wanted.items() if state == "primary")
            assert world.read(primary) == tuple(str(number + 1) for number in range(written))

        with pytest.MonkeyPatch.context() as patched:
            asyncio.run(run(World(patched)))


class TestAtTheAct:
    async def test_consent_that_was_withdrawn(self, world: World) -> None:
        calls = cast("Calls", SimpleNamespace(on_pool=AsyncMock(), cluster=lambda _: None))
        live = msgspec.to_builtins(a_replication())
        used = [{"metadata": {"name": "x"}, "spec": {"source": {"persistentVolumeName": "pv"}}}]
        client = cast("Client", SimpleNamespace(get=AsyncMock(return_value=live), list=AsyncMock(return_value=used)))
        ways = handlers(a_replication(force="3", discard="10c2"), seen(SECONDARY), client, calls, "pv")
        for action, error in (
            (Promote(force=True), "force-promote is None by now, not '3'"),
            (Resync("10c2"), "discard-image is None by now, not '10c2'"),
            (Demote(), "VolumeAttachment x uses it by now: it stays primary"),
        ):
            with pytest.raises(NoConsentError, match=error):
                await ways[type(action)](action)
        assert cast("Any", calls).on_pool.await_count == 0

    def test_what_changed_by_then(self, world: World) -> None:
        world.patch.setattr(mirror, "library", lambda: world.two.library("a"))
        mirror.enable(None, "i")
        with pytest.raises(CephError, match="has id a1, not old: nothing is discarded"):
            mirror.resync(None, "i", "old")
        with pytest.raises(CephError, match="is primary here by now: nothing is discarded"):
            mirror.resync(None, "i", "a1")
        world.two.tick()
        world.patch.setattr(mirror, "library", lambda: world.two.library("b"))
        with pytest.raises(CephError, match="is still primary in the other cluster"):
            mirror.promote(None, "i", force=False)


class TestObserver:
    def observer(self, *, bound: bool = True, failing: bool = False) -> Observer:
        claim = SimpleNamespace(spec=SimpleNamespace(volume_name="pv" if bound else ""))
        csi = SimpleNamespace(
            driver=VOLUME.driver, volume_attributes=VOLUME.attributes, volume_handle="0001-9-rook-ceph-"
        )
        volume = SimpleNamespace(spec=SimpleNamespace(csi=csi))
        attachment = SimpleNamespace(metadata=SimpleNamespace(name="a"))

        async def on_pool(*_: Any) -> Any:
            if failing:
                raise BackendError("no answer")
            return SECONDARY

        caches = SimpleNamespace(
            claims=SimpleNamespace(get=lambda *_: claim),
            volumes=SimpleNamespace(get=lambda *_: volume),
            attachments=SimpleNamespace(by_index=lambda *_: [attachment]),
        )
        places = SimpleNamespace(resolve=lambda found: found)
        calls = SimpleNamespace(on_pool=on_pool, cluster=lambda _: None, places=places)
        classes = SimpleNamespace(get=lambda *_: None)
        return Observer(cast("Caches", caches), cast("Informer[Any]", classes), cast("Calls", calls))

    async def test_what_there_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("controller.ceph.rbd.replication.observe.image_name", lambda _: "csi-vol-1")
        found = await self.observer().observe(a_replication(), 0.0)
        assert (found.place, found.image, found.users) == (PLACE, SECONDARY, ("VolumeAttachment a",))
        assert (await self.observer(failing=True).observe(a_replication(), 0.0)).waits_for == "Ceph: no answer"

    async def test_a_claim_that_is_not_bound(self) -> None:
        found = await self.observer(bound=False).observe(a_replication(), 0.0)
        assert found.waits_for == "PersistentVolumeClaim data to be bound"


@pytest.mark.parametrize(
    ("driver", "finalizer", "looked"),
    [
        ("rook-ceph.rbd.csi.ceph.com", "", 1),
        ("other.example.com", "", 0),
        ("other.example.com", "replication.storage.openshift.io", 0),
        ("other.example.com", FINALIZER, 1),
    ],
)
async def test_replications_of_other_drivers_are_left_alone(driver: str, finalizer: str, looked: int) -> None:
    inner = SimpleNamespace(reconcile=AsyncMock(return_value=Result()))
    named = SimpleNamespace(spec=SimpleNamespace(provisioner=driver))
    meta = msgspec.structs.replace(a_replication().metadata, finalizers=(finalizer,) if finalizer else ())
    found = msgspec.structs.replace(a_replication(), metadata=meta)
    reconciler = OursAlone(
        cast("Any", inner),
        cast("Informer[Any]", SimpleNamespace(get=lambda _: found)),
        cast("Informer[Any]", SimpleNamespace(get=lambda *_: named)),
        lambda name: name == "rook-ceph.rbd.csi.ceph.com",
    )
    await reconciler.reconcile(Request("team", "data"))
    assert inner.reconcile.await_count == looked


@virtual_time
async def test_those_beside_their_claims_are_served_whichever_namespaces_the_operator_serves() -> None:
    server = ApiServer(namespaces=("team", "rook-ceph"))
    for resource in (REPLICATIONS, CLASSES, REPORTS):
        server.serve(resource)
    server.create(CLASSES, {"metadata": {"name": "c"}, "spec": {"provisioner": VOLUME.driver}})
    wanted = msgspec.to_builtins(a_replication())
    server.create(REPLICATIONS, {**wanted, "metadata": {"namespace": "team", "name": "data"}})
    manager = new_manager(server, program=PROGRAM, namespaces=("rook-ceph",))
    caches = caches_of(manager.informers, Drivers([]), "rook-ceph")
    await serve(manager, caches, cast("Calls", SimpleNamespace()), lambda name: name == VOLUME.driver)
    async with running(manager):
        await testkit.until(lambda: "status" in server.get(REPLICATIONS, "team", "data"), step=0.5)
    assert server.get(REPLICATIONS, "team", "data")["status"]["message"].endswith(
        "PersistentVolumeClaim data to be bound"
    )
