"""The program that makes realms, zone groups and zones: repeatable, one commit for a difference, no secret in sight."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from controller.ceph.rgw.pod import __main__ as program
from controller.ceph.rgw.pod import site
from controller.ceph.rgw.pod.converge import converge, remove
from controller.ceph.rgw.pod.site import CommandError, RefusedError, Site, said
from tests.unit.ceph.rgw.engine import RadosgwAdmin

if TYPE_CHECKING:
    from pathlib import Path

USER = {"uid": "rgw-admin-ops-user", "displayName": "RGW Admin Ops User", "caps": {"users": "*", "buckets": "*"}}
WANTED: dict[str, Any] = {
    "zonegroup": {"fields": {"endpoints": ["http://a:80"]}},
    "zone": {"endpoints": ["http://a:80"]},
    "user": USER,
}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RadosgwAdmin:
    found = RadosgwAdmin()
    (tmp_path / "accessKey").write_text("AK\n")
    (tmp_path / "secretKey").write_text("very-secret\n")
    monkeypatch.setattr(site, "CREDENTIALS", str(tmp_path))
    monkeypatch.setattr("subprocess.run", found)
    return found


def a_site(name: str = "s") -> Site:
    return Site("client.rgw.s.a", name, name, name)


def test_makes_everything_once_and_commits_one_period(engine: RadosgwAdmin) -> None:
    first, second = a_site(), a_site()
    result = converge(first, WANTED)

    assert converge(second, WANTED) == result
    assert (result["realm"], engine.commits) == (engine.realms["s"]["id"], 1)
    assert first.changed == [
        "realm s made",
        "zonegroup s made",
        "zone s made",
        "period committed",
        "user rgw-admin-ops-user made",
        "user rgw-admin-ops-user changed",
    ]
    assert second.changed == []


def test_the_user_has_just_the_keys_of_the_secret_and_no_argument_has_them(
    engine: RadosgwAdmin, capsys: pytest.CaptureFixture[str]
) -> None:
    converge(a_site(), WANTED)

    user = engine.users["rgw-admin-ops-user"]
    assert user["keys"] == [{"user": "rgw-admin-ops-user", "access_key": "AK", "secret_key": "very-secret"}]
    assert user["caps"] == [{"type": "buckets", "perm": "*"}, {"type": "users", "perm": "*"}]
    assert not any("very-secret" in word for arguments in engine.arguments for word in arguments)
    assert "very-secret" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "at", ["realm create", "zonegroup create", "zone create", "period update", "user create", "metadata put"]
)
def test_goes_on_where_it_died(engine: RadosgwAdmin, at: str) -> None:
    engine.dies_before = at
    with pytest.raises(KeyboardInterrupt):
        converge(a_site(), WANTED)
    engine.dies_before = ""

    converge(a_site(), WANTED)
    assert engine.commits == 1
    assert engine.users["rgw-admin-ops-user"]["keys"][0]["access_key"] == "AK"


def test_another_endpoint_is_committed_once(engine: RadosgwAdmin) -> None:
    converge(a_site(), WANTED)
    other = {**WANTED, "zonegroup": {"fields": {"endpoints": ["http://b:80"]}}, "zone": {"endpoints": ["http://b:80"]}}
    converge(a_site(), other)
    converge(a_site(), other)

    assert engine.commits == 2
    assert engine.zonegroups["s"]["zones"][0]["endpoints"] == ["http://b:80"]


def test_placements_are_added_and_those_that_nobody_named_stay(engine: RadosgwAdmin) -> None:
    converge(a_site(), WANTED)
    fast = {"index_pool": "p:s.i", "storage_classes": {"STANDARD": {"data_pool": "p:s.d"}, "COLD": {"data_pool": "c"}}}
    wanted = {**WANTED, "zone": {"placements": {"fast": fast}, "pools": {"control_pool": "p:s.control"}}}
    converge(a_site(), wanted)
    converge(a_site(), wanted)

    zone, group = engine.zones["s"], engine.zonegroups["s"]
    assert [entry["key"] for entry in zone["placement_pools"]] == ["default-placement", "fast"]
    assert zone["control_pool"] == "p:s.control"
    assert {target["name"]: target["storage_classes"] for target in group["placement_targets"]} == {
        "default-placement": ["STANDARD"],
        "fast": ["COLD", "STANDARD"],
    }
    assert engine.commits == 2


def test_the_default_realm_is_set_only_where_that_is_asked(engine: RadosgwAdmin) -> None:
    converge(a_site("first"), WANTED)
    converge(a_site("second"), WANTED)
    assert engine.default == engine.realms["first"]["id"]

    converge(a_site("second"), {**WANTED, "realm": {"default": True}})
    assert engine.default == engine.realms["second"]["id"]


def test_leftovers_of_another_realm_are_named_and_nothing_is_made(engine: RadosgwAdmin) -> None:
    engine.zones["s"] = {"id": "z-9", "name": "s", "realm_id": "gone"}

    with pytest.raises(RefusedError, match=r"zone s \(id z-9, of realm gone\) is in pool \.rgw\.root already"):
        converge(a_site(), WANTED)
    assert (engine.realms, engine.zonegroups) == ({}, {})


def test_a_zone_of_another_realm_is_not_taken_over(engine: RadosgwAdmin) -> None:
    converge(a_site(), WANTED)
    engine.zones["s"]["realm_id"] = "other"

    with pytest.raises(RefusedError, match="of realm other, not of realm s"):
        converge(a_site(), WANTED)


def test_removal_leaves_the_other_store_as_it_is(engine: RadosgwAdmin) -> None:
    converge(a_site("s"), WANTED)
    converge(a_site("t"), WANTED)
    other = json.dumps([engine.realms["t"], engine.zonegroups["t"], engine.zones["t"]])
    periods = [period for period in engine.periods.values() if period["realm_id"] == engine.realms["t"]["id"]]

    remove(a_site("s"), {})
    remove(a_site("s"), {})

    assert json.dumps([engine.realms["t"], engine.zonegroups["t"], engine.zones["t"]]) == other
    assert (list(engine.realms), list(engine.zones), list(engine.periods.values())) == (["t"], ["t"], periods)


def test_removal_does_not_touch_a_zone_of_another_realm(engine: RadosgwAdmin) -> None:
    converge(a_site("s"), WANTED)
    engine.zones["s"]["realm_id"] = "other"

    with pytest.raises(RefusedError, match="zone of the store is still"):
        remove(a_site("s"), {})
    assert "s" in engine.zones


def test_an_error_is_no_absence(engine: RadosgwAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_answer", lambda *_: (5, "could not find zonegroup (s)"))

    with pytest.raises(CommandError, match=r"realm get: ERROR: could not find zonegroup \(s\) \(exit status 5\)"):
        converge(a_site(), WANTED)


def test_the_result_and_a_failure_fit_into_a_termination_message(
    engine: RadosgwAdmin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = {"realm": "s", "zonegroup": "s", "zone": "s"}
    monkeypatch.setenv("ROOK_RGW_WANTED", json.dumps({"names": names, **WANTED}))
    monkeypatch.setenv("ROOK_RGW_ENTITY", "client.rgw.s.a")
    monkeypatch.setenv("ROOK_RESULT", str(tmp_path / "result"))

    assert program.work("converge") == 0
    assert json.loads((tmp_path / "result").read_text())["realm"] == engine.realms["s"]["id"]
    monkeypatch.setattr(engine, "_answer", lambda *_: (5, "x" * 9000))
    assert program.work("converge") == 1
    assert 0 < (tmp_path / "result").stat().st_size <= 4096


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("", ""),
        ("could not fetch user info: no user info saved\n", "could not fetch user info: no user info saved"),
        (
            "ERROR: Unrecognized argument: 'x'\nExpected one of the following:\n  set\n",
            "ERROR: Unrecognized argument: 'x'",
        ),
        ("2026-11-30T17:56:26.2+0000 7fd29  0 ERROR: no zone\ncouldn't init\n", "ERROR: no zone"),
    ],
)
def test_says_what_the_tool_said_in_a_line(output: str, line: str) -> None:
    assert said(output) == line
