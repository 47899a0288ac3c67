"""`status` of a VolumeReplication, with the conditions that csi-addons has. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.apis.meta import Condition
from controller.ceph.mirroring.place import ImageState
from controller.ceph.rbd.replication.act import Resync
from controller.ceph.rbd.replication.kinds import PRIMARY
from controller.framework.plan import StepState
from controller.framework.status import timestamp, told
from controller.runtime.conditions import set_conditions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.ceph.rbd.replication.image import ImageMirror, SiteState
    from controller.ceph.rbd.replication.kinds import ReplicationStatus, VolumeReplication
    from controller.ceph.rbd.replication.observe import ReplicationObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

COPIED = (ImageState.REPLAYING, ImageState.STOPPED)
"""The states of an image of which there is a copy."""


def show(look: Look[VolumeReplication], seen: ReplicationObservation, outcome: Outcome) -> ReplicationStatus:
    """See `controller.framework.kind.ControlLoop`."""
    replication, now = look.obj, timestamp(look.now)
    present, generation, wanted = (
        replication.status,
        replication.metadata.generation,
        replication.spec.replication_state,
    )
    left = [r for r in outcome.results if r.state is not StepState.DONE] or list(outcome.results)
    message = told(left[0]) if left else f"volume is marked {wanted}"
    conditions = tuple(
        msgspec.structs.replace(condition, observed_generation=generation)
        for condition in _conditions(wanted, seen, outcome, message if left else "")
    )
    image = seen.image
    state = present.state or "Unknown"
    if image is not None and image.enabled:
        state = "Primary" if image.primary else "Secondary"
    synced = _last_sync(image) if wanted == PRIMARY else (None, None)
    completed = present.last_completion_time
    if not left and (present.observed_generation != generation or not completed):
        completed = now
    return msgspec.structs.replace(
        present,
        state=state,
        message=message,
        conditions=set_conditions(present.conditions, conditions, now),
        observed_generation=generation,
        last_completion_time=completed,
        last_sync_time=synced[0],
        last_sync_bytes=synced[1],
    )


def _conditions(wanted: str, seen: ReplicationObservation, outcome: Outcome, left: str) -> Iterator[Condition]:
    image, primary = seen.image, wanted == PRIMARY
    done, failed = ("Promoted", "FailedToPromote") if primary else ("Demoted", "FailedToDemote")
    is_so = image is not None and image.enabled and image.primary == primary and not seen.problem
    yield _condition("Completed", is_so, done if is_so else failed, left)
    copied = image is not None and _is_copied(image.remote if image.primary else image.local)
    yield _condition("Degraded", not copied, "Healthy" if copied else "VolumeDegraded", "" if copied else _why(image))
    asked = any(isinstance(r.step.action, Resync) and r.state is StepState.DONE for r in outcome.results)
    local = image.local if image is not None else None
    anew = asked or (not primary and (image is None or (local is not None and local.state is ImageState.SYNCING)))
    yield _condition("Resyncing", anew, "ResyncTriggered" if anew else "NotResyncing", "")
    valid = not seen.problem
    yield _condition("Validated", valid, "PrerequisiteMet" if valid else "PrerequisiteNotMet", seen.problem)


def _is_copied(site: SiteState) -> bool:
    return site.up and (site.state in COPIED or site.is_demoted)


def _why(image: ImageMirror | None) -> str:
    if image is None:
        return "there is no copy here"
    site = image.remote if image.primary else image.local
    return f"the daemon says: {site.description}" if site.up else "no daemon tells of the copy"


def _last_sync(image: ImageMirror | None) -> tuple[str | None, int | None]:
    """When the copy in the other cluster was last as the image here was, and how much was copied for it."""
    if image is None or not image.primary:
        return None, None
    facts = image.remote.facts
    at, size = facts.get("local_snapshot_timestamp"), facts.get("last_snapshot_bytes")
    return timestamp(at) if isinstance(at, int) else None, size if isinstance(size, int) and size else None


def _condition(type_: str, holds: bool, reason: str, message: str) -> Condition:
    # The CRD asks for a message, and one that is empty is left out.
    return Condition(type=type_, status=str(holds), reason=reason, message=message or reason)
