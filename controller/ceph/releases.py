"""Releases of Ceph: their numbers, and which of them this operator runs.

Source: https://docs.ceph.com/en/latest/releases/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from controller.framework import upgrade

if TYPE_CHECKING:
    from collections.abc import Iterable

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-(\d+))?")


@dataclass(frozen=True, slots=True, order=True)
class CephVersion:
    """A release of Ceph. `build` counts a vendor's builds of it; zero where there is no such number."""

    major: int
    minor: int
    extra: int
    build: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """The version that `ceph --version` or a status names: "ceph version 18.2.7 (6b0e…) reef (stable)", "18.2.7-0".

        Raises:
            ValueError: There is none in it.
        """
        match = _VERSION.search(text)
        if match is None:
            raise ValueError(f'{text.strip()!r} names no Ceph version: expected "ceph version 18.2.7 …"')
        major, minor, extra, build = match.group(1, 2, 3, 4)
        return cls(int(major), int(minor), int(extra), int(build or 0))

    @property
    def release(self) -> tuple[int, int]:
        """The stable release that it belongs to, e.g. (18, 2)."""
        return self.major, self.minor

    @property
    def knows_aes256k(self) -> bool:
        """Whether it knows the newer type of cephx keys; the older one is open to CVE-2025-30156."""
        fixed = {(19, 2): 6, (20, 2): 4}
        return self.extra >= fixed[self.release] if self.release in fixed else self.release >= (21, 2)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.extra}-{self.build}"


Running = upgrade.Running[CephVersion]
"""The oldest and the newest version that daemons of a cluster run."""

Upgrade = upgrade.Upgrade[CephVersion]
"""What daemons of a cluster should run, and whether all do."""


def running(reported: Iterable[str], declared: Iterable[CephVersion]) -> Running:
    """What daemons run.

    Args:
        reported: Versions as the mons report them of the daemons that are up; those of no release are left out.
        declared: Versions of the daemons' Deployments.
    """
    return Running.of([CephVersion.parse(text) for text in reported if _VERSION.search(text)], declared)


RELEASES = {(16, 2): "pacific", (17, 2): "quincy", (18, 2): "reef", (19, 2): "squid", (20, 2): "tentacle"}
"""The stable releases that this operator runs."""


def refusal(version: CephVersion, running: Running, *, allow_unsupported: bool) -> str:
    """Why the operator does not run `version`, in words; empty when it does.

    Args:
        version: What the image holds.
        running: What daemons run now. A release further than two after the oldest is refused, as Ceph itself does
            not support to skip more, and one before the newest, whose data it cannot read; allowUnsupported does not
            change that.
        allow_unsupported: `spec.cephVersion.allowUnsupported`.
    """
    oldest, newest = running.oldest, running.newest
    if oldest is not None and version.major - oldest.major > 2:
        return (
            f"Ceph {version} is more than two releases after {oldest}, which the cluster runs: "
            f"upgrade to {RELEASES.get((oldest.major + 2, 2), f'{oldest.major + 2}.2')} first"
        )
    if newest is not None and version.major < newest.major:
        return (
            f"Ceph {version} is of a release before that of {newest}, which daemons run: their data cannot go back, "
            f"so choose a cephVersion.image of {newest.major}.{newest.minor} or later"
        )
    if version.release in RELEASES or allow_unsupported:
        return ""
    known = ", ".join(f"{major}.{minor}" for major, minor in RELEASES)
    return (
        f"Ceph {version} is not a release that this operator knows ({known}): choose another cephVersion.image, "
        "or set cephVersion.allowUnsupported"
    )
