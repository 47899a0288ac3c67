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
    """An object in a cache is not what its reader takes it for: another program wrote it, or a newer version did.

    The message names the object, the field and what is wrong with it.
    """

    def __init__(self, resource: object, namespace: str, name: str, error: Exception) -> None:
        where = f"{namespace}/{name}" if namespace else name
        super().__init__(f"{resource} {where} cannot be read: {str(error) or type(error).__name__}")


class IncompleteIndexError(Exception):
    """There are objects that an index could not place: what is looked for may be among them."""

    def __init__(self, resource: object, index: str, keys: Sequence[Key]) -> None:
        named = ", ".join("/".join(part for part in key if part) for key in keys[:NAMED])
        more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
        super().__init__(f"index {index!r} of {resource} does not know where {named}{more} belong: mend or delete them")


class TransportError(Exception):
    """The server gave no answer: no connection, a broken one, or too late. A write may have been carried out."""


class RefusedError(TransportError):
    """Nobody listens at the server's address, as while it is restarted. Nothing was sent."""


class ApiError(Exception):
    """The server's answer is an error.

    Attributes:
        status: HTTP status code.
        reason: Kubernetes' machine-readable reason, "NotFound"; may be empty.
        message: For people.
        retry_after: Seconds that the server asks to wait, if it does.
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
        """The error that a response's body tells, be it a Status object or anything else (a proxy's page)."""
        try:
            found = _decode_status(body)
        except (msgspec.MsgspecError, ValueError):
            return cls(status, "", body[:MESSAGE_LIMIT].decode(errors="replace").strip(), retry_after)
        if retry_after is None and found.details.retry_after_seconds:
            retry_after = float(found.details.retry_after_seconds)
        return cls(status or found.code, found.reason, found.message, retry_after, found.details.causes)

    @classmethod
    def from_status(cls, found: Status) -> ApiError:
        """The error that a Status object tells."""
        retry_after = float(found.details.retry_after_seconds) or None
        return cls(found.code, found.reason, found.message, retry_after, found.details.causes)

    @property
    def is_not_found(self) -> bool:
        """The object, or the whole resource, is not there."""
        return self.status == 404

    @property
    def is_conflict(self) -> bool:
        """The object has changed since it was read, or another manager owns a field."""
        return self.status == 409 and self.reason != "AlreadyExists"

    @property
    def is_already_exists(self) -> bool:
        """An object of that name is there."""
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def is_expired(self) -> bool:
        """The resource version or continue token is too old: its history is compacted."""
        return self.status == 410

    @property
    def is_undecided(self) -> bool:
        """A write may have been carried out all the same: the server, or something before it, ran out of time."""
        return self.status >= 500 or self.status == 408

    @property
    def is_invalid(self) -> bool:
        """The object, or a parameter, is not valid or not supported."""
        return self.status == INVALID

    @property
    def is_ahead(self) -> bool:
        """The resource version asked for is newer than the server's data: it lags, or was restored from a backup."""
        return any(cause.reason == "ResourceVersionTooLarge" for cause in self.causes)
