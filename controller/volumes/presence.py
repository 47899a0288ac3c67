"""Whether the API server has kinds that not every cluster has. They may come at any time."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import anyio
import structlog

from informers import ApiError, TransportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from informers import Client, Resource

_log = structlog.get_logger(__name__)

LOOK = 60.0
"""Seconds between two looks. A watch of what is not there would be as many questions, and complain each time."""


async def until_served(client: Client, what: str, *choices: Sequence[Resource]) -> Sequence[Resource]:
    """Returns once all kinds of a choice are there, and may be read.

    Args:
        client: Asks the API server.
        what: What the kinds are, for the log: "VolumeSnapshots".
        choices: The kinds, by version, the one that is preferred first.

    Returns:
        The first choice that is there.
    """
    told = ""
    while True:
        missing = []
        for kinds in choices:
            found = [why for resource in kinds if (why := await _missing(client, resource))]
            if not found:
                _log.info(f"{what} are served", version=kinds[0].version)
                return kinds
            missing += found
        if missing[0] != told:
            told = missing[0]
            _log.info(f"{what} are not served", reason=told)
        await anyio.sleep(LOOK)


async def _missing(client: Client, resource: Resource) -> str:
    """Why a kind cannot be read; empty: it can."""
    try:
        await client.request("GET", resource.path(), params={"limit": "1"})
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return f"the API server has no {resource.kind}"
        return str(error)
    except TransportError as error:
        return str(error)
    return ""
