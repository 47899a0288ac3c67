"""The bench's program on this project's own runtime, with all that the operator has on: lease, metrics, probes.

Pods are held and read as the operator does it: in JSON, by the Pod view that its controllers share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec
import uvloop

from bench.runtime.peers.common import GROUP, SEQUENCE, VERSION, Tally, options, say
from controller.runtime import Controller, LeaderElection, Manager, Program, Request, Result, configure_logging, connect
from controller.runtime.kube import POD, Pod
from informers import Resource
from informers.turns import sliced

if TYPE_CHECKING:
    import argparse

    from informers import Client, Informer

WIDGET = Resource(GROUP, VERSION, "Widget", "widgets")


class Metadata(msgspec.Struct, frozen=True):
    """What the reconciler reads of any object's metadata."""

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class WidgetStatus(msgspec.Struct, frozen=True):
    """What the reconciler reads of a widget's status."""

    token: str = ""


class Widget(msgspec.Struct, frozen=True):
    """What the reconciler reads of a widget."""

    metadata: Metadata = Metadata()
    status: WidgetStatus = WidgetStatus()


class _Metadata(Protocol):
    @property
    def annotations(self) -> dict[str, str]: ...


class _Object(Protocol):
    @property
    def metadata(self) -> _Metadata: ...


class Reconciler[T: _Object]:
    """Reads the object, and others if it is to; writes its status if it is to and the status is another."""

    def __init__(self, informer: Informer[T], client: Client, tally: Tally, token: str, children: int) -> None:
        self._informer = informer
        self._client = client
        self._tally = tally
        self._token = token
        self._children = children

    async def reconcile(self, request: Request) -> Result:
        """Implements `controller.runtime.Reconciler`."""
        found = self._informer.get(request)
        if found is None:
            return Result()
        if self._children:
            keys = self._informer.keys(request.namespace)[: self._children]
            read = [child async for key in sliced(keys) if (child := self._informer.get(*key)) is not None]
            assert len(read) == len(keys)  # what is measured
        if self._token and isinstance(found, Widget) and found.status.token != self._token:
            self._tally.patching()
            await self._client.patch(
                self._informer.resource,
                request.namespace,
                request.name,
                {"status": {"token": self._token}},
                content_type="application/merge-patch+json",
                subresource="status",
            )
            self._tally.patched()
        self._tally.reconciled(found.metadata.annotations.get(SEQUENCE))
        return Result()


async def run(arguments: argparse.Namespace) -> None:
    """Runs the manager until it is told to stop."""
    async with connect(
        Program("bench"),
        kubeconfig=arguments.kubeconfig,
        namespaces=None,
        identity="bench",
        leader_election=LeaderElection(namespace="default", name=arguments.lease),
        metrics_address=("127.0.0.1", 0),
        debug_address=("127.0.0.1", 0),
    ) as manager:
        if arguments.resource == "pods":
            serve(manager, manager.informers.informer(POD, Pod), arguments)
        else:
            serve(manager, manager.informers.informer(WIDGET, Widget), arguments)
        await manager.run()


def serve[T: _Object](manager: Manager, informer: Informer[T], arguments: argparse.Namespace) -> None:
    """Have the manager say when the cache is synced and, unless that is all, reconcile what is in it."""

    async def tell() -> None:
        await informer.wait_synced()
        say("synced")

    manager.add_runnable(tell, needs_leader=False)
    if arguments.cache_only:
        return
    tally = Tally(arguments.objects, record=arguments.record)
    reconciler = Reconciler(informer, manager.client, tally, arguments.patch, arguments.children)
    controller = Controller("bench", reconciler, workers=arguments.workers)
    controller.watch(informer)
    manager.add(controller)

    def enqueue_all() -> None:
        for namespace, name in informer.keys(None):
            controller.queue.add(Request(namespace, name))

    manager.add_runnable(lambda: tally.obey(enqueue_all), needs_leader=False)


if __name__ == "__main__":
    configure_logging(level="warning", format="json")
    uvloop.run(run(options()))
