"""The bench's program on kubernetes-asyncio alone: list and watch into dicts, and a queue written by hand.

Objects stay dicts: the library's typed models take five times as long. No metrics, no lease, no backoff: it has none.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import uvloop
from kubernetes_asyncio import client, config

from bench.runtime.peers.common import GROUP, SEQUENCE, VERSION, Tally, options, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable

type Key = tuple[str, str]

GONE = 410


class Gone(Exception):  # noqa: N818  # it is what the server calls it
    """The version to resume from is gone."""


class Program:
    """A cache of one resource, and workers that reconcile what changes."""

    def __init__(self, api: client.ApiClient, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._custom = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)
        self._cache: dict[Key, dict[str, Any]] = {}
        self._queue: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._tally = Tally(arguments.objects, record=arguments.record)

    async def run(self) -> None:
        """Runs for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            if not self._arguments.cache_only:
                tasks.create_task(self._tally.obey(self._enqueue_all))
                for _ in range(self._arguments.workers):
                    tasks.create_task(self._work())

    def _list(self, **parameters: Any) -> Awaitable[Any]:
        call: Callable[..., Awaitable[Any]] = self._custom.list_cluster_custom_object
        if self._arguments.resource == "pods":
            return self._core.list_pod_for_all_namespaces(_preload_content=False, **parameters)
        return call(GROUP, VERSION, "widgets", _preload_content=False, **parameters)

    async def _follow(self) -> None:
        while True:
            version = await self._replace()
            say("synced")
            try:
                while True:
                    version = await self._watch(version)
            except Gone:
                continue

    async def _replace(self) -> str:
        answer = json.loads(await (await self._list(resource_version="0")).read())
        found = {_key(item): item for item in answer["items"]}
        gone = [key for key in self._cache if key not in found]
        for item in found.values():
            item["metadata"].pop("managedFields", None)
        self._cache = found
        for key in (*found, *gone):
            self._enqueue(key)
        return str(answer["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> str:
        """Apply events until the stream ends; returns the version to resume from."""
        try:
            response = await self._list(
                watch=True, resource_version=version, allow_watch_bookmarks=True, timeout_seconds=300
            )
            async for line in response.content:
                event = json.loads(line)
                item = event["object"]
                if event["type"] == "ERROR":
                    raise Gone if item.get("code") == GONE else RuntimeError(item.get("message"))
                version = item["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._apply(event["type"], item)
        except client.ApiException as error:
            if error.status == GONE:
                raise Gone from error
            await asyncio.sleep(1)
        except (OSError, aiohttp.ClientError):
            await asyncio.sleep(1)
        return version

    def _apply(self, kind: str, item: dict[str, Any]) -> None:
        key = _key(item)
        if kind == "DELETED":
            self._cache.pop(key, None)
        else:
            item["metadata"].pop("managedFields", None)
            self._cache[key] = item
        self._enqueue(key)

    def _enqueue(self, key: Key) -> None:
        if self._arguments.cache_only or key in self._queued:
            return
        if key in self._active:
            self._again.add(key)
            return
        self._queued.add(key)
        self._queue.put_nowait(key)

    def _enqueue_all(self) -> None:
        for key in self._cache:
            self._enqueue(key)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._queued.discard(key)
            self._active.add(key)
            await self._reconcile(key)
            self._active.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._enqueue(key)

    async def _reconcile(self, key: Key) -> None:
        item = self._cache.get(key)
        if item is None:
            return
        token = self._arguments.patch
        if token and item.get("status", {}).get("token") != token:
            self._tally.patching()
            call: Callable[..., Awaitable[Any]] = self._custom.patch_namespaced_custom_object_status
            body = {"status": {"token": token}}
            await call(GROUP, VERSION, key[0], "widgets", key[1], body, _content_type="application/merge-patch+json")
            self._tally.patched()
        self._tally.reconciled(item["metadata"].get("annotations", {}).get(SEQUENCE))


def _key(item: dict[str, Any]) -> Key:
    return item["metadata"]["namespace"], item["metadata"]["name"]


async def main(arguments: argparse.Namespace) -> None:
    """Connect and run."""
    configuration = client.Configuration()
    await config.load_kube_config(arguments.kubeconfig, client_configuration=configuration)
    configuration.disable_strict_ssl_verification = True
    async with client.ApiClient(configuration) as api:
        await Program(api, arguments).run()


if __name__ == "__main__":
    uvloop.run(main(options()))
