"""What a status tells of a plan and what became of it."""

from __future__ import annotations

from controller.framework.status import timestamp


def test_times_are_rfc_3339() -> None:
    assert timestamp(1_767_225_600.9) == "2026-01-01T00:00:00Z"
