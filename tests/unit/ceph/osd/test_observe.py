"""What is seen of OSDs, and what is asked of whom."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest

from controller.ceph.osd import observe as osd_observe
from controller.ceph.osd.observation import OsdObservation
from controller.ceph.osd.status import storage_status
from controller.ceph.pods import Release
from tests.unit.ceph.osd.cases import (
    NEXT_RELEASE,
    RELEASE,
    THREE,
    FakeCeph,
    cluster,
    look,
    running,
    state,
)


class TestObservation:
    async def look(
        self, ceph: Any, release: Release = NEXT_RELEASE, *, mgr: bool = True, **spec: Any
    ) -> OsdObservation:
        return await look(cluster(**spec), release, ceph, [running(cluster(), one) for one in THREE], mgr=mgr)

    async def test_asks_for_a_node_and_then_for_one(self) -> None:
        ceph = FakeCeph(*(state(n) for n in range(3)), refuses={("osd ok-to-stop", ("0", "1")): "4 PGs"})
        seen = await self.look(ceph)
        assert ceph.asked == [("osd ok-to-stop", ("0", "1")), ("osd ok-to-stop", ("0",))]
        assert (seen.stoppable, seen.unstoppable) == (frozenset({0}), "")

    async def test_refused(self) -> None:
        batches: tuple[tuple[str, ...], ...] = (("0", "1"), ("0",))
        refuses = {("osd ok-to-stop", ids): "4 PGs" for ids in batches}
        seen = await self.look(FakeCeph(*(state(n) for n in range(3)), refuses=refuses))
        assert (seen.stoppable, seen.unstoppable) == (frozenset(), "4 PGs")

    async def test_asks_nothing_where_nothing_is_to_be_done(self) -> None:
        ceph = FakeCeph(*(state(n) for n in range(3)))
        seen = await self.look(ceph, RELEASE)
        assert ceph.asked == []
        assert seen.states == {n: state(n, device_class="ssd") for n in range(3)}
        assert (seen.stores, seen.releases) == ({"bluestore": 3}, {"reef": 3})
        assert seen.required == "quincy"

    @pytest.mark.parametrize(("max_osd", "ever"), [(0, False), (1, True), (None, True)])
    async def test_whether_the_cluster_ever_had_an_osd(self, max_osd: int | None, ever: bool) -> None:
        ceph = FakeCeph()
        ceph.max_osd = max_osd
        assert (await self.look(ceph)).ever is ever

    async def test_mons_that_stop_answering(self) -> None:
        ceph = FakeCeph()
        ceph.silent = True
        assert (await self.look(ceph)).states is None

    async def test_asks_once_what_may_be_removed(self) -> None:
        """Refused for one of them, the answer still says which are safe."""
        gone = [state(n, up=False, is_in=False) for n in range(7)]
        question = ("osd safe-to-destroy", tuple("0123456"))
        ceph = FakeCeph(*gone, refuses={question: "OSD(s) 1 have 4 pgs currently mapped to them."})
        ceph.outputs["osd safe-to-destroy"] = {"safe_to_destroy": [0, 2], "active": [1], "missing_stats": []}
        seen = await self.look(ceph, RELEASE, removeOSDsIfOutAndSafeToRemove=True)
        assert seen.removable == frozenset({0, 2})
        assert ceph.asked == [question]

    async def test_what_is_not_said_to_be_safe_stays(self) -> None:
        ceph = FakeCeph(*(state(n, up=False, is_in=False) for n in range(3)))
        assert (await self.look(ceph, RELEASE, removeOSDsIfOutAndSafeToRemove=True)).removable == frozenset()

    async def test_nothing_is_asked_of_a_mgr_that_is_away(self) -> None:
        ceph = FakeCeph(state(0, up=False, is_in=False), *(state(n) for n in range(1, 3)))
        seen = await self.look(ceph, removeOSDsIfOutAndSafeToRemove=True, mgr=False)
        assert ceph.asked == []
        assert (seen.removable, seen.stoppable, seen.unstoppable) == (frozenset(), frozenset(), "no mgr answers")
        assert seen.states is not None

    async def test_a_mgr_that_does_not_answer_holds_nothing_up_for_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Hung(FakeCeph):
            async def mgr(self, prefix: str, /, **args: Any) -> Any:
                self.asked.append((prefix, tuple(args["ids"])))
                await anyio.sleep_forever()

        monkeypatch.setattr(osd_observe, "MGR_SECONDS", 0.01)
        ceph = Hung(state(0, up=False, is_in=False), *(state(n) for n in range(1, 3)))
        seen = await self.look(ceph, removeOSDsIfOutAndSafeToRemove=True)
        assert sorted(question for question, _ in ceph.asked) == ["osd ok-to-stop", "osd safe-to-destroy"]
        assert (seen.removable, seen.stoppable, seen.unstoppable) == (frozenset(), frozenset(), "no mgr answers")

    async def test_one_that_was_just_made_is_not_removed(self) -> None:
        """It is down and out until it starts, and no placement group is on it."""
        ceph = FakeCeph(state(0, up=False, is_in=False, new=True), state(1))
        seen = await self.look(ceph, RELEASE, removeOSDsIfOutAndSafeToRemove=True)
        assert seen.removable == frozenset()
        assert ceph.asked == []

    async def test_storage_status(self) -> None:
        status = storage_status(await self.look(FakeCeph(*(state(n) for n in range(3))), RELEASE))
        assert msgspec.to_builtins(status) == {
            "deviceClasses": ({"name": "ssd"},),
            "osd": {"storeType": {"bluestore": 3}},
        }
