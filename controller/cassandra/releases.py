"""Releases of Cassandra: their numbers, and which of them this operator runs.

Source: https://cassandra.apache.org/_/download.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from controller.framework import upgrade

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?(?=$|[.-])")


@dataclass(frozen=True, slots=True, order=True)
class CassandraVersion:
    """A release of Cassandra."""

    major: int
    minor: int
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """The version that a member says, or that an image's tag begins with: "5.0.3", "5.0.3-rhel"; else 0.0.0."""
        match = _VERSION.match(text)
        return cls(*(int(number or 0) for number in match.groups())) if match is not None else cls(0, 0)

    @property
    def release(self) -> tuple[int, int]:
        """The release that it belongs to, such as (5, 0): versions of one release read each other's files."""
        return self.major, self.minor

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


Release = upgrade.Release[CassandraVersion]
"""A version, and the tag of the image that holds it."""

Running = upgrade.Running[CassandraVersion]
"""The oldest and the newest version that members run."""

Upgrade = upgrade.Upgrade[CassandraVersion]
"""What members should run, and whether all do."""

SUPPORTED = ((4, 1), (5, 0))
"""The releases that this operator runs, oldest first."""


def refusal(version: CassandraVersion, running: Running) -> str:
    """Why the operator does not run `version`, in words; empty: it does.

    Args:
        version: What is wanted.
        running: What members run. As long as one of them has run an earlier release only, the others may go back to it.
    """
    oldest = running.oldest
    if version.release not in SUPPORTED:
        known = " and ".join(f"{major}.{minor}" for major, minor in SUPPORTED)
        return f"this operator runs {known}: set one of those"
    if oldest is not None and version.release < oldest.release:
        return (
            f"the members have written files of {oldest}, which an earlier minor version cannot read: "
            f"set {oldest} or a later version"
        )
    return ""
