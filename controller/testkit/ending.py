"""Deletion as the API server does it: finalizers, and the grace period of a Pod."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from controller.testkit.garbage import FINALIZERS, asked_by
from informers import ApiError
from informers.errors import INVALID, Cause

if TYPE_CHECKING:
    from collections.abc import Mapping

    from informers import JsonObject

DEFAULT_GRACE = 30
"""Grace period in seconds of a Pod that sets none."""

TIME = "%Y-%m-%dT%H:%M:%SZ"


def propagation_of(options: Mapping[str, object]) -> str:
    """The propagation policy of DeleteOptions; "" if they have none.

    Raises:
        ApiError: 422, there is no such policy, or the options set it twice.
    """
    policy, orphans = options.get("propagationPolicy") or "", options.get("orphanDependents")
    if policy and orphans is not None:
        raise _invalid("orphanDependents and propagationPolicy cannot be both set")
    if policy not in ("", "Background", *FINALIZERS):
        raise _invalid(f"Unsupported value: {policy}: must be one of Background, {', '.join(FINALIZERS)}")
    if orphans is not None:
        return "Orphan" if orphans else "Background"
    return str(policy)


def marked(obj: JsonObject, propagation: str, grace: int | None, now: datetime) -> JsonObject:
    """The object after a request to delete it.

    Args:
        obj: The object.
        propagation: Policy of the deletion; "": the one that its finalizers say.
        grace: Grace period in seconds; None: its own.
        now: The wall clock.
    """
    metadata = dict(obj["metadata"])
    left = metadata.get("deletionGracePeriodSeconds", 0)
    seconds = _grace(obj, grace)
    if "deletionTimestamp" not in metadata:
        metadata |= _times(now + timedelta(seconds=seconds), seconds)
        if "generation" in metadata:
            metadata["generation"] += 1
    elif left and (grace is None or seconds >= left):
        return obj  # its grace period is short enough already
    elif left:
        ends = datetime.fromisoformat(metadata["deletionTimestamp"]) - timedelta(seconds=left - seconds)
        metadata |= _times(max(ends, now), seconds)
    if not propagation and obj["kind"] == "Job" and not asked_by(obj):
        propagation = "Orphan"  # the default for Jobs, as in the first version of their API
    if propagation:
        kept = [name for name in metadata.pop("finalizers", ()) if name not in FINALIZERS.values()]
        finalizers = [*kept, *filter(None, [FINALIZERS.get(propagation)])]
        if finalizers:
            metadata["finalizers"] = finalizers
    return {**obj, "metadata": metadata}


def is_held(obj: JsonObject) -> bool:
    """Whether finalizers keep the object from being removed."""
    if obj["kind"] == "Namespace" and obj.get("spec", {}).get("finalizers"):
        return True
    return bool(obj["metadata"].get("finalizers"))


def is_over(obj: JsonObject) -> bool:
    """Whether the object is being deleted, and nothing keeps it from being removed."""
    metadata = obj["metadata"]
    return "deletionTimestamp" in metadata and not metadata.get("deletionGracePeriodSeconds") and not is_held(obj)


def _grace(obj: JsonObject, asked: int | None) -> int:
    """Grace period in seconds; only Pods that run have one."""
    spec = obj.get("spec", {})
    if obj["kind"] != "Pod" or not spec.get("nodeName"):
        return 0
    if obj.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    seconds: int = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE) if asked is None else asked
    return seconds if seconds >= 0 else 1


def _times(when: datetime, grace: int) -> JsonObject:
    return {"deletionTimestamp": when.strftime(TIME), "deletionGracePeriodSeconds": grace}


def _invalid(message: str) -> ApiError:
    causes = (Cause("FieldValueInvalid", message, "propagationPolicy"),)
    return ApiError(INVALID, "Invalid", f"DeleteOptions is invalid: propagationPolicy: {message}", causes=causes)
