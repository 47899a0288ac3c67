"""Rotation of the superuser in the operator's own Secret: a new role takes over from the one before it. Pure.

A role whose password is changed leaves a moment in which Secret and members differ, and members remember for 2 s what
they knew before. So each rotation makes another role: what is in the Secret logs in at any moment, and the role before
goes on doing so until clients have read the Secret again. Names are never used again: whatever an operator does that
was killed, or that another one has replaced, it does to a role that the Secret does not name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from controller.cassandra.cluster.users import LANE
from controller.framework.plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.cassandra.access.members import Login

ROTATION = "cassandra.rook.io/rotation"
"""Annotation of the Secret: the `spec.authentication.rotate` that it was last changed for."""
TRIED = "cassandra.rook.io/tried-role"
"""Annotation: the role that is to take over, written down before it is made."""
ENDED = "cassandra.rook.io/ended-role"
"""Annotation: a role that is to be removed. It is written down here before that is begun, so that whoever is about to
name it in the Secret cannot do so any more."""
FORMER, FORMER_SINCE = "cassandra.rook.io/former-role", "cassandra.rook.io/former-since"
"""Annotations: the role before, and, as long as it can log in, since when it is that (RFC 3339)."""
OVERLAP = 600.0
"""Seconds for which the role before can log in: a kubelet takes up to two minutes to bring a changed Secret to pods."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """How far rotations of a Secret are.

    Attributes:
        text: What it was last rotated for.
        tried: The role of a rotation that has not ended.
        ended: A role that is being removed.
        former: The role before.
        since: Since when it is that, in seconds since the epoch; None: it is locked.
        version: The Secret's.
    """

    text: str = ""
    tried: str = ""
    ended: str = ""
    former: str = ""
    since: float | None = None
    version: str = ""

    @classmethod
    def of(cls, annotations: Mapping[str, str], version: str) -> Rotation:
        """What a Secret of this version says."""
        since = annotations.get(FORMER_SINCE, "")
        return cls(
            text=annotations.get(ROTATION, ""),
            tried=annotations.get(TRIED, ""),
            ended=annotations.get(ENDED, ""),
            former=annotations.get(FORMER, ""),
            since=_seconds(since) if since else None,
            version=version,
        )


@dataclass(frozen=True, slots=True)
class Rotate:
    """Have a new role take over; members that serve prove that it can."""

    version: str
    text: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LockFormer:
    """Take from the role before the way to log in. Its sessions stay as they are."""

    version: str
    role: str
    via: str


@dataclass(frozen=True, slots=True)
class DropRole:
    """Remove a role that the Secret does not name any more, or not yet."""

    version: str
    role: str
    via: str


def analyze(
    secret: str, text: str, login: Login, rotation: Rotation, members: tuple[str, ...], now: float
) -> Iterator[Step]:
    """The next step by which the Secret has the superuser of a new role, and the one before ends.

    Args:
        secret: The Secret's name.
        text: `spec.authentication.rotate`.
        login: What is in the Secret, and logs in.
        rotation: What it says of rotations.
        members: Those that serve; there is one at least.
        now: Seconds since the epoch.
    """
    subject, via, version = f"Secret {secret}", members[0], rotation.version
    wanted = bool(text) and text != rotation.text
    ends = rotation.since + OVERLAP if rotation.since is not None else now
    if left := rotation.ended or rotation.tried:
        reason = "it is being removed" if rotation.ended else "it was to take over, and did not come to it"
        action: object = DropRole(version, left, via)
        yield Step(subject=f"role {left}", reason=reason, action=action, lane=LANE)
    elif rotation.since is not None and now >= ends:
        reason = f"role {login.user} has taken over from it"
        action = LockFormer(version, rotation.former, via)
        yield Step(subject=f"role {rotation.former}", reason=reason, action=action, lane=LANE)
    elif wanted and rotation.since is not None:
        waits_for = f"role {rotation.former} to be locked, in {ends - now:.0f} s: clients may still use it"
        yield Step(subject=subject, reason=_WANTED, waits_for=waits_for, lane=LANE)
    elif wanted and rotation.former:
        reason = f"role {login.user} is next to be the one before"
        action = DropRole(version, rotation.former, via)
        yield Step(subject=f"role {rotation.former}", reason=reason, action=action, lane=LANE)
    elif wanted:
        yield Step(subject=subject, reason=_WANTED, action=Rotate(version, text, members), lane=LANE)


_WANTED = "spec.authentication.rotate was changed"


def _seconds(text: str) -> float:
    """A time in seconds since the epoch; one that cannot be read is long past."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
