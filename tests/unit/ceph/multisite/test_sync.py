"""How far a zone has what others have, by what gateways of Ceph 18.2.7 answered."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from controller.ceph.multisite import sync
from controller.ceph.multisite.period import Period, Zone, epoch_of, parse
from controller.ceph.multisite.sync import (
    BEHIND,
    CAUGHT_UP,
    EARLIER_PERIOD,
    FULL,
    MOST_LISTED,
    NOT_STARTED,
    OF_ANOTHER_REALM,
    UNKNOWN,
    Progress,
    behind,
    data,
    metadata,
    progress,
)
from controller.ceph.rgw.admin import AdminError
from controller.testkit import virtual_time

PERIOD = Period(id="p4", epoch=4, master="a")
SOURCE = Zone(id="id-a", name="a", endpoints=("http://a:80",))
ANSWER = {
    "id": "3b192b39",
    "epoch": 1,
    "master_zonegroup": "g1",
    "master_zone": "z1",
    "realm_epoch": 4,
    "period_map": {
        "id": "3b192b39",
        "zonegroups": [
            {
                "id": "g1",
                "name": "us",
                "master_zone": "z1",
                "is_master": True,
                "zones": [
                    {"id": "z1", "name": "a", "endpoints": ["http://a:80"], "sync_from_all": True, "sync_from": []},
                    {"id": "z2", "name": "b", "endpoints": [], "sync_from_all": False, "sync_from": ["a"]},
                    {"id": "z3", "name": "c", "endpoints": ["http://c:80"], "sync_from_all": False, "sync_from": []},
                ],
            },
            {"id": "g2", "name": "eu", "master_zone": "z4", "zones": [{"id": "z4", "name": "d", "endpoints": []}]},
        ],
    },
}


def meta_status(
    markers: dict[int, str], *, status: str = "sync", period: str = "p4", state: int = 1, epoch: int = 4
) -> Any:
    found = [{"key": k, "val": {"state": state, "marker": m, "timestamp": "0.000000"}} for k, m in markers.items()]
    return {"info": {"status": status, "num_shards": 2, "period": period, "realm_epoch": epoch}, "markers": found}


def data_status(markers: dict[int, str], state: str = "incremental-sync") -> Any:
    found = [{"key": k, "val": {"status": state, "marker": m, "timestamp": "0.000000"}} for k, m in markers.items()]
    return {"info": {"status": "sync", "num_shards": 2, "instance_id": 1}, "markers": found}


class FakeAdmin:
    """A gateway with a log: the end of each shard, and the time of its first entry that has not been applied."""

    def __init__(self, status: Any, ends: dict[int, str] | None, error: AdminError | None, *, hangs: bool) -> None:
        self.status, self.ends, self.error, self.hangs = status, ends or {}, error, hangs
        self.asked: list[dict[str, Any]] = []

    async def get(self, path: str, /, **query: Any) -> Any:
        assert path == "log"
        self.asked.append(query)
        if self.hangs:
            await anyio.sleep_forever()
        if self.error is not None:
            raise self.error
        if "status" in query:
            return self.status
        shard = query["id"]
        if "info" in query:
            return {"marker": self.ends.get(shard, ""), "last_update": "0.000000"}
        entries = [{"id": "x", "timestamp": f"2026-11-30T18:00:4{shard}.978361856Z"}]
        return {"marker": "", "truncated": False, "entries": entries}


def gateway(
    status: Any = None, ends: dict[int, str] | None = None, error: AdminError | None = None, *, hangs: bool = False
) -> Any:
    """A gateway, as far as these tests ask one."""
    return FakeAdmin(status, ends, error, hangs=hangs)


class TestPeriod:
    def test_who_is_in_it(self) -> None:
        period = parse(ANSWER)
        assert (period.master, period.term) == ("a", "a@4")
        assert [zone.name for zone in period.zones] == ["a", "b", "c", "d"]
        sources = {name: [zone.name for zone in period.sources(name)] for name in ("a", "b", "c", "d", "x")}
        assert sources == {"a": ["b", "c"], "b": ["a"], "c": [], "d": [], "x": []}

    def test_without_a_master(self) -> None:
        assert parse({**ANSWER, "master_zone": "", "period_map": {"zonegroups": []}}).term == ""

    @pytest.mark.parametrize(
        ("text", "epoch"), [("a@2", 2), ("a@b@12", 12), ("", None), ("@2", None), ("a@", None), ("a", None)]
    )
    def test_terms(self, text: str, epoch: int | None) -> None:
        assert epoch_of(text) == epoch


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (meta_status({}, status="init"), NOT_STARTED),
        (meta_status({0: ""}, status="building-full-sync-maps"), FULL),
        (meta_status({0: "", 1: ""}, state=0), FULL),
        (meta_status({0: "1_1"}), CAUGHT_UP),
        (data_status({0: ""}, "full-sync"), FULL),
        (data_status({0: ""}), CAUGHT_UP),
    ],
)
def test_states(answer: Any, state: str) -> None:
    assert progress(answer).state == state


def test_which_parts_are_behind() -> None:
    found = Progress(CAUGHT_UP, {0: "1_5", 1: "", 2: "1_7"})
    assert behind(found, {0: "1_5", 1: "1_1", 2: "1_8", 3: ""}) == (1, 2)


class TestMetadata:
    async def test_has_all(self) -> None:
        own, master = gateway(meta_status({0: "1_5", 1: ""})), gateway(ends={0: "1_5"})
        found = await metadata(own, master, "a", PERIOD)
        assert (found.state, found.source, found.behind_shards, found.oldest) == (CAUGHT_UP, "a", 0, "")
        assert {query["period"] for query in master.asked} == {"p4"}

    async def test_is_behind_and_tells_since_when(self) -> None:
        own, master = gateway(meta_status({0: "1_5", 1: ""})), gateway(ends={0: "1_6", 1: "1_1"})
        found = await metadata(own, master, "a", PERIOD)
        assert (found.state, found.behind_shards, found.oldest) == (BEHIND, 2, "2026-11-30T18:00:40Z")

    async def test_copies_all_first(self) -> None:
        own, master = gateway(meta_status({0: ""}, state=0)), gateway()
        assert (await metadata(own, master, "a", PERIOD)).state == FULL

    @pytest.mark.parametrize(("epoch", "message"), [(4, EARLIER_PERIOD), (5, OF_ANOTHER_REALM)])
    async def test_goes_by_another_period(self, epoch: int, message: str) -> None:
        own, master = gateway(meta_status({0: ""}, period="p3", epoch=epoch)), gateway()
        found = await metadata(own, master, "a", PERIOD)
        assert (found.state, found.message) == (BEHIND, message)
        assert master.asked == []

    async def test_has_not_begun(self) -> None:
        for own in (gateway(meta_status({}, status="init")), gateway(error=AdminError(404, "NoSuchKey"))):
            assert (await metadata(own, gateway(), "a", PERIOD)).state == NOT_STARTED
            assert (await data(own, gateway(), SOURCE)).state == NOT_STARTED

    async def test_few_of_many_parts_are_listed(self) -> None:
        own = gateway(meta_status(dict.fromkeys(range(64), "")))
        master = gateway(ends=dict.fromkeys(range(64), "1_1"))
        assert (await metadata(own, master, "a", PERIOD)).behind_shards == 64
        assert sum("marker" in query for query in master.asked) == MOST_LISTED

    async def test_one_that_does_not_answer_is_asked_once(self) -> None:
        gone = gateway(error=AdminError(0, "Unreachable", "http://a:80: refused"))
        own = gateway(meta_status(dict.fromkeys(range(64), "")))
        found = await metadata(own, gone, "a", PERIOD)
        assert (found.state, found.message) == (UNKNOWN, "Unreachable: http://a:80: refused")
        assert len(gone.asked) == 1

    @virtual_time
    async def test_one_that_hangs_is_waited_for_no_longer(self) -> None:
        own, master = gateway(meta_status({0: ""})), gateway(hangs=True)
        found = await metadata(own, master, "a", PERIOD)
        assert (found.state, found.message) == (
            UNKNOWN,
            f"the gateways took more than {sync.PATIENCE:g} s to answer",
        )


async def test_objects_of_a_source() -> None:
    own, source = gateway(data_status({0: "", 72: "0:5"})), gateway(ends={72: "0:6"})
    found = await data(own, source, SOURCE)
    assert (found.source, found.state, found.behind_shards) == ("a", BEHIND, 1)
    assert own.asked == [{"type": "data", "status": "", "source-zone": "id-a"}]
    assert all("period" not in query for query in source.asked)
