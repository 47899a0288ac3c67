"""The Admin Ops API of a store's gateways: https://docs.ceph.com/en/latest/radosgw/adminops/.

Requests are signed as S3's are (signature version 4), by botocore, and sent by worker threads of which there is a
bounded number. A call has a deadline; what is slower than that has an answer that nobody waits for any more.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, HTTPClientError
from botocore.httpsession import URLLib3Session

from controller.ceph.access.threads import Lane, Threads
from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 20.0
"""Seconds to find a gateway, and for it to say something."""
DEADLINE = 30.0
"""Seconds that a call may take."""
REGION = "us-east-1"
"""What requests are signed for; gateways take any."""
UNREACHABLE = "Unreachable"
"""The code of an error where no gateway answered."""


class AdminError(Exception):
    """What a gateway refused, or did not answer.

    Attributes:
        status: The HTTP status; 0: no gateway answered.
        code: As S3's, such as "NoSuchUser", or `UNREACHABLE`.
        message: What it said beside that.
    """

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(": ".join(filter(None, (f"{code} ({status})" if status else code, message))))
        self.status, self.code, self.message = status, code, message

    @property
    def is_not_found(self) -> bool:
        """Whether what was asked for does not exist."""
        return self.status == 404

    @property
    def is_unreachable(self) -> bool:
        """Whether no gateway answered, or one that cannot do its work."""
        return self.status == 0 or self.status >= 500


class Admin(Protocol):
    """A store's admin API.

    `path` is what follows "/admin/", such as "user"; what it says of a part of a thing is a query without a value, such
    as `quota=""`. Answers are decoded JSON, or None where there is none. Names with hyphens are passed as
    `**{"max-buckets": 1}`.
    """

    async def get(self, path: str, /, **query: str | int | bool) -> Any:
        """Asks.

        Raises:
            AdminError: It was refused, or not answered in time.
        """

    async def put(self, path: str, /, **query: str | int | bool) -> Any:
        """Makes something. Raises AdminError."""

    async def post(self, path: str, /, **query: str | int | bool) -> Any:
        """Changes something. Raises AdminError."""

    async def delete(self, path: str, /, **query: str | int | bool) -> Any:
        """Removes something. Raises AdminError."""


class AdminClient:
    """Asks the gateways at an endpoint. Implements `Admin`.

    Args:
        endpoint: URL without a path.
        access_key: Of the user who asks.
        secret_key: As above.
        ca_file: File with the authorities that may have signed the gateways' certificate; empty: the well-known ones.
        threads: Where requests are sent from.
    """

    def __init__(
        self, endpoint: str, access_key: str, secret_key: str, *, ca_file: str = "", threads: Threads | None = None
    ) -> None:
        self._endpoint = endpoint
        self._signer = S3SigV4Auth(Credentials(access_key, secret_key), "s3", REGION)
        self._session = URLLib3Session(
            verify=ca_file or True,
            timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
            max_pool_connections=Lane.GATEWAYS.value,
            # Nobody's proxy is asked for what is within the cluster.
            proxies={},
        )
        self._threads = threads if threads is not None else Threads()

    async def get(self, path: str, /, **query: str | int | bool) -> Any:
        """See `Admin.get`."""
        return await self._call("GET", path, query)

    async def put(self, path: str, /, **query: str | int | bool) -> Any:
        """See `Admin.put`."""
        return await self._call("PUT", path, query)

    async def post(self, path: str, /, **query: str | int | bool) -> Any:
        """See `Admin.post`."""
        return await self._call("POST", path, query)

    async def delete(self, path: str, /, **query: str | int | bool) -> Any:
        """See `Admin.delete`."""
        return await self._call("DELETE", path, query)

    async def _call(self, method: str, path: str, query: Mapping[str, str | int | bool]) -> Any:
        words = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in query.items()}
        # A space as "+" would be signed as another character than the gateway reads.
        asked = urlencode({"format": "json", **words}, quote_via=quote, safe="")
        url = f"{self._endpoint}/admin/{path}?{asked}"
        try:
            return await self._threads.run(Lane.GATEWAYS, lambda: self._send(method, url), seconds=DEADLINE)
        except OSError as error:
            raise AdminError(0, UNREACHABLE, f"{self._endpoint}: {brief(error)}") from error

    def _send(self, method: str, url: str) -> Any:
        request = AWSRequest(method=method, url=url, data=b"")
        self._signer.add_auth(request)
        try:
            response = self._session.send(request.prepare())
        except (BotoCoreError, HTTPClientError) as error:
            raise AdminError(0, UNREACHABLE, brief(error)) from error
        body = _decoded(response.content)
        if response.status_code >= 300:
            found: dict[str, Any] = body if isinstance(body, dict) else {}
            code, message = str(found.get("Code") or "Refused"), str(found.get("Message") or "")
            raise AdminError(response.status_code, code, message)
        return body


def _decoded(content: bytes) -> Any:
    if not content.strip():
        return None
    try:
        return json.loads(content)
    except ValueError:
        return None
