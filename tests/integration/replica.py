"""A small operator as a process of its own, to be signalled and killed: it keeps a copy of each source ConfigMap.

python -m tests.integration.replica KUBECONFIG NAMESPACE NAME
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from controller.runtime import (
    Controller,
    LeaderElection,
    LeadershipLostError,
    Manager,
    Program,
    Request,
    Result,
    owner_reference,
)
from controller.runtime.kube import CONFIG_MAP, ConfigMap
from informers import Client, Informer

PROGRAM = Program("replica")
LEASE_NAME = "replica"
LEASE_DURATION = 4.0
RENEW_DEADLINE = 2.5
RETRY_PERIOD = 0.5
SOURCE = "source"
COPY = "copy"
LOST = 3
"""Exit status of a process that has lost its lease."""


class Copier:
    """Makes `copy-<name>` of each ConfigMap that is labelled as a source, and removes copies that are not wanted."""

    def __init__(self, manager: Manager, informer: Informer[ConfigMap]) -> None:
        self._manager = manager
        self._informer = informer

    async def reconcile(self, request: Request) -> Result:
        """Makes the copy."""
        source = self._informer.get(request)
        if source is None:
            return Result()
        names = [f"copy-{request.name}"] if source.data.get("copies") != "0" else []
        for name in names:
            await self._manager.applier.apply(copy_of(source, name))
        await self._manager.applier.prune(
            self._informer,
            request.namespace,
            labels={"app": COPY},
            owner_uid=source.metadata.uid,
            keep=names,
        )
        return Result()


def copy_of(source: ConfigMap, name: str) -> dict[str, Any]:
    """The copy that is wanted."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "namespace": source.metadata.namespace,
            "name": name,
            "labels": {"app": COPY},
            "ownerReferences": [owner_reference(source, CONFIG_MAP)],
        },
        "data": source.data,
    }


def add_copier(manager: Manager, *, workers: int = 2) -> Controller:
    """Adds the controller to a manager."""
    informer = manager.informers.informer(CONFIG_MAP, ConfigMap)
    controller = Controller("copier", Copier(manager, informer), workers=workers)

    def sources(obj: ConfigMap) -> list[Request]:
        if obj.metadata.labels.get("app") == SOURCE:
            return [Request(obj.metadata.namespace, obj.metadata.name)]
        return [Request(obj.metadata.namespace, owner.name) for owner in obj.metadata.owner_references]

    controller.watch(informer, sources)
    manager.add(controller)
    return controller


def election(namespace: str) -> LeaderElection:
    """A lease with short times."""
    return LeaderElection(
        namespace=namespace,
        name=LEASE_NAME,
        lease_duration=LEASE_DURATION,
        renew_deadline=RENEW_DEADLINE,
        retry_period=RETRY_PERIOD,
    )


async def replicate(
    kubeconfig: str, lease_kubeconfig: str, namespace: str, name: str, set_up: Callable[[Manager], object]
) -> int:
    """Runs a manager that stands for the lease until told to stop. Returns the exit status.

    Args:
        kubeconfig: Of its client.
        lease_kubeconfig: Of its client for the lease.
        namespace: What it serves, and where the lease is.
        name: Of the replica.
        set_up: Gives the manager its work.
    """
    async with (
        Client.connect(kubeconfig=kubeconfig, user_agent=name) as client,
        Client.connect(kubeconfig=lease_kubeconfig, user_agent=f"{name}-lease") as lease_client,
    ):
        manager = Manager(
            client,
            program=PROGRAM,
            namespaces=(namespace,),
            identity=name,
            leader_election=election(namespace),
            lease_client=lease_client,
            metrics_address=("127.0.0.1", 0),
            debug_address=None,
        )
        set_up(manager)
        try:
            await manager.run()
        except LeadershipLostError:
            return LOST
    return 0


def main(kubeconfig: str, namespace: str, name: str) -> int:
    """Runs until told to stop."""
    return asyncio.run(replicate(kubeconfig, kubeconfig, namespace, name, add_copier))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
