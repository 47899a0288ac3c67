"""How the operator speaks to members: what it may ask, and what it may tell them.

Everything has a deadline. A question or a command that fails raises `UnansweredError` or `RefusedError`: neither means
that something is gone or done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from controller.cassandra.access.answers import Command, Job, Keyspace, Look, Snapshot

ADMIN_PORT = 8778
"""Where the program in a member's pod takes questions and commands; the port that Jolokia had in 2018."""
NATIVE_PORT = 9042
"""Where Cassandra serves clients."""


@dataclass(frozen=True, slots=True)
class Login:
    """A name and its password."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Door:
    """How to reach the program of one member.

    Attributes:
        host: The pod's IP address.
        login: What the program lets in.
        ca: PEM of the authority that signed the program's certificate; empty: it speaks no TLS.
        name: The host name in its certificate.
    """

    host: str
    login: Login
    ca: str = ""
    name: str = ""
    port: int = ADMIN_PORT


class Member(Protocol):
    """One member of a cluster."""

    async def look(self) -> Look:
        """All that it tells of itself and the ring.

        Raises:
            UnansweredError: Nothing came from its program.
        """

    async def keyspaces(self) -> tuple[Keyspace, ...]:
        """The keyspaces whose rows may have copies, by name.

        Raises:
            AccessError: They are not known.
        """

    async def snapshots(self) -> tuple[Snapshot, ...]:
        """The snapshots on its volume, by tag.

        Raises:
            AccessError: They are not known.
        """

    async def start(self, job: str, command: Command) -> Job:
        """Begins what `command` says, once: where the member knows a job of this ID, it does nothing.

        A member forgets its jobs when its pod is restarted. So what must not be done twice needs a look first.

        Args:
            job: The job's ID, up to 200 letters, digits, dots and dashes.
            command: What to do.

        Returns:
            How the job is; short ones have mostly ended.

        Raises:
            RefusedError: The member runs too many jobs, or no Cassandra.
            UnansweredError: It is not known whether it has begun; the same call may be made again.
        """

    async def job(self, job: str) -> Job | None:
        """How a job is; None where the member does not know it.

        Raises:
            UnansweredError: Nothing came.
        """


class Session(Protocol):
    """A connection for CQL to one member, as one role."""

    async def query(self, statement: str, *, quorum: bool = False) -> Sequence[Mapping[str, Any]]:
        """The rows that a statement results in, by column.

        Args:
            statement: In CQL.
            quorum: A majority of the copies in the datacenter has to answer; else one copy does.

        Raises:
            RefusedError: The member refused the statement.
            UnansweredError: It did not answer in time.
        """


class Members(Protocol):
    """How any member is reached."""

    def member(self, door: Door) -> Member:
        """The member behind a door. Nothing is sent before it is asked."""

    def session(
        self, host: str, login: Login | None, *, ca: str = "", name: str = ""
    ) -> AbstractAsyncContextManager[Session]:
        """A connection for CQL, closed at the end of the context.

        Args:
            host: The pod's IP address.
            login: The role; None where the cluster asks for none.
            ca: PEM of the authority that signed the member's certificate; empty: no TLS.
            name: The host name in that certificate.

        Raises:
            RefusedError: The login is refused; on entering the context.
            UnansweredError: Nothing answers there.
        """
