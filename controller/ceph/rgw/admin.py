"""The Admin Ops API of a store's gateways: https://docs.ceph.com/en/latest/radosgw/adminops/."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from controller.ceph.rgw.signed import Signed, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.access.threads import Threads
    from controller.ceph.rgw.signed import Answer
    from controller.ceph.rgw.silence import Silence

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

    async def put(self, path: str, content: Any = None, /, **query: str | int | bool) -> Any:
        """Makes something; `content` is sent as JSON. Raises AdminError."""

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
        self._requests = Signed(endpoint, access_key, secret_key, ca_file=ca_file, threads=threads, silence=silence)

    async def get(self, path: str, /, **query: str | int | bool) -> Any:
        """See `Admin.get`."""
        return await self._call("GET", path, query)

    async def put(self, path: str, content: Any = None, /, **query: str | int | bool) -> Any:
        """See `Admin.put`."""
        return await self._call("PUT", path, query, b"" if content is None else json.dumps(content).encode())

    async def post(self, path: str, /, **query: str | int | bool) -> Any:
        """See `Admin.post`."""
        return await self._call("POST", path, query)

    async def delete(self, path: str, /, **query: str | int | bool) -> Any:
        """See `Admin.delete`."""
        return await self._call("DELETE", path, query)

    async def _call(self, method: str, path: str, query: Mapping[str, str | int | bool], content: bytes = b"") -> Any:
        words = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in query.items()}
        try:
            answer = await self._requests.send(method, f"/admin/{path}", {"format": "json", **words}, content)
        except UnreachableError as error:
            raise AdminError(0, UNREACHABLE, str(error)) from error
        body = _decoded(answer.content)
        if answer.is_refusal:
            raise _refusal(answer, body)
        return body


def _refusal(answer: Answer, body: Any) -> AdminError:
    found: dict[str, Any] = body if isinstance(body, dict) else {}
    return AdminError(answer.status, str(found.get("Code") or "Refused"), str(found.get("Message") or ""))


def _decoded(content: bytes) -> Any:
    if not content.strip():
        return None
    try:
        return json.loads(content)
    except ValueError:
        return None
