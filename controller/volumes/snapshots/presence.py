"""Whether the API server has the kinds of snapshots. They are no part of Kubernetes, and may come at any time."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import anyio
import structlog

from controller.volumes.snapshots.kinds import CONTENTS, SNAPSHOT_CLASSES, SNAPSHOTS
from informers import ApiError, TransportError

if TYPE_CHECKING:
    from informers import Client, Resource

_log = structlog.get_logger(__name__)

LOOK = 60.0
"""Seconds between two looks. A watch of what is not there would be as many questions, and complain each time."""


async def until_served(client: Client) -> None:
    """Returns once all kinds of snapshots are there, and may be read."""
    told = ""
    while True:
        missing = [
            why for resource in (SNAPSHOTS, CONTENTS, SNAPSHOT_CLASSES) if (why := await _missing(client, resource))
        ]
        if not missing:
            _log.info("VolumeSnapshots are served")
            return
        if missing[0] != told:
            told = missing[0]
            _log.info("VolumeSnapshots are not served", reason=told)
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
