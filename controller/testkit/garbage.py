"""The work of Kubernetes' garbage collector and namespace controller, done at once after each write.

An object is deleted when none of its owners exists. While one exists, references to the others are removed. An owner
that is deleted in the foreground waits for the dependents that block it (`blockOwnerDeletion`), which are deleted in
the foreground, too. An owner that orphans its dependents waits until none refers to it. The collector skips an object
whose owner has a kind that is not served, and a cluster-scoped object whose owner is namespaced. The objects of a
namespace are deleted with it.

Unlike in a cluster, owners that own each other and are deleted in the foreground wait for ever.

Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from controller.testkit.relations import NAMESPACES, ends, references

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.testkit.relations import Collection, Relations
    from controller.testkit.storage import Storage
    from informers import JsonObject, Key, Resource

FINALIZERS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
"""Finalizers of an owner whose dependents are not handled yet, by the policy of its deletion."""


class Change(NamedTuple):
    """A change of one object.

    Attributes:
        collection: Its collection.
        key: Its namespace and name.
        object: The new object; None: it is to be deleted, as far as its finalizers allow.
        propagation: Policy of the deletion.
    """

    collection: Collection
    key: Key
    object: JsonObject | None
    propagation: str = "Background"


def next_change(storage: Storage, kinds: Mapping[str, Resource]) -> Change | None:
    """The next change to make; None if there is none.

    Args:
        storage: The objects.
        kinds: The served kinds, by "apiVersion/kind".
    """
    due = storage.relations.due
    while due:
        place = next(iter(due))
        del due[place]
        change = _due(storage, kinds, *place)
        if change is not None:
            return change
    return None


def _due(storage: Storage, kinds: Mapping[str, Resource], collection: Collection, key: Key) -> Change | None:
    """The change to make to one object; None if there is none."""
    obj, relations = storage.objects(collection).get(key), storage.relations
    if obj is None:
        return None
    uids = {reference["uid"] for reference in references(obj)}
    changed = _without_owners(obj, {uid for uid in uids if _orphans(storage, uid)})
    if changed is obj and ends(obj):
        empty_namespace = collection == NAMESPACES and relations.is_empty(key[1])
        changed = _released(obj, relations, empty_namespace=empty_namespace)
    elif changed is obj and _is_ending(storage, key[0]):
        return Change(collection, key, None)
    if changed is not obj:
        return Change(collection, key, changed)
    return None if ends(obj) else _by_owners(storage, kinds, collection, key)


def _is_ending(storage: Storage, namespace: str) -> bool:
    found = storage.objects(NAMESPACES).get(("", namespace))
    return found is not None and ends(found)


def _orphans(storage: Storage, uid: str) -> bool:
    """Whether the object with this uid is being deleted and orphans its dependents."""
    place = storage.relations.place(uid)
    return place is not None and _ends_by(storage.objects(place[0])[place[1]], "Orphan")


def _ends_by(obj: JsonObject, policy: str) -> bool:
    return ends(obj) and FINALIZERS[policy] in obj["metadata"].get("finalizers", ())


def _without_owners(obj: JsonObject, uids: set[str]) -> JsonObject:
    owners = references(obj)
    left = [reference for reference in owners if reference["uid"] not in uids]
    return obj if len(left) == len(owners) else _with(obj, "ownerReferences", left)


def _with(obj: JsonObject, name: str, values: list[Any]) -> JsonObject:
    """The object with a list in its metadata; without the field if the list is empty."""
    metadata = {field: value for field, value in obj["metadata"].items() if field != name}
    return {**obj, "metadata": {**metadata, **({name: values} if values else {})}}


def _released(obj: JsonObject, relations: Relations, *, empty_namespace: bool) -> JsonObject:
    """An object that is being deleted, without the finalizers that are done."""
    metadata = obj["metadata"]
    if empty_namespace and obj.get("spec", {}).get("finalizers"):
        return {**obj, "spec": {}}
    uid = metadata["uid"]
    waits = {FINALIZERS["Foreground"]: relations.is_blocked(uid), FINALIZERS["Orphan"]: relations.is_owner(uid)}
    left = [name for name in metadata.get("finalizers", ()) if waits.get(name, True)]
    return obj if len(left) == len(metadata.get("finalizers", ())) else _with(obj, "finalizers", left)


def _by_owners(storage: Storage, kinds: Mapping[str, Resource], collection: Collection, key: Key) -> Change | None:
    """The change that an object's owners require; None if none."""
    obj = storage.objects(collection)[key]
    solid, gone, waiting = False, set(), set()
    for reference in references(obj):
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
    if waiting and storage.relations.is_owner(obj["metadata"]["uid"]):
        return Change(collection, key, None, "Foreground")
    return Change(collection, key, None, asked_by(obj) or "Background")


def asked_by(obj: JsonObject) -> str:
    """The policy of deletion that an object's finalizers say; "" if none."""
    finalizers = obj["metadata"].get("finalizers", ())
    return next((policy for policy, finalizer in FINALIZERS.items() if finalizer in finalizers), "")
