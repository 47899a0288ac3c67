"""OSDs: from devices to daemons that hold data, and what becomes of those that are out of date or gone.

What is known of an OSD comes from three places, of which any one is enough: its Deployment, the report of the Job that
made it, and the label on its device as the node's agent reads it. So a deleted Job or Deployment loses no OSD, nor does
an operator that died between two steps. Whether the cluster still has the OSD, only its own map says.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import structlog

from controller.apis.ceph import CEPH_CLUSTER
from controller.apis.ceph import status as api
from controller.ceph.access.rados import CephError
from controller.ceph.crush import failure_domain, place, places, spelled
from controller.ceph.mgr.analyze import CreateKeyring
from controller.ceph.osd import prepare
from controller.ceph.osd.devices import (
    OVERWRITE,
    DeviceVerdict,
    Entries,
    KnownOsd,
    NodeDevices,
    Occupancy,
    Verdict,
    judge,
)
from controller.ceph.osd.memory import Comparisons
from controller.ceph.osd.objects import APP, Osd, osd_deployment, read_osd, with_settings
from controller.ceph.osd.script_image import kept_image
from controller.ceph.pods import cluster_labels, is_kept, pod_settings
from controller.ceph.releases import RELEASES
from controller.framework import jobs, rollout
from controller.framework.aside import aside
from controller.framework.children import Live, delete, explain, is_held
from controller.framework.consent import NoConsentError, read_same
from controller.framework.placement import HOSTNAME_LABEL, rejection
from controller.framework.plan import Step
from controller.framework.pods import trouble
from controller.framework.rollout import Leave, Member, Policy, ask, decide
from controller.framework.text import brief, some
from controller.runtime.kube import CONFIG_MAP, DEPLOYMENT, resource_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from controller.apis.ceph import CephCluster
    from controller.apis.rook.node_report import BlockDevice
    from controller.ceph.access.rados import Cluster
    from controller.ceph.pods import Context, Release
    from controller.framework.plan import Handler
    from controller.framework.reservations import Reservations
    from controller.runtime.apply import Applier
    from controller.runtime.kube import Deployment, Job, Node, Pod
    from informers import Client, JsonObject

log = structlog.get_logger(__name__)

CLUSTERS = resource_of(CEPH_CLUSTER)


QUESTIONS = ("osd dump", "osd tree", "osd crush rule dump")
COUNTED = ("osd_objectstore", "ceph_release")
"""What the OSDs' metadata is counted by; the metadata of all OSDs itself is megabytes."""
MAX_DEVICE_ROWS = 500
"""Devices that a status lists; an object of the API has to stay well below 1.5 MiB."""
MAX_REASON = 240
"""Characters that are said of each."""
MAX_NAMED = 10
"""OSDs that a message names."""
MOVE_ANNOTATION = "rook.io/allow-osd-move"
"""On a CephCluster, "true": OSDs go where the labels of their nodes say by now, and data with them."""
LEAST_FOR_CHECKS = 3
"""OSDs below which none can be restarted without a pause in service, so that asking is of no use; upstream's number."""
MGR_SECONDS = 20.0
"""How long the mgr may take to answer all that is asked of it in one look."""
RETURN_SECONDS = 600.0
"""How long the others wait for an OSD that was restarted to be up again; as long as Kubernetes waits for its pod."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OsdState:
    """An OSD in the cluster's map."""

    osd_id: int
    uuid: str
    up: bool
    is_in: bool
    device_class: str = ""
    new: bool = False
    """Whether it never ran: it was only registered, or its number is kept for another disk."""
    place: Mapping[str, str] = field(default_factory=dict)
    """Where it is in CRUSH, below the root; empty where it is nowhere yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OsdObservation:
    """What `analyze` decides by.

    Attributes:
        now: Seconds since the epoch.
        nodes: Every node.
        reports: What agents reported, by node.
        live: The objects of the cluster's namespace.
        deployments: The OSDs' Deployments by OSD number.
        pods: The OSDs' pods by OSD number.
        preparing: The Jobs that prepare devices, by name.
        prepared: What they made or found.
        refused: What they did not use.
        states: The cluster's OSDs by number; None while the cluster does not answer.
        stores: OSDs by backend.
        releases: OSDs by the release that they ran when they started last, whether they are up or not.
        required: The release that OSDs must have at least to join the cluster.
        ever: Whether the cluster ever had an OSD, by its map.
        stoppable: OSDs that may be restarted now: the next batch, as far as the cluster can do without it for a moment.
        unstoppable: Why it cannot do without the others, in Ceph's words.
        removable: OSDs that are out and down, and whose data is safe elsewhere.
        failure_domain: The lowest level of CRUSH over which pools spread data; empty while there is no pool.
        noout: Units of CRUSH whose OSDs are not counted out.
        allow_loop_devices: Whether loop devices may be used when they are named.
        script_image: The operator's image, from which new pods get their script; empty: not known.
        reserved: Devices that other clusters prepare, by what they are known by, and for whom.
        assessed: What `assess` made of it.
    """

    now: float
    nodes: tuple[Node, ...] = ()
    reports: Mapping[str, tuple[BlockDevice, ...]] = field(default_factory=dict)
    live: Live = field(default_factory=dict)
    deployments: Mapping[int, Deployment] = field(default_factory=dict)
    pods: Mapping[int, tuple[Pod, ...]] = field(default_factory=dict)
    preparing: Mapping[str, jobs.Run] = field(default_factory=dict)
    prepared: tuple[prepare.Prepared, ...] = ()
    refused: tuple[prepare.Refusal, ...] = ()
    states: Mapping[int, OsdState] | None = None
    stores: Mapping[str, int] = field(default_factory=dict)
    releases: Mapping[str, int] = field(default_factory=dict)
    required: str = ""
    ever: bool = True
    stoppable: frozenset[int] = frozenset()
    unstoppable: str = ""
    removable: frozenset[int] = frozenset()
    failure_domain: str = ""
    noout: frozenset[str] = frozenset()
    allow_loop_devices: bool = False
    script_image: str = ""
    reserved: Mapping[str, str] = field(default_factory=dict)
    assessed: Assessment = field(default_factory=lambda: Assessment())

    @property
    def registered(self) -> frozenset[str] | None:
        """UUIDs of the cluster's OSDs; None while it does not answer, or cannot know."""
        if self.states is None or not self.ever:
            return None
        return frozenset(state.uuid for state in self.states.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """How what is seen falls short of what is wanted; worked out once a look.

    Attributes:
        verdicts: On every device of every node.
        osds: The cluster's OSDs, by number.
        changes: For each OSD whose Deployment is missing or not as it should be, that Deployment and the difference.
        returning: OSDs that were (re)started and are not back yet.
    """

    verdicts: tuple[DeviceVerdict, ...] = ()
    osds: tuple[Osd, ...] = ()
    changes: Mapping[int, DeployOsd] = field(default_factory=dict)
    returning: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class DeployOsd:
    """Make an OSD's Deployment as it should be. It is built only when that is done: a plan may have thousands.

    Attributes:
        osd: Whose it is.
        difference: How that which is there differs, in words.
        build: Builds it.
    """

    osd: Osd
    difference: str
    build: Callable[[], JsonObject] = field(repr=False, compare=False)

    @property
    def obj(self) -> JsonObject:
        """The Deployment."""
        return self.build()


@dataclass(frozen=True, slots=True)
class RemoveOsd:
    """Remove an OSD that is out and down from the cluster for good. Ceph refuses where data would be lost."""

    osd_id: int


@dataclass(frozen=True, slots=True)
class RequireRelease:
    """End an upgrade: from now on, OSDs of an earlier release may not join. Ceph refuses while one of them is up."""

    release: str


@dataclass(frozen=True, slots=True)
class SetDeviceClass:
    """Give an OSD another device class, which can move data between pools' OSDs."""

    osd_id: int
    device_class: str


async def observe(
    cluster: CephCluster,
    context: Context,
    *,
    now: float,
    nodes: Sequence[Node],
    reports: Mapping[str, tuple[BlockDevice, ...]],
    live: Live,
    deployments: Iterable[Deployment],
    all_jobs: Sequence[Job],
    pods: Sequence[Pod],
    ceph: Cluster | None,
    mgr: bool = True,
    allow_loop_devices: bool = False,
    script_image: str = "",
    reserved: Mapping[str, str] | None = None,
    memory: Comparisons | None = None,
    warned: Mapping[str, str] | None = None,
) -> OsdObservation:
    """Takes together what the caches have and what the cluster answers.

    Args:
        cluster: The cluster.
        context: The same, as its parts are given it.
        now: Seconds since the epoch.
        nodes: Every node.
        reports: What agents reported, by node.
        live: The objects of the cluster's namespace, taken before this call, so that the map of OSDs is newer.
        deployments: The Deployments there.
        all_jobs: The Jobs there.
        pods: The pods there, of OSDs and of Jobs.
        ceph: The cluster's answers; None while it has no quorum.
        mgr: Whether a mgr is there to answer, too.
        allow_loop_devices: Whether loop devices may be used when they are named.
        script_image: The operator's image.
        reserved: Devices that other clusters prepare.
        memory: What came of earlier looks at this cluster.
        warned: What events tell of Jobs, by uid.
    """

    def gathered() -> OsdObservation:
        preparing = [p for p in pods if p.metadata.labels.get("app") == prepare.APP]
        prepared, refused = prepare.read_results(preparing)
        of_jobs = jobs.by_job(preparing)
        own = (job for job in all_jobs if job.metadata.labels.get("app") == prepare.APP)
        return OsdObservation(
            now=now,
            nodes=tuple(nodes),
            reports=reports,
            live=live,
            deployments={o.osd_id: d for d in deployments if (o := read_osd(d)) is not None},
            pods=_pods(pods),
            preparing={
                job.metadata.name: jobs.read(job, of_jobs.get(job.metadata.uid, ()), warned or {}, now) for job in own
            },
            prepared=prepared,
            refused=refused,
            allow_loop_devices=allow_loop_devices,
            script_image=script_image,
            reserved=reserved or {},
        )

    seen = await aside(gathered)
    answers = await _ask_the_mons(ceph) if ceph is not None else {}
    if answers:
        seen = await aside(_with_map, seen, answers)
    seen = replace(seen, assessed=await aside(assess, cluster, context, seen, memory or Comparisons()))
    if ceph is None or not answers:
        return seen
    return await _ask_the_mgr(cluster, seen, next_batch(cluster, seen), ceph if mgr else None)


def _pods(pods: Iterable[Pod]) -> dict[int, tuple[Pod, ...]]:
    """The OSDs' pods by number."""
    found: dict[int, tuple[Pod, ...]] = {}
    for pod in pods:
        number = pod.metadata.labels.get("ceph-osd-id", "")
        if pod.metadata.labels.get("app") == APP and number.isdecimal():
            found[int(number)] = (*found.get(int(number), ()), pod)
    return found


async def _ask_the_mons(ceph: Cluster) -> dict[str, Any]:
    """What the mons say of OSDs, by question or by what is counted; nothing where they do not answer."""
    answers: dict[str, Any] = {}

    async def ask(what: str, prefix: str, args: Mapping[str, str]) -> None:
        answers[what] = await ceph.mon(prefix, **args)

    try:
        async with anyio.create_task_group() as tasks:
            for prefix in QUESTIONS:
                tasks.start_soon(ask, prefix, prefix, {})
            for name in COUNTED:
                tasks.start_soon(ask, name, "osd count-metadata", {"property": name})
    except* CephError as group:
        log.info("Mons do not say which OSDs there are", error=str(group.exceptions[0]))
        answers.clear()
    return answers


def _with_map(seen: OsdObservation, answers: Mapping[str, Any]) -> OsdObservation:
    """What is seen, with the cluster's map of OSDs."""
    dump, tree = answers["osd dump"], answers["osd tree"]
    classes = {node["id"]: node.get("device_class", "") for node in (*tree["nodes"], *tree.get("stray", ()))}
    where = places(tree)
    states = {
        osd["osd"]: OsdState(
            osd_id=osd["osd"],
            uuid=osd["uuid"],
            up=bool(osd["up"]),
            is_in=bool(osd["in"]),
            device_class=classes.get(osd["osd"], ""),
            new="new" in osd.get("state", ()),
            place=where.get(osd["osd"], {}),
        )
        for osd in dump["osds"]
    }
    stores, releases = (_counts(answers[name]) for name in COUNTED)
    return replace(
        seen,
        states=states,
        stores=stores,
        releases=releases,
        required=dump.get("require_osd_release", ""),
        # The numbers end there that were ever given to an OSD; those that were purged count.
        ever=dump.get("max_osd") != 0,
        failure_domain=failure_domain(dump.get("pools", ()), answers["osd crush rule dump"] or ()),
        noout=frozenset(unit for unit, flags in dump.get("crush_node_flags", {}).items() if "noout" in flags),
    )


def _counts(answer: Mapping[str, int] | None) -> dict[str, int]:
    """OSDs by a value of their metadata; those that never ran have none."""
    return {value: number for value, number in (answer or {}).items() if value not in ("", "unknown")}


async def _ask_the_mgr(
    cluster: CephCluster, seen: OsdObservation, batch: tuple[int, ...], ceph: Cluster | None
) -> OsdObservation:
    """What may be restarted and what may be removed; `ceph` None: no mgr is there to say.

    The number of questions does not grow with that of the OSDs. They are asked side by side, within `MGR_SECONDS`, so
    that a mgr that does not answer keeps nothing else from being looked at, least of all the mgr.
    """
    asked = bool(batch) and _asks(cluster, seen)
    stoppable, unstoppable = (frozenset[int](), "no mgr answers") if asked else (frozenset(batch), "")
    removable: frozenset[int] = frozenset()

    async def ask_about_restarts(ceph: Cluster) -> None:
        nonlocal stoppable, unstoppable
        stoppable, unstoppable = await _stoppable(batch, ceph)

    async def ask_about_removals(ceph: Cluster) -> None:
        nonlocal removable
        removable = await _removable(cluster, seen, ceph)

    if ceph is not None:
        with anyio.move_on_after(MGR_SECONDS):
            async with anyio.create_task_group() as tasks:
                if asked:
                    tasks.start_soon(ask_about_restarts, ceph)
                tasks.start_soon(ask_about_removals, ceph)
    return replace(seen, stoppable=stoppable, unstoppable=unstoppable, removable=removable)


async def _removable(cluster: CephCluster, seen: OsdObservation, ceph: Cluster) -> frozenset[int]:
    """Of the OSDs that are down and out, those whose data is safe elsewhere, if the spec wants them removed."""
    # One that was just made is down and out, too, until it starts.
    gone = sorted(s.osd_id for s in (seen.states or {}).values() if not s.up and not s.is_in and not s.new)
    if not gone or not cluster.spec.remove_osds_if_out_and_safe_to_remove:
        return frozenset()
    try:
        answer = await ceph.mgr("osd safe-to-destroy", ids=[str(osd_id) for osd_id in gone])
    except CephError as error:
        # It refuses where one of them is not safe, and says all the same which are.
        answer = error.output
    safe = answer.get("safe_to_destroy", ()) if isinstance(answer, dict) else ()
    return frozenset(gone).intersection(safe)


async def _stoppable(batch: tuple[int, ...], ceph: Cluster) -> tuple[frozenset[int], str]:
    """Which OSDs of the batch may stop now, and why the others may not, in Ceph's words."""

    async def question(names: Sequence[str]) -> str:
        try:
            await ceph.mgr("osd ok-to-stop", ids=[name.removeprefix("osd.") for name in names])
        except CephError as error:
            return error.message
        return ""

    leave = await ask([f"osd.{number}" for number in batch], question)
    return frozenset(int(name.removeprefix("osd.")) for name in leave.names), leave.refusal


def analyze(cluster: CephCluster, context: Context, seen: OsdObservation, *, hold: str = "") -> tuple[Step, ...]:
    """What to do for the cluster's OSDs. Pure.

    Args:
        cluster: The cluster.
        context: The same, as its parts are given it.
        seen: What is there.
        hold: What has to happen before an OSD that runs is restarted; empty: nothing.
    """
    if seen.states is None:
        return (Step(subject="osds", reason="devices are to be prepared", waits_for="a mon to be in quorum"),)
    if not seen.ever and (unknown := _unknown_to_the_mons(context.fsid, seen)):
        reason = f"the mons know of no OSD, not even of one that was purged, but there are {', '.join(unknown)}"
        waits_for = "the mons' stores, which were made anew, to be restored; or these OSDs to be wiped and deleted"
        return (Step(subject="osds", reason=reason, waits_for=waits_for),)
    verdicts, osds = seen.assessed.verdicts, seen.assessed.osds
    wanted = any(v.verdict is Verdict.ACCEPTED for v in verdicts)
    if (wanted or osds) and not seen.script_image:
        waits_for = "the operator to be told its own image: ROOK_OPERATOR_IMAGE"
        return (Step(subject="osds", reason="pods of OSDs get their script from that image", waits_for=waits_for),)
    return (
        *(_shared_objects(context, seen) if wanted or osds else ()),
        *_preparation(seen, verdicts),
        *_daemons(cluster, seen, osds, hold),
        *_moves(cluster, seen, osds),
        *_removals(cluster, seen, osds),
        *_old_scripts(seen),
        *_upgrade_end(context.release, seen),
    )


def _unknown_to_the_mons(fsid: str, seen: OsdObservation) -> list[str]:
    """OSDs of this cluster by its Deployments and by the labels of devices, in words."""
    deployed = [f"Deployment {d.metadata.name}" for _, d in sorted(seen.deployments.items())]
    return [*deployed, *labelled(fsid, seen.reports)]


def labelled(fsid: str, reports: Mapping[str, Sequence[BlockDevice]]) -> list[str]:
    """OSDs of a cluster by the labels of devices, in words."""
    return [
        f"osd.{device.osd_id} on {device.path} of node {node}"
        for node, devices in sorted(reports.items())
        for device in devices
        if device.ceph_fsid == fsid and device.osd_id >= 0
    ]


def judged(cluster: CephCluster, fsid: str, seen: OsdObservation) -> tuple[DeviceVerdict, ...]:
    """The verdict on every device of every node."""
    return _judged(cluster, fsid, seen, _on_record(seen))


def _judged(
    cluster: CephCluster, fsid: str, seen: OsdObservation, record: Mapping[str, Osd]
) -> tuple[DeviceVerdict, ...]:
    placement = prepare.osd_placement(cluster.spec.storage, pod_settings(cluster))
    nodes = [
        NodeDevices(
            node=node.metadata.name,
            hostname=_hostname(node),
            kernel=node.status.node_info.boot_id,
            closed=rejection(node, placement),
            devices=seen.reports.get(node.metadata.name),
        )
        for node in seen.nodes
    ]
    known = [KnownOsd(osd_id=o.osd_id, uuid=o.uuid, node=o.node, path=o.path) for o in record.values()]
    occupancy = Occupancy(fsid=fsid, registered=seen.registered, known=tuple(known))
    return judge(
        cluster.spec.storage,
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


def _shared_objects(context: Context, seen: OsdObservation) -> Iterator[Step]:
    if ("Secret", prepare.BOOTSTRAP_SECRET) not in seen.live:
        action = CreateKeyring(
            prepare.BOOTSTRAP_USER, prepare.BOOTSTRAP_CAPS, prepare.BOOTSTRAP_SECRET, cluster_labels(context.owner, APP)
        )
        yield Step(subject="osds", action=action, reason=f"Secret {action.secret} does not exist", lane="osd keyring")


def _preparation(seen: OsdObservation, verdicts: Iterable[DeviceVerdict]) -> Iterator[Step]:
    accepted: dict[str, list[prepare.Target]] = {}
    for verdict in verdicts:
        if verdict.verdict is Verdict.ACCEPTED and verdict.report is not None:
            device, config = verdict.report, verdict.config or {}
            target = prepare.Target(
                path=device.path,
                device_class=config.get("deviceClass", ""),
                links=device.dev_links,
                size=device.size,
                overwrite=str(config.get(OVERWRITE, "")).lower() == "true",
                identities=verdict.identities,
            )
            accepted.setdefault(verdict.node, []).append(target)
    hostnames = {node.metadata.name: _hostname(node) for node in seen.nodes}
    # A pod whose Secret is not there yet would be tried again late.
    missing = "" if ("Secret", prepare.BOOTSTRAP_SECRET) in seen.live else f"Secret {prepare.BOOTSTRAP_SECRET}"
    for node, targets in accepted.items():
        step = _prepare_node(seen, node, hostnames[node], targets)
        yield replace(step, waits_for=step.waits_for or missing)


def _prepare_node(seen: OsdObservation, node: str, hostname: str, accepted: Sequence[prepare.Target]) -> Step:
    name = prepare.job_name(hostname)
    run = seen.preparing.get(name, jobs.Run())
    paths = {target.path for target in accepted}
    tried = tuple(p for p in prepare.tried_by(run.job) if p in paths) if run.job is not None else ()
    cut_off = prepare.targets_of(run.job) if run.job is not None and run.cut_off else ()
    targets = prepare.by_turn(accepted, tried, cut_off)
    subject = f"devices of node {node}"
    reason = f"{', '.join(t.path for t in targets)} selected and empty"
    if run.phase is jobs.Phase.RUNNING:
        return Step(subject=subject, reason=reason, waits_for=run.trouble or f"Job {name} to end")
    fresh = any(t.path not in tried for t in targets)
    if run.pause and not fresh:
        errors = [f"{r.path}: {r.error}" for r in seen.refused if r.node == node]
        why = "; ".join(errors) or run.trouble or f"Job {name} left no result"
        return Step(subject=subject, reason=why, waits_for=run.pause)
    attempt = run.afresh if fresh else run.next
    action = prepare.PrepareDevices(node=node, hostname=hostname, targets=targets, attempt=attempt, tried=tried)
    return Step(subject=subject, action=action, reason=reason)


def _daemons(cluster: CephCluster, seen: OsdObservation, osds: Sequence[Osd], hold: str) -> Iterator[Step]:
    leave = Leave([f"osd.{number}" for number in seen.stoppable], seen.unstoppable)
    waits = decide(_rollout(seen), _policy(cluster), hold=hold, leave=leave).waits
    states = seen.states or {}
    for osd in osds:
        subject = osd.daemon.entity
        state = states.get(osd.osd_id)
        change = seen.assessed.changes.get(osd.osd_id)
        if change is not None:
            yield Step(subject=subject, action=change, reason=change.difference, waits_for=waits.get(subject, ""))
        elif state is not None and not state.up and _is_on_its_way(seen, osd.osd_id):
            yield Step(subject=subject, reason="down", waits_for=_why_down(seen, osd.osd_id))
        wanted_class = osd.settings.get("deviceClass", "")
        if cluster.spec.storage.allow_device_class_update and _differs(state, wanted_class):
            reason = f"its device class should be {wanted_class}"
            yield Step(subject=subject, action=SetDeviceClass(osd.osd_id, wanted_class), reason=reason)


def _is_on_its_way(seen: OsdObservation, osd_id: int) -> bool:
    """Whether an OSD that is down is about to come up, by what was done for it: it never ran, or was restarted."""
    state = (seen.states or {}).get(osd_id)
    return osd_id in seen.deployments and state is not None and (state.new or osd_id in seen.assessed.returning)


def _why_down(seen: OsdObservation, osd_id: int) -> str:
    why = trouble(seen.pods.get(osd_id, ()), seen.deployments.get(osd_id))
    return why or "the OSD to report to the mons"


def lost(seen: OsdObservation) -> dict[int, str]:
    """The OSDs that are down and for which there is nothing to do but what a person may do, with what they wait for."""
    states = seen.states or {}
    return {
        number: _why_down(seen, number)
        for number in sorted(seen.deployments)
        if number in states and not states[number].up and not _is_on_its_way(seen, number)
    }


def _differs(state: OsdState | None, wanted_class: str) -> bool:
    """Whether an OSD has another device class than the spec gives it, or has lost its own.

    One that has not started yet may have none. One that is up has one, unless the operator died while it changed it:
    then no rule that asks for a class finds the OSD.
    """
    if state is None or not wanted_class:
        return False
    return state.device_class != wanted_class and (bool(state.device_class) or state.up)


def assess(cluster: CephCluster, context: Context, seen: OsdObservation, memory: Comparisons) -> Assessment:
    """How what is seen falls short of what is wanted. Pure, but for what it remembers for the next look."""
    record = _on_record(seen)
    verdicts = _judged(cluster, context.fsid, seen, record)
    osds = _known_osds(seen, record, verdicts)
    changes = {change.osd.osd_id: change for change in _outdated(cluster, context, seen, osds, memory)}
    return Assessment(verdicts=verdicts, osds=osds, changes=changes, returning=_returning(seen))


def _outdated(
    cluster: CephCluster,
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
    entries = Entries(cluster.spec.storage)
    own_entries = {name: entries.of(name, _hostname(node)) for name, node in nodes.items()}
    moving, spec = _may_move(cluster), cluster.spec.storage
    memory.begin((context, spec, moving, seen.script_image), (osd.osd_id for osd in osds))
    for osd in osds:
        node = nodes.get(osd.node)
        deployment = seen.deployments.get(osd.osd_id)
        if node is None or HOSTNAME_LABEL not in node.metadata.labels:
            continue  # its node is gone: there is nothing to be done for it until the node or the disk shows up
        if is_kept(deployment):
            continue
        entry = own_entries[osd.node]
        resources = entry.resources if entry is not None else {}
        wanted = replace(osd, place={}) if moving else osd
        image = kept_image(deployment, seen.script_image)
        key = ("Deployment", osd.daemon.name)
        version = deployment.metadata.resource_version if deployment is not None else ""
        # One that is let be for a while is so until some time.
        own = (version, wanted, bound_to[osd.node], resources) if version and not is_held(seen.live, key) else None
        build = partial(osd_deployment, spec, context, wanted, node, resources)
        why = memory.difference(osd.osd_id, own, partial(_compare, build, image, seen.live, key))
        if why:
            yield DeployOsd(wanted, why, partial(build, seen.script_image))


def _compare(build: Callable[[str], JsonObject], image: str, live: Live, key: tuple[str, str]) -> str:
    return explain(build(image), live.get(key))


def _serves(seen: OsdObservation, osd_id: int) -> bool:
    """Whether an OSD is up, so that restarting it takes something away."""
    state = (seen.states or {}).get(osd_id)
    return osd_id in seen.deployments and state is not None and state.up


def _asks(cluster: CephCluster, seen: OsdObservation) -> bool:
    """Whether Ceph is asked if it can do without those that are to be restarted. Order and number are kept anyway."""
    return len(seen.states or {}) >= LEAST_FOR_CHECKS and not cluster.spec.skip_upgrade_checks


def next_batch(cluster: CephCluster, seen: OsdObservation) -> tuple[int, ...]:
    """The OSDs to restart next, all on one node; none while those before them are not back. Pure."""
    return tuple(int(name.removeprefix("osd.")) for name in rollout.next_batch(_rollout(seen), _policy(cluster)))


def _policy(cluster: CephCluster) -> Policy:
    return Policy(batch=cluster.spec.storage.osd_max_updates_in_parallel)


def _rollout(seen: OsdObservation) -> tuple[Member, ...]:
    """The OSDs that are to be restarted, node by node, and those that are waited for."""
    returning = dict.fromkeys(seen.assessed.returning, "to be restarted")
    changes = {number: change for number, change in seen.assessed.changes.items() if number in seen.deployments}
    outdated = [
        Member(
            name=f"osd.{number}",
            domain=change.osd.node,
            outdated=True,
            serves=_serves(seen, number),
            awaited=returning.pop(number, ""),
        )
        for number, change in sorted(changes.items(), key=lambda item: (item[1].osd.node, item[0]))
    ]
    awaited = [Member(name=f"osd.{number}", serves=False, awaited=why) for number, why in sorted(returning.items())]
    return (*awaited, *outdated)


def _returning(seen: OsdObservation) -> frozenset[int]:
    """OSDs that were (re)started and are not back yet.

    Those too of which the cluster's map does not know yet that they stop: until it does, its answers are too good. One
    that does not come back within `RETURN_SECONDS` is not waited for, nor one that was well and went down by itself:
    whether others may stop beside it is Ceph's to say.
    """
    states = seen.states or {}
    return frozenset(n for n, d in seen.deployments.items() if n in states and _is_returning(d, states[n], seen.now))


def _is_returning(deployment: Deployment, state: OsdState, now: float) -> bool:
    progress = next((c for c in deployment.status.conditions if c.type == "Progressing"), None)
    if not deployment.rolled_out:
        if deployment.status.observed_generation < deployment.metadata.generation or progress is None:
            return True
        return progress.reason not in ("ProgressDeadlineExceeded", "NewReplicaSetAvailable")
    if state.up or deployment.spec.replicas == 0 or progress is None or not progress.last_update_time:
        return False
    return now - datetime.fromisoformat(progress.last_update_time).timestamp() < RETURN_SECONDS


def _may_move(cluster: CephCluster) -> bool:
    return cluster.metadata.annotations.get(MOVE_ANNOTATION) == "true"


def _moves(cluster: CephCluster, seen: OsdObservation, osds: Sequence[Osd]) -> Iterator[Step]:
    """What has to be agreed to: OSDs that are elsewhere in CRUSH than the labels of their nodes say by now."""
    if _may_move(cluster):
        return
    places = {node.metadata.name: place(node.metadata.labels) for node in seen.nodes}
    moves: dict[tuple[str, str, str], list[int]] = {}
    for osd in osds:
        there = places.get(osd.node, {})
        if osd.place and "host" in there and dict(osd.place) != there:
            moves.setdefault((osd.node, spelled(osd.place), spelled(there)), []).append(osd.osd_id)
    for (node, at, by_labels), ids in sorted(moves.items()):
        yield Step(
            subject=f"OSDs of node {node}",
            reason=f"{_named(ids)} at {at}, and the node's labels say {by_labels} by now: data would move",
            waits_for="the labels to be as they were, or consent",
            consent=f'annotation {MOVE_ANNOTATION}: "true"',
        )


def _named(osd_ids: Sequence[int]) -> str:
    return some([f"osd.{n}" for n in osd_ids], MAX_NAMED)


def _removals(cluster: CephCluster, seen: OsdObservation, osds: Sequence[Osd]) -> Iterator[Step]:
    names = {osd.osd_id for osd in osds}
    for number, deployment in sorted(seen.deployments.items()):
        if number in names or deployment.metadata.deletion_timestamp is not None:
            continue
        live = seen.live.get(("Deployment", deployment.metadata.name))
        if live is not None:
            yield delete(
                DEPLOYMENT, live, subject=f"osd.{number}", reason="the cluster no longer has an OSD with its UUID"
            )
    if cluster.spec.remove_osds_if_out_and_safe_to_remove:
        for number in sorted(seen.removable):
            reason = "down, out and safe to remove, and removeOSDsIfOutAndSafeToRemove is set"
            yield Step(subject=f"osd.{number}", action=RemoveOsd(number), reason=reason)


def _old_scripts(seen: OsdObservation) -> Iterator[Step]:
    """The script of an earlier release goes when no pod that runs it can be made any more."""
    found = seen.live.get(("ConfigMap", prepare.OLD_SCRIPTS))
    if found is None or found["metadata"].get("deletionTimestamp") is not None:
        return
    workloads = (o for (kind, _), o in seen.live.items() if kind in ("Deployment", "Job"))
    used = any(
        volume.get("configMap", {}).get("name") == prepare.OLD_SCRIPTS
        for workload in workloads
        if workload["kind"] == "Deployment" or not workload.get("status", {}).get("completionTime")
        for volume in workload["spec"]["template"]["spec"].get("volumes", ())
    )
    if not used:
        yield delete(CONFIG_MAP, found, subject="osds", reason="no pod runs scripts from it", lane="osd scripts")


def _upgrade_end(release: Release, seen: OsdObservation) -> Iterator[Step]:
    """The last step of an upgrade, once no OSD, not even one that is down, would be locked out by it."""
    order, wanted = list(RELEASES.values()), RELEASES.get(release.version.release, "")
    done = order.index(seen.required) >= order.index(wanted) if wanted and seen.required in order else not wanted
    if not seen.required or done or seen.releases.keys() - {wanted}:
        return
    if wanted in seen.releases and any(state.up for state in (seen.states or {}).values()):
        reason = f"every OSD runs {wanted}, and the cluster still admits {seen.required}"
        yield Step(subject="osd release", action=RequireRelease(wanted), reason=reason)


def device_status(seen: OsdObservation) -> tuple[api.DeviceVerdict, ...]:
    """The verdicts as the cluster's status shows them; where there are too many, those that matter most."""
    verdicts = seen.assessed.verdicts
    order = [Verdict.ACCEPTED, Verdict.IN_USE, Verdict.REJECTED]
    kept = sorted(verdicts, key=lambda v: order.index(v.verdict))[:MAX_DEVICE_ROWS]
    rows = [
        api.DeviceVerdict(
            node=v.node,
            device=v.device,
            verdict=v.verdict.value,
            reason=brief("; ".join([v.reason, *_remarks(v, seen)]), MAX_REASON),
        )
        for v in sorted(kept, key=lambda v: (v.node, v.device))
    ]
    left_out = len(verdicts) - len(kept)
    if left_out:
        rows.append(api.DeviceVerdict(node="", device="", reason=f"{left_out} more rejected devices are not shown"))
    return tuple(rows)


def _remarks(verdict: DeviceVerdict, seen: OsdObservation) -> Iterator[str]:
    """What is to be said of a device besides its verdict."""
    if verdict.report is None:
        return
    if verdict.verdict is Verdict.ACCEPTED:
        yield from (
            f"the last try failed: {refusal.error}"
            for refusal in seen.refused
            if (refusal.node, refusal.path) == (verdict.node, verdict.report.path)
        )
    wanted_class = (verdict.config or {}).get("deviceClass", "")
    state = (seen.states or {}).get(verdict.osd_id)
    if state is not None and _differs(state, wanted_class):
        yield f"its device class stays {state.device_class} unless allowDeviceClassUpdate is set"


def storage_status(seen: OsdObservation) -> api.CephStorage:
    """`status.storage`: the device classes and backends of the cluster's OSDs."""
    states = (seen.states or {}).values()
    classes = sorted({state.device_class for state in states if state.device_class})
    return api.CephStorage(
        device_classes=tuple(api.DeviceClass(name=name) for name in classes),
        osd=api.OsdStatus(store_type=dict(sorted(seen.stores.items()))),
    )


def handlers(
    cluster: CephCluster,
    context: Context,
    client: Client,
    applier: Applier,
    ceph: Cluster,
    *,
    script_image: str,
    reservations: Reservations,
) -> dict[type, Handler]:
    """How the actions of this module are carried out."""
    namespace = cluster.metadata.namespace

    async def prepare_devices(action: prepare.PrepareDevices) -> None:
        if any(target.overwrite for target in action.targets):
            fresh = await read_same(client, CLUSTERS, cluster)
            if fresh["metadata"]["generation"] != cluster.metadata.generation:
                name = f"CephCluster {namespace}/{cluster.metadata.name}"
                raise NoConsentError(f"{name}: the spec has changed since it consented that data goes: nothing is done")
        reservations.take(namespace, [i for target in action.targets for i in target.identities])
        uuids = tuple(str(uuid.uuid4()) for _ in action.targets)
        job = prepare.prepare_job(cluster.spec.storage, context, action, uuids, script_image)
        await jobs.start(client, job, action.attempt)

    async def deploy_osd(action: DeployOsd) -> None:
        await applier.apply(action.obj)

    async def remove_osd(action: RemoveOsd) -> None:
        fresh = await read_same(client, CLUSTERS, cluster)
        if fresh["spec"].get("removeOSDsIfOutAndSafeToRemove") is not True:
            name = f"CephCluster {namespace}/{cluster.metadata.name}"
            raise NoConsentError(f"{name}: spec.removeOSDsIfOutAndSafeToRemove is not true any more: it stays")
        # The mgr looks once more whether the data is safe, unless it is told "yes_i_really_mean_it", which it takes for
        # "force". The Deployment goes when the cluster has no such OSD.
        await ceph.mgr("osd purge", id=action.osd_id)

    async def set_device_class(action: SetDeviceClass) -> None:
        ids = [str(action.osd_id)]
        await ceph.mon("osd crush rm-device-class", ids=ids)
        await ceph.mon("osd crush set-device-class", **{"class": action.device_class, "ids": ids})

    async def require_release(action: RequireRelease) -> None:
        await ceph.mon("osd require-osd-release", release=action.release)

    return {
        DeployOsd: deploy_osd,
        prepare.PrepareDevices: prepare_devices,
        RemoveOsd: remove_osd,
        RequireRelease: require_release,
        SetDeviceClass: set_device_class,
    }


def _hostname(node: Node) -> str:
    return node.metadata.labels.get(HOSTNAME_LABEL, node.metadata.name)
