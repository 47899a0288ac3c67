"""Snapshots: manifests kept as YAML files, so that a change of one is seen in review.

After a change that is meant, write them anew: `UPDATE_SNAPSHOTS=1 pytest tests/unit/ceph`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

DIRECTORY = Path(__file__).parent / "snapshots"


class _Dumper(yaml.SafeDumper):
    """Writes no anchors: a manifest is easier to read with everything in its place."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def assert_matches_snapshot(obj: dict[str, Any], name: str) -> None:
    """Fails where `obj` is not what the snapshot `name` says, with the difference."""
    path = DIRECTORY / f"{name}.yaml"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.dump(obj, Dumper=_Dumper, sort_keys=True, width=200))
    assert obj == yaml.safe_load(path.read_text())
