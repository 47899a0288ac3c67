"""What the pod answers: probes to the kubelet, and the operator's questions and commands."""

from __future__ import annotations

import base64
import hmac
import http.client
import json
import os
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from .files import ADMIN, TLS, Certificates, certificates
from .jolokia import ANSWER_SECONDS, MOST_BYTES, MOST_RUNNING

if TYPE_CHECKING:
    from .program import Program

PROBE_PORT = 8080
ADMIN_PORT = 8778
MOST_CONNECTIONS = 32


class Server(ThreadingHTTPServer):
    """Answers a bounded number of requests at once, each in a thread.

    Args:
        port: Where it listens, at the pod's address.
        handler: What answers.
        tls: Whether it speaks TLS where the cluster has certificates.
    """

    daemon_threads = True

    def __init__(self, port: int, handler: type[Handler], *, tls: bool = False) -> None:
        super().__init__((os.environ["ROOK_POD_IP"], port), handler)
        self._tls = tls and (TLS / "tls.key").exists()
        self._certificates = Certificates()
        self._context: ssl.SSLContext | None = None
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Takes a place, or refuses."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Speaks TLS in the thread: nobody waits for another's handshake."""
        try:
            if self._tls:
                request.settimeout(ANSWER_SECONDS)
                try:
                    request = self._newest_context().wrap_socket(request, server_side=True)
                except OSError:
                    self.shutdown_request(request)
                    return
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked has gone; nothing to do."""

    def _newest_context(self) -> ssl.SSLContext:
        """TLS with the certificate as it is now."""
        found = certificates()
        if self._context is None or found != self._certificates:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(str(TLS / "tls.crt"), str(TLS / "tls.key"))
            self._context, self._certificates = context, found
        return self._context


class Handler(BaseHTTPRequestHandler):
    """What both servers have in common."""

    program: Program
    protocol_version = "HTTP/1.1"
    timeout = ANSWER_SECONDS

    def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        """Sends an answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: whoever probes does so every few seconds."""


class Probes(Handler):
    """What the kubelet asks."""

    def do_GET(self) -> None:  # the library's name
        """Whether it is alive, and whether it is ready."""
        checks = {"/healthz": self.program.is_alive, "/readyz": self.program.is_ready}
        check = checks.get(self.path)
        good = check is not None and check()
        text = "ok" if good else f"{self.program.phase} {self.program.message}"
        self.answer(404 if check is None else 200 if good else 503, text.encode(), "text/plain")


class Admin(Handler):
    """What the operator asks and says."""

    def is_let_in(self) -> bool:
        """Whether the request has the name and the password; answers it where not."""
        try:
            name, password = ((ADMIN / key).read_text().strip() for key in ("username", "password"))
            scheme, _, value = self.headers.get("Authorization", "").partition(" ")
            given = base64.b64decode(value) if scheme == "Basic" else b""
            good = hmac.compare_digest(given, f"{name}:{password}".encode())
        except (OSError, ValueError):
            good = False
        if not good:
            self.close_connection = True
            self.answer(401, b'{"error": "not let in"}')
        return good

    def body(self) -> bytes:
        """The request's content."""
        length = int(self.headers.get("Content-Length", "0"))
        if length > MOST_BYTES:
            raise ValueError("too long")
        return self.rfile.read(length)

    def do_GET(self) -> None:
        """The report, the snapshots, and how a job is."""
        if not self.is_let_in():
            return
        if self.path == "/report":
            self.answer(200, json.dumps(self.program.report()).encode())
        elif self.path == "/snapshots":
            self.answer(200, json.dumps(self.program.snapshots()).encode())
        elif self.path.startswith("/jobs/"):
            job = self.program.jobs.get(self.path[len("/jobs/") :])
            self.answer(200 if job else 404, json.dumps(job).encode())
        else:
            self.answer(404, b"null")

    def do_POST(self) -> None:
        """Questions to Cassandra's JMX."""
        body = self.body()
        if not self.is_let_in():
            return
        try:
            self.answer(200, self.program.jolokia.post(body, ANSWER_SECONDS))
        except (OSError, http.client.HTTPException) as error:
            self.answer(503, json.dumps({"error": f"Cassandra does not answer: {error}"}).encode())

    def do_PUT(self) -> None:
        """Starts a job."""
        body = self.body()
        if not self.is_let_in():
            return
        if self.program.process is None:
            self.answer(409, b'{"error": "Cassandra does not run"}')
            return
        job = self.program.jobs.start(self.path[len("/jobs/") :], json.loads(body))
        busy = {"error": f"{MOST_RUNNING} jobs are under way"}
        self.answer(200 if job else 409, json.dumps(job or busy).encode())
