"""OpenTelemetry spans of requests to the API server, and the trace context that they carry to it.

The library is optional, so it is imported only by who holds a tracer of it already. Names are those of OpenTelemetry's
conventions for HTTP clients: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import Span, Tracer

FIRST_ERROR: Final = 400
"""HTTP status from which a client's span counts as failed."""


@contextmanager
def request_span(tracer: Tracer, method: str, url: str, headers: dict[str, str], resends: int) -> Iterator[Span]:
    """A span of one request, of which its sender is told in `headers`; it fails by what is raised.

    Outside of a span that is recorded (lease renewals, lists of informers) nothing is made: it would be a trace of a
    single request each time.

    Args:
        tracer: Makes it.
        method: Of the request.
        url: Without parameters.
        headers: Of the request; gets `traceparent`.
        resends: How often the request was sent before.
    """
    from opentelemetry import propagate, trace

    around = trace.get_current_span()
    if not around.is_recording():
        yield trace.INVALID_SPAN
        return
    server = urlsplit(url)
    attributes: dict[str, str | int] = {
        "http.request.method": method,
        "server.address": server.hostname or "",
        "server.port": server.port or (443 if server.scheme == "https" else 80),
        "url.full": url,
    }
    if resends:
        attributes["http.request.resend_count"] = resends
    with tracer.start_as_current_span(
        method,
        kind=trace.SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        propagate.inject(headers)
        try:
            yield span
        except BaseException as error:
            span.set_attribute("error.type", type(error.__cause__ or error).__name__)
            span.set_status(trace.StatusCode.ERROR)
            raise


def answered(span: Span, status: int) -> None:
    """Notes the answer's HTTP status."""
    from opentelemetry.trace import StatusCode

    span.set_attribute("http.response.status_code", status)
    if status >= FIRST_ERROR:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)
