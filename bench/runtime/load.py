"""Fills the API server: one object of each kind is made through the API, and the others are its copies in etcd.

50,000 Pods with a status are 100,000 requests, some minutes of the server's time; their copies take seconds. An object
is stored as one value, JSON or protobuf, and what differs between two of a kind is text of the same length, so that it
can be replaced in the stored form.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from bench.runtime import samples
from controller.runtime.kube import NAMESPACE
from e2e.progress import step
from informers import ApiError, Client, Resource

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.apiserver import ApiServer

CRD = Resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
AT_ONCE = 100
"""Objects of one transaction; etcd takes 128."""
SERVED_DEADLINE = 120.0
"""Seconds in which the server must show what is in etcd."""
LOOK_SECONDS = 0.1
TOO_NEW = 504
"""The answer of a server whose cache has not come to the resource version that was asked for."""
MERGE = "application/merge-patch+json"

type Sample = Callable[[int], dict[str, Any]]
SAMPLES: dict[str, tuple[str, Sample, Sample]] = {
    "pods": ("/registry/pods", samples.pod, samples.pod_status),
    "widgets": (f"/registry/{samples.GROUP}/widgets", samples.widget, samples.widget_status),
}


class Load:
    """The objects in one API server.

    Attributes:
        counts: How many there are of each kind.
    """

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._originals: dict[str, tuple[bytes, str]] = {}
        self.counts = dict.fromkeys(samples.RESOURCES, 0)

    async def prepare(self) -> None:
        """Make the namespaces and the custom resource's definition."""
        async with self._client() as client:
            for number in range(samples.NAMESPACES):
                meta = {"name": samples.namespace(number)}
                await client.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
            await client.create(CRD, samples.WIDGET_DEFINITION)

    async def grow(self, resource: str, count: int) -> None:
        """Add objects of a kind until there are `count`; it never removes any."""
        have = self.counts[resource]
        if count <= have:
            return
        with step(f"{count - have} more {resource}"):
            if resource not in self._originals:
                self._originals[resource] = await self._original(resource)
            for first in range(max(have, 1), count, AT_ONCE):
                numbers = range(first, min(first + AT_ONCE, count))
                self._server.put(dict(self._copy(resource, number) for number in numbers))
            self.counts[resource] = count
            await self._wait_until_served(resource, count)

    async def _original(self, resource: str) -> tuple[bytes, str]:
        """Make the first object, as two managers would; its stored form and uid."""
        prefix, make, status_of = SAMPLES[resource]
        obj, kind = make(0), samples.RESOURCES[resource]
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        async with self._client() as client:
            await _until_served(client, kind)
            manager = {"fieldManager": "kube-controller-manager"}
            await client.request("POST", kind.path(namespace), params=manager, body=obj)
            made = await client.patch(
                kind,
                namespace,
                name,
                {"status": status_of(0)},
                content_type=MERGE,
                subresource="status",
                params={"fieldManager": "kubelet"},
            )
        return self._server.stored(f"{prefix}/{namespace}/{name}"), made["metadata"]["uid"]

    def _copy(self, resource: str, number: int) -> tuple[str, bytes]:
        stored, uid = self._originals[resource]
        replaced = {
            samples.name(0): samples.name(number),
            samples.namespace(0): samples.namespace(number),
            samples.index(0): samples.index(number),
            samples.node(0): samples.node(number),
            samples.address(0): samples.address(number),
            uid: f"{number:08x}{uid[8:]}",
        }
        for old, new in replaced.items():
            stored = stored.replace(old.encode(), new.encode())
        prefix, _, _ = SAMPLES[resource]
        return f"{prefix}/{samples.namespace(number)}/{samples.name(number)}", stored

    async def _wait_until_served(self, resource: str, count: int) -> None:
        """Wait until the server has them in its cache too, or the first program would wait for that."""
        kind = samples.RESOURCES[resource]
        async with self._client() as client, asyncio.timeout(SERVED_DEADLINE):
            found, version = await _count(client, kind)
            while found < count or not await _is_cached(client, kind, version):
                await asyncio.sleep(LOOK_SECONDS)
                found, version = await _count(client, kind)

    def _client(self) -> Client:
        return Client.connect(kubeconfig=str(self._server.kubeconfig), user_agent="bench")


async def _until_served(client: Client, kind: Resource) -> None:
    """A kind is served a moment after its definition was made."""
    async with asyncio.timeout(SERVED_DEADLINE):
        while True:
            try:
                await _count(client, kind)
            except ApiError as error:
                if not error.is_not_found:
                    raise
                await asyncio.sleep(LOOK_SECONDS)
            else:
                return


async def _count(client: Client, kind: Resource) -> tuple[int, str]:
    """Objects of a kind, without reading them, and the resource version at which there were so many."""
    answer = json.loads(await client.request("GET", kind.path(), params={"limit": "1"}))
    metadata = answer["metadata"]
    return len(answer["items"]) + int(metadata.get("remainingItemCount", 0)), metadata["resourceVersion"]


async def _is_cached(client: Client, kind: Resource, version: str) -> bool:
    """Whether the server's cache is as new as a resource version. It waits some seconds before it says no."""
    params = {"limit": "1", "resourceVersion": version, "resourceVersionMatch": "NotOlderThan"}
    try:
        await client.request("GET", kind.path(), params=params)
    except ApiError as error:
        if error.status != TOO_NEW:
            raise
        return False
    return True
