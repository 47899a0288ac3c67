"""What there is of a cluster's OSDs: from the caches, from the mons, and from the mgr.

What is known of an OSD comes from three places, of which any one is enough: its Deployment, the report of the Job that
made it, and the label on its device as the node's agent reads it. So a deleted Job or Deployment loses no OSD, nor does
an operator that died between two steps. Whether the cluster still has the OSD, only its own map says.

The mgr is asked about those OSDs alone that would be restarted or removed, so what is seen is assessed before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import structlog

from controller.ceph.access.rados import CephError
from controller.ceph.crush import failure_domain, places
from controller.ceph.osd.assess import assess
from controller.ceph.osd.memory import Comparisons
from controller.ceph.osd.objects import APP, read_osd
from controller.ceph.osd.observation import OsdObservation, OsdState
from controller.ceph.osd.prepare_job import APP as PREPARE_APP
from controller.ceph.osd.prepare_job import read_results
from controller.ceph.osd.restart import asks, next_batch
from controller.framework import jobs
from controller.framework.aside import aside
from controller.framework.rollout import ask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.apis.rook.node_report import BlockDevice
    from controller.ceph.access.rados import Cluster
    from controller.ceph.osd.spec import OsdSpec
    from controller.ceph.pods import Context
    from controller.framework.children import Live
    from controller.runtime.kube import Deployment, Job, Node, Pod

log = structlog.get_logger(__name__)

QUESTIONS = ("osd dump", "osd tree", "osd crush rule dump")
COUNTED = ("osd_objectstore", "ceph_release")
"""What the OSDs' metadata is counted by; the metadata of all OSDs itself is megabytes."""
MGR_SECONDS = 20.0
"""How long the mgr may take to answer all that is asked of it in one look."""


async def observe(
    spec: OsdSpec,
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
        spec: What is wanted of them.
        context: The cluster.
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
        preparing = [p for p in pods if p.metadata.labels.get("app") == PREPARE_APP]
        prepared, refused = read_results(preparing)
        of_jobs = jobs.by_job(preparing)
        own = (job for job in all_jobs if job.metadata.labels.get("app") == PREPARE_APP)
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
    seen = replace(seen, assessed=await aside(assess, spec, context, seen, memory or Comparisons()))
    if ceph is None or not answers:
        return seen
    batch = await aside(next_batch, spec, seen)
    return await _ask_the_mgr(spec, seen, batch, ceph if mgr else None)


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
    spec: OsdSpec, seen: OsdObservation, batch: tuple[int, ...], ceph: Cluster | None
) -> OsdObservation:
    """What may be restarted and what may be removed; `ceph` None: no mgr is there to say.

    The number of questions does not grow with that of the OSDs. They are asked side by side, within `MGR_SECONDS`, so
    that a mgr that does not answer keeps nothing else from being looked at, least of all the mgr.
    """
    asked = bool(batch) and asks(spec, seen)
    stoppable, unstoppable = (frozenset[int](), "no mgr answers") if asked else (frozenset(batch), "")
    removable: frozenset[int] = frozenset()

    async def ask_about_restarts(ceph: Cluster) -> None:
        nonlocal stoppable, unstoppable
        stoppable, unstoppable = await _stoppable(batch, ceph)

    async def ask_about_removals(ceph: Cluster) -> None:
        nonlocal removable
        removable = await _removable(spec, seen, ceph)

    if ceph is not None:
        with anyio.move_on_after(MGR_SECONDS):
            async with anyio.create_task_group() as tasks:
                if asked:
                    tasks.start_soon(ask_about_restarts, ceph)
                tasks.start_soon(ask_about_removals, ceph)
    return replace(seen, stoppable=stoppable, unstoppable=unstoppable, removable=removable)


async def _removable(spec: OsdSpec, seen: OsdObservation, ceph: Cluster) -> frozenset[int]:
    """Of the OSDs that are down and out, those whose data is safe elsewhere, if the spec wants them removed."""
    # One that was just made is down and out, too, until it starts.
    gone = sorted(s.osd_id for s in (seen.states or {}).values() if not s.up and not s.is_in and not s.new)
    if not gone or not spec.removes:
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
