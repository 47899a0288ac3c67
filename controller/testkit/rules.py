"""Writes that an API server refuses, and fields that a write cannot change. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.testkit.garbage import FINALIZERS
from informers import ApiError
from informers.errors import INVALID, Cause

if TYPE_CHECKING:
    from controller.testkit.served import Served
    from informers import JsonObject, Key


def update(served: Served, live: JsonObject, new: JsonObject, subresource: str) -> JsonObject:
    """The new object, in which fields that a write cannot change have their old values, except for its owners."""
    before, metadata = live["metadata"], dict(new["metadata"])
    name = before["name"]
    if metadata.get("resourceVersion") not in (None, "", before["resourceVersion"]):
        message = "the object has been modified; please apply your changes to the latest version and try again"
        raise conflict(served, name, message)
    # A write to the status of a custom kind takes all other fields, uid included, from the stored object.
    checks_uid = not (subresource and served.custom)
    if checks_uid and metadata.get("uid", before["uid"]) != before["uid"]:
        message = f"Invalid value: {metadata['uid']}: field is immutable, it is {before['uid']}"
        raise invalid(served, name, "metadata.uid", message)
    if subresource:
        new = {**live, **{name: new[name] for name in ("status",) if name in new}}
        metadata = dict(before)
    elif served.has_status:
        new = {name: value for name, value in new.items() if name != "status"}
        new |= {name: live[name] for name in ("status",) if name in live}
    for given in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        value, now = metadata.get(given), before.get(given)
        if value not in (None, now) and (given not in before or given == "deletionGracePeriodSeconds"):
            raise invalid(served, name, f"metadata.{given}", f"Invalid value: {value}: field is immutable")
    check_metadata(served, name, metadata)
    servers = ("name", "namespace", "uid", "creationTimestamp", "resourceVersion", "generation", "managedFields")
    for kept in (*servers, "deletionTimestamp", "deletionGracePeriodSeconds"):
        metadata.pop(kept, None)
        if kept in before:
            metadata[kept] = before[kept]
    added = set(metadata.get("finalizers", ())) - set(before.get("finalizers", ()))
    if added and "deletionTimestamp" in before:
        told = f"no new finalizers can be added if the object is being deleted, found {sorted(added)}"
        raise invalid(served, name, "metadata.finalizers", f"Forbidden: {told}")
    if served.has_generation and not subresource and _wanted(new, served) != _wanted(live, served):
        metadata["generation"] = before["generation"] + 1
    return {**new, "apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": without_empty(metadata)}


def typed(served: Served, obj: JsonObject) -> JsonObject:
    """The object with the apiVersion and kind of the path."""
    given = (obj.get("apiVersion"), obj.get("kind"))
    wanted = (served.resource.api_version, served.resource.kind)
    for found, expected in zip(given, wanted, strict=True):
        if found not in (None, expected):
            raise ApiError(400, "BadRequest", f"{served.resource}: the object is a {given}, must be a {wanted}")
    return {**obj, "apiVersion": wanted[0], "kind": wanted[1]}


def key_of(served: Served, obj: JsonObject) -> Key:
    """The object's key. Raises ApiError 400 for a missing or unexpected namespace."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace", "")
    if bool(namespace) != served.resource.namespaced:
        scope = "needs a namespace" if served.resource.namespaced else f"is cluster-scoped, not in {namespace!r}"
        raise ApiError(400, "BadRequest", f'{served.resource} "{metadata["name"]}" {scope}')
    return namespace, metadata["name"]


def _wanted(obj: JsonObject, served: Served) -> JsonObject:
    """The fields whose changes increase the generation."""
    if not served.custom:
        return {"spec": obj.get("spec")}
    left = {"metadata", "status"} if served.has_status else {"metadata"}
    return {name: value for name, value in obj.items() if name not in left}


def without_empty(metadata: JsonObject) -> JsonObject:
    """Metadata as a server in Go keeps it: without empty maps and lists."""
    return {name: value for name, value in metadata.items() if value or not isinstance(value, dict | list)}


def check_metadata(served: Served, name: str, metadata: JsonObject) -> None:
    """Refuses contradictory owners and finalizers. Raises ApiError 422."""
    references = metadata.get("ownerReferences") or []
    for reference in references:
        for needed in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(needed):
                raise invalid(served, name, f"metadata.ownerReferences.{needed}", "Invalid value: must not be empty")
    if sum(bool(reference.get("controller")) for reference in references) > 1:
        raise invalid(served, name, "metadata.ownerReferences", "Invalid value: only one can be the controller")
    if set(FINALIZERS.values()) <= set(metadata.get("finalizers") or ()):
        told = f"{' and '.join(FINALIZERS.values())} cannot be both set"
        raise invalid(served, name, "metadata.finalizers", f"Invalid value: {told}")


def conflict(served: Served, name: str, message: str) -> ApiError:
    """The error for a write whose preconditions do not hold."""
    return ApiError(409, "Conflict", f'Operation cannot be fulfilled on {served.resource} "{name}": {message}')


def invalid(served: Served, name: str, field_name: str, message: str) -> ApiError:
    """The error for a write with an invalid value in a field."""
    causes = (Cause("FieldValueInvalid", message, field_name),)
    text = f'{served.resource.kind} "{name}" is invalid: {field_name}: {message}'
    return ApiError(INVALID, "Invalid", text, causes=causes)
