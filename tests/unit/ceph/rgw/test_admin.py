"""The admin API: signed requests to a real HTTP server, answers and refusals."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from controller.ceph.rgw.admin import UNREACHABLE, AdminClient, AdminError
from controller.ceph.rgw.signed import REGION

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCESS, SECRET = "AK", "not-for-logs"


class Gateway(ThreadingHTTPServer):
    """Answers as the test says, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer: tuple[int, bytes] = (200, b"")
        self.asked: list[tuple[str, str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Gateway

    def _any(self) -> None:
        self.server.asked.append((self.command, self.path, dict(self.headers.items())))
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = _any  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    server = Gateway()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def signature(method: str, url: str, sent: dict[str, str]) -> str:
    """The signature that the server computes of what came."""
    request = AWSRequest(method=method, url=url, data=b"")
    request.headers["X-Amz-Date"] = sent["X-Amz-Date"]
    signer = S3SigV4Auth(Credentials(ACCESS, SECRET), "s3", REGION)
    request.context["timestamp"] = sent["X-Amz-Date"]
    request.headers["X-Amz-Content-SHA256"] = sent["X-Amz-Content-SHA256"]
    canonical = signer.canonical_request(request)
    return str(signer.signature(signer.string_to_sign(request, canonical), request))


async def test_a_request_is_signed_and_its_answer_decoded(gateway: Gateway) -> None:
    gateway.answer = (200, b'{"user_id": "a b"}')
    client = AdminClient(gateway.url, ACCESS, SECRET)

    assert await client.get("user", uid="a b/c", stats=True, **{"max-buckets": 7}) == {"user_id": "a b"}
    (method, path, headers) = gateway.asked[0]
    url = urlsplit(path)
    assert (method, url.path) == ("GET", "/admin/user")
    query = {"format": ["json"], "uid": ["a b/c"], "stats": ["true"], "max-buckets": ["7"]}
    assert parse_qs(url.query) == query
    assert "uid=a%20b%2Fc" in url.query
    assert headers["Authorization"].endswith(f"Signature={signature('GET', gateway.url + path, headers)}")
    assert SECRET not in str(headers)


@pytest.mark.parametrize("method", ["put", "post", "delete"])
async def test_a_part_of_a_thing_is_a_query_without_a_value(gateway: Gateway, method: str) -> None:
    client = AdminClient(gateway.url, ACCESS, SECRET)

    assert await getattr(client, method)("user", quota="", uid="u") is None
    assert gateway.asked[0][:2] == (method.upper(), "/admin/user?format=json&quota=&uid=u")


@pytest.mark.parametrize(
    ("answer", "status", "code", "found"),
    [
        ((404, b'{"Code":"NoSuchUser","RequestId":"tx0","HostId":"1"}'), 404, "NoSuchUser", (True, False)),
        ((409, b'{"Code":"BucketNotEmpty"}'), 409, "BucketNotEmpty", (False, False)),
        ((503, b"<html>"), 503, "Refused", (False, True)),
    ],
)
async def test_a_refusal_has_its_code(
    gateway: Gateway, answer: tuple[int, bytes], status: int, code: str, found: tuple[bool, bool]
) -> None:
    gateway.answer = answer

    with pytest.raises(AdminError) as raised:
        await AdminClient(gateway.url, ACCESS, SECRET).get("user", uid="u")
    error = raised.value
    assert (error.status, error.code, (error.is_not_found, error.is_unreachable)) == (status, code, found)


async def test_no_gateway_is_an_error_of_its_own() -> None:
    with pytest.raises(AdminError) as raised:
        await AdminClient("http://127.0.0.1:1", ACCESS, SECRET).get("user", uid="u")
    assert (raised.value.status, raised.value.code, raised.value.is_unreachable) == (0, UNREACHABLE, True)
    assert SECRET not in str(raised.value)
