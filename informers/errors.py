"""What can go wrong with a request: the server says no, or does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from informers.resource import Key

MESSAGE_LIMIT: Final = 1024
"""Characters of an answer that is not a Status object which go into an error's message."""

NAMED: Final = 10
"""Objects that a message names."""

INVALID: Final = 422
"""HTTP status "Unprocessable Content", which the server gives for reason "Invalid"."""


class Cause(msgspec.Struct, frozen=True):
    """One cause in a Status' details: which field, and what is wrong with it."""

    reason: str = ""
    message: str = ""
    field: str = ""


class _Details(msgspec.Struct, frozen=True, rename="camel"):
    causes: tuple[Cause, ...] = ()
    retry_after_seconds: int = 0


class Status(msgspec.Struct, frozen=True):
    """The parts of `metav1.Status`, the API's error object, that we act on."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: _Details = _Details()


_decode_status = msgspec.json.Decoder(Status).decode


class UndecodableError(Exception):
    """An object in a cache does not fit the reader's view, as when another program or version wrote it.

    The message names the object, the field and what is wrong with it.
    """

    def __init__(self, resource: object, namespace: str, name: str, error: Exception) -> None:
        where = f"{namespace}/{name}" if namespace else name
        super().__init__(f"{resource} {where} cannot be read: {str(error) or type(error).__name__}")


class IncompleteIndexError(Exception):
    """An index could not place some objects: the wanted ones may be among them."""

    def __init__(self, resource: object, index: str, keys: Sequence[Key]) -> None:
        named = ", ".join("/".join(part for part in key if part) for key in keys[:NAMED])
        more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
        super().__init__(f"index {index!r} of {resource} does not know where {named}{more} belong: mend or delete them")


class TransportError(Exception):
    """The server did not answer: no connection, a broken one, or a timeout. A write may have been carried out."""


class RefusedError(TransportError):
    """The connection was refused: nobody listens at the server's address, as during a restart. Nothing was sent."""


class ApiError(Exception):
    """The server's answer is an error.

    Attributes:
        status: HTTP status code.
        reason: Kubernetes' machine-readable reason, "NotFound"; may be empty.
        message: For people.
        retry_after: Seconds that the server asks the client to wait; None: it does not.
        causes: Details of the error.
    """

    def __init__(
        self,
        status: int,
        reason: str = "",
        message: str = "",
        retry_after: float | None = None,
        causes: tuple[Cause, ...] = (),
    ) -> None:
        super().__init__(f"{status} {reason}: {message}" if reason else f"{status}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.causes = causes

    @classmethod
    def from_body(cls, status: int, body: bytes, retry_after: float | None = None) -> ApiError:
        """The error in a response's body, which is a Status object, or anything else, such as a proxy's page."""
        try:
            found = _decode_status(body)
        except (msgspec.MsgspecError, ValueError):
            return cls(status, "", body[:MESSAGE_LIMIT].decode(errors="replace").strip(), retry_after)
        if retry_after is None and found.details.retry_after_seconds:
            retry_after = float(found.details.retry_after_seconds)
        return cls(status or found.code, found.reason, found.message, retry_after, found.details.causes)

    @classmethod
    def from_status(cls, found: Status) -> ApiError:
        """The error in a Status object."""
        retry_after = float(found.details.retry_after_seconds) or None
        return cls(found.code, found.reason, found.message, retry_after, found.details.causes)

    @property
    def is_not_found(self) -> bool:
        """The object or the resource does not exist."""
        return self.status == 404

    @property
    def is_conflict(self) -> bool:
        """The object has changed since it was read, or another manager owns a field."""
        return self.status == 409 and self.reason != "AlreadyExists"

    @property
    def is_already_exists(self) -> bool:
        """An object of that name exists."""
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def is_expired(self) -> bool:
        """The resource version or continue token is too old: its history is compacted."""
        return self.status == 410

    @property
    def is_undecided(self) -> bool:
        """A write may have been carried out: the server, or a proxy, ran out of time."""
        return self.status >= 500 or self.status == 408

    @property
    def is_invalid(self) -> bool:
        """The object, or a parameter, is not valid or not supported."""
        return self.status == INVALID

    @property
    def is_ahead(self) -> bool:
        """The resource version asked for is newer than the server's data: it lags, or was restored from a backup."""
        return any(cause.reason == "ResourceVersionTooLarge" for cause in self.causes)
