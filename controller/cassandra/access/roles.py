"""Roles and the replication of keyspaces, which only CQL can change.

Nothing of this may be done while members of two releases are up: https://cassandra.apache.org/doc/5.0/cassandra/
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from controller.cassandra.access.answers import RefusedError
from controller.cassandra.access.members import Login

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.cassandra.access.members import Members, Session

DEFAULT = Login("cassandra", "cassandra")
"""The superuser that Cassandra makes itself where there is no other role."""


async def is_let_in(members: Members, host: str, login: Login, *, ca: str = "", name: str = "") -> bool:
    """Whether a member lets this login in; the other arguments are those of `Members.session`.

    Members remember for 2 s whom they let in, so that a change is seen a little later.

    Raises:
        UnansweredError: It does not say.
    """
    try:
        async with members.session(host, login, ca=ca, name=name):
            return True
    except RefusedError:
        return False


async def set_superuser(session: Session, login: Login) -> None:
    """Makes a role with this password that may do everything, or gives it both.

    Raises:
        RefusedError: The session may not do it.
        UnansweredError: It is not known whether it was done; or the password was changed within the last 5 s.
    """
    options = f"PASSWORD = {literal(login.password)} AND SUPERUSER = true AND LOGIN = true"
    found = await _exists(session, login.user)
    await session.query(f"{'ALTER' if found else 'CREATE'} ROLE {quoted(login.user)} WITH {options}")


async def lock_default(session: Session) -> None:
    """Takes from Cassandra's own superuser all that it may, and its password that everybody knows.

    The session has to be another superuser's: nobody can take this from himself.
    """
    options = f"PASSWORD = {literal(secrets.token_urlsafe(32))} AND SUPERUSER = false AND LOGIN = false"
    await session.query(f"ALTER ROLE {quoted(DEFAULT.user)} WITH {options}")


async def lock(session: Session, user: str) -> None:
    """Has a role let in nobody any more. Sessions that it has go on with its rights: members check at logins only."""
    options = f"PASSWORD = {literal(secrets.token_urlsafe(32))} AND LOGIN = false"
    if await _exists(session, user):
        await session.query(f"ALTER ROLE {quoted(user)} WITH {options}")


async def drop(session: Session, user: str) -> None:
    """Removes a role, where it exists. Sessions that it has may do nothing any more."""
    await session.query(f"DROP ROLE IF EXISTS {quoted(user)}")


async def set_replication(session: Session, keyspace: str, factors: Mapping[str, int]) -> None:
    """Says how many copies a keyspace has in each datacenter. Rows that exist are copied by a repair, not by this."""
    options = {"class": "NetworkTopologyStrategy", **{name: str(count) for name, count in sorted(factors.items())}}
    text = ", ".join(f"{literal(key)}: {literal(value)}" for key, value in options.items())
    await session.query(f"ALTER KEYSPACE {quoted(keyspace)} WITH replication = {{{text}}}")


async def _exists(session: Session, user: str) -> bool:
    statement = f"SELECT role FROM system_auth.roles WHERE role = {literal(user)}"  # noqa: S608  # quoted
    return bool(await session.query(statement, quorum=True))


def quoted(name: str) -> str:
    """A name as CQL has it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as CQL has it."""
    return "'" + text.replace("'", "''") + "'"
