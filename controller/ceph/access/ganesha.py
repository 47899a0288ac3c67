"""What NFS servers (NFS-Ganesha) of one cluster share in RADOS, read and changed without their own tools.

A namespace of pool `.nfs` has object `grace`: two little-endian numbers, the epoch that new state belongs to and the
one that clients reclaim state from (0: no grace period is in effect), and for each server a key with a byte of flags.
Objects `rec-<epoch>:<server>` have a key for each client that has state at the server. `conf-nfs.<cluster>` names the
exports. Each change holds only for the version that it was decided on, as in Ganesha itself.

Source: nfs-ganesha, src/support/rados_grace.c and src/SAL/recovery/recovery_rados_cluster.c; Ceph, doc/mgr/nfs.rst.
"""

from __future__ import annotations

import errno
import struct
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from controller.ceph.access.objects import keys, library
from controller.ceph.access.rados import CephError
from controller.ceph.access.threads import Lane

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.ceph.access.objects import Used

POOL = ".nfs"
"""The pool that Ceph's own commands for NFS know, and no other."""

_GRACE = "grace"
_NEEDS_GRACE, _ENFORCING = 1, 2
_EPOCHS = struct.Struct("<QQ")
_FIRST = _EPOCHS.pack(1, 0)
_TRIES = 20
_NOTIFY_MS = 3000
_TIMEOUT = 30.0
"""Seconds that reading or changing takes at most; each call of librados has its own limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server in the database of grace periods.

    Attributes:
        needs_grace: It has not said yet that its clients have their state back.
        enforcing: It gives out nothing but what clients had before.
        clients: The addresses of the clients that have state at it.
    """

    needs_grace: bool = False
    enforcing: bool = False
    clients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grace:
    """The database of grace periods.

    Attributes:
        current: The epoch that new state belongs to.
        recovering: The epoch that state is reclaimed from; 0: no grace period is in effect.
        servers: The servers by their ids.
    """

    current: int = 1
    recovering: int = 0
    servers: Mapping[str, Server] = field(default_factory=dict)

    @property
    def in_effect(self) -> bool:
        """Whether a grace period is in effect: clients can take back what they had, and get nothing new."""
        return self.recovering != 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What servers share.

    Attributes:
        grace: The database of grace periods; None: there is none.
        configured: Whether the object is there that names the exports.
    """

    grace: Grace | None = None
    configured: bool = False


async def read(ceph: Used, cluster: str) -> Shared:
    """What the servers of an NFS cluster share.

    Raises:
        CephError: There is no pool, the OSDs do not answer in time, or the database is none.
    """
    return await ceph.use(partial(_read, cluster=cluster), lane=Lane.IMAGES, seconds=_TIMEOUT)


async def configure(ceph: Used, cluster: str) -> None:
    """Makes the object that names the exports, which a server does not start without; one that is there stays.

    Raises:
        CephError: There is no pool, or the OSDs do not answer in time.
    """
    await ceph.use(partial(_configure, cluster=cluster), lane=Lane.IMAGES, seconds=_TIMEOUT)


async def join(ceph: Used, cluster: str, server: str) -> None:
    """Takes a server into the database of grace periods, which is made with the first one.

    Raises:
        CephError: There is no pool, or the OSDs do not answer in time.
    """
    await ceph.use(partial(_join, cluster=cluster, server=server), lane=Lane.IMAGES, seconds=_TIMEOUT)


async def leave(ceph: Used, cluster: str, server: str) -> None:
    """Takes a server that will never run again out of the database, and with it what its clients could reclaim.

    Were that left, a later server of the same id would let clients reclaim what others have locked since.

    Raises:
        CephError: The OSDs do not answer in time.
    """
    await ceph.use(partial(_leave, cluster=cluster, server=server), lane=Lane.IMAGES, seconds=_TIMEOUT)


def parse(body: bytes, flags: Mapping[str, bytes]) -> Grace:
    """The database from the object's data and keys. Pure.

    Raises:
        CephError: It is none.
    """
    if len(body) != _EPOCHS.size:
        message = f"object {_GRACE} of pool {POOL} has {len(body)} bytes: expected {_EPOCHS.size}"
        raise CephError(errno.EBADMSG, message)
    current, recovering = _EPOCHS.unpack(body)
    return Grace(current=current, recovering=recovering, servers={name: _server(f) for name, f in flags.items()})


def _server(flags: bytes) -> Server:
    value = flags[0] if flags else 0
    return Server(needs_grace=bool(value & _NEEDS_GRACE), enforcing=bool(value & _ENFORCING))


def client_address(record: bytes) -> str:
    """The address in a record of a client: "::ffff:10.0.0.5-(27:Linux NFSv4.1 …)". Pure."""
    return record.decode("utf-8", "replace").partition("-(")[0].removeprefix("::ffff:")


def _read(handle: Any, cluster: str) -> Shared:
    rados = library()
    with _opened(handle, cluster) as ioctx:
        configured = _exists(ioctx, _configuration(cluster))
        try:
            grace, _ = _database(ioctx)
        except rados.ObjectNotFound:
            return Shared(configured=configured)
        servers = {name: _with_clients(ioctx, grace, name) for name in grace.servers}
    return Shared(grace=replace(grace, servers=servers), configured=configured)


def _configure(handle: Any, cluster: str) -> None:
    rados = library()
    with _opened(handle, cluster) as ioctx, rados.WriteOpCtx() as operation:
        operation.new(rados.LIBRADOS_CREATE_IDEMPOTENT)
        ioctx.operate_write_op(operation, _configuration(cluster))


def _join(handle: Any, cluster: str, server: str) -> None:
    rados = library()
    with _opened(handle, cluster) as ioctx:
        with suppress(rados.ObjectExists), rados.WriteOpCtx() as operation:
            operation.new(rados.LIBRADOS_CREATE_EXCLUSIVE)
            operation.write_full(_FIRST)
            ioctx.operate_write_op(operation, _GRACE)
        for grace, version in _attempts(ioctx):
            if server in grace.servers:
                return
            with rados.WriteOpCtx() as operation:
                operation.assert_version(version)
                ioctx.set_omap(operation, (server,), (bytes((_ENFORCING,)),))
                if _written(ioctx, operation):
                    return


def _leave(handle: Any, cluster: str, server: str) -> None:
    rados = library()
    with _opened(handle, cluster) as ioctx:
        # The key goes last: by it, what is half done is found.
        for name in [found.key for found in ioctx.list_objects() if _is_record(found.key, server)]:
            with suppress(rados.ObjectNotFound):
                ioctx.remove_object(name)
        try:
            for grace, version in _attempts(ioctx):
                if server not in grace.servers:
                    return
                with rados.WriteOpCtx() as operation:
                    operation.assert_version(version)
                    ioctx.remove_omap_keys(operation, (server,))
                    if _ends_grace(grace, server):
                        operation.write_full(_EPOCHS.pack(grace.current, 0))
                    if _written(ioctx, operation):
                        return
        except rados.ObjectNotFound:
            return


def _ends_grace(grace: Grace, server: str) -> bool:
    """Whether a grace period was waiting for this server and for no other."""
    return {name for name, found in grace.servers.items() if found.needs_grace} == {server}


def _attempts(ioctx: Any) -> Iterator[tuple[Grace, int]]:
    """The database and its version, each time anew: a change that was decided on an older one is not made.

    Raises:
        CephError: It changes all the time.
    """
    for _ in range(_TRIES):
        yield _database(ioctx)
    raise _restless()


def _database(ioctx: Any) -> tuple[Grace, int]:
    """The database as it was at one moment, and its version."""
    for _ in range(_TRIES):
        flags = keys(ioctx, _GRACE)
        version = ioctx.get_last_version()
        body = ioctx.read(_GRACE, _EPOCHS.size)
        if ioctx.get_last_version() == version:
            return parse(body, flags), version
    raise _restless()


def _restless() -> CephError:
    return CephError(errno.EAGAIN, f"object {_GRACE} of pool {POOL} changes all the time")


def _written(ioctx: Any, operation: Any) -> bool:
    """Carries a change of the database out and tells the servers; False: it is of another version by now."""
    rados = library()
    try:
        ioctx.operate_write_op(operation, _GRACE)
    except rados.OSError as error:
        if error.errno in (errno.ERANGE, errno.EOVERFLOW):
            return False
        raise
    # A server that does not answer looks by itself within seconds.
    with suppress(rados.Error):
        ioctx.notify(_GRACE, "", _NOTIFY_MS)
    return True


def _with_clients(ioctx: Any, grace: Grace, name: str) -> Server:
    """A server with its clients: those of both epochs, as a server that has just ended has only the older record."""
    found: set[str] = set()
    for epoch in {grace.current, grace.recovering} - {0}:
        with suppress(library().ObjectNotFound):
            found.update(client_address(record) for record in keys(ioctx, _record(epoch, name)).values())
    return replace(grace.servers[name], clients=tuple(sorted(found)))


def _exists(ioctx: Any, name: str) -> bool:
    try:
        ioctx.stat(name)
    except library().ObjectNotFound:
        return False
    return True


def _configuration(cluster: str) -> str:
    return f"conf-nfs.{cluster}"


def _record(epoch: int, server: str) -> str:
    return f"rec-{epoch:016x}:{server}"


def _is_record(name: str, server: str) -> bool:
    return name.startswith("rec-") and name.partition(":")[2] == server


def _opened(handle: Any, cluster: str) -> Any:
    ioctx = handle.open_ioctx(POOL)
    ioctx.set_namespace(cluster)
    return ioctx
