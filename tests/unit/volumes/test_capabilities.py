"""What the controllers of volumes make of what a storage system can do."""

from __future__ import annotations

import pytest

from controller.volumes.capabilities import BLOCK, FILESYSTEM, MANY, ONCE, ONCE_POD, READERS, exclusive, modes_problem
from tests.unit.volumes.objects import DISKS, SHARES


@pytest.mark.parametrize(
    ("modes", "mode", "disk", "share"),
    [
        ((ONCE,), FILESYSTEM, True, True),
        ((ONCE_POD,), BLOCK, True, True),
        ((READERS,), FILESYSTEM, False, False),
        ((MANY,), FILESYSTEM, True, False),  # made by hand, perhaps: many writers would destroy its file system
        ((MANY,), BLOCK, False, True),
        ((ONCE, MANY), FILESYSTEM, True, False),
        ((), FILESYSTEM, False, False),
    ],
)
def test_whether_one_node_alone_may_have_a_volume(modes: tuple[str, ...], mode: str, disk: bool, share: bool) -> None:
    assert exclusive(DISKS, modes, mode) is disk
    assert exclusive(SHARES, modes, mode) is share


def test_a_mode_that_is_not_served_is_told_with_those_that_are() -> None:
    assert modes_problem(DISKS, (ONCE, MANY), FILESYSTEM) == (
        "spec.accessModes has ReadWriteMany with a file system, which several nodes would destroy: "
        "expected ReadWriteOnce, ReadWriteOncePod, ReadOnlyMany, or volumeMode Block"
    )
    assert modes_problem(SHARES, (ONCE,), BLOCK) == "spec.volumeMode is Block: expected Filesystem"
    assert modes_problem(SHARES, ("Any",), FILESYSTEM) == (
        "spec.accessModes has Any with a file system: "
        "expected ReadWriteOnce, ReadWriteOncePod, ReadOnlyMany, ReadWriteMany"
    )
    assert modes_problem(SHARES, (ONCE, MANY), FILESYSTEM) == modes_problem(DISKS, (MANY,), BLOCK) == ""
