"""librados, as far as these tests use it."""

from __future__ import annotations

import sys

import pytest

from tests.unit.ceph.rados_objects import library


@pytest.fixture(autouse=True)
def _librados(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rados", library())
