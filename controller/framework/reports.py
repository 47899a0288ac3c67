"""The agents' reports of their nodes, for those who choose devices or ask who uses a volume.

A report lives as long as its node: one that stayed would count the devices of a machine that is gone. It stays a while
longer if it names clients of volumes that are attached there still: by it they are fenced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from controller.apis.rook.node_report import NODE_REPORT, NodeReport
from controller.runtime import Controller, Request, Result
from controller.runtime.kube import CONFIG_MAP, NODE, VOLUME_ATTACHMENT, Node, VolumeAttachment, resource_of
from informers import ApiError, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata
    from informers import Client, Delta, Informer, InformerFactory

log = structlog.get_logger(__name__)

REPORTS = resource_of(NODE_REPORT)

OLD_REPORTS = "app=rook-discover"
"""Selects the ConfigMaps in which agents of earlier releases reported."""


LOOK_AGAIN = 30.0
"""Seconds until it is looked again whether a node that is gone has volumes attached still."""


def reports_of(factory: InformerFactory, operator_namespace: str) -> Informer[NodeReport]:
    """The cache of the reports of all nodes, which are in the operator's namespace, each under its node's name."""
    return factory.informer(REPORTS, NodeReport, namespaces=(operator_namespace,))


def devices_changed(delta: Delta[NodeReport]) -> bool:
    """Lets through reports that come, go, or tell of other devices."""
    return delta.old is None or delta.new is None or delta.old.devices != delta.new.devices


class ReportReconciler:
    """Deletes the reports of nodes that are gone.

    Args:
        client: Deletes, and asks once more for the node.
        nodes: The cache of nodes.
        reports: The cache of reports.
        attachments: The cache of VolumeAttachments.
    """

    def __init__(
        self,
        client: Client,
        nodes: Informer[Node],
        reports: Informer[NodeReport],
        attachments: Informer[VolumeAttachment],
    ) -> None:
        self._client = client
        self._nodes = nodes
        self._reports = reports
        self._attachments = attachments

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        report = self._reports.get(request)
        if report is None or self._nodes.get("", request.name) is not None:
            return Result()
        if report.clients and await self._has_volumes(request.name):
            return Result(requeue_after=LOOK_AGAIN)
        # The cache of nodes may be older than a report of a node that has just joined.
        if await self._client.find(NODE, "", request.name) is None:
            await self._client.delete(REPORTS, request.namespace, request.name, uid=report.metadata.uid)
            log.info("Report of a node that is gone deleted", node=request.name)
        return Result()

    async def _has_volumes(self, node: str) -> bool:
        async for attachment in self._attachments.walk():
            if attachment.spec.node_name == node:
                return True
        return False


async def delete_old_reports(client: Client, namespace: str) -> None:
    """Deletes the ConfigMaps in which agents of earlier releases reported."""
    for found in await client.list(CONFIG_MAP, namespace, label_selector=OLD_REPORTS):
        meta = found["metadata"]
        if meta["name"].startswith("local-device-"):
            await client.delete(CONFIG_MAP, namespace, meta["name"], uid=meta["uid"])


def register(manager: Manager, settings: Settings) -> None:
    """Has `manager` delete reports of nodes that are gone, and those of earlier releases."""
    namespace = settings.operator_namespace
    nodes = manager.informers.informer(NODE, Node)
    reports = reports_of(manager.informers, namespace)
    attachments = manager.informers.informer(VOLUME_ATTACHMENT, VolumeAttachment)
    controller = Controller("nodereport", ReportReconciler(manager.client, nodes, reports, attachments))

    def report_of(node: HasMetadata) -> Iterable[Request]:
        return (Request(namespace, node.metadata.name),)

    def gone(delta: Delta[Any]) -> bool:
        return delta.new is None

    controller.watch(reports)
    controller.watch(nodes, report_of, predicate=gone)
    manager.add(controller)

    async def sweep() -> None:
        try:
            await delete_old_reports(manager.client, namespace)
        except (ApiError, TransportError) as error:  # the next leader tries again; nobody reads them
            log.info("Reports of an earlier release are still there", error=str(error))

    manager.add_runnable(sweep)
