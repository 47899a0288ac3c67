"""Requests to a store's gateways that are signed as S3's are (signature version 4), by botocore.

They are sent by worker threads of which there is a bounded number. A request has a deadline; what is slower than that
has an answer that nobody waits for any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlencode

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, HTTPClientError
from botocore.httpsession import URLLib3Session

from controller.ceph.access.threads import Lane, Threads
from controller.ceph.rgw.silence import Silence
from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 20.0
"""Seconds to find a gateway, and for it to say something."""
DEADLINE = 30.0
"""Seconds that a request may take."""
REGION = "us-east-1"
"""What requests are signed for; gateways take any."""


class UnreachableError(Exception):
    """No gateway answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gateway answered: the HTTP status, and the content."""

    status: int
    content: bytes = field(repr=False)

    @property
    def is_refusal(self) -> bool:
        """Whether it did not do what it was asked."""
        return self.status >= 300


class Requests(Protocol):
    """What sends requests as one user."""

    async def send(self, method: str, path: str, query: Mapping[str, str], content: bytes = b"") -> Answer:
        """Sends a request.

        Args:
            method: Such as "GET".
            path: With the slash that it begins with.
            query: What follows the path.
            content: What it carries.

        Raises:
            UnreachableError: No gateway answered in time.
        """


class Signed:
    """Sends requests to the gateways at an endpoint. Implements `Requests`.

    Args:
        endpoint: URL without a path.
        access_key: Of the user who asks.
        secret_key: As above.
        ca_file: File with the authorities that may have signed the gateways' certificate; empty: the well-known ones.
        threads: Where requests are sent from.
        silence: Whether the gateways answer, shared by whatever asks them.
    """

    def __init__(
        self,
        endpoint: str,
        access_key: str,
        secret_key: str,
        *,
        ca_file: str = "",
        threads: Threads | None = None,
        silence: Silence | None = None,
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
        self._silence = silence if silence is not None else Silence()

    async def send(self, method: str, path: str, query: Mapping[str, str], content: bytes = b"") -> Answer:
        """See `Requests.send`."""
        if told := self._silence.told(DEADLINE):
            raise UnreachableError(told)
        # A space as "+" would be signed as another character than the gateway reads.
        asked = urlencode(query, quote_via=quote, safe="")
        url = f"{self._endpoint}{quote(path)}?{asked}"
        try:
            answer = await self._threads.run(Lane.GATEWAYS, lambda: self._send(method, url, content), seconds=DEADLINE)
        except (OSError, UnreachableError) as error:
            told = str(error) if isinstance(error, UnreachableError) else f"{self._endpoint}: {brief(error)}"
            self._silence.failed(told)
            raise UnreachableError(told) from error
        self._silence.answered()
        return answer

    def _send(self, method: str, url: str, content: bytes) -> Answer:
        request = AWSRequest(method=method, url=url, data=content)
        if content.startswith(b"Action="):
            request.headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
        self._signer.add_auth(request)
        try:
            response = self._session.send(request.prepare())
        except (BotoCoreError, HTTPClientError) as error:
            raise UnreachableError(brief(error)) from error
        return Answer(response.status_code, response.content)
