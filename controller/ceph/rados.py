"""Talking to a Ceph cluster: commands to its mons and mgr through librados, without a process for each question.

librados blocks, so its calls run in worker threads, few at a time, and every call has a time limit inside librados
itself: a thread that was given up on ends soon after. The key is passed in memory only.
"""

from __future__ import annotations

import errno
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

import anyio
import anyio.to_thread
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType, TracebackType

log = structlog.get_logger(__name__)

DEFAULT_TIMEOUT = 15.0
"""Seconds that a command may take; upstream's ROOK_CEPH_COMMANDS_TIMEOUT_SECONDS."""
CONNECT_TIMEOUT = 5.0
"""Seconds to find a mon that answers. Short: who connects to a cluster that is only starting looks again soon."""
GRACE = 1.0
"""Seconds that librados gets beyond its own time limit, since it can say better than we what it waited for."""
MAX_CALLS = 4
"""librados calls in flight per cluster, so that a cluster that does not answer holds few threads."""


class CephError(Exception):
    """A command that the cluster refused, or that it did not answer in time.

    Attributes:
        errno: The positive error number, such as `errno.ENOENT`.
        message: What the cluster said.
        output: What it answered all the same, decoded; None where it answered nothing.
    """

    def __init__(self, number: int, message: str, output: Any = None) -> None:
        super().__init__(f"{message} ({errno.errorcode.get(number, number)})")
        self.errno = number
        self.message = message
        self.output = output

    @property
    def is_not_found(self) -> bool:
        """Whether what was asked for does not exist."""
        return self.errno == errno.ENOENT


class Cluster(Protocol):
    """A Ceph cluster that answers commands. What it answers is decoded JSON, or text where it is no JSON."""

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        """Asks the mons, e.g. `mon("osd pool ls", detail="detail")`.

        Raises:
            CephError: It was refused, or not answered in time.
        """

    async def mgr(self, prefix: str, /, **args: Any) -> Any:
        """Asks the active mgr, e.g. `mgr("pg dump", dumpcontents=["sum"])`.

        Raises:
            CephError: It was refused, or not answered in time.
        """


@dataclass(frozen=True, slots=True)
class Access:
    """What it takes to connect: `mon_hosts` as `mon_host` lists them, and the cephx key of `user` ("client.admin")."""

    mon_hosts: tuple[str, ...]
    fsid: str
    user: str
    key: str = field(repr=False)


class RadosCluster:
    """A connection to one cluster by librados, made at the first command. Implements `Cluster`.

    Args:
        access: Where the mons are and who connects.
        timeout: Seconds that a command may take.
    """

    def __init__(self, access: Access, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.access = access
        self._timeout = timeout
        self._limiter = anyio.CapacityLimiter(MAX_CALLS)
        self._connecting = anyio.Lock()
        self._handle: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        """See `Cluster.mon`."""
        return await self._command("mon_command", prefix, args)

    async def mgr(self, prefix: str, /, **args: Any) -> Any:
        """See `Cluster.mgr`."""
        return await self._command("mgr_command", prefix, args)

    async def handle(self) -> Any:
        """The connected `rados.Rados`, for what is not a command: I/O contexts for librbd.

        Raises:
            CephError: No mon answered in time, or the key was refused.
        """
        async with self._connecting:
            if self._handle is None:
                self._handle = await self._call(lambda: _connect(self.access, self._timeout))
        return self._handle

    async def call[T](self, function: Callable[[], T], *, seconds: float | None = None) -> T:
        """Runs a blocking librados or librbd call in one of this cluster's worker threads.

        Args:
            function: The call; it must itself end some time, since a thread cannot be stopped.
            seconds: How long it may take. None: the time limit of commands.
        """
        return await self._call(function, seconds=seconds)

    async def close(self) -> None:
        """Disconnects. Commands in flight fail."""
        handle, self._handle = self._handle, None
        if handle is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(handle.shutdown, limiter=self._limiter)

    async def _command(self, method: str, prefix: str, args: Mapping[str, Any]) -> Any:
        handle = await self.handle()
        command = json.dumps({"prefix": prefix, "format": "json", **args})
        seconds = int(self._timeout)
        number, output, message = await self._call(lambda: getattr(handle, method)(command, b"", seconds))
        if number:
            raise CephError(abs(number), f"{prefix}: {message or 'failed'}", _decode(output))
        return _decode(output)

    async def _call[T](self, function: Callable[[], T], *, seconds: float | None = None) -> T:
        limit = (seconds or self._timeout) + GRACE
        try:
            with anyio.fail_after(limit):
                return await anyio.to_thread.run_sync(function, limiter=self._limiter, abandon_on_cancel=True)
        except TimeoutError:
            raise CephError(errno.ETIMEDOUT, f"no answer within {limit:g} s") from None
        except Exception as error:
            number = getattr(error, "errno", None)
            if isinstance(error, CephError) or number is None:
                raise
            raise CephError(abs(number), str(error)) from error


def _rados() -> ModuleType:
    import rados  # a system library of the operator's image, absent where only plans are computed

    module: ModuleType = rados
    return module


def _connect(access: Access, timeout: float) -> Any:
    options = {
        "fsid": access.fsid,
        "mon_host": ",".join(access.mon_hosts),
        "key": access.key,
        "client_mount_timeout": str(math.ceil(CONNECT_TIMEOUT)),
        "rados_mon_op_timeout": str(math.ceil(timeout)),
        "rados_osd_op_timeout": str(math.ceil(timeout)),
        # A mon that is only starting refuses connections; by default the next try is 3 s later.
        "mon_client_hunt_interval": "0.5",
        "mon_client_hunt_interval_backoff": "1.5",
        "mon_client_hunt_interval_max_multiple": "4",
        "ms_async_op_threads": "1",
        "log_to_stderr": "false",
        "log_file": "",
        "admin_socket": "",
    }
    handle = _rados().Rados(name=access.user, conf=options)
    try:
        handle.connect()
    except BaseException:
        handle.shutdown()
        raise
    return handle


def _decode(output: bytes) -> Any:
    text = output.decode("utf-8", "replace").strip()
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


class Connections:
    """One connection for each cluster that is served, by namespace; replaced when its mons or its key change."""

    def __init__(self, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._timeout = timeout
        self._clusters: dict[str, RadosCluster] = {}

    async def cluster(self, namespace: str, access: Access) -> RadosCluster:
        """The connection to the cluster of `namespace`; it is made at the first command."""
        current = self._clusters.get(namespace)
        if current is not None and _reaches(current.access, access):
            return current
        fresh = self._clusters[namespace] = RadosCluster(access, timeout=self._timeout)
        if current is not None:
            await current.close()
        return fresh

    def get(self, namespace: str) -> RadosCluster | None:
        """The connection to the cluster of `namespace`, or None while it was not reached yet."""
        return self._clusters.get(namespace)

    async def close(self, namespace: str) -> None:
        """Forgets the cluster of `namespace`."""
        cluster = self._clusters.pop(namespace, None)
        if cluster is not None:
            await cluster.close()

    async def close_all(self) -> None:
        """Forgets every cluster."""
        for namespace in tuple(self._clusters):
            await self.close(namespace)


def _reaches(current: Access, wanted: Access) -> bool:
    """Whether the connection made with `current` serves `wanted`: the same cluster and key, and a mon in common.

    A client learns of mons that were added or removed from the mons themselves.
    """
    same = (current.fsid, current.user, current.key) == (wanted.fsid, wanted.user, wanted.key)
    return same and not set(current.mon_hosts).isdisjoint(wanted.mon_hosts)


def mon_hosts(addresses: Sequence[str], *, msgr2_only: bool = False) -> tuple[str, ...]:
    """What `mon_host` says of mons at these IP addresses: both of a mon's protocols, or the second alone."""
    hosts = [f"[{address}]" if ":" in address else address for address in addresses]
    if msgr2_only:
        return tuple(f"[v2:{host}:3300]" for host in hosts)
    return tuple(f"[v2:{host}:3300,v1:{host}:6789]" for host in hosts)
