"""What Kubernetes' garbage collector and namespace controller do, at once after each write.

An object goes when none of its owners is left; references to owners that are gone are dropped while another is left. In
the foreground an owner waits for the dependents that block it (`blockOwnerDeletion`), and they go as it does; one that
orphans its dependents waits until they refer to it no more. An object with an owner of a kind that is not served, or
one without a namespace whose owner has to be in one, is left alone. Objects go with their namespace.

Other than in a cluster nothing unties owners that own each other and are deleted in the foreground.

Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.testkit.storage import Collection, Storage
    from informers import JsonObject, Key, Resource

FINALIZERS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
"""What marks an owner until its dependents are dealt with, by the policy of its deletion."""

NAMESPACES: Collection = ("", "namespaces")


class Change(NamedTuple):
    """What has to be done to one object.

    Attributes:
        collection: Where it is.
        key: Its namespace and name.
        object: As it should be; None: it should be deleted, as far as its finalizers allow.
        propagation: Policy of the deletion.
    """

    collection: Collection
    key: Key
    object: JsonObject | None
    propagation: str = "Background"


def next_change(storage: Storage, kinds: Mapping[str, Resource]) -> Change | None:
    """The next thing that has to be done, None if nothing has.

    Args:
        storage: The objects.
        kinds: What is served, by "apiVersion/kind".
    """
    everything = list(storage.all())
    references = [reference for _, _, obj in everything for reference in _references(obj)]
    owned = {reference["uid"] for reference in references}
    blocked = {reference["uid"] for reference in references if reference.get("blockOwnerDeletion")}
    orphaning = {obj["metadata"]["uid"] for _, _, obj in everything if _ends_by(obj, "Orphan")}
    used = {key[0] for _, key, _ in everything}
    ending = {key[1] for key, obj in storage.objects(NAMESPACES).items() if _ends(obj)}
    for collection, key, obj in everything:
        changed = _without_owners(obj, orphaning)
        if changed is obj and _ends(obj):
            empty_namespace = collection == NAMESPACES and key[1] not in used
            changed = _released(obj, owned, blocked, empty_namespace=empty_namespace)
        elif changed is obj and key[0] in ending:
            return Change(collection, key, None)
        if changed is not obj:
            return Change(collection, key, changed)
        if not _ends(obj) and (change := _by_owners(storage, kinds, collection, key, owned)) is not None:
            return change
    return None


def _ends(obj: JsonObject) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def _ends_by(obj: JsonObject, policy: str) -> bool:
    return _ends(obj) and FINALIZERS[policy] in obj["metadata"].get("finalizers", ())


def _references(obj: JsonObject) -> list[JsonObject]:
    found: list[JsonObject] = obj["metadata"].get("ownerReferences", [])
    return found


def _without_owners(obj: JsonObject, uids: set[str]) -> JsonObject:
    references = _references(obj)
    left = [reference for reference in references if reference["uid"] not in uids]
    return obj if len(left) == len(references) else _with(obj, "ownerReferences", left)


def _with(obj: JsonObject, name: str, values: list[Any]) -> JsonObject:
    """The object with a list in its metadata, or without it if that is empty."""
    metadata = {field: value for field, value in obj["metadata"].items() if field != name}
    return {**obj, "metadata": {**metadata, **({name: values} if values else {})}}


def _released(obj: JsonObject, owned: set[str], blocked: set[str], *, empty_namespace: bool) -> JsonObject:
    """An object that ends, without what holds it and needs not any more."""
    metadata = obj["metadata"]
    if empty_namespace and obj.get("spec", {}).get("finalizers"):
        return {**obj, "spec": {}}
    waits = {FINALIZERS["Foreground"]: metadata["uid"] in blocked, FINALIZERS["Orphan"]: metadata["uid"] in owned}
    left = [name for name in metadata.get("finalizers", ()) if waits.get(name, True)]
    return obj if len(left) == len(metadata.get("finalizers", ())) else _with(obj, "finalizers", left)


def _by_owners(
    storage: Storage, kinds: Mapping[str, Resource], collection: Collection, key: Key, owned: set[str]
) -> Change | None:
    """What an object's owners mean for it, None if nothing."""
    obj = storage.objects(collection)[key]
    references = _references(obj)
    solid, gone, waiting = False, set(), set()
    for reference in references:
        resource = kinds.get(f"{reference['apiVersion']}/{reference['kind']}")
        if resource is None or (resource.namespaced and not key[0]):
            return None
        where = (key[0] if resource.namespaced else "", reference["name"])
        owner = storage.objects((resource.group, resource.plural)).get(where)
        if owner is None or owner["metadata"]["uid"] != reference["uid"]:
            gone.add(reference["uid"])
        elif _ends_by(owner, "Foreground"):
            waiting.add(reference["uid"])
        else:
            solid = True
    if not gone and not waiting:
        return None
    if solid:
        return Change(collection, key, _without_owners(obj, gone | waiting))
    if waiting and obj["metadata"]["uid"] in owned:
        return Change(collection, key, None, "Foreground")
    return Change(collection, key, None, asked_by(obj) or "Background")


def asked_by(obj: JsonObject) -> str:
    """The policy of deletion that an object's finalizers ask for, "" if none."""
    finalizers = obj["metadata"].get("finalizers", ())
    return next((policy for policy, finalizer in FINALIZERS.items() if finalizer in finalizers), "")
