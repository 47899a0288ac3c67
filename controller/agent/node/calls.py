"""What is common to the calls of a CSI service: errors become gRPC status codes, each call is counted and logged.

Requests are never logged: they carry secrets.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import grpc
import grpc.aio
import structlog
from prometheus_client import CollectorRegistry, Histogram

from controller.agent.node.driver import UnavailableError, VolumeError
from controller.agent.system.command import CommandError
from controller.agent.system.filesystem import FilesystemError
from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

_log = structlog.get_logger(__name__)

_QUIET = {
    "ControllerGetCapabilities",
    "GetPluginCapabilities",
    "GetPluginInfo",
    "NodeGetCapabilities",
    "NodeGetInfo",
    "NodeGetVolumeStats",
    "Probe",
}
"""Calls that are repeated all the time: logged only when they fail."""


class Starter(Protocol):
    """What of a task group is needed here."""

    def start_soon(self, function: Callable[[], Coroutine[Any, Any, None]], /) -> object:
        """Starts a task."""
        ...


class CsiError(Exception):
    """A call is refused; the status code says to the kubelet what may be done about it."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


CALL_SECONDS = 100.0
"""Seconds after which a call is answered though its operation goes on: the kubelet gives up after 120 s."""

MOST = 900
"""Characters of an error that the kubelet is told: it puts some before them, and an event of a pod takes 1024."""


class _Operation:
    """An operation that is under way."""

    def __init__(self, name: str, scope: anyio.CancelScope | None = None) -> None:
        self.ended = anyio.Event()
        self._name = name
        self._scope = scope
        self._began = time.monotonic()

    async def awaited(self) -> None:
        """Waits until it has ended; one that gives way ends now."""
        if self._scope is not None:
            self._scope.cancel()
        await self.ended.wait()

    def __str__(self) -> str:
        return f"{self._name} has been running for {time.monotonic() - self._began:.0f} s and goes on"


class Operations:
    """Runs one operation at a time for each volume, to its end even if the call that asked for it is cancelled.

    An operation that was cut off in the middle of mkfs or fsck would be worse than one that goes on. A call that finds
    another operation on its volume under way waits for it.

    Args:
        tasks: Owns the operations.
        seconds: How long a call waits for an answer.
    """

    def __init__(self, tasks: Starter, *, seconds: float = CALL_SECONDS) -> None:
        self._tasks = tasks
        self._seconds = seconds
        self._busy: dict[str, _Operation] = {}
        self._closing = False

    async def run[T](self, volume: str, operation: Callable[[], Awaitable[T]], name: str = "an operation") -> T:
        """The result of `operation`.

        Args:
            volume: The volume's id.
            operation: What to do.
            name: What it is called in messages.

        Raises:
            CsiError: ABORTED, another operation on the volume is still under way; DEADLINE_EXCEEDED, this one is;
                UNAVAILABLE, the agent is ending.
        """
        with anyio.move_on_after(self._seconds):
            while (busy := self._busy.get(volume)) is not None:
                await busy.awaited()
        if busy is not None:
            raise CsiError(grpc.StatusCode.ABORTED, f"volume {volume}: {busy}")
        if self._closing:
            raise CsiError(grpc.StatusCode.UNAVAILABLE, "the agent is ending and begins nothing new")
        mine = self._busy[volume] = _Operation(name)
        result: list[T] = []
        failure: list[Exception] = []

        async def work() -> None:
            try:
                result.append(await operation())
            except Exception as error:
                failure.append(error)
            finally:
                del self._busy[volume]
                mine.ended.set()

        self._tasks.start_soon(work)
        with anyio.move_on_after(self._seconds):
            await mine.ended.wait()
        if failure:
            raise failure[0]
        if not result:
            raise CsiError(grpc.StatusCode.DEADLINE_EXCEEDED, f"volume {volume}: {mine}; it is not done again")
        return result[0]

    async def run_aside[T](self, volume: str, operation: Callable[[], Awaitable[T]], name: str) -> T | None:
        """The result of an operation that nobody waits for: it is cut off as soon as another one is asked for.

        Args:
            volume: The volume's id.
            operation: What to do. It may be cut off at any point, and does not take long to end then.
            name: What it is called in messages.

        Returns:
            The result; None: it was cut off, or has not begun, since another operation on the volume is under way.
        """
        if volume in self._busy or self._closing:
            return None
        with anyio.CancelScope() as scope:
            mine = self._busy[volume] = _Operation(name, scope)
            try:
                return await operation()
            finally:
                del self._busy[volume]
                mine.ended.set()
        return None

    async def drained(self) -> None:
        """Begins no new operation, and waits until none is left, however long that takes. What gives way is cut off."""
        self._closing = True
        while self._busy:
            await next(iter(self._busy.values())).awaited()


class Interceptor(grpc.aio.ServerInterceptor):
    """Turns errors into status codes, and counts and logs each call.

    Args:
        registry: Where the metric goes.
        metric: Its name.
        status: The status code of an error, and the text for the caller.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        metric: str = "rook_agent_csi_call_seconds",
        status: Callable[[Exception], tuple[grpc.StatusCode, str]] | None = None,
    ) -> None:
        self._status = status or status_of
        self._seconds = Histogram(
            metric,
            "Time that CSI calls took, by method and gRPC status code.",
            ("method", "code"),
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120),
            registry=registry,
        )

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wraps the handler of one method."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        method = str(handler_call_details.method).rpartition("/")[2]
        inner: Callable[[Any, Any], Awaitable[Any]] = handler.unary_unary

        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            started = time.monotonic()
            code, message = grpc.StatusCode.OK, ""
            try:
                return await inner(request, context)
            except Exception as error:
                code, message = self._status(error)
            finally:
                elapsed = time.monotonic() - started
                self._seconds.labels(method, code.name).observe(elapsed)
                _report(method, getattr(request, "volume_id", ""), code, message, elapsed)
            return await context.abort(code, message)

        return grpc.unary_unary_rpc_method_handler(
            call, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
        )


def status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    """The status code of an error, by the tables of the CSI specification, and the text for the kubelet's events."""
    text = brief(error, MOST)
    match error:
        case CsiError():
            return error.code, text
        case FilesystemError():
            return grpc.StatusCode.FAILED_PRECONDITION, text
        case UnavailableError():
            return grpc.StatusCode.UNAVAILABLE, text
        case TimeoutError():
            return grpc.StatusCode.DEADLINE_EXCEEDED, text if str(error) else "not done in time"
        case CommandError() | VolumeError() | OSError():
            return grpc.StatusCode.INTERNAL, text
    return grpc.StatusCode.INTERNAL, brief(f"{type(error).__name__}: {error}", MOST)


def _report(method: str, volume: str, code: grpc.StatusCode, message: str, elapsed: float) -> None:
    if code is not grpc.StatusCode.OK:
        _log.warning(
            "call failed", method=method, volume=volume, code=code.name, error=message, seconds=round(elapsed, 3)
        )
    elif method not in _QUIET:
        _log.info("call", method=method, volume=volume, seconds=round(elapsed, 3))
