"""Where this node is, by its labels: told to the kubelet, which labels the node so for each CSI driver.

The kubelet refuses a driver that tells another place than the node's labels for that driver have, and the node then
serves no volumes. PersistentVolumes name those labels. So they stay as they are until somebody removes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from controller.agent.node.driver import UnavailableError
from controller.framework.placement import topology_label
from controller.runtime.kube import NODE
from informers import ApiError, TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from informers import JsonObject, Resource

_log = structlog.get_logger(__name__)


class Reader(Protocol):
    """What of the API client is needed here."""

    async def get(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        """Reads an object."""
        ...


class Topology:
    """Tells where a node is.

    Args:
        client: Reads the node.
        node: The node's name.
        domains: The labels that tell places apart, "topology.kubernetes.io/zone"; none: no place is told.
    """

    def __init__(self, client: Reader, node: str, domains: Sequence[str] = ()) -> None:
        self._client = client
        self._node = node
        self._domains = domains
        self._warned: set[str] = set()

    async def labels(self) -> Mapping[str, str]:
        """The node's labels now.

        Raises:
            UnavailableError: The API server does not tell them.
        """
        try:
            metadata = (await self._client.get(NODE, "", self._node))["metadata"]
        except (ApiError, TransportError) as error:
            raise UnavailableError(f"labels of node {self._node} cannot be read: {error}") from error
        labels: Mapping[str, str] = metadata.get("labels") or {}
        return labels

    async def segments(self, driver: str) -> Mapping[str, str]:
        """Where the node is for a CSI driver: `accessible_topology` of CSI. A label that the node lacks is left out.

        Raises:
            UnavailableError: The API server does not tell its labels.
        """
        if not self._domains:
            return {}
        labels = await self.labels()
        found = {}
        for domain in self._domains:
            value, key = labels.get(domain, ""), topology_label(driver, domain.rpartition("/")[2])
            known = labels.get(key, "")
            if not (value or known):
                self._warn(f"node has no label {domain}: no volume is for its place")
            elif known and value != known:
                self._warn(
                    f"node has {domain}={value or 'none'}, but {key}={known}, which counts until it is removed: drain "
                    "the node, remove that label, and delete the node's rook-agent pod"
                )
            if known or value:
                found[key] = known or value
        return found

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            _log.warning(message, node=self._node)
