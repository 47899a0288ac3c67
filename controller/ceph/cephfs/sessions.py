"""Who has a CephFS volume open: the sessions of clients at the MDS daemons.

A session is of a volume if the directory that its client has mounted is the volume's, or lies in it. One whose client
has mounted a directory above, such as the whole file system, is not: those are Ceph's own, and people's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from controller.ceph.access.clients import address_of
from controller.ceph.access.filesystems import ACTIVE, STOPPING
from controller.ceph.access.filesystems import parse as map_of
from controller.ceph.access.rados import CephError
from controller.volumes.backend import BackendError, Holder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.ceph.access.filesystems import FilesystemState

log = structlog.get_logger(__name__)

_STALE = "stale"
"""The state of a session whose client has not been heard of for `session_timeout`, 60 s by default."""

_CLOSED = "closed"


class Mdss(Protocol):
    """A cluster whose mons and MDS daemons can be asked."""

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        """See `controller.ceph.access.rados.Cluster.mon`."""

    async def mds(self, roles: Sequence[str], prefix: str, /, **args: Any) -> list[Any]:
        """See `controller.ceph.access.rados.RadosCluster.mds`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A client of a file system.

    Attributes:
        client: Its address with its nonce.
        root: The directory that it has mounted; empty: it does not say.
        host: What it says its host is called.
        stale: Whether the MDS daemon has not heard of it for long.
    """

    client: str
    root: str
    host: str
    stale: bool


async def sessions(mdss: Mdss, filesystem: str, state: FilesystemState) -> tuple[Session, ...]:
    """The sessions at all MDS daemons that serve a file system; one that several have is once in it.

    Raises:
        BackendError: A rank is not served: nobody knows all sessions.
        CephError: The MDS daemons do not answer in time.
    """
    for rank in state.ranks:
        holder = state.holder(rank)
        if holder is None or holder.state not in (ACTIVE, STOPPING):
            why = "no MDS daemon" if holder is None else f"MDS daemon {holder.name}, which is {holder.state},"
            raise BackendError(
                f"{why} has rank {rank} of file system {filesystem}: which clients have it open is not known before "
                "one is active"
            )
    answers = await mdss.mds([f"{filesystem}:{rank}" for rank in state.ranks], "session ls")
    return parse(session for answer in answers for session in answer)


async def of_all(mdss: Mdss) -> frozenset[str]:
    """The clients of all file systems of a cluster, by address and nonce, as far as they can be known now.

    Raises:
        CephError: The mons do not answer in time.
    """
    clients: set[str] = set()
    for name, state in map_of(await mdss.mon("fs dump")).filesystems.items():
        try:
            clients |= {found.client for found in await sessions(mdss, name, state)}
        except (BackendError, CephError) as error:
            log.info("Clients of a file system are not known", filesystem=name, error=str(error))
    return frozenset(clients)


def parse(found: Iterable[Mapping[str, Any]]) -> tuple[Session, ...]:
    """From answers to `session ls`. Pure. A client that is stale at one daemon and not at another is not stale."""
    by_client: dict[str, Session] = {}
    for entry in found:
        session = _session(entry)
        other = by_client.get(session.client)
        if entry.get("state") != _CLOSED and (other is None or other.stale):
            by_client[session.client] = session
    return tuple(by_client[client] for client in sorted(by_client))


def of_directory(found: Iterable[Session], directory: str) -> tuple[Session, ...]:
    """The sessions of clients that have a directory mounted, or one in it. Pure.

    Nobody has the root directory by this: who has mounted it cannot be told from Ceph's own clients.
    """
    wanted = _parts(directory)
    return tuple(s for s in found if wanted and _parts(s.root)[: len(wanted)] == wanted)


def holder(session: Session) -> Holder:
    """The session's client, as the controllers of volumes know it. Pure."""
    return Holder(address=address_of(session.client), client=session.client, host=session.host)


def _session(entry: Mapping[str, Any]) -> Session:
    address, told = entry["entity"]["addr"], entry.get("client_metadata", {})
    return Session(
        client=f"{address['addr']}/{address['nonce']}",
        root=told.get("root", ""),
        host=told.get("hostname", ""),
        stale=entry.get("state") == _STALE,
    )


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
