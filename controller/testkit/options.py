"""Reads the query of a list or a watch, and refuses one that contradicts itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from informers import ApiError
from informers.errors import INVALID, Cause

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_OLDER, EXACT = "NotOlderThan", "Exact"


def version_of(params: Mapping[str, str]) -> int:
    """The resourceVersion; 0 if there is none.

    Raises:
        ApiError: It is no number: 400 for a list, 500 for a watch, as a real server answers.
    """
    given = params.get("resourceVersion") or "0"
    if not given.isdecimal():
        status, reason = (500, "") if params.get("watch") == "true" else (400, "BadRequest")
        raise ApiError(status, reason, f"resourceVersion: Invalid value: {given!r}: must be a number")
    return int(given)


def initial_events_wanted(params: Mapping[str, str]) -> bool:
    """Whether a watch begins with the existing objects and a bookmark after them.

    Raises:
        ApiError: 422, the query contradicts itself.
    """
    asked, match = params.get("sendInitialEvents"), params.get("resourceVersionMatch")
    if asked is not None and match != NOT_OLDER:
        raise _forbidden(f"sendInitialEvents needs resourceVersionMatch {NOT_OLDER}")
    if asked is None and match is not None:
        raise _forbidden("resourceVersionMatch is forbidden for a watch without sendInitialEvents")
    return asked == "true"


def exact_version(params: Mapping[str, str]) -> int | None:
    """The exact version that a list asks for; None if a newer one will do.

    Raises:
        ApiError: 400 or 422, the query contradicts itself.
    """
    version, match = version_of(params), params.get("resourceVersionMatch")
    if params.get("continue"):
        if match is not None:
            raise _forbidden("resourceVersionMatch is forbidden when continue is given")
        if version:
            raise ApiError(400, "BadRequest", "resourceVersion is not allowed when continue is given")
        return None
    if match is not None and not params.get("resourceVersion"):
        raise _forbidden("resourceVersionMatch is forbidden without resourceVersion")
    if match not in (None, NOT_OLDER, EXACT):
        raise _forbidden(f"Unsupported value: {match}: must be {EXACT} or {NOT_OLDER}")
    return version if match == EXACT else None


def too_large(version: int, current: int) -> ApiError:
    """The error for a future version."""
    message = f"Timeout: Too large resource version: {version}, current: {current}"
    return ApiError(504, "Timeout", message, 1.0, (Cause("ResourceVersionTooLarge", "Too large resource version"),))


def _forbidden(message: str) -> ApiError:
    causes = (Cause("FieldValueForbidden", message, "resourceVersionMatch"),)
    return ApiError(INVALID, "Invalid", f"ListOptions is invalid: resourceVersionMatch: {message}", causes=causes)
