"""What a status shows of devices and OSDs."""

from __future__ import annotations

import msgspec

from controller.ceph.osd.observation import Assessment
from controller.ceph.osd.prepare_job import (
    Refusal,
)
from controller.ceph.osd.status import MAX_DEVICE_ROWS, device_status
from controller.ceph.osd.verdicts import DeviceVerdict, Verdict
from tests.unit.ceph.osd.cases import (
    disk,
    observation,
)


class TestStatus:
    def test_rows(self) -> None:
        verdicts = [
            DeviceVerdict(node="b", device="sdb", verdict=Verdict.ACCEPTED, reason="empty", report=disk()),
            DeviceVerdict(node="a", device="sdb", verdict=Verdict.REJECTED, reason="is read-only", report=disk()),
        ]
        refused = (Refusal("b", "/dev/sdb", "no room"), Refusal("a", "/dev/sdb", "old"))
        rows = device_status(observation(refused=refused, assessed=Assessment(verdicts=tuple(verdicts))))
        assert [(r.node, r.verdict, r.reason) for r in rows] == [
            ("a", "Rejected", "is read-only"),
            ("b", "Accepted", "empty; the last try failed: no room"),
        ]

    def test_bounded(self) -> None:
        long = "x" * 10_000
        many = [DeviceVerdict(node="a", device=f"d{n:04}", verdict=Verdict.REJECTED, reason=long) for n in range(600)]
        used = DeviceVerdict(node="z", device="sdb", verdict=Verdict.IN_USE, reason="osd.0 of this cluster")
        rows = device_status(observation(assessed=Assessment(verdicts=(*many, used))))
        assert len(rows) == MAX_DEVICE_ROWS + 1
        assert rows[-2].verdict == "InUse"
        assert rows[-1].reason == "101 more rejected devices are not shown"
        assert len(msgspec.json.encode(rows)) < 256 << 10
