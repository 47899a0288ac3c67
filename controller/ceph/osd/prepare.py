"""Devices that are to become OSDs: which of them a node's Job tries next, and when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from controller.ceph.mgr.act import CreateKeyring
from controller.ceph.osd.devices import OVERWRITE
from controller.ceph.osd.objects import APP
from controller.ceph.osd.prepare_job import BOOTSTRAP_SECRET, PrepareDevices, Target, job_name, targets_of, tried_by
from controller.ceph.osd.verdicts import Verdict
from controller.ceph.pods import cluster_labels
from controller.framework import jobs
from controller.framework.placement import hostname
from controller.framework.plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from controller.ceph.osd.observation import OsdObservation
    from controller.ceph.osd.verdicts import DeviceVerdict
    from controller.ceph.pods import Context

BOOTSTRAP_USER = "client.bootstrap-osd"
BOOTSTRAP_CAPS: Mapping[str, str] = {"mon": "allow profile bootstrap-osd"}
MAX_DEVICES = 16
"""Devices that one Job prepares: what it reports of them has to fit into a termination message of 4096 bytes."""


def by_turn(accepted: Sequence[Target], tried: Sequence[str], cut_off: Sequence[str] = ()) -> tuple[Target, ...]:
    """The devices that the next Job tries: those first that were not tried yet, then the longest ago.

    Args:
        accepted: All devices of the node that are to become OSDs.
        tried: As `tried_by` says it.
        cut_off: The devices of the last Job, where it did not come to its end. It took one after the other, so the
            first that is no OSD yet may be the one that held it up, and waits until all others have been tried.
    """
    turn = {path: number for number, path in enumerate(tried)}
    paths = {target.path for target in accepted}
    suspect = next((path for path in cut_off if path in paths), None)
    if suspect is not None:
        turn[suspect] = len(turn)
    return tuple(sorted(accepted, key=lambda target: turn.get(target.path, -1))[:MAX_DEVICES])


def shared_objects(context: Context, seen: OsdObservation) -> Iterator[Step]:
    """The step that makes what all Jobs have in common."""
    if ("Secret", BOOTSTRAP_SECRET) not in seen.live:
        action = CreateKeyring(BOOTSTRAP_USER, BOOTSTRAP_CAPS, BOOTSTRAP_SECRET, cluster_labels(context.owner, APP))
        yield Step(subject="osds", action=action, reason=f"Secret {action.secret} does not exist", lane="osd keyring")


def preparation(seen: OsdObservation, verdicts: Iterable[DeviceVerdict]) -> Iterator[Step]:
    """For each node with devices that are to become OSDs, the step that has a Job prepare the next of them. Pure."""
    accepted: dict[str, list[Target]] = {}
    for verdict in verdicts:
        if verdict.verdict is Verdict.ACCEPTED and verdict.report is not None:
            device, config = verdict.report, verdict.config or {}
            target = Target(
                path=device.path,
                device_class=config.get("deviceClass", ""),
                links=device.dev_links,
                size=device.size,
                overwrite=str(config.get(OVERWRITE, "")).lower() == "true",
                identities=verdict.identities,
            )
            accepted.setdefault(verdict.node, []).append(target)
    hostnames = {node.metadata.name: hostname(node) for node in seen.nodes}
    # A pod whose Secret is not there yet would be tried again late.
    missing = "" if ("Secret", BOOTSTRAP_SECRET) in seen.live else f"Secret {BOOTSTRAP_SECRET}"
    for node, targets in accepted.items():
        step = _prepare_node(seen, node, hostnames[node], targets)
        yield replace(step, waits_for=step.waits_for or missing)


def _prepare_node(seen: OsdObservation, node: str, hostname: str, accepted: Sequence[Target]) -> Step:
    name = job_name(hostname)
    run = seen.preparing.get(name, jobs.Run())
    paths = {target.path for target in accepted}
    tried = tuple(p for p in tried_by(run.job) if p in paths) if run.job is not None else ()
    cut_off = targets_of(run.job) if run.job is not None and run.cut_off else ()
    targets = by_turn(accepted, tried, cut_off)
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
    action = PrepareDevices(node=node, hostname=hostname, targets=targets, attempt=attempt, tried=tried)
    return Step(subject=subject, action=action, reason=reason)
