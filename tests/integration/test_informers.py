"""Informers against a real API server."""

import anyio

from informers import Client, InformerFactory, Resource

CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps")


async def test_first(client: Client, namespace: str) -> None:
    factory = InformerFactory(client, namespaces=(namespace,))
    informer = factory.informer(CONFIG_MAPS, dict)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(factory.run)
        with anyio.fail_after(10):
            await informer.wait_synced()
        made = await client.create(CONFIG_MAPS, {"metadata": {"namespace": namespace, "name": "x"}, "data": {"a": "b"}})
        await informer.reached(int(made["metadata"]["resourceVersion"]), 5)
        found = informer.get(namespace, "x")
        assert found is not None
        assert found["data"] == {"a": "b"}
        tasks.cancel_scope.cancel()
