"""The bench's program on kopf. It keeps no copies of objects: a handler gets each object with its event.

So it is synced when the handler has had every object, and there is no queue that a pass could go through.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from typing import Any

import aiohttp
import kopf
import uvloop

from bench.runtime.peers.common import GROUP, SEQUENCE, VERSION, Tally, options, say


async def main() -> None:
    """Connect and run."""
    arguments = options()
    os.environ["KUBECONFIG"] = arguments.kubeconfig
    registry = kopf.OperatorRegistry()
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.watching.initial_streaming = True
    tally = Tally(arguments.objects, record=arguments.record)
    seen: set[tuple[str, str]] = set()
    token = arguments.patch

    async def login(**more: Any) -> kopf.AiohttpSession:
        found = kopf.login_with_kubeconfig(**more)
        # As the session that kopf makes, but for a CA without a key usage extension, which the other peers accept.
        context = ssl.create_default_context(cafile=found.ca_path)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context), headers={"Authorization": f"Bearer {found.token}"}
        )
        return kopf.AiohttpSession(server=found.server, aiohttp_session=session)

    async def handle(body: kopf.Body, patch: kopf.Patch, **_: Any) -> None:
        if len(seen) < arguments.objects:
            seen.add((body.metadata.namespace or "", body.metadata.name or ""))
            if len(seen) == arguments.objects:
                say("synced")
        if token:
            if body.status.get("token") == token:
                tally.patched()
            else:
                tally.patching()
                patch.status["token"] = token
        tally.reconciled(body.metadata.annotations.get(SEQUENCE))

    async def ready(**_: Any) -> None:
        if arguments.objects == 0:
            say("synced")

    kopf.on.login(registry=registry)(login)
    kopf.on.startup(registry=registry)(ready)
    if arguments.resource == "pods":
        kopf.on.event("", "v1", "pods", registry=registry)(handle)
    else:
        kopf.on.event(GROUP, VERSION, "widgets", registry=registry)(handle)
    async with asyncio.TaskGroup() as tasks:
        if not arguments.cache_only:
            tasks.create_task(tally.obey(None))
        tasks.create_task(kopf.operator(registry=registry, settings=settings, standalone=True, clusterwide=True))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    uvloop.run(main())
