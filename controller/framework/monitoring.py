"""How Prometheus finds a system's metrics: by monitors where the cluster has those types, by annotations where not.

The types are the Prometheus operator's, which may be installed at any time, or never: so no cache holds them, and the
API server is asked for them now and then. https://prometheus-operator.dev/docs/api-reference/api/ Contract:

- A ServiceMonitor or PodMonitor is made and mended where its type is served, and deleted when it is wanted
  no more.
- Where it is not served, a Service is annotated. Pods are not: a pod template, and so a restart, must not depend on
  what else is installed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import structlog

from controller.framework.children import Live
from controller.framework.plan import Step
from controller.runtime.apply import APPLY
from controller.runtime.difference import difference
from informers import ApiError, Resource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.framework.plan import Handler
    from informers import Client, JsonObject

log = structlog.get_logger(__name__)

_GROUP = "monitoring.coreos.com"
SERVICE_MONITOR = Resource(group=_GROUP, version="v1", kind="ServiceMonitor", plural="servicemonitors")
POD_MONITOR = Resource(group=_GROUP, version="v1", kind="PodMonitor", plural="podmonitors")

FRESH = 300.0
"""Seconds for which an answer to what is there holds."""


@dataclass(frozen=True, slots=True)
class ApplyMonitor:
    """Make a monitor have every field that is set here, creating it where it is missing."""

    resource: Resource
    obj: JsonObject = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeleteMonitor:
    """Delete the monitor with this uid."""

    resource: Resource
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Monitored:
    """Whether a type of monitors is served, and which of ours there are."""

    served: bool = False
    live: Live = field(default_factory=dict)


class Monitors:
    """What there is of one type of monitors.

    Args:
        client: Asks the API server, and writes.
        resource: The type.
        field_manager: Owns the fields that are applied.
    """

    def __init__(self, client: Client, resource: Resource, field_manager: str) -> None:
        self._client, self._resource, self._field_manager = client, resource, field_manager
        self._known: dict[tuple[str, str], tuple[float, Monitored]] = {}

    async def observe(self, namespace: str, labels: str, *, wanted: bool) -> Monitored:
        """What there is in a namespace, as it was at most `FRESH` seconds ago.

        Args:
            namespace: The namespace.
            labels: A selector of the labels that ours have, and no others.
            wanted: Whether there are to be any; where none is, and none was there, nobody is asked again.
        """
        now, key = anyio.current_time(), (namespace, labels)
        known = self._known.get(key)
        if known is not None and (now < known[0] or not (wanted or known[1].live)):
            return known[1]
        found = await self._ask(namespace, labels)
        if found is None:
            # Of somebody else's making: it is to keep up nothing of the system's own.
            return known[1] if known is not None else Monitored()
        self._known[key] = now + FRESH, found
        return found

    def forget(self, namespace: str) -> None:
        """Asks anew at the next look at a namespace."""
        for key in [key for key in self._known if key[0] == namespace]:
            del self._known[key]

    def handlers(self) -> dict[type, Handler]:
        """How the actions of this module are carried out."""

        async def apply(action: ApplyMonitor) -> None:
            meta = action.obj["metadata"]
            params = {"fieldManager": self._field_manager, "force": "true"}
            await self._client.patch(
                action.resource, meta["namespace"], meta["name"], action.obj, content_type=APPLY, params=params
            )
            self.forget(meta["namespace"])

        async def delete(action: DeleteMonitor) -> None:
            await self._client.delete(action.resource, action.namespace, action.name, uid=action.uid)
            self.forget(action.namespace)

        return {ApplyMonitor: apply, DeleteMonitor: delete}

    async def _ask(self, namespace: str, labels: str) -> Monitored | None:
        """What there is; None where that cannot be told."""
        try:
            objects = await self._client.list(self._resource, namespace, label_selector=labels)
        except ApiError as error:
            # The type does not exist, or the role of an older chart knows nothing of it.
            if error.is_not_found or error.status == 403:
                return Monitored()
            log.info("monitors cannot be listed", kind=self._resource.kind, namespace=namespace, error=str(error))
            return None
        return Monitored(True, {(self._resource.kind, obj["metadata"]["name"]): obj for obj in objects})


def analyze(resource: Resource, wanted: Sequence[JsonObject], seen: Monitored, *, subject: str) -> tuple[Step, ...]:
    """The steps after which there are these monitors, and no others of ours. Pure.

    Args:
        resource: Their type.
        wanted: The monitors.
        seen: What there is.
        subject: As `Step.subject`.
    """
    if not seen.served:
        return ()
    lane = f"{subject} monitoring"
    steps = [
        Step(subject=subject, action=ApplyMonitor(resource, obj), reason=why, lane=lane)
        for obj in wanted
        if (why := _shortfall(obj, seen.live.get((resource.kind, obj["metadata"]["name"]))))
    ]
    names = {obj["metadata"]["name"] for obj in wanted}
    for (_, name), obj in seen.live.items():
        meta = obj["metadata"]
        if name not in names and meta.get("deletionTimestamp") is None:
            action = DeleteMonitor(resource, meta["namespace"], name, meta["uid"])
            steps.append(Step(subject=subject, action=action, reason="metrics are not to be collected", lane=lane))
    return tuple(steps)


def _shortfall(wanted: JsonObject, found: JsonObject | None) -> str:
    name = f"{wanted['kind']} {wanted['metadata']['name']}"
    if found is None:
        return f"{name} does not exist"
    differs = difference(wanted, found)
    return f"{name}: {differs}" if differs else ""


def scrape_annotations(port: int) -> dict[str, str]:
    """The annotations of a Service by which Prometheus finds the metrics of the pods behind it."""
    return {"prometheus.io/scrape": "true", "prometheus.io/port": str(port), "prometheus.io/path": "/metrics"}


def monitor(
    resource: Resource, meta: JsonObject, selector: Mapping[str, str], port: str, *, interval: str = "", **more: Any
) -> JsonObject:
    """A ServiceMonitor or PodMonitor in the namespace of what it selects.

    Args:
        resource: Which of the two.
        meta: Its metadata.
        selector: Labels of the Services, or of the pods.
        port: The name of the port.
        interval: Time between two scrapes, as "10s"; empty: as Prometheus does by itself.
        more: Other fields of the endpoint, such as `scheme` and `tlsConfig`.
    """
    endpoint = {"port": port, "path": "/metrics", **({"interval": interval} if interval else {}), **more}
    endpoints = "endpoints" if resource == SERVICE_MONITOR else "podMetricsEndpoints"
    spec = {
        "namespaceSelector": {"matchNames": [meta["namespace"]]},
        "selector": {"matchLabels": dict(selector)},
        endpoints: [endpoint],
    }
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "spec": spec}
