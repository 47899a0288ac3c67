"""The bench's program on kopf. It keeps no copies of objects: a handler gets each object with its event.

So it is synced when the handler has had every object, and there is no queue that a pass could go through.
"""

from __future__ import annotations

import logging
import os
import ssl
from typing import Any

import kopf
import uvloop

from bench.runtime.peers.common import GROUP, SEQUENCE, VERSION, Tally, options, say


class Connection(kopf.ConnectionInfo):
    """Trusts CAs without a key usage extension, as the other peers do."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """Overrides kopf's."""
        context: ssl.SSLContext = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


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

    async def login(**more: Any) -> kopf.ConnectionInfo:
        found = kopf.login_with_kubeconfig(**more)
        return Connection(server=found.server, ca_path=found.ca_path, scheme=found.scheme, token=found.token)

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
    command = None if arguments.cache_only else tally.obey(None)
    if command is None:
        await kopf.operator(registry=registry, settings=settings, standalone=True, clusterwide=True)
    else:
        import asyncio

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(command)
            tasks.create_task(kopf.operator(registry=registry, settings=settings, standalone=True, clusterwide=True))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    uvloop.run(main())
