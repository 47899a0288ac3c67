"""OpenTelemetry spans of reconciles: each is a span, and the requests that it sends are spans within it.

Without a tracer, nothing of this runs, and the optional library is not imported.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from controller.runtime.log import redact_text
from controller.runtime.reconciler import current_reconcile

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from controller.runtime.reconciler import ReconcileFunction, Request, Result


def process_tracer(name: str) -> Tracer | None:
    """A tracer of the provider that this process has set up, as `opentelemetry-instrument` does; None if there is none.

    A process that has not imported the library cannot have set one up, so that it is not imported here either.

    Args:
        name: The instrumentation scope of the spans: the program's name.
    """
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    tracer = provider.get_tracer(name)
    return None if isinstance(tracer, trace.NoOpTracer) else tracer  # OTEL_SDK_DISABLED


def traced(reconcile: ReconcileFunction, tracer: Tracer, prefix: str) -> ReconcileFunction:
    """`reconcile` with a span around each call.

    Args:
        reconcile: What to call.
        tracer: Makes the spans.
        prefix: What the names of the spans' own attributes begin with: `<prefix>.controller`.
    """

    async def in_span(request: Request) -> Result | None:
        from opentelemetry.trace import StatusCode

        now = current_reconcile.get()
        controller = now.controller if now is not None else ""
        attributes = {
            f"{prefix}.controller": controller,
            f"{prefix}.reconcile.id": now.id if now is not None else "",
            f"{prefix}.request.name": request.name,
        }
        if request.namespace:
            attributes["k8s.namespace.name"] = request.namespace
        with tracer.start_as_current_span(
            f"reconcile {controller}", attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                result = await reconcile(request)
            except BaseException as error:  # cancelled ones too: they ran into a deadline, or were shut down
                span.set_attribute(f"{prefix}.reconcile.result", "error")
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(StatusCode.ERROR, redact_text(str(error)))
                raise
            if result is None or result.requeue_after is None:
                span.set_attribute(f"{prefix}.reconcile.result", "success")
            else:
                span.set_attribute(f"{prefix}.reconcile.result", "requeue_after")
                span.set_attribute(f"{prefix}.reconcile.requeue_after", result.requeue_after)
            return result

    return in_span
