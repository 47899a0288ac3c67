"""Which OSDs there are, on which devices, and how their Deployments differ from what they should be. Pure."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from controller.ceph.crush import place
from controller.ceph.osd.act import DeployOsd
from controller.ceph.osd.devices import judge
from controller.ceph.osd.objects import Osd, osd_deployment, read_osd, with_settings
from controller.ceph.osd.observation import Assessment
from controller.ceph.osd.prepare_job import osd_placement
from controller.ceph.osd.restart import returning
from controller.ceph.osd.script_image import kept_image
from controller.ceph.osd.selection import Entries
from controller.ceph.osd.verdicts import KnownOsd, NodeDevices, Occupancy, Verdict
from controller.ceph.pods import is_kept
from controller.framework.children import explain, is_held
from controller.framework.placement import HOSTNAME_LABEL, hostname, rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from controller.apis.ceph.storage import StorageScopeSpec
    from controller.apis.rook.node_report import BlockDevice
    from controller.ceph.osd.memory import Comparisons
    from controller.ceph.osd.observation import OsdObservation
    from controller.ceph.osd.spec import OsdSpec
    from controller.ceph.osd.verdicts import DeviceVerdict
    from controller.ceph.pods import Context
    from controller.framework.children import Live
    from controller.framework.workload import PodSettings
    from informers import JsonObject


def assess(spec: OsdSpec, context: Context, seen: OsdObservation, memory: Comparisons) -> Assessment:
    """How what is seen falls short of what is wanted. Pure, but for what it remembers for the next look."""
    record = _on_record(seen)
    verdicts = _judged(spec.storage, context.pods, context.fsid, seen, record)
    osds = _known_osds(seen, record, verdicts)
    changes = {change.osd.osd_id: change for change in _outdated(spec, context, seen, osds, memory)}
    return Assessment(verdicts=verdicts, osds=osds, changes=changes, returning=returning(seen))


def judged(storage: StorageScopeSpec, pods: PodSettings, fsid: str, seen: OsdObservation) -> tuple[DeviceVerdict, ...]:
    """The verdict on every device of every node."""
    return _judged(storage, pods, fsid, seen, _on_record(seen))


def _judged(
    storage: StorageScopeSpec, pods: PodSettings, fsid: str, seen: OsdObservation, record: Mapping[str, Osd]
) -> tuple[DeviceVerdict, ...]:
    placement = osd_placement(storage, pods)
    nodes = [
        NodeDevices(
            node=node.metadata.name,
            hostname=hostname(node),
            kernel=node.status.node_info.boot_id,
            closed=rejection(node, placement),
            devices=seen.reports.get(node.metadata.name),
        )
        for node in seen.nodes
    ]
    known = [KnownOsd(osd_id=o.osd_id, uuid=o.uuid, node=o.node, path=o.path) for o in record.values()]
    occupancy = Occupancy(fsid=fsid, registered=seen.registered, known=tuple(known))
    return judge(
        storage,
        nodes,
        occupancy,
        allow_loop_devices=seen.allow_loop_devices,
        reserved=seen.reserved,
    )


def _on_record(seen: OsdObservation) -> dict[str, Osd]:
    """By UUID, the OSDs that a Deployment or a Job tells of, as far as the cluster has them."""
    found = {
        p.uuid: Osd(
            osd_id=p.osd_id,
            uuid=p.uuid,
            node=p.node,
            path=p.path,
            settings={"deviceClass": p.device_class} if p.device_class else {},
            place=_in_crush(seen, p.osd_id),
        )
        for p in seen.prepared
    }
    for deployment in seen.deployments.values():
        osd = read_osd(deployment)
        if osd is not None:
            found[osd.uuid] = osd
    registered = seen.registered
    return found if registered is None else {uuid: osd for uuid, osd in found.items() if uuid in registered}


def _known_osds(seen: OsdObservation, record: Mapping[str, Osd], verdicts: Iterable[DeviceVerdict]) -> tuple[Osd, ...]:
    """The cluster's OSDs, each on the node that has its device, by number."""
    found = dict(record)
    places: dict[str, dict[str, DeviceVerdict]] = {}
    for verdict in verdicts:
        if verdict.verdict is Verdict.IN_USE and verdict.report is not None:
            places.setdefault(verdict.osd_uuid, {})[verdict.node] = verdict
    for osd_uuid, by_node in places.items():
        osd = found.get(osd_uuid)
        if osd is None or (osd.node not in by_node and osd.node in seen.reports and len(by_node) == 1):
            # Not on record, or its disk was carried to another node. Of nodes that share it, one that the spec means.
            place = by_node[min(by_node, key=lambda node: (by_node[node].config is None, node))]
            path = place.report.path if place.report is not None else ""
            settings = osd.settings if osd is not None else {}
            # Whoever carries a disk elsewhere means it to be there.
            at = _in_crush(seen, place.osd_id) if osd is None else {}
            osd = Osd(osd_id=place.osd_id, uuid=osd_uuid, node=place.node, path=path, settings=settings, place=at)
        here = by_node.get(osd.node)
        found[osd_uuid] = with_settings(osd, here.config if here is not None else None)
    classes = {number: state.device_class for number, state in (seen.states or {}).items() if state.device_class}
    with_class = (
        replace(osd, found_class=classes[osd.osd_id]) if osd.osd_id in classes else osd for osd in found.values()
    )
    return tuple(sorted(with_class, key=lambda osd: osd.osd_id))


def _in_crush(seen: OsdObservation, osd_id: int) -> Mapping[str, str]:
    """Where an OSD without a Deployment is, by the cluster's own map."""
    state = (seen.states or {}).get(osd_id)
    return state.place if state is not None else {}


def _outdated(
    spec: OsdSpec,
    context: Context,
    seen: OsdObservation,
    osds: Sequence[Osd],
    memory: Comparisons,
) -> Iterator[DeployOsd]:
    """The OSDs whose Deployment is missing or not as it should be."""
    nodes = {node.metadata.name: node for node in seen.nodes}
    bound_to = {
        name: (node.metadata.labels.get(HOSTNAME_LABEL), place(node.metadata.labels)) for name, node in nodes.items()
    }
    entries = Entries(spec.storage)
    own_entries = {name: entries.of(name, hostname(node)) for name, node in nodes.items()}
    memory.begin((context, spec.storage, spec.may_move, seen.script_image), (osd.osd_id for osd in osds))
    for osd in osds:
        node = nodes.get(osd.node)
        deployment = seen.deployments.get(osd.osd_id)
        if node is None or HOSTNAME_LABEL not in node.metadata.labels:
            continue  # its node is gone: there is nothing to be done for it until the node or the disk shows up
        if is_kept(deployment):
            continue
        entry = own_entries[osd.node]
        resources = entry.resources if entry is not None else {}
        wanted = replace(osd, place={}) if spec.may_move else osd
        image = kept_image(deployment, seen.script_image)
        key = ("Deployment", osd.daemon.name)
        version = deployment.metadata.resource_version if deployment is not None else ""
        # One that is let be for a while is so until some time.
        own = (version, wanted, bound_to[osd.node], resources) if version and not is_held(seen.live, key) else None
        build = partial(osd_deployment, spec.storage, context, wanted, node, resources)
        why = memory.difference(osd.osd_id, own, partial(_compare, build, image, seen.live, key))
        if why:
            yield DeployOsd(wanted, why, partial(build, seen.script_image))


def _compare(build: Callable[[str], JsonObject], image: str, live: Live, key: tuple[str, str]) -> str:
    return explain(build(image), live.get(key))


def labelled(fsid: str, reports: Mapping[str, Sequence[BlockDevice]]) -> list[str]:
    """OSDs of a cluster by the labels of devices, in words."""
    return [
        f"osd.{device.osd_id} on {device.path} of node {node}"
        for node, devices in sorted(reports.items())
        for device in devices
        if device.ceph_fsid == fsid and device.osd_id >= 0
    ]
