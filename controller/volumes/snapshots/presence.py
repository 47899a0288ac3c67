"""Whether the API server has the kinds of snapshots. They are no part of Kubernetes, and may come at any time."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import anyio
import structlog

from informers import ApiError, TransportError

if TYPE_CHECKING:
    from informers import Client, Resource

_log = structlog.get_logger(__name__)

LOOK = 60.0
"""Seconds between two looks. A watch of what is not there would be as many questions, and complain each time."""


async def until_served(client: Client, what: str, *choices: tuple[Resource, ...]) -> tuple[Resource, ...]:
    """Returns once all kinds of one of the choices are there, and may be read: the first such choice.

    Args:
        client: Looks.
        what: What the kinds are, for the log.
        choices: Kinds, such as the same ones in several versions.
    """
    told = ""
    while True:
        reasons = []
        for resources in choices:
            if not (why := await _missing_of(client, resources)):
                _log.info(f"{what} are served", version=resources[0].version)
                return resources
            reasons.append(why)
        if reasons[0] != told:
            told = reasons[0]
            _log.info(f"{what} are not served", reason=told)
        await anyio.sleep(LOOK)


async def _missing_of(client: Client, resources: tuple[Resource, ...]) -> str:
    for resource in resources:
        if why := await _missing(client, resource):
            return why
    return ""


async def _missing(client: Client, resource: Resource) -> str:
    """Why a kind cannot be read; empty: it can."""
    try:
        await client.request("GET", resource.path(), params={"limit": "1"})
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return f"the API server has no {resource.kind} of {resource.api_version}"
        return str(error)
    except TransportError as error:
        return str(error)
    return ""
