"""librados, as far as these tests use it."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest


@pytest.fixture(autouse=True)
def _librados(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("rados")
    module.LIBRADOS_ALL_NSPACES = "*"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rados", module)
