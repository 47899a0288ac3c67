"""Realms, zone groups and zones one by one, in two clusters: repeatable, and no master is replaced by the way.

The stand-in answers as two clusters of Ceph 18.2.7 did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from controller.ceph.rgw.pod import site
from controller.ceph.rgw.pod.multisite import (
    promote,
    realm,
    remove_realm,
    remove_zone,
    remove_zonegroup,
    zone,
    zonegroup,
)
from controller.ceph.rgw.pod.site import CommandError, RefusedError, Site
from tests.unit.ceph.rgw.engine import RadosgwAdmin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

URL_A, URL_B = "http://a:80", "http://b:80"


class Sites:
    """Two clusters, of which the calls go to one at a time."""

    def __init__(self) -> None:
        self.a, self.b = RadosgwAdmin(), RadosgwAdmin()
        self.a.peers, self.b.peers = {URL_B: self.b}, {URL_A: self.a}
        self.here = self.a

    def __call__(self, arguments: list[str], **options: Any) -> Any:
        return self.here(arguments, **options)


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sites]:
    found = Sites()
    (tmp_path / "access-key").write_text("AK")
    (tmp_path / "secret-key").write_text("very-secret\n")
    monkeypatch.setattr(site, "CREDENTIALS", str(tmp_path))
    monkeypatch.setattr("subprocess.run", found)
    yield found
    for engine in (found.a, found.b):
        assert not any("very-secret" in word for arguments in engine.arguments for word in arguments)


def at(name: str = "a", group: str = "zg") -> Site:
    return Site("client.rgw.s.a", "r", group, name)


def make(sites: Sites) -> None:
    """Zone a, the master, in one cluster, and zone b in the other."""
    sites.here = sites.a
    realm(at(), {})
    zonegroup(at(), {})
    zone(at(), {"endpoints": [URL_A]})
    sites.here = sites.b
    realm(at("b"), {"pull": URL_A})
    zonegroup(at("b"), {})
    zone(at("b"), {"endpoints": [URL_B]})


def master(engine: RadosgwAdmin) -> tuple[str, int]:
    period = engine.periods[engine.realms["r"]["current_period"]]
    names = {entry["id"]: entry["name"] for group in period["period_map"]["zonegroups"] for entry in group["zones"]}
    return names.get(period["master_zone"], ""), period["realm_epoch"]


class TestMaking:
    def test_two_zones_in_two_clusters(self, sites: Sites) -> None:
        make(sites)

        assert master(sites.a) == master(sites.b) == ("a", 2)
        zones = {entry["name"]: entry["endpoints"] for entry in sites.b.zonegroups["zg"]["zones"]}
        assert zones == {"a": [URL_A], "b": [URL_B]}
        assert sites.a.zonegroups["zg"]["endpoints"] == [URL_A]
        assert (list(sites.a.users), list(sites.b.users)) == (["r-system-user"], [])
        for engine, name in ((sites.a, "a"), (sites.b, "b")):
            assert engine.zones[name]["system_key"] == {"access_key": "AK", "secret_key": "very-secret"}

    def test_a_second_time_nothing_is_changed_or_committed(self, sites: Sites) -> None:
        make(sites)
        commits = sites.a.commits + sites.b.commits
        for name, engine, url in (("a", sites.a, URL_A), ("b", sites.b, URL_B)):
            sites.here, again = engine, at(name)
            realm(again, {})
            zonegroup(again, {})
            zone(again, {"endpoints": [url]})
            assert again.changed == []
        assert sites.a.commits + sites.b.commits == commits

    def test_the_system_user_is_there_before_a_period_tells_of_the_zone(self, sites: Sites) -> None:
        make(sites)
        calls = sites.a.calls
        assert calls.index("user create") < calls.index("period update")

    @pytest.mark.parametrize("died", ["zone create", "zone set", "user create", "metadata put", "period update"])
    def test_goes_on_where_it_died(self, sites: Sites, died: str) -> None:
        realm(at(), {})
        zonegroup(at(), {})
        sites.a.dies_before = died
        with pytest.raises(KeyboardInterrupt):
            zone(at(), {"endpoints": [URL_A]})
        sites.a.dies_before = ""

        zone(at(), {"endpoints": [URL_A]})
        assert master(sites.a) == ("a", 2)
        assert sites.a.commits == 1
        assert sites.a.zonegroups["zg"]["zones"][0]["endpoints"] == [URL_A]

    def test_a_zone_that_was_made_and_not_added_is_added(self, sites: Sites) -> None:
        realm(at(), {})
        zonegroup(at(), {})
        sites.a.dies_within = "zone create"
        with pytest.raises(KeyboardInterrupt):
            zone(at(), {"endpoints": [URL_A]})

        assert zone(at(), {"endpoints": [URL_A]})["master"] == "a"

    def test_a_second_zone_group_is_no_master(self, sites: Sites) -> None:
        realm(at(), {})
        first, second = zonegroup(at(), {}), zonegroup(at(group="other"), {})
        assert (first["isMaster"], second["isMaster"]) == (True, False)

    def test_a_zone_beside_its_master_is_committed_by_that(self, sites: Sites) -> None:
        make(sites)
        sites.here, sites.a.reached = sites.a, False
        zone(at("c"), {"endpoints": ["http://c:80"]})
        assert [entry["name"] for entry in sites.b.zonegroups["zg"]["zones"]] == ["a", "b", "c"]

    def test_other_keys_are_told_to_gateways_by_a_period(self, sites: Sites, tmp_path: Path) -> None:
        make(sites)
        (tmp_path / "access-key").write_text("OTHER")
        sites.here, again = sites.a, at()
        zone(again, {"endpoints": [URL_A]})

        assert sites.a.users["r-system-user"]["keys"][0]["access_key"] == "OTHER"
        assert again.changed == ["zone changed", "user r-system-user changed", "period committed"]

    def test_another_realm_of_the_name_is_not_written_over(self, sites: Sites) -> None:
        realm(at(), {})
        sites.here = sites.b
        own = realm(at("b"), {})
        with pytest.raises(CommandError, match="from http://a:80: the gateway does not know this realm"):
            realm(at("b"), {"pull": URL_A})
        assert sites.b.realms["r"]["id"] == own["id"]

    @pytest.mark.parametrize(("name", "content"), [("access-key", ""), ("secret-key", "two words")])
    def test_a_secret_without_keys_is_refused(self, sites: Sites, tmp_path: Path, name: str, content: str) -> None:
        realm(at(), {})
        zonegroup(at(), {})
        (tmp_path / name).write_text(content)
        with pytest.raises(RefusedError, match="the Secret has no keys: expected access-key and secret-key"):
            zone(at(), {})


class TestMasters:
    def test_failover_and_back(self, sites: Sites) -> None:
        make(sites)
        sites.here = sites.b
        assert promote(at("b"), {"over": "a@2", "endpoints": [URL_B]})["master"] == "b"
        assert promote(at("b"), {"over": "a@2", "endpoints": [URL_B]})["epoch"] == 3
        assert (master(sites.a), sites.a.zonegroups["zg"]["endpoints"]) == (("b", 3), [URL_B])

        sites.here = sites.a
        assert promote(at(), {"over": "b@3", "endpoints": [URL_A]})["master"] == "a"
        assert master(sites.a) == master(sites.b) == ("a", 4)

    @pytest.mark.parametrize("over", ["a@1", "a@3", "c@2", ""])
    def test_a_consent_of_another_term_does_nothing(self, sites: Sites, over: str) -> None:
        make(sites)
        with pytest.raises(RefusedError, match="the master is a@2 by now"):
            promote(at("b"), {"over": over})
        assert master(sites.b) == ("a", 2)

    def test_one_that_is_behind_needs_more(self, sites: Sites) -> None:
        make(sites)
        sites.b.is_behind = True
        with pytest.raises(CommandError, match="behind the current master zone"):
            promote(at("b"), {"over": "a@2"})
        assert sites.b.zonegroups == sites.a.zonegroups

        assert promote(at("b"), {"over": "a@2", "lossy": True})["master"] == "b"

    @pytest.mark.parametrize("died", ["zonegroup get", "zonegroup modify", "period update"])
    def test_what_was_begun_and_not_consented_to_any_more_is_not_committed_beside_something_else(
        self, sites: Sites, died: str
    ) -> None:
        make(sites)
        sites.b.dies_before = died
        with pytest.raises(KeyboardInterrupt):
            promote(at("b"), {"over": "a@2", "endpoints": [URL_B]})
        sites.b.dies_before = ""

        zone(at("b"), {"endpoints": ["http://b2:80"]})
        assert master(sites.a) == master(sites.b) == ("a", 2)
        assert sites.a.zonegroups["zg"]["endpoints"] == [URL_A]
        assert "r-system-user" not in sites.b.users


class TestRemoval:
    def test_a_zone_beside_others(self, sites: Sites) -> None:
        make(sites)
        remove_zone(at("b"), {})
        remove_zone(at("b"), {})

        assert [entry["name"] for entry in sites.a.zonegroups["zg"]["zones"]] == ["a"]
        remove_zonegroup(at("b"), {})
        assert "zg" in sites.b.zonegroups
        remove_realm(at("b"), {})
        remove_realm(at("b"), {})
        assert (sites.b.realms, sites.b.zonegroups, sites.b.periods) == ({}, {}, {})
        assert master(sites.a) == ("a", 2)

    @pytest.mark.parametrize("died", ["period update", "zone delete"])
    def test_goes_on_where_it_died(self, sites: Sites, died: str) -> None:
        make(sites)
        sites.b.dies_before = died
        with pytest.raises(KeyboardInterrupt):
            remove_zone(at("b"), {})
        sites.b.dies_before = ""

        remove_zone(at("b"), {})
        assert [entry["name"] for entry in sites.a.zonegroups["zg"]["zones"]] == ["a"]
        assert sites.b.zones == {}

    def test_a_master_does_not_go_before_the_others(self, sites: Sites) -> None:
        make(sites)
        sites.here = sites.a
        with pytest.raises(RefusedError, match="zone a is the master of b: make one of them the master first"):
            remove_zone(at(), {})
        assert "a" in sites.a.zones

    def test_the_last_one_with_its_realm(self, sites: Sites) -> None:
        realm(at(), {})
        zonegroup(at(), {})
        zone(at(), {})
        with pytest.raises(RefusedError, match="a of realm r is a zone in this cluster: remove it first"):
            remove_realm(at(), {})
        remove_zone(at(), {})
        remove_zonegroup(at(), {})
        remove_realm(at(), {})
        assert (sites.a.realms, sites.a.zonegroups, sites.a.zones, sites.a.periods) == ({}, {}, {}, {})
