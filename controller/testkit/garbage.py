"""What Kubernetes' garbage collector and namespace controller do, at once after each write.

Dependents go when the last of their owners is gone, or before it is (foreground), or are let go (orphan); objects go
with their namespace. Other than in a cluster, `blockOwnerDeletion` does not matter: every dependent counts.

Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from controller.testkit.storage import Collection, Storage
    from informers import JsonObject, Key

FINALIZERS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
"""What marks an owner until its dependents are dealt with, by the policy of its deletion."""

NAMESPACES: Collection = ("", "namespaces")


class Change(NamedTuple):
    """What has to be done to one object.

    Attributes:
        collection: Where it is.
        key: Its namespace and name.
        object: As it should be; None: it should be deleted, as far as its finalizers allow.
    """

    collection: Collection
    key: Key
    object: JsonObject | None


def next_change(storage: Storage) -> Change | None:
    """The next thing that has to be done, None if nothing has."""
    everything = list(storage.all())
    owners = {obj["metadata"]["uid"]: obj["metadata"] for _, _, obj in everything}
    owned = {reference["uid"] for _, _, obj in everything for reference in _references(obj)}
    used = {key[0] for _, key, _ in everything}
    ending = {key[1] for key, obj in storage.objects(NAMESPACES).items() if _ends(obj["metadata"])}
    for collection, key, obj in everything:
        changed: JsonObject | None
        if _ends(obj["metadata"]):
            empty_namespace = collection == NAMESPACES and key[1] not in used
            changed = _released(obj, owned, empty_namespace=empty_namespace)
        elif key[0] in ending:
            return Change(collection, key, None)
        else:
            changed = _let_go(obj, owners)
            if changed is None:
                return Change(collection, key, None)
        if changed is not obj:
            return Change(collection, key, changed)
    return None


def _ends(metadata: JsonObject) -> bool:
    return "deletionTimestamp" in metadata


def _references(obj: JsonObject) -> list[JsonObject]:
    found: list[JsonObject] = obj["metadata"].get("ownerReferences", [])
    return found


def _released(obj: JsonObject, owned: set[str], *, empty_namespace: bool) -> JsonObject:
    """An object that ends, without what holds it and needs not any more."""
    metadata = obj["metadata"]
    if empty_namespace and obj.get("spec", {}).get("finalizers"):
        return {**obj, "spec": {}}
    left = [name for name in metadata.get("finalizers", ()) if name not in FINALIZERS.values()]
    if metadata["uid"] in owned or len(left) == len(metadata.get("finalizers", ())):
        return obj
    return {**obj, "metadata": {**metadata, "finalizers": left}}


def _let_go(obj: JsonObject, owners: dict[str, JsonObject]) -> JsonObject | None:
    """An object without references to owners that orphan it; None if no owner is left that keeps it."""

    def ends_by(reference: JsonObject, policy: str) -> bool:
        owner = owners[reference["uid"]]
        return _ends(owner) and FINALIZERS[policy] in owner.get("finalizers", ())

    references = _references(obj)
    present = [reference for reference in references if reference["uid"] in owners]
    kept = [reference for reference in present if not ends_by(reference, "Orphan")]
    if len(kept) < len(present):
        return {**obj, "metadata": {**obj["metadata"], "ownerReferences": kept}}
    if references and all(ends_by(reference, "Foreground") for reference in kept):
        return None
    return obj
