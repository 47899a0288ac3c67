"""What the gateways of zones tell: who is master, what is in sync, and who goes by another master."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from controller.apis.ceph.object_multisite_status import SyncStatus
from controller.ceph.multisite import gateways as module
from controller.ceph.multisite.gateways import INTERVAL, Gateways
from controller.ceph.multisite.sync import BEHIND, CAUGHT_UP, MASTER, UNKNOWN
from controller.ceph.multisite.zones import KnownZones
from controller.ceph.rgw.admin import AdminError
from controller.ceph.rgw.names import Place
from controller.ceph.rgw.stores import Way
from tests.unit.ceph.multisite.scene import a_group, a_period, a_store, a_zone
from tests.unit.ceph.multisite.test_sync import ANSWER


class Gateway:
    """Tells of its period."""

    def __init__(self, epoch: int = 2, *, down: bool = False) -> None:
        self.epoch, self.down = epoch, down
        self.asked: list[dict[str, Any]] = []

    async def get(self, path: str, /, **query: Any) -> Any:
        self.asked.append({"path": path, **query})
        if self.down:
            raise AdminError(0, "Unreachable")
        return {**ANSWER, "realm_epoch": self.epoch}


class FakeStores:
    """Ways to the store of the zone, and to the gateways of others by their URL."""

    def __init__(self, own: Any, **others: Gateway) -> None:
        self.own, self.others = own, {f"http://{name}:80": gateway for name, gateway in others.items()}

    def reach(self, namespace: str, name: str) -> Way:
        return Way(store=a_store(name), admin=self.own, endpoint="http://own:80")

    def beside(self, way: Way, url: str) -> Gateway | None:
        return self.others.get(url)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which of the two logs was compared."""
    found: list[str] = []

    async def metadata(own: Any, master: Any, name: str, period: Any) -> SyncStatus:
        found.append("metadata")
        return SyncStatus(source=name, state=CAUGHT_UP)

    async def data(own: Any, source: Any, zone: Any) -> SyncStatus:
        found.append("data")
        return SyncStatus(source=zone.name, state=BEHIND, behind_shards=1)

    monkeypatch.setattr(module, "sync", SimpleNamespace(metadata=metadata, data=data))
    return found


STORES = (a_store(),)


def ways(own: Gateway | None = None, **others: Gateway) -> Any:
    stores: Any = FakeStores(own or Gateway(), **others)
    return Gateways(stores)


class TestPeriod:
    async def test_is_asked_of_the_realm(self) -> None:
        own = Gateway()
        period = await ways(own).period(a_zone(), "r", STORES)
        assert (period.term, own.asked) == ("a@2", [{"path": "realm/period", "realm_name": "r"}])

    async def test_nobody_knows_where_no_gateway_answers(self) -> None:
        assert await ways(Gateway(down=True)).period(a_zone(), "r", STORES) is None
        assert await ways().period(a_zone(), "r", ()) is None


class TestReplication:
    async def test_of_a_zone_beside_its_master(self, asked: list[str]) -> None:
        found = await ways(a=Gateway()).replication(a_zone(), a_period(), STORES, 0.0)
        assert (found.metadata.state, [each.state for each in found.data]) == (CAUGHT_UP, [BEHIND])
        assert (found.newer, asked) == ("", ["data", "metadata"])

    async def test_a_master_needs_no_metadata(self, asked: list[str]) -> None:
        found = await ways(a=Gateway()).replication(a_zone(), a_period("b"), STORES, 0.0)
        assert (found.metadata.state, asked) == (MASTER, ["data"])

    async def test_holds_for_a_while_and_not_for_another_period(self, asked: list[str]) -> None:
        gateways, zone = ways(a=Gateway()), a_zone()
        for now in (0.0, INTERVAL - 1):
            await gateways.replication(zone, a_period(), STORES, now)
        assert len(asked) == 2
        await gateways.replication(zone, a_period(epoch=3), STORES, 1.0)
        assert len(asked) == 4
        await gateways.replication(zone, a_period(epoch=3), STORES, 1.0 + INTERVAL)
        assert len(asked) == 6
        gateways.forget("rook-ceph", "b")
        await gateways.replication(zone, a_period(epoch=3), STORES, 1.0 + INTERVAL)
        assert len(asked) == 8

    @pytest.mark.parametrize(("epoch", "newer"), [(2, ""), (1, ""), (3, "a@3")])
    async def test_a_zone_that_knows_a_later_master_is_told_of(self, asked: list[str], epoch: int, newer: str) -> None:
        found = await ways(a=Gateway(epoch)).replication(a_zone(), a_period(), STORES, 0.0)
        assert (found.newer, found.newer_at) == (newer, "http://a:80" if newer else "")

    async def test_zones_without_an_endpoint_are_not_asked(self, asked: list[str]) -> None:
        found = await ways().replication(a_zone(), a_period(a=()), STORES, 0.0)
        assert found.metadata.state == found.data[0].state == UNKNOWN
        assert asked == []


def test_where_the_gateways_of_a_store_belong() -> None:
    made, new = a_zone(status={"id": "z-1"}), a_zone()
    groups: Any = SimpleNamespace(get=lambda _, name: a_group() if name == "zg" else None)

    def locate(zone: Any) -> Any:
        cache: Any = SimpleNamespace(resource=SimpleNamespace(kind="CephObjectZone"), get=lambda *_: zone)
        return KnownZones(cache, groups).locate("rook-ceph", "b")

    assert locate(made).place == Place("r", "zg", "b")
    assert (locate(new).place, locate(new).waits_for) == (None, "CephObjectZone b to be ready")
    assert locate(None).waits_for == "CephObjectZone b in namespace rook-ceph"
    lost = a_zone({"zoneGroup": "x"}, status={"id": "z-1"})
    assert locate(lost).waits_for == "CephObjectZoneGroup x in namespace rook-ceph"
