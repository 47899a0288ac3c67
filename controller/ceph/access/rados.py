"""Talking to a Ceph cluster: commands to its mons and mgr through librados, without a process for each question.

librados blocks, so its calls run in worker threads, and every command has a time limit inside librados itself: a thread
that was given up on ends soon after. Calls to librbd have no such limit and may hang for as long as OSDs do not answer;
they have threads of their own (`controller.ceph.access.threads`). The key is passed in memory only.
"""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Any, Protocol, Self

import anyio
import anyio.to_thread
import structlog

from controller.ceph.access.librados import CONNECT_TIMEOUT, Access, command_of, connect, decode, decoded, options
from controller.ceph.access.mds import tell
from controller.ceph.access.memory import QUESTIONS, READS, Memory
from controller.ceph.access.threads import Lane, Threads
from workqueue import loop_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

log = structlog.get_logger(__name__)

DEFAULT_TIMEOUT = 15.0
"""Seconds that a command may take; upstream's ROOK_CEPH_COMMANDS_TIMEOUT_SECONDS."""
GRACE = 1.0
"""Seconds that librados gets beyond its own time limit, since it can say better than we what it waited for."""
VITAL_TIMEOUT = 6.0
"""Seconds for the mons to say how they and the cluster are: more than an election takes, less than a command may."""
VITAL = frozenset({"quorum_status", "status"})
"""The commands whose answers are needed most when everything else hangs."""
CLOSING_TIMEOUT = 5.0
"""Seconds that the end of the process waits for connections to be shut."""


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
    """A Ceph cluster that answers commands.

    What it answers is decoded JSON, or text where it is no JSON; of some long answers only what is read of them, as
    `controller.ceph.access.answers` says.
    """

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


class RadosCluster:
    """A connection to one cluster by librados, made at the first use. Implements `Cluster`.

    Args:
        access: Where the mons are and who connects.
        timeout: Seconds that a command may take.
        threads: Where calls run. Shared by the connections that follow each other to the same cluster.
        patient: Whether librados itself waits for answers without end. Whoever asks waits for no longer all the same.
    """

    def __init__(
        self,
        access: Access,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        threads: Threads | None = None,
        patient: bool = False,
    ) -> None:
        self.access = access
        self._timeout = timeout
        self._threads = threads if threads is not None else Threads()
        self._patient = patient
        self._to_mgrs: RadosCluster | None = None
        self._handle: Any = None
        self._attempt: _Attempt | None = None
        self._users = 0
        self._closed = False
        self._memory = Memory(loop_clock())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await _ended(*self.close())

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        """See `Cluster.mon`. Long answers may be those of a moment ago: see `controller.ceph.access.memory`."""
        command, memory = command_of(prefix, args), self._memory
        if prefix in QUESTIONS:
            answer = decode(await self._ask("mon_command", prefix, command))
            if prefix == "status":
                memory.heard(answer)
            return answer
        if prefix in READS:
            question, writes = (prefix, command), memory.writes
            output = memory.recall(question)
            if output is None:
                output = await self._ask("mon_command", prefix, command)
                memory.keep(question, output, writes)
            return await decoded(output, prefix)
        try:
            return await decoded(await self._ask("mon_command", prefix, command), prefix)
        finally:
            memory.wrote()

    async def mgr(self, prefix: str, /, **args: Any) -> Any:
        """See `Cluster.mgr`.

        Asked through a connection without librados' own time limit: librados keeps the place for an answer on the stack
        of whoever waits, and gives no way to take the question back when the limit has passed.
        """
        if self._patient:
            return await decoded(await self._ask("mgr_command", prefix, command_of(prefix, args)), prefix)
        if self._closed:
            raise _closed()
        if self._to_mgrs is None:
            self._to_mgrs = RadosCluster(self.access, timeout=self._timeout, threads=self._threads, patient=True)
        return await self._to_mgrs.mgr(prefix, **args)

    async def mds(self, roles: Sequence[str], prefix: str, /, **args: Any) -> list[Any]:
        """The answers of the MDS daemons that hold these ranks ("myfs:0"), in their order.

        Raises:
            CephError: They did not answer in time, or one refused.
        """
        if self._closed:
            raise _closed()
        user, conf, command = self.access.user, options(self.access, self._timeout), command_of(prefix, args)
        seconds = self._timeout

        def ask() -> list[Any]:
            return tell(user, conf, roles, command, seconds=seconds)

        return await self._run(Lane.MDSS, ask, seconds + GRACE, lambda: None)

    async def use[T](self, function: Callable[[Any], T], *, lane: Lane, seconds: float) -> T:
        """Runs a blocking call of librados or librbd in a worker thread.

        Args:
            function: The call; it gets the connected `rados.Rados`.
            lane: Whose threads it may take.
            seconds: How long it may take, from when it begins. Its thread goes on after that, and holds its place.

        Raises:
            CephError: No mon answered in time, the key was refused, the call failed or did not return in time, or too
                many calls before it have not returned (`errno.EBUSY`).
        """
        handle = await self._connected()
        if self._closed:
            raise _closed()
        self._users += 1
        return await self._run(lane, lambda: function(handle), seconds, self._left)

    def close(self) -> tuple[threading.Thread, ...]:
        """Disconnects as soon as no call is under way any more; those that are go on. New ones fail.

        Returns:
            The threads that disconnect; none where there is nothing to do now.
        """
        self._closed = True
        thread = self._shut_if_unused()
        others = self._to_mgrs.close() if self._to_mgrs is not None else ()
        return (*others, *([thread] if thread is not None else []))

    async def _connected(self) -> Any:
        """The handle. All who need it wait for the same attempt, which goes on though they give up."""
        while self._handle is None:
            if self._closed:
                raise _closed()
            attempt = self._attempt
            if attempt is None:
                await self._connect()
                continue
            with anyio.move_on_after(CONNECT_TIMEOUT + GRACE) as scope:
                await attempt.settled.wait()
            if scope.cancelled_caught:
                raise CephError(errno.ETIMEDOUT, f"no mon answered within {CONNECT_TIMEOUT:g} s")
            if attempt.error is not None:
                raise _told(attempt.error)
        return self._handle

    async def _connect(self) -> None:
        attempt = self._attempt = _Attempt(self.access, 0.0 if self._patient else self._timeout)
        self._users += 1

        def settled() -> None:
            self._attempt, self._handle = None, attempt.handle
            attempt.settled.set()
            self._left()

        await self._run(Lane.VITAL, attempt.make, CONNECT_TIMEOUT + GRACE, settled)

    def _left(self) -> None:
        self._users -= 1
        self._shut_if_unused()

    def _shut_if_unused(self) -> threading.Thread | None:
        if not self._closed or self._users or self._handle is None:
            return None
        thread = threading.Thread(target=self._handle.shutdown, name="ceph-shutdown", daemon=True)
        self._handle = None
        thread.start()
        return thread

    async def _ask(self, method: str, prefix: str, command: str) -> bytes:
        seconds = int(self._timeout)

        def ask(handle: Any) -> tuple[int, bytes, str]:
            answer: tuple[int, bytes, str] = getattr(handle, method)(command, b"", seconds)
            return answer

        if prefix in VITAL:
            number, output, message = await self.use(ask, lane=Lane.VITAL, seconds=VITAL_TIMEOUT)
        else:
            lane = Lane.MGRS if self._patient else Lane.CONTROL
            number, output, message = await self.use(ask, lane=lane, seconds=self._timeout + GRACE)
        if number:
            raise CephError(abs(number), f"{prefix}: {message or 'failed'}", decode(output))
        return output

    async def _run[T](self, lane: Lane, function: Callable[[], T], seconds: float, settled: Callable[[], None]) -> T:
        try:
            return await self._threads.run(lane, function, seconds=seconds, settled=settled)
        except Exception as error:
            raise _told(error) from error


class _Attempt:
    """An attempt to connect: its handle or error is there when it has `settled`, whoever waits for it."""

    def __init__(self, access: Access, timeout: float) -> None:
        self.settled = anyio.Event()
        self.handle: Any = None
        self.error: Exception | None = None
        self._access, self._timeout = access, timeout

    def make(self) -> None:
        """Connects; blocks."""
        try:
            self.handle = connect(self._access, self._timeout)
        except Exception as error:
            self.error = error
            raise


def _told(error: Exception) -> Exception:
    """An error of librados or librbd as one of ours; others, which are mistakes of programs, as they are."""
    number = getattr(error, "errno", None)
    if isinstance(error, CephError) or number is None:
        return error
    return CephError(abs(number), error.strerror if isinstance(error, OSError) and error.strerror else str(error))


def _closed() -> CephError:
    return CephError(errno.ENOTCONN, "the connection was closed")


async def _ended(*threads: threading.Thread) -> None:
    """Waits for threads to end, for a while."""

    def join() -> None:
        for thread in threads:
            thread.join(CLOSING_TIMEOUT)

    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(join)


class Connections:
    """One connection for each cluster that is served, by namespace; replaced when its mons or its key change.

    Args:
        timeout: Seconds that a command may take.
        locate: Finds where the cluster of a namespace is and who connects; None while that is not known.
    """

    def __init__(
        self, *, timeout: float = DEFAULT_TIMEOUT, locate: Callable[[str], Access | None] = lambda _: None
    ) -> None:
        self._timeout = timeout
        self._locate = locate
        self._clusters: dict[str, RadosCluster] = {}
        self._threads: dict[str, Threads] = {}

    def cluster(self, namespace: str, access: Access) -> RadosCluster:
        """The connection to the cluster of `namespace`; it is made at the first command."""
        current = self._clusters.get(namespace)
        if current is not None and _reaches(current.access, access):
            return current
        if current is not None:
            current.close()
        threads = self._threads.setdefault(namespace, Threads())
        fresh = self._clusters[namespace] = RadosCluster(access, timeout=self._timeout, threads=threads)
        return fresh

    def get(self, namespace: str) -> RadosCluster | None:
        """The connection to the cluster of `namespace`, made on demand; None where nothing says how to reach it."""
        access = self._locate(namespace)
        return self.cluster(namespace, access) if access is not None else self._clusters.get(namespace)

    def close(self, namespace: str) -> None:
        """Forgets the connection to the cluster of `namespace`. It is shut when the last call has returned."""
        cluster = self._clusters.pop(namespace, None)
        if cluster is not None:
            cluster.close()

    async def close_all(self) -> None:
        """Forgets every connection, and waits for a while until those that nobody uses are shut."""
        clusters = tuple(self._clusters.values())
        self._clusters.clear()
        await _ended(*(thread for cluster in clusters for thread in cluster.close()))


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
