"""An operator that writes its own name into objects for as long as it leads, as a process to be cut off.

python -m tests.integration.stamper KUBECONFIG KUBECONFIG_FOR_THE_LEASE NAMESPACE NAME
"""

import asyncio
import sys
from functools import partial

import anyio
import structlog

from controller.runtime import Manager, NotLeaderError
from controller.runtime.kube import CONFIG_MAP, ConfigMap
from informers import ApiError, Client, Informer, JsonObject, TransportError
from tests.integration.replica import LEASE_DURATION as LEASE_DURATION
from tests.integration.replica import LOST as LOST
from tests.integration.replica import replicate

log = structlog.get_logger(__name__)

OBJECT = "stamped"
GUARDED = "guarded"
"""Written only if nobody else has written since it was read."""
MERGE = "application/merge-patch+json"
PAUSE = 0.02
"""Seconds between two writes."""


async def stamp(client: Client, informer: Informer[ConfigMap], namespace: str, name: str, *, guarded: bool) -> None:
    """Writes until cancelled."""
    count = 0
    target = GUARDED if guarded else OBJECT
    while True:
        count += 1
        body: JsonObject = {"data": {"writer": name, "count": str(count)}}
        found = informer.get(namespace, target)
        if guarded and found is not None:
            body["metadata"] = {"resourceVersion": found.metadata.resource_version}
        try:
            await client.patch(CONFIG_MAP, namespace, target, body, content_type=MERGE)
        except (ApiError, TransportError, NotLeaderError) as error:
            log.warning("Write failed", target=target, count=count, error=str(error))
        await anyio.sleep(PAUSE)


def main(kubeconfig: str, lease_kubeconfig: str, namespace: str, name: str) -> int:
    """Runs until the lease is lost."""

    def set_up(manager: Manager) -> None:
        informer = manager.informers.informer(CONFIG_MAP, ConfigMap)
        for guarded in (False, True):
            manager.add_runnable(partial(stamp, manager.client, informer, namespace, name, guarded=guarded))

    return asyncio.run(replicate(kubeconfig, lease_kubeconfig, namespace, name, set_up))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
