"""Releases: how they are read, and which are run."""

from __future__ import annotations

import pytest

from controller.ceph.releases import CephVersion, Running, refusal, running


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
    ("version", "allow", "runs", "refused"),
    [
        (CephVersion(18, 2, 7), False, [], ""),
        (CephVersion(20, 2, 0), False, ["18.2.7"], ""),
        (CephVersion(20, 2, 0), False, ["20.2.0", "18.2.7"], ""),
        (CephVersion(20, 2, 0), False, ["18.2.7", "17.2.9"], "is more than two releases after 17.2.9-0"),
        (CephVersion(15, 2, 1), False, [], "is not a release that this operator knows"),
        (CephVersion(19, 3, 0), False, [], "is not a release that this operator knows"),
        (CephVersion(19, 3, 0), True, [], ""),
        (CephVersion(20, 2, 0), True, ["17.2.0"], "is more than two releases after"),
        (CephVersion(18, 2, 4), False, ["18.2.7"], ""),
        (CephVersion(17, 2, 9), False, ["18.2.7"], "their data cannot go back"),
        (CephVersion(18, 2, 7), True, ["20.2.4", "18.2.7"], "choose a cephVersion.image of 20.2 or later"),
    ],
)
def test_only_known_releases_are_run(version: CephVersion, allow: bool, runs: list[str], refused: str) -> None:
    answer = refusal(version, running(runs, ()), allow_unsupported=allow)
    assert refused in answer
    assert bool(answer) is bool(refused)


@pytest.mark.parametrize(
    ("reported", "declared", "oldest", "newest"),
    [
        pytest.param([], [], None, None, id="a new cluster"),
        pytest.param(["18.2.7"], [(17, 2, 0), (19, 2, 0)], (17, 2, 0), (18, 2, 7), id="one is down, one never ran"),
        pytest.param([], [(18, 2, 7), (19, 2, 0)], (18, 2, 7), (19, 2, 0), id="nothing was ever reported"),
        pytest.param(["ceph version Development (no_version)"], [(18, 2, 7)], (18, 2, 7), (18, 2, 7), id="no release"),
    ],
)
def test_what_runs_is_what_is_reported_and_the_oldest_also_what_is_down(
    reported: list[str],
    declared: list[tuple[int, int, int]],
    oldest: tuple[int, int, int] | None,
    newest: tuple[int, int, int] | None,
) -> None:
    found = running(reported, [CephVersion(*d) for d in declared])
    assert found == Running(oldest and CephVersion(*oldest), newest and CephVersion(*newest))


@pytest.mark.parametrize(
    ("version", "knows"),
    [
        (CephVersion(18, 2, 7), False),
        (CephVersion(19, 2, 5), False),
        (CephVersion(19, 2, 6), True),
        (CephVersion(20, 2, 3), False),
        (CephVersion(20, 2, 4), True),
        (CephVersion(21, 2, 0), True),
    ],
)
def test_which_releases_know_the_newer_type_of_keys(version: CephVersion, knows: bool) -> None:
    assert version.knows_aes256k is knows
