"""Leader election by a Lease: of several replicas one acts, the others stand by with warm caches.

The rules are client-go's (`tools/leaderelection`), with three additions:

- A standby follows the lease by a watch, so that it takes over as soon as the lease is let go, and asks the API server
  only when the lease has run out.
- The leader counts its lease from the moment at which it *sent* the last renewal that succeeded, and a write after
  `renew_deadline` from then is refused (`Elector.check`), whatever the rest of the process is doing: a process that was
  stopped or cut off cannot act when it comes back, even before it finds out that it has lost.
- Whoever sees another holder steps down at once.

Wall clocks are written into the lease for people to read, and never compared: how old another's renewal is, is judged
by the local monotonic clock from the moment at which it was first seen. So clocks that differ do no harm; only their
rates must agree to about `lease_duration / renew_deadline`.
"""

from __future__ import annotations

import math
import os
import random
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import anyio
import msgspec
import structlog

from controller.runtime.kube import LEASE, Lease, LeaseSpec
from informers import ApiError, TransportError
from workqueue import loop_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from informers import Client, JsonObject

log = structlog.get_logger(__name__)

JITTER = 0.2
"""Up to this share is added to waits, so that candidates do not move in step."""

FAILED_PERIOD = 0.25
"""Of the retry period, what a leader waits for after a renewal that failed.

An API server that is restarted may be back just before the deadline; of a few attempts until then each would be missed.
"""


class NotLeaderError(Exception):
    """A write was refused because this process does not hold the lease, or has not renewed it in time."""


def causes(error: BaseException) -> tuple[BaseException, ...]:
    """The errors that a group from task groups has in it; of any other error, itself."""
    if isinstance(error, BaseExceptionGroup):
        return tuple(cause for part in error.exceptions for cause in causes(part))
    return (error,)


def is_lost(error: BaseException) -> bool:
    """Whether an error is a `NotLeaderError`, or a group with one in it: then no object is at fault."""
    return any(isinstance(cause, NotLeaderError) for cause in causes(error))


class LeadershipLostError(Exception):
    """The lease could not be renewed in time, or another holds it. The process must end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderElection:
    """The lease to hold, and its timing in seconds.

    Attributes:
        namespace: Where the lease is.
        name: Its name; the `name` label of metrics.
        lease_duration: Time without a renewal after which others take the lease.
        renew_deadline: Time without a renewal after which the leader steps down. The difference to `lease_duration` is
            the time that requests under way have to arrive.
        retry_period: Time between renewals, and between attempts to take the lease.
    """

    namespace: str
    name: str
    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        if not self.lease_duration > self.renew_deadline > self.retry_period * (1 + JITTER) > 0:
            raise ValueError(
                f"leader election {self.namespace}/{self.name}: lease_duration {self.lease_duration:g} must be above "
                f"renew_deadline {self.renew_deadline:g}, and that above {1 + JITTER:g} x retry_period "
                f"{self.retry_period:g}"
            )


class LeaseClient(Protocol):
    """Reads and writes one lease."""

    async def get(self) -> Lease | None:
        """The lease as it is now, None if there is none."""
        ...

    async def create(self, spec: LeaseSpec) -> Lease:
        """Makes the lease; an ApiError (already exists) if another was faster."""
        ...

    async def update(self, spec: LeaseSpec, resource_version: str) -> Lease:
        """Changes the lease if it is still of that version; else an ApiError (conflict, or not found)."""
        ...


class KubeLease:
    """The lease in the API server. `client` must be one whose writes are not held back by the elector itself."""

    def __init__(self, client: Client, election: LeaderElection) -> None:
        self._client = client
        self._namespace = election.namespace
        self._name = election.name

    async def get(self) -> Lease | None:
        """The lease as it is now, None if there is none."""
        found = await self._client.find(LEASE, self._namespace, self._name)
        return None if found is None else _lease(found)

    async def create(self, spec: LeaseSpec) -> Lease:
        """Makes the lease."""
        body: JsonObject = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"namespace": self._namespace, "name": self._name},
            "spec": msgspec.to_builtins(spec),
        }
        return _lease(await self._client.create(LEASE, body))

    async def update(self, spec: LeaseSpec, resource_version: str) -> Lease:
        """Changes the lease's spec; labels and annotations that others have set stay."""
        body: JsonObject = {
            "metadata": {"resourceVersion": resource_version},
            "spec": {name: getattr(spec, field) for field, name in _LEASE_FIELDS},
        }
        changed = await self._client.patch(
            LEASE, self._namespace, self._name, body, content_type="application/merge-patch+json"
        )
        return _lease(changed)


def _lease(answer: JsonObject) -> Lease:
    try:
        lease = msgspec.convert(answer, Lease)
    except msgspec.ValidationError as error:
        raise TransportError(f"the answer is no Lease: {error}") from error
    if not lease.metadata.resource_version.isdecimal():
        raise TransportError(f"the answer is no Lease: its version is {lease.metadata.resource_version!r}")
    return lease


_LEASE_FIELDS = tuple((field.name, field.encode_name) for field in msgspec.structs.fields(LeaseSpec))


def boot_time() -> float:
    """Monotonic seconds that go on while the machine is suspended: the others' clocks do not stop then either."""
    return time.clock_gettime(_BOOT_CLOCK)


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux has one of its own; macOS' monotonic clock goes on while the machine sleeps."""


class Elector:
    """One candidate for one lease.

    Args:
        leases: Access to the lease.
        election: Which lease, and its timing.
        identity: Unique among the candidates, and never used again after a restart.
        clock: Monotonic seconds; `boot_time`, but for an event loop with a clock of its own.
        now: The wall clock, for the times that people read in the lease.
        uniform: Random numbers from [0, 1).

    Attributes:
        slow_path: Renewals that found the lease changed and had to read it first.
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
        """Whether the lease of another was found to be deleted; `_seen_at` is when."""
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
        """Who held the lease when it was last seen; empty for nobody."""
        return (self._lease.spec.holder_identity or "") if self._lease is not None else ""

    @property
    def overdue(self) -> float:
        """Seconds by which a leader has outlived its deadline without stepping down; 0 for a healthy process."""
        if not self._leading:
            return 0.0
        return max(0.0, self._clock() - self._renewed - self.election.renew_deadline)

    def check(self) -> None:
        """To be called before each write.

        Raises:
            NotLeaderError: This process may not act.
        """
        if not self.leading:
            raise NotLeaderError(
                f"{self.identity} does not hold lease {self.election.namespace}/{self.election.name}, "
                f"or has not renewed it for {self.election.renew_deadline:g} s; last seen holder: {self.holder or '-'}"
            )

    def observe(self, lease: Lease) -> None:
        """Takes note of the lease as a watch or an answer shows it. What is older than what is known is ignored."""
        known = self._lease
        if known is not None and _version(lease) <= _version(known):
            return
        self._lease, self._missing = lease, False
        if known is None or (lease.metadata.uid, lease.spec) != (known.metadata.uid, known.spec):
            self._seen_at = self._clock()
            self._tell()

    def observe_deletion(self, lease: Lease) -> None:
        """Takes note that the lease is not there any more.

        Its leader makes it again at once, so that nobody finds it free; a standby waits as if it were still there.
        """
        known = self._lease
        if self._leading and known is not None and known.metadata.uid == lease.metadata.uid:
            self._lease = None
            self._next_renewal = -math.inf
            self._tell()

    async def acquire(self) -> None:
        """Returns once this process holds the lease; until then it waits, for as long as another renews it."""
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
        """Renews the lease for ever.

        Raises:
            LeadershipLostError: It could not be renewed in time, or another holds it. No write is let through any more.
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
                # Counted from the beginning of this attempt, so that slow answers do not eat up the deadline.
                began = self._clock()
                await self._try_to_renew(self._patience(remaining, failed=failed))
                failed = self._renewed < began
                period = self.election.retry_period * (FAILED_PERIOD if failed else 1)
                self._next_renewal = began + period * (1 - JITTER * self._uniform())
        finally:
            self._leading = False

    async def release(self) -> None:
        """Lets the lease go, so that another need not wait for its end. No write is let through from now on.

        It is a courtesy: where it fails, the lease runs out by itself.
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
                await self._read()  # a renewal that was cancelled under way may have arrived, or is about to

    @contextmanager
    def dead_mans_switch(self, abort: Callable[[int], object] = os._exit) -> Iterator[None]:
        """While the context lasts, ends the process when another may have taken the lease.

        For a leader that neither renews nor comes to an end: its event loop is stuck, a worker thread does not return,
        or the process was stopped for a while. A thread of its own does this, since nothing else can be relied on then.

        Args:
            abort: Ends the process with an exit code, from whichever thread calls it, and whatever the others do.
        """
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(max(0.0, self._taken_from - self._clock())):
                if self._clock() >= self._taken_from:
                    # Not by the log: whoever holds its lock may be what is stuck.
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
        """When, by the own clock, another candidate may take the lease at the earliest."""
        return self._renewed + self.election.lease_duration

    def _free_in(self) -> float:
        """Seconds until the lease may be taken, as far as is known."""
        if self._lease is None or self.holder in ("", self.identity):
            return 0.0
        # Never sooner than by the own settings: whoever holds it may not know yet what others have written into it.
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
        """Seconds that an attempt may take, which leave time for another: it may hang on a connection that is dead.

        A server that is slow has half of the deadline. After a failure it is half of what remains, so that a network
        which comes back shortly before the deadline is found by an attempt that begins then.
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
                        return  # `hold` sees it too
                    await self._write()
        except (ApiError, TransportError, TimeoutError) as error:
            log.warning(
                "Could not renew the lease",
                lease=self.election.name,
                seconds_left=round(self._renewed + self.election.renew_deadline - self._clock(), 1),
                error=str(error) or type(error).__name__,
            )

    async def _read(self) -> None:
        """Takes note of the lease as the API server has it."""
        known = self._lease
        found = await self._leases.get()
        if found is None and self.holder not in ("", self.identity) and not self._missing:
            # Who holds it may not know, and may have renewed it just before: it has as long as after a renewal.
            self._missing, self._seen_at = True, self._clock()
            return
        if found is None or (known is not None and _version(found) < _version(known)):
            # It was deleted; or the server's data were restored from a backup: a read shows all that was known before.
            self._lease = None
        if found is not None:
            self.observe(found)

    async def _write(self) -> None:
        """Writes the lease in this candidate's name, over what was last seen."""
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
