"""What a CephCluster's status shows of devices and OSDs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import status as api
from controller.apis.meta import Condition
from controller.ceph.osd.observation import MAX_NAMED
from controller.ceph.osd.verdicts import Verdict
from controller.framework.text import brief, some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.ceph.osd.observation import OsdObservation
    from controller.ceph.osd.verdicts import DeviceVerdict


MAX_DEVICE_ROWS = 500
"""Devices that a status lists; an object of the API has to stay well below 1.5 MiB."""
MAX_REASON = 240
"""Characters that are said of each."""


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
    if state is not None and state.needs_class(wanted_class):
        yield f"its device class stays {state.device_class} unless allowDeviceClassUpdate is set"


def storage_status(seen: OsdObservation) -> api.CephStorage:
    """`status.storage`: the device classes and backends of the cluster's OSDs."""
    states = (seen.states or {}).values()
    classes = sorted({state.device_class for state in states if state.device_class})
    return api.CephStorage(
        device_classes=tuple(api.DeviceClass(name=name) for name in classes),
        osd=api.OsdStatus(store_type=dict(sorted(seen.stores.items()))),
    )


def degraded(drained: str, lost: Mapping[int, str]) -> Condition:
    """Whether the cluster lacks something that it had, and nothing is to be done but what a person may do.

    Args:
        drained: What is drained or down, in words; empty: nothing.
        lost: The OSDs that are down, with what they wait for.
    """
    down = [f"osd.{number} is down, waits for {why}" for number, why in lost.items()]
    if not down and not drained:
        return Condition(type="Degraded", status="False", reason="AllOSDsUp")
    reason = "FailureDomainDrained" if drained else "OSDsDown"
    told = brief("; ".join(filter(None, (drained, some(down, MAX_NAMED)))))
    return Condition(type="Degraded", status="True", reason=reason, message=told)
