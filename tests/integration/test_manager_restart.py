"""A manager under load while the API server is killed and started again."""

import asyncio

import anyio

from controller.runtime import Controller, Manager, Request, Result
from controller.runtime.kube import CONFIG_MAP, ConfigMap
from e2e.apiserver import ApiServer
from informers import ApiError, Client, Informer, TransportError
from tests.integration.test_manager import new_manager, running, source, until

NAMES = [f"object-{index}" for index in range(60)]
ROUNDS = 10
APPLY = {"fieldManager": "test", "force": "true"}


class Checker:
    """Copies what it sees, and notes when a request is reconciled twice at once."""

    def __init__(self, manager: Manager, informer: Informer[ConfigMap]) -> None:
        self.overlaps: list[Request] = []
        self.seen: dict[str, str] = {}
        self._running: set[Request] = set()
        self._manager = manager
        self._informer = informer

    async def reconcile(self, request: Request) -> Result:
        if request in self._running:
            self.overlaps.append(request)
        self._running.add(request)
        try:
            await asyncio.sleep(0.002)
            found = self._informer.get(request)
            if found is not None and "round" in found.data:
                self.seen[request.name] = found.data["round"]
                copy = source(request.namespace, f"copy-of-{request.name}", value=found.data["round"])
                await self._manager.applier.apply(copy)
        finally:
            self._running.remove(request)
        return Result()


async def write(client: Client, namespace: str, name: str, number: int) -> None:
    """Writes until the API server has taken it."""
    body = source(namespace, name, round=str(number))
    while True:
        try:
            await client.patch(
                CONFIG_MAP, namespace, name, body, content_type="application/apply-patch+yaml", params=APPLY
            )
        except (ApiError, TransportError):
            await anyio.sleep(0.1)
        else:
            return


async def test_nothing_is_lost_and_no_request_has_two_workers(
    apiserver: ApiServer, client: Client, namespace: str
) -> None:
    manager = new_manager(client, namespace)
    informer = manager.informers.informer(CONFIG_MAP, ConfigMap)
    checker = Checker(manager, informer)
    controller = Controller("checker", checker, workers=8)
    controller.watch(informer)
    manager.add(controller)

    def restart_twice() -> None:
        apiserver.restart()
        apiserver.restart()

    async def settled() -> bool:
        """Whether each object was reconciled with its last content."""
        stored = {o["metadata"]["name"]: o.get("data", {}) for o in await client.list(CONFIG_MAP, namespace)}
        return all(
            checker.seen.get(name) == stored[name]["round"] == stored.get(f"copy-of-{name}", {}).get("value")
            for name in NAMES
        )

    async with running(manager):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asyncio.to_thread, restart_twice)
            for number in range(ROUNDS):
                for name in NAMES:
                    tasks.start_soon(write, client, namespace, name, number)
                await anyio.sleep(0.2)
        await until(settled)

    assert not checker.overlaps
    assert controller.stats.panics == 0
