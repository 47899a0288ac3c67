"""From devices to daemons that hold data, and what becomes of those that are out of date or gone. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.crash import trouble
from controller.ceph.osd.act import RequireRelease, SetDeviceClass
from controller.ceph.osd.assess import labelled
from controller.ceph.osd.moves import moves
from controller.ceph.osd.prepare import preparation, shared_objects
from controller.ceph.osd.remove import removals
from controller.ceph.osd.restart import waits
from controller.ceph.osd.verdicts import Verdict
from controller.ceph.releases import RELEASES
from controller.framework.children import delete
from controller.framework.plan import Step
from controller.runtime.kube import CONFIG_MAP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from controller.ceph.osd.objects import Osd
    from controller.ceph.osd.observation import OsdObservation
    from controller.ceph.osd.spec import OsdSpec
    from controller.ceph.pods import Context, Release

OLD_SCRIPTS = "rook-ceph-osd-scripts"
"""The ConfigMap from which pods that an earlier release made run the script."""


def analyze(spec: OsdSpec, context: Context, seen: OsdObservation, *, hold: str = "") -> tuple[Step, ...]:
    """What to do for the cluster's OSDs. Pure.

    Args:
        spec: What is wanted.
        context: The cluster.
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
        *(shared_objects(context, seen) if wanted or osds else ()),
        *preparation(seen, verdicts),
        *_daemons(spec, seen, osds, hold),
        *moves(spec, seen, osds),
        *removals(spec, seen, osds),
        *_old_scripts(seen),
        *_upgrade_end(context.release, seen),
    )


def _unknown_to_the_mons(fsid: str, seen: OsdObservation) -> list[str]:
    """OSDs of this cluster by its Deployments and by the labels of devices, in words."""
    deployed = [f"Deployment {d.metadata.name}" for _, d in sorted(seen.deployments.items())]
    return [*deployed, *labelled(fsid, seen.reports)]


def _daemons(spec: OsdSpec, seen: OsdObservation, osds: Sequence[Osd], hold: str) -> Iterator[Step]:
    restarts = waits(spec, seen, hold)
    states = seen.states or {}
    for osd in osds:
        subject = osd.daemon.entity
        state = states.get(osd.osd_id)
        change = seen.assessed.changes.get(osd.osd_id)
        if change is not None:
            yield Step(subject=subject, action=change, reason=change.difference, waits_for=restarts.get(subject, ""))
        elif state is not None and not state.up and _is_on_its_way(seen, osd.osd_id):
            yield Step(subject=subject, reason="down", waits_for=_why_down(seen, osd.osd_id))
        wanted_class = osd.settings.get("deviceClass", "")
        if spec.storage.allow_device_class_update and state is not None and state.needs_class(wanted_class):
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


def _old_scripts(seen: OsdObservation) -> Iterator[Step]:
    """The script of an earlier release goes when no pod that runs it can be made any more."""
    found = seen.live.get(("ConfigMap", OLD_SCRIPTS))
    if found is None or found["metadata"].get("deletionTimestamp") is not None:
        return
    workloads = (o for (kind, _), o in seen.live.items() if kind in ("Deployment", "Job"))
    used = any(
        volume.get("configMap", {}).get("name") == OLD_SCRIPTS
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
