"""What a controller calls: a Reconciler brings one object from its actual to its desired state, by name.

A request carries no event. The reconciler reads the state itself, so that missed, repeated and merged events cannot
mislead it, and running it twice does no harm.
"""

from __future__ import annotations

import math
import secrets
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from informers import Resource
    from informers.scope import Scope


_PROCESS = secrets.token_hex(4)
"""Makes reconcile ids differ between processes."""


class Request(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """The object to reconcile.

    Attributes:
        namespace: Its namespace, empty for a kind without namespaces.
        name: Its name.
    """

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Result:
    """What happens after a reconcile without an error.

    Attributes:
        requeue_after: Seconds after which to reconcile again without a change. None: only after a change. Zero or less:
            as soon as the controller's rate limiter allows, which is at once the first time, and after growing pauses
            while the result stays so.

    Raises:
        ValueError: `requeue_after` is not a number.
    """

    requeue_after: float | None = None

    def __post_init__(self) -> None:
        if self.requeue_after is not None and math.isnan(self.requeue_after):
            raise ValueError("Result: requeue_after is not a number, must be seconds or None")


type ReconcileFunction = Callable[[Request], Awaitable[Result | None]]
"""Brings the object that a request names closer to its desired state: `Reconciler.reconcile` as a plain function."""


class Reconciler(Protocol):
    """Reconciles objects of one kind. The controller never runs it for the same request twice at the same time."""

    async def reconcile(self, request: Request) -> Result | None:
        """Brings the object that `request` names closer to its desired state.

        The object may be gone. An exception is a failure: the request is retried with exponential backoff.

        Returns:
            When to reconcile again. None means the same as `Result()`: only after a change.

        Raises:
            RetryAfterError: A failure that names the time after which it is retried.
            TerminalError: A failure that is not retried until something changes.
        """
        ...


class TerminalError(Exception):
    """A failure that only a change can end; the request is not retried."""


class RetryAfterError(Exception):
    """A failure that names the time of the retry. It is counted as a failure, but not for the request's backoff.

    Attributes:
        retry_after: Seconds after which to reconcile again; more than zero.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(slots=True, eq=False)
class Write:
    """A write that was sent to the API server.

    Attributes:
        resource: The kind of object written.
        namespace: Its namespace, empty for a kind without.
        name: Its name; empty as long as only the server knows it.
        resource_version: The version to which a cache must have got to show it. None as long as that is not known.
            Zero for a deletion, whose answer has none.
        answered: The version in the answer; zero if there was none.
        deleted_uid: For a deletion: the uid of the object that is to go away.
        absent: Whether there was no such object when that was looked up, since an answer was missing.
        labels: Of the object as written: they tell which caches with selectors are to show it.
        lists_begun: How many lists each scope had begun when the answer came. A later list shows the write, whatever
            its version is.
    """

    resource: Resource
    namespace: str
    name: str
    resource_version: int | None = None
    answered: int = 0
    deleted_uid: str = ""
    absent: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    lists_begun: Mapping[Scope, int] = field(default_factory=dict, repr=False)


@dataclass(slots=True, eq=False)
class Reconcile:
    """The reconcile that a task is part of, and what it has written so far.

    Attributes:
        controller: The controller's name.
        request: What is being reconciled.
        number: Counts this process's reconciles.
        writes: In order, but those of which it is certain that they were not carried out. The next reconcile of the
            same request comes after the caches have seen them.
    """

    controller: str
    request: Request
    number: int
    writes: list[Write] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Names the reconcile in logs, traces and debug pages; no other reconcile of any process has it."""
        return f"{_PROCESS}-{self.number}"


current_reconcile: ContextVar[Reconcile | None] = ContextVar("current_reconcile", default=None)
"""Set by the controller's worker, inherited by the tasks that the reconciler starts."""
