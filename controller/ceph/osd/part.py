"""OSDs as a part of their cluster, and what holds back drains of their nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from controller.ceph.osd import act, disruption, prepare_job
from controller.ceph.osd import observe as osds
from controller.ceph.osd.analyze import analyze, lost
from controller.ceph.osd.assess import judged, labelled
from controller.ceph.osd.memory import Comparisons
from controller.ceph.osd.objects import APP, read_osd
from controller.ceph.osd.observation import OsdObservation
from controller.ceph.osd.patterns import pattern_problem
from controller.ceph.osd.selection import ignored_fields
from controller.ceph.osd.spec import OsdSpec
from controller.ceph.osd.status import degraded, device_status, storage_status
from controller.ceph.osd.verdicts import Verdict
from controller.ceph.part import Part, Report
from controller.ceph.pods import context_of, pod_settings
from controller.framework.aside import aside
from controller.runtime.kube import DEPLOYMENT, Deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephClusterSpec
    from controller.apis.ceph.storage import Node, StorageScopeSpec
    from controller.ceph.osd.reservations import Reservations
    from controller.ceph.part import Ground
    from controller.ceph.pods import Context
    from controller.framework.plan import Handler, Step
    from controller.framework.settings import Settings
    from controller.runtime.apply import Applier
    from informers import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What there is of a cluster's OSDs, and the same as drains see it."""

    osds: OsdObservation
    drains: disruption.Scene = field(default_factory=disruption.Scene)


class _Osds:
    """The OSDs of all clusters: what is remembered of each, and what they keep from each other."""

    def __init__(self, client: Client, applier: Applier, settings: Settings, reservations: Reservations) -> None:
        self._client, self._applier, self._settings = client, applier, settings
        self._reservations = reservations
        self._compared: dict[str, Comparisons] = {}

    async def observe(self, ground: Ground) -> Seen:
        cluster, namespace = ground.cluster, ground.cluster.metadata.namespace
        nodes = tuple(ground.nodes.values())
        seen = OsdObservation(now=ground.now, nodes=nodes, reports=ground.reports)
        if ground.identity is not None and ground.release is not None:
            seen = await osds.observe(
                OsdSpec.of(cluster),
                context_of(cluster, ground.identity.fsid, ground.release),
                now=ground.now,
                nodes=nodes,
                reports=ground.reports,
                live=ground.live,
                deployments=ground.deployments,
                all_jobs=tuple(ground.jobs.values()),
                pods=ground.pods,
                ceph=ground.ceph if ground.mgr is not None else None,
                mgr=ground.mgr is not None and bool(ground.mgr.get("available")),
                allow_loop_devices=self._settings.allow_loop_devices,
                script_image=self._settings.operator_image,
                memory=self._compared.setdefault(namespace, Comparisons()),
                reserved=self._reservations.of_others(namespace),
                warned=ground.warnings,
            )
        pgs = ground.health.pgs if ground.health is not None else {}
        return Seen(osds=seen, drains=await aside(disruption.scene, seen, pgs))

    def handlers(self, ground: Ground, seen: Seen) -> dict[type, Handler]:
        if ground.ceph is None or ground.identity is None or ground.release is None:
            return {}
        ways = act.handlers(
            ground.cluster,
            context_of(ground.cluster, ground.identity.fsid, ground.release),
            self._client,
            self._applier,
            ground.ceph,
            script_image=seen.osds.script_image,
            reservations=self._reservations,
        )
        return {**ways, **disruption.handlers(ground.ceph)}

    def forget(self, namespace: str) -> None:
        self._compared.pop(namespace, None)


def part(client: Client, applier: Applier, settings: Settings, reservations: Reservations) -> Part[Seen]:
    """The part.

    Args:
        client: Asks the API server.
        applier: Writes.
        settings: Of the operator.
        reservations: Devices that are being prepared.
    """
    own = _Osds(client, applier, settings, reservations)
    return Part(
        name="osds",
        apps=frozenset({APP, prepare_job.APP}),
        observe=own.observe,
        analyze=_analyze,
        handlers=own.handlers,
        invalid=_invalid,
        ignored=lambda spec: ignored_fields(spec.storage),
        look_again=lambda seen: disruption.look_again(seen.drains),
        report=report,
        remnants=_remnants,
        holders=frozenset({APP}),
        nodes=_nodes,
        forget=own.forget,
    )


def report(ground: Ground, seen: Seen) -> Report:
    """What the status tells of OSDs and devices."""
    fields: dict[str, Any] = {}
    if ground.release is not None and ground.identity is not None:
        fields["devices"] = device_status(seen.osds)
    down = lost(seen.osds)
    beside = f"{len(down)} OSDs are down (condition Degraded)" if down else ""
    if seen.osds.states is None:
        return Report(fields=fields, beside=beside)
    fields["storage"] = storage_status(seen.osds)
    drained = disruption.drained(ground.cluster.spec.disruption_management, seen.drains)
    return Report(fields=fields, conditions=(degraded(drained, down),), beside=beside)


def _invalid(spec: CephClusterSpec) -> Iterator[str]:
    healthy = spec.disruption_management.pg_healthy_regex
    yield pattern_problem("disruptionManagement.pgHealthyRegex", healthy, f"{disruption.HEALTHY} counts")
    scopes: list[tuple[str, StorageScopeSpec | Node]] = [("storage", spec.storage)]
    scopes += [(f"storage.nodes[{index}]", node) for index, node in enumerate(spec.storage.nodes)]
    for path, scope in scopes:
        yield pattern_problem(f"{path}.deviceFilter", scope.device_filter)
        yield pattern_problem(f"{path}.devicePathFilter", scope.device_path_filter)


def _analyze(ground: Ground, context: Context, seen: Seen, hold: str) -> Iterator[Step]:
    yield from analyze(OsdSpec.of(ground.cluster), context, seen.osds, hold=hold)
    if seen.osds.states is not None:
        yield from disruption.analyze(ground.cluster.spec.disruption_management, context.owner, seen.drains)


def _remnants(ground: Ground) -> Iterator[str]:
    for (kind, name), obj in ground.live.items():
        if kind == DEPLOYMENT.kind and obj["metadata"].get("labels", {}).get("app") == APP:
            yield f"{kind} {name}"
    if ground.identity is not None:
        yield from labelled(ground.identity.fsid, ground.reports)


def _nodes(ground: Ground, seen: Seen) -> Iterator[str]:
    """The nodes that may hold data of OSDs.

    Those of the OSDs' Deployments; those with a device that carries this cluster's label, or was to become an OSD and
    may have become one since; and those that the spec selects and nobody has looked at.
    """
    for (kind, _), obj in ground.live.items():
        if kind == DEPLOYMENT.kind and obj["metadata"].get("labels", {}).get("app") == APP:
            found = read_osd(msgspec.convert(obj, Deployment))
            if found is not None:
                yield found.node
    if ground.identity is None:
        return
    fsid = ground.identity.fsid
    yield from (node for node, devices in ground.reports.items() if any(d.ceph_fsid == fsid for d in devices))
    for verdict in judged(ground.cluster.spec.storage, pod_settings(ground.cluster), fsid, seen.osds):
        if verdict.verdict is not Verdict.REJECTED or verdict.unseen:
            yield verdict.node
