"""Tokens of clusters, and schedules of snapshots, as texts."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest

from controller.apis.ceph.pool import SnapshotScheduleSpec
from controller.ceph.mirroring import schedules, tokens
from controller.ceph.mirroring.schedules import Schedule

FSID = "5f6a64d9-1b6c-4d0a-9b0e-1f6a1f3c2a10"
MADE_BY_CEPH = {"fsid": FSID, "client_id": "rbd-mirror-peer", "key": "AQ==", "mon_host": "[v2:10.0.0.1:3300/0]"}


def encoded(found: object) -> bytes:
    return base64.b64encode(json.dumps(found).encode())


def specs(*found: dict[str, str]) -> tuple[SnapshotScheduleSpec, ...]:
    return tuple(msgspec.convert(one, SnapshotScheduleSpec) for one in found)


class TestTokens:
    def test_ours_are_read_as_cephs_are(self) -> None:
        ours = tokens.for_images(fsid=FSID, user="client.rbd-mirror-peer", key="AQ==", mon_host="h", namespace="rook")
        found = tokens.read({"token": ours.encode() + b"\n"})
        theirs = tokens.read({"token": encoded(MADE_BY_CEPH)})
        assert (found.fsid, found.user, found.key) == (theirs.fsid, theirs.user, theirs.key)
        assert json.loads(base64.b64decode(ours))["namespace"] == "rook"
        assert found.digest != theirs.digest, "the mons are elsewhere"
        assert found.key_digest == theirs.key_digest

    def test_of_files(self) -> None:
        text = tokens.for_files(fsid=FSID, user="client.mirror", key="AQ==", mon_host="h", filesystem="myfs")
        found = tokens.read({"token": text.encode()})
        assert (found.filesystem, found.site_name, found.user) == ("myfs", FSID, "client.mirror")

    def test_show_no_key(self) -> None:
        token = tokens.read({"token": encoded(MADE_BY_CEPH)})
        assert "AQ==" not in repr(token)
        assert token.text not in repr(token)

    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            ({}, "key token is missing or empty"),
            ({"token": b"no base64!"}, "key token is no token: expected base64 of JSON"),
            ({"token": encoded([1])}, "expected a JSON object"),
            ({"token": encoded({**MADE_BY_CEPH, "key": ""})}, "a token without key"),
            ({"token": encoded({"fsid": 3})}, "a token without fsid, key, mon_host, client_id"),
            ({"token": encoded(MADE_BY_CEPH), "direction": b"tx"}, "key direction is neither rx-only nor rx-tx"),
        ],
    )
    def test_what_is_none(self, data: dict[str, bytes], problem: str) -> None:
        with pytest.raises(ValueError, match=problem) as raised:
            tokens.read(data)
        assert "AQ==" not in str(raised.value)

    def test_mons_are_named_in_order(self) -> None:
        def mon(address: str) -> object:
            kinds = (("v2", 3300), ("v1", 6789))
            return {"public_addrs": {"addrvec": [{"type": kind, "addr": f"{address}:{port}"} for kind, port in kinds]}}

        one, two = mon("10.0.0.1"), mon("10.0.0.2")
        host = tokens.mon_host({"mons": [two, one, {"public_addrs": {}}]})
        assert host == "[v2:10.0.0.1:3300,v1:10.0.0.1:6789],[v2:10.0.0.2:3300,v1:10.0.0.2:6789]"
        assert tokens.mon_host({"mons": [one, two]}) == host


class TestSchedules:
    @pytest.mark.parametrize(
        ("spec", "expected"),
        [
            ({"interval": "60m"}, Schedule("1h")),
            ({"interval": "24h"}, Schedule("1d")),
            ({"interval": "90"}, Schedule("90m")),
            ({"interval": "1d", "startTime": "14:00:30-05:00"}, Schedule("1d", "14:00:00-05:00")),
            ({"interval": "1d", "startTime": "2021-07-01T03:15:00"}, Schedule("1d", "03:15:00")),
        ],
    )
    def test_are_compared_in_the_mgrs_form(self, spec: dict[str, str], expected: Schedule) -> None:
        assert schedules.wanted(specs(spec)) == (expected,)
        assert schedules.parse_noted(schedules.noted([expected, Schedule("5m")])) == tuple(
            sorted((expected, Schedule("5m")))
        )

    @pytest.mark.parametrize(
        ("spec", "problem"),
        [
            ({"interval": ""}, "s[0].interval is '': expected minutes, hours or days"),
            ({"interval": "0m"}, "s[0].interval is '0m'"),
            ({"interval": "1w"}, "s[0].interval is '1w'"),
            ({"interval": "1d", "startTime": "noon"}, "s[0].startTime is 'noon': expected a time in ISO 8601"),
        ],
    )
    def test_what_cannot_be_is_named(self, spec: dict[str, str], problem: str) -> None:
        (found,) = schedules.problems(specs(spec), "s")
        assert found.startswith(problem)
        assert schedules.wanted(specs(spec)) == ()
