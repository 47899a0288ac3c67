"""Ceph's health in the status: told when it changes, and quiet when only what always moves has moved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from controller.apis.ceph.status import Capacity, CephDaemonsVersions, CephHealthMessage, CephStatus
from controller.ceph.access.health import HARMLESS, MAX_CHECKS, MORE, Health, ceph_status

GIB = 1024**3
HEALTH = Health(
    fsid="f",
    status="HEALTH_WARN",
    checks={"SLOW_OPS": CephHealthMessage(severity="HEALTH_WARN", message="3 slow ops, oldest one blocked for 35 sec")},
    capacity=Capacity(bytes_total=100 * GIB, bytes_used=10 * GIB, bytes_available=90 * GIB),
    versions=CephDaemonsVersions(mon={"18.2.7": 3}),
)
SHOWN = ceph_status(HEALTH, CephStatus(), "f", "2026-01-01T00:00:00Z")


def test_the_first_look_shows_everything() -> None:
    assert SHOWN.health == "HEALTH_WARN"
    assert SHOWN.previous_health == ""
    assert SHOWN.details["SLOW_OPS"].severity == "HEALTH_WARN"
    assert SHOWN.capacity.last_updated == SHOWN.last_checked == SHOWN.last_changed == "2026-01-01T00:00:00Z"


def capacity(used: int, total: int = 100) -> Capacity:
    return Capacity(bytes_total=total * GIB, bytes_used=used * GIB, bytes_available=(total - used) * GIB)


def slow(text: str) -> dict[str, CephHealthMessage]:
    return {"SLOW_OPS": CephHealthMessage(severity="HEALTH_WARN", message=text)}


@pytest.mark.parametrize(
    ("changes", "shown_anew"),
    [
        ({}, False),
        ({"checks": slow("3 slow ops, oldest one blocked for 95 sec")}, False),
        ({"checks": slow("4 slow ops, oldest one blocked for 95 sec")}, True),
        ({"checks": {}}, True),
        ({"capacity": capacity(11)}, False),
        ({"capacity": capacity(12)}, True),
        ({"capacity": capacity(10, total=200)}, True),
        ({"versions": CephDaemonsVersions(mon={"18.2.7": 2, "19.2.0": 1})}, True),
        ({"status": "HEALTH_OK"}, True),
    ],
)
def test_only_what_matters_is_written(changes: dict[str, Any], shown_anew: bool) -> None:
    later = ceph_status(replace(HEALTH, **changes), SHOWN, "f", "2026-01-01T01:00:00Z")
    assert (later != SHOWN) is shown_anew
    assert later.last_checked == ("2026-01-01T01:00:00Z" if shown_anew else "2026-01-01T00:00:00Z")


def test_however_much_ceph_says_a_status_stays_small() -> None:
    long = CephHealthMessage(severity="HEALTH_WARN", message="x" * 100_000)
    checks = {f"CHECK_{number:03}": long for number in range(200)}
    error = CephHealthMessage(severity="HEALTH_ERR", message="broken")
    shown = ceph_status(replace(HEALTH, checks={**checks, "WORST": error}), CephStatus(), "f", "2026-01-01T00:00:00Z")
    assert len(shown.details) == MAX_CHECKS + 1
    assert shown.details["WORST"] == error, "errors are shown before warnings"
    assert shown.details[MORE].message.startswith("151 more checks are not shown: CHECK_049, CHECK_050, ")
    assert len(msgspec.json.encode(shown)) < 32 << 10


def test_a_change_of_health_remembers_the_one_before() -> None:
    later = ceph_status(replace(HEALTH, status="HEALTH_OK", checks={}), SHOWN, "f", "2026-01-02T00:00:00Z")
    assert (later.health, later.previous_health, later.last_changed) == (
        "HEALTH_OK",
        "HEALTH_WARN",
        "2026-01-02T00:00:00Z",
    )


def test_without_an_answer_the_last_state_stays() -> None:
    assert ceph_status(None, SHOWN, "f", "2026-01-02T00:00:00Z") == SHOWN


def test_health_is_read_from_the_mons_answers() -> None:
    status = {
        "fsid": "f",
        "health": {
            "status": "HEALTH_ERR",
            "checks": {"OSD_FULL": {"severity": "HEALTH_ERR", "summary": {"message": "1 full osd(s)", "count": 1}}},
        },
        "pgmap": {"bytes_total": 3, "bytes_used": 1, "bytes_avail": 2},
    }
    versions = {"mon": {"ceph version 18.2.7": 3}, "overall": {"ceph version 18.2.7": 3}, "crash-reporter": {}}
    assert Health.parse(status, versions) == Health(
        fsid="f",
        status="HEALTH_ERR",
        checks={"OSD_FULL": CephHealthMessage(severity="HEALTH_ERR", message="1 full osd(s)")},
        capacity=Capacity(bytes_total=3, bytes_used=1, bytes_available=2),
        versions=CephDaemonsVersions(mon={"ceph version 18.2.7": 3}, overall={"ceph version 18.2.7": 3}),
    )


def test_a_cluster_without_osds_has_no_capacity() -> None:
    status = {"fsid": "f", "health": {"status": "HEALTH_OK", "checks": {}}, "pgmap": {"num_pgs": 0}}
    assert Health.parse(status, {}).capacity == Capacity()


def broken(*codes: str, muted: frozenset[str] = frozenset(), status: str = "HEALTH_ERR") -> Health:
    checks = {code: CephHealthMessage(severity="HEALTH_ERR", message="why") for code in codes}
    checks["SLOW_OPS"] = CephHealthMessage(severity="HEALTH_WARN", message="slow")
    return Health("f", status, checks, muted=muted)


@pytest.mark.parametrize(
    ("health", "obstacles"),
    [
        (broken(status="HEALTH_WARN"), ()),
        (broken("PG_DAMAGED", "OSD_FULL"), ("PG_DAMAGED", "OSD_FULL")),
        (broken(*HARMLESS), ()),
        (broken("MDS_ALL_DOWN", "PG_DAMAGED"), ("PG_DAMAGED",)),
        (broken("MDS_ALL_DOWN", "PG_DAMAGED", muted=frozenset({"PG_DAMAGED"})), ()),
        pytest.param(broken(), ("HEALTH_ERR",), id="no check says why"),
    ],
)
def test_only_errors_of_data_and_daemons_stand_in_the_way(health: Health, obstacles: tuple[str, ...]) -> None:
    assert health.obstacles == obstacles


def test_checks_that_are_muted_are_read() -> None:
    check = {"severity": "HEALTH_ERR", "summary": {"message": "why"}, "muted": True}
    status = {"health": {"status": "HEALTH_OK", "checks": {"PG_DAMAGED": check}}}
    assert Health.parse(status, {}).muted == {"PG_DAMAGED"}
