"""OpenTelemetry spans of reconciles: each is a span, and the requests that it sends are spans within it.

Where there is no tracer nothing of this runs, and the library, which is optional, is not imported.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from controller.runtime.log import redact_text
from controller.runtime.reconciler import current_reconcile

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from controller.runtime.reconciler import Reconciler, Request, Result

NAME = "rook"
"""The instrumentation scope of our spans."""


def process_tracer() -> Tracer | None:
    """A tracer of the provider that this process has set up, as `opentelemetry-instrument` does; None if it has none.

    Only who has imported the library can have set one up, so a process without tracing does not even import it.
    """
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    tracer = provider.get_tracer(NAME)
    return None if isinstance(tracer, trace.NoOpTracer) else tracer  # OTEL_SDK_DISABLED


def traced(reconciler: Reconciler, tracer: Tracer) -> Reconciler:
    """`reconciler` with a span around each reconcile."""
    return _Traced(reconciler, tracer)


class _Traced:
    def __init__(self, reconciler: Reconciler, tracer: Tracer) -> None:
        self._reconciler = reconciler
        self._tracer = tracer

    async def reconcile(self, request: Request) -> Result | None:
        from opentelemetry.trace import StatusCode

        now = current_reconcile.get()
        controller = now.controller if now is not None else ""
        attributes = {
            "rook.controller": controller,
            "rook.reconcile.id": now.id if now is not None else "",
            "rook.request.name": request.name,
        }
        if request.namespace:
            attributes["k8s.namespace.name"] = request.namespace
        with self._tracer.start_as_current_span(
            f"reconcile {controller}", attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                result = await self._reconciler.reconcile(request)
            except BaseException as error:  # cancelled ones too: they ran into a deadline, or were shut down
                span.set_attribute("rook.reconcile.result", "error")
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(StatusCode.ERROR, redact_text(str(error)))
                raise
            if result is None or result.requeue_after is None:
                span.set_attribute("rook.reconcile.result", "success")
            else:
                span.set_attribute("rook.reconcile.result", "requeue_after")
                span.set_attribute("rook.reconcile.requeue_after", result.requeue_after)
            return result
