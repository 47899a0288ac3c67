"""Releases: how they are read, and which are run."""

from __future__ import annotations

import pytest

from controller.ceph.releases import CephVersion, refusal


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("ceph version 18.2.7 (6b0e988052ec84cf2d4a54ff9bbbc5e720b621ad) reef (stable)\n", CephVersion(18, 2, 7)),
        ("ceph version 19.2.3-12 (abc) squid (stable)", CephVersion(19, 2, 3, 12)),
        ("18.2.7-0", CephVersion(18, 2, 7)),
        ("ceph version 16.2.15+ds-0+deb12u1 (abc) pacific (stable)", CephVersion(16, 2, 15)),
    ],
)
def test_versions_are_read(text: str, version: CephVersion) -> None:
    assert CephVersion.parse(text) == version


def test_a_text_without_a_version_is_an_error_that_shows_it() -> None:
    with pytest.raises(ValueError, match="'command not found' names no Ceph version"):
        CephVersion.parse("command not found")


def test_a_version_as_text_can_be_read_again() -> None:
    assert CephVersion.parse(str(CephVersion(20, 2, 4, 3))) == CephVersion(20, 2, 4, 3)


@pytest.mark.parametrize(
    ("version", "allow", "running", "refused"),
    [
        (CephVersion(18, 2, 7), False, None, ""),
        (CephVersion(20, 2, 0), False, CephVersion(18, 2, 7), ""),
        (CephVersion(15, 2, 1), False, None, "is not a release that this operator knows"),
        (CephVersion(19, 3, 0), False, None, "is not a release that this operator knows"),
        (CephVersion(19, 3, 0), True, None, ""),
        (CephVersion(20, 2, 0), True, CephVersion(17, 2, 0), "is more than two releases after"),
        (CephVersion(17, 2, 9), False, CephVersion(18, 2, 7), ""),
    ],
)
def test_only_known_releases_are_run(
    version: CephVersion, allow: bool, running: CephVersion | None, refused: str
) -> None:
    answer = refusal(version, allow_unsupported=allow, running=running)
    assert refused in answer
    assert bool(answer) is bool(refused)
