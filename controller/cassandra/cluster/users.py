"""The superuser: a role of the operator's with a password in a Secret; Cassandra's own role is locked. Pure.

Cassandra makes its role `cassandra`, whose password everybody knows, some seconds after the first member serves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.cassandra.access.roles import DEFAULT
from controller.framework.plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.cassandra.access.members import Login

LANE = "superuser"


@dataclass(frozen=True, slots=True)
class Auth:
    """Whether members let in the superuser of the Secret, and Cassandra's own; None: they did not say."""

    superuser: bool | None = None
    default: bool | None = None

    @property
    def is_settled(self) -> bool:
        """Whether all is as it should be."""
        return self.superuser is True and self.default is False


@dataclass(frozen=True, slots=True)
class MakeLogin:
    """Create a Secret with a name and a random password, where there is none."""

    secret: str
    username: str
    owned: bool
    rotation: str = ""
    """The `spec.authentication.rotate` that it is made for."""


@dataclass(frozen=True, slots=True)
class CreateSuperuser:
    """Make the role of the Secret a superuser."""

    via: str


@dataclass(frozen=True, slots=True)
class LockDefault:
    """Take from Cassandra's own role its rights, and from everybody the way to log in as it."""

    via: str


def analyze(secret: str, login: Login | None, auth: Auth, via: str) -> Iterator[Step]:
    """The steps after which the superuser of the Secret is the only one.

    Args:
        secret: The Secret's name.
        login: What is in it; None: nothing.
        auth: Whom members let in.
        via: A member that serves; empty: there is none.
    """
    subject = f"Secret {secret}"
    if login is None or not via:
        return
    if login.user == DEFAULT.user:
        waits_for = f"it to name another role than {DEFAULT.user}, which everybody knows and which is locked"
        yield Step(subject=subject, reason="the superuser is taken from it", waits_for=waits_for, lane=LANE)
    elif auth.superuser is False and auth.default:
        reason = f"role {login.user} is to be the superuser"
        yield Step(subject=subject, reason=reason, action=CreateSuperuser(via), lane=LANE)
    elif auth.superuser is False:
        waits_for = f"it to have the password of role {login.user}: members do not let it in"
        yield Step(subject=subject, reason="the superuser is taken from it", waits_for=waits_for, lane=LANE)
    elif auth.superuser and auth.default:
        reason = f"everybody knows the password of role {DEFAULT.user}"
        yield Step(subject=f"role {DEFAULT.user}", reason=reason, action=LockDefault(via), lane=LANE)
