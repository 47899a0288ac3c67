"""Leader election by a Lease: one of several replicas acts, and the others stand by with warm caches.

The rules are client-go's (`tools/leaderelection`), with three additions:

- A standby watches the lease. It takes over as soon as the holder releases the lease, and asks the API server only
  when the lease has expired.
- The leader counts its lease from the moment at which it *sent* the last successful renewal. `Elector.check` refuses
  writes later than `renew_deadline` after that moment, whatever the rest of the process does. So a process that was
  stopped or cut off cannot act when it comes back, even before it notices that it has lost the lease.
- A leader that sees another holder steps down at once.

The lease contains wall-clock times for people to read; the elector never compares them. It measures the age of another
holder's renewal by the local monotonic clock, from the moment at which it first saw that renewal. So clocks may differ;
only their rates must agree to about `lease_duration / renew_deadline`.
"""

from __future__ import annotations

import math
import os
import random
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
import msgspec
import structlog

from controller.runtime.kube import LeaseSpec
from controller.runtime.lease import JITTER
from informers import ApiError, TransportError
from workqueue import loop_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from controller.runtime.kube import Lease
    from controller.runtime.lease import LeaderElection, LeaseClient

log = structlog.get_logger(__name__)

FAILED_PERIOD = 0.25
"""Share of the retry period that a leader waits after a failed renewal.

A restarting API server may be back just before the deadline, and a few attempts until then could all come too early.
"""


class NotLeaderError(Exception):
    """A write is refused because this process does not hold the lease, or has not renewed it in time."""


def causes(error: BaseException) -> tuple[BaseException, ...]:
    """The errors inside an exception group, at any depth; for any other error, the error itself."""
    if isinstance(error, BaseExceptionGroup):
        return tuple(cause for part in error.exceptions for cause in causes(part))
    return (error,)


def is_lost(error: BaseException) -> bool:
    """Whether an error is a `NotLeaderError` or a group that contains one. No object is the cause of such an error."""
    return any(isinstance(cause, NotLeaderError) for cause in causes(error))


class LeadershipLostError(Exception):
    """The lease could not be renewed in time, or another holds it. The process must end."""


def boot_time() -> float:
    """Monotonic seconds that also count while the machine is suspended, as the other candidates' clocks do."""
    return time.clock_gettime(_BOOT_CLOCK)


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux has a separate clock for this; the monotonic clock of macOS also counts while the machine sleeps."""


class Elector:
    """One candidate for one lease.

    Args:
        leases: Access to the lease.
        election: Which lease, and its timing.
        identity: Unique among the candidates, and never reused after a restart.
        clock: Monotonic seconds. Default: `boot_time`, or the clock of the event loop if it has its own.
        now: The wall clock, for the times that people read in the lease.
        uniform: Random numbers from [0, 1).

    Attributes:
        slow_path: Number of renewals that found the lease changed and had to read it first.
    """

    def __init__(
        self,
        leases: LeaseClient,
        election: LeaderElection,
        identity: str,
        *,
        clock: Callable[[], float] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.election = election
        self.identity = identity
        self.slow_path = 0
        self._leases = leases
        self._clock = clock or loop_clock(boot_time)
        self._now = now
        self._uniform = uniform
        self._lease: Lease | None = None
        self._seen_at = -math.inf
        self._missing = False
        """Whether another candidate's lease was found to be deleted; `_seen_at` is the time of that."""
        self._leading = False
        self._renewed = -math.inf
        self._next_renewal = -math.inf
        self._changed = anyio.Event()

    @property
    def leading(self) -> bool:
        """Whether this process may act now."""
        held = self._lease is None or self.holder == self.identity
        return self._leading and held and self._clock() < self._renewed + self.election.renew_deadline

    @property
    def holder(self) -> str:
        """The holder of the lease when it was last seen; empty if it had none."""
        return (self._lease.spec.holder_identity or "") if self._lease is not None else ""

    @property
    def overdue(self) -> float:
        """Seconds since the deadline of a leader that has not stepped down; 0 for a healthy process."""
        if not self._leading:
            return 0.0
        return max(0.0, self._clock() - self._renewed - self.election.renew_deadline)

    def check(self) -> None:
        """Refuses a write unless this process leads. Call it before each write.

        Raises:
            NotLeaderError: This process does not lead.
        """
        if not self.leading:
            raise NotLeaderError(
                f"{self.identity} does not hold lease {self.election.namespace}/{self.election.name}, "
                f"or has not renewed it for {self.election.renew_deadline:g} s; last seen holder: {self.holder or '-'}"
            )

    def observe(self, lease: Lease) -> None:
        """Records the lease as a watch or a response shows it, and ignores versions older than the known one."""
        known = self._lease
        if known is not None and _version(lease) <= _version(known):
            return
        self._lease, self._missing = lease, False
        if known is None or (lease.metadata.uid, lease.spec) != (known.metadata.uid, known.spec):
            self._seen_at = self._clock()
            self._tell()

    def observe_deletion(self, lease: Lease) -> None:
        """Records that the lease was deleted.

        The leader creates it again at once, so that no candidate finds it free. A standby waits as if it still existed.
        """
        known = self._lease
        if self._leading and known is not None and known.metadata.uid == lease.metadata.uid:
            self._lease = None
            self._next_renewal = -math.inf
            self._tell()

    async def acquire(self) -> None:
        """Waits until this process holds the lease, for as long as another candidate renews it."""
        while True:
            wait = self._free_in()
            if wait > 0:
                with anyio.move_on_after(wait * (1 + JITTER * self._uniform())):
                    await self._changed.wait()
                continue
            try:
                with anyio.fail_after(self.election.renew_deadline):
                    if await self._try_to_acquire():
                        log.info("Became the leader", identity=self.identity, lease=self.election.name)
                        return
            except (ApiError, TransportError, TimeoutError) as error:
                if isinstance(error, ApiError) and (error.is_conflict or error.is_already_exists):
                    log.info("Another candidate was faster", lease=self.election.name)
                else:
                    reason = str(error) or type(error).__name__
                    log.warning("Could not acquire the lease", lease=self.election.name, error=reason)
            await anyio.sleep(self.election.retry_period * (1 + JITTER * self._uniform()))

    async def hold(self) -> None:
        """Renews the lease until it is lost.

        Raises:
            LeadershipLostError: It could not be renewed in time, or another candidate holds it. From then on `check`
                refuses every write.
        """
        self._next_renewal = self._renewed + self.election.retry_period
        failed = False
        try:
            while True:
                if self._lease is not None and self.holder != self.identity:
                    raise LeadershipLostError(f"lease {self.election.name} is held by {self.holder or 'nobody'}")
                remaining = self._renewed + self.election.renew_deadline - self._clock()
                if remaining <= 0:
                    raise LeadershipLostError(
                        f"lease {self.election.name} could not be renewed for {self.election.renew_deadline:g} s"
                    )
                wait = self._next_renewal - self._clock()
                if wait > 0:
                    with anyio.move_on_after(min(wait, remaining)):
                        await self._changed.wait()
                    continue
                # The period counts from the start of this attempt, so that slow responses do not use up the deadline.
                began = self._clock()
                await self._try_to_renew(self._patience(remaining, failed=failed))
                failed = self._renewed < began
                period = self.election.retry_period * (FAILED_PERIOD if failed else 1)
                self._next_renewal = began + period * (1 - JITTER * self._uniform())
        finally:
            self._leading = False

    async def release(self) -> None:
        """Releases the lease, so that another candidate need not wait until it expires. Writes are refused from now on.

        Errors are logged and not raised: a lease that is not released expires by itself.
        """
        self._leading = False
        if self._lease is None or self.holder != self.identity:
            return
        try:
            with anyio.fail_after(self.election.retry_period * 2):
                await self._let_go()
            log.info("Released the lease", identity=self.identity, lease=self.election.name)
        except (ApiError, TransportError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            log.warning("Could not release the lease", lease=self.election.name, error=reason)

    async def _let_go(self) -> None:
        while self._lease is not None and self.holder == self.identity:
            spec = msgspec.structs.replace(
                self._lease.spec, holder_identity="", lease_duration_seconds=1, renew_time=self._timestamp()
            )
            try:
                self.observe(await self._leases.update(spec, self._lease.metadata.resource_version))
            except ApiError as error:
                if not error.is_conflict:
                    raise
                await self._read()  # a renewal that was cancelled in flight may have arrived, or may still arrive

    @contextmanager
    def dead_mans_switch(self, abort: Callable[[int], object] = os._exit) -> Iterator[None]:
        """Ends the process when another candidate may have taken the lease, for as long as the context lasts.

        This is for a leader that neither renews nor ends: its event loop is stuck, a worker thread does not return, or
        the process was stopped for a while. A separate thread does it, because nothing else can be relied on then.

        Args:
            abort: Ends the process with an exit code, from any thread, whatever the other threads do.
        """
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(max(0.0, self._taken_from - self._clock())):
                if self._clock() >= self._taken_from:
                    # Not through the logger: the thread that holds its lock may be the one that is stuck.
                    os.write(
                        2, f"{self.identity}: lease {self.election.name} ran out, process ended by force\n".encode()
                    )
                    abort(1)
                    return

        thread = threading.Thread(target=watch, name="dead-mans-switch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()

    @property
    def _taken_from(self) -> float:
        """The earliest time, by the own clock, at which another candidate may take the lease."""
        return self._renewed + self.election.lease_duration

    def _free_in(self) -> float:
        """Seconds until the lease may be taken, as far as this process knows."""
        if self._lease is None or self.holder in ("", self.identity):
            return 0.0
        # Never less than the own setting: the holder may not know yet what others have written into the lease.
        duration = max(self._lease.spec.lease_duration_seconds or 0, self.election.lease_duration)
        return self._seen_at + duration - self._clock()

    async def _try_to_acquire(self) -> bool:
        await self._read()
        if self._free_in() > 0:
            return False
        await self._write()
        self._leading = True
        return True

    def _patience(self, remaining: float, *, failed: bool) -> float:
        """Seconds that an attempt may take. They leave time for another one, as this one may hang on a dead connection.

        A slow server has half of the deadline. After a failure an attempt has half of the remaining time, so that a
        later attempt can use a network that comes back shortly before the deadline.
        """
        half = (remaining if failed else self.election.renew_deadline) / 2
        return min(remaining, max(half, self.election.retry_period * FAILED_PERIOD))

    async def _try_to_renew(self, patience: float) -> None:
        try:
            with anyio.fail_after(patience):
                try:
                    await self._write()
                except ApiError as error:
                    if not (error.is_conflict or error.is_already_exists or error.is_not_found):
                        raise
                    self.slow_path += 1
                    await self._read()
                    if self._lease is not None and self.holder != self.identity:
                        return  # `hold` notices it, too
                    await self._write()
        except (ApiError, TransportError, TimeoutError) as error:
            log.warning(
                "Could not renew the lease",
                lease=self.election.name,
                seconds_left=round(self._renewed + self.election.renew_deadline - self._clock(), 1),
                error=str(error) or type(error).__name__,
            )

    async def _read(self) -> None:
        """Records the lease as the API server has it."""
        known = self._lease
        found = await self._leases.get()
        if found is None and self.holder not in ("", self.identity) and not self._missing:
            # The holder may not know, and may have renewed just before: it has as much time as after a renewal.
            self._missing, self._seen_at = True, self._clock()
            return
        if found is None or (known is not None and _version(found) < _version(known)):
            # It was deleted, or the server's data was restored from a backup: otherwise no read is older than the known
            # version.
            self._lease = None
        if found is not None:
            self.observe(found)

    async def _write(self) -> None:
        """Writes the lease in this candidate's name, over the version that was last seen."""
        sent = self._clock()
        now = self._timestamp()
        old = self._lease.spec if self._lease is not None else LeaseSpec()
        mine = old.holder_identity == self.identity
        spec = LeaseSpec(
            holder_identity=self.identity,
            lease_duration_seconds=math.ceil(self.election.lease_duration),
            acquire_time=old.acquire_time if mine else now,
            renew_time=now,
            lease_transitions=(old.lease_transitions or 0) + (0 if mine or self._lease is None else 1),
        )
        if self._lease is None:
            written = await self._leases.create(spec)
        else:
            written = await self._leases.update(spec, self._lease.metadata.resource_version)
        self._renewed = sent
        self.observe(written)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _timestamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _version(lease: Lease) -> int:
    return int(lease.metadata.resource_version)
