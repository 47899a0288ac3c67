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

from controller.testkit.relations import NAMESPACES, ends, references

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.testkit.relations import Collection, Relations
    from controller.testkit.storage import Storage
    from informers import JsonObject, Key, Resource

FINALIZERS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
"""What marks an owner until its dependents are dealt with, by the policy of its deletion."""


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
    due = storage.relations.due
    while due:
        place = next(iter(due))
        del due[place]
        change = _due(storage, kinds, *place)
        if change is not None:
            return change
    return None


def _due(storage: Storage, kinds: Mapping[str, Resource], collection: Collection, key: Key) -> Change | None:
    """What has to be done to one object, None if nothing has."""
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
    """Whether the object with this uid lets its dependents go before it ends."""
    place = storage.relations.place(uid)
    return place is not None and _ends_by(storage.objects(place[0])[place[1]], "Orphan")


def _ends_by(obj: JsonObject, policy: str) -> bool:
    return ends(obj) and FINALIZERS[policy] in obj["metadata"].get("finalizers", ())


def _without_owners(obj: JsonObject, uids: set[str]) -> JsonObject:
    owners = references(obj)
    left = [reference for reference in owners if reference["uid"] not in uids]
    return obj if len(left) == len(owners) else _with(obj, "ownerReferences", left)


def _with(obj: JsonObject, name: str, values: list[Any]) -> JsonObject:
    """The object with a list in its metadata, or without it if that is empty."""
    metadata = {field: value for field, value in obj["metadata"].items() if field != name}
    return {**obj, "metadata": {**metadata, **({name: values} if values else {})}}


def _released(obj: JsonObject, relations: Relations, *, empty_namespace: bool) -> JsonObject:
    """An object that ends, without what holds it and needs not any more."""
    metadata = obj["metadata"]
    if empty_namespace and obj.get("spec", {}).get("finalizers"):
        return {**obj, "spec": {}}
    uid = metadata["uid"]
    waits = {FINALIZERS["Foreground"]: relations.is_blocked(uid), FINALIZERS["Orphan"]: relations.is_owner(uid)}
    left = [name for name in metadata.get("finalizers", ()) if waits.get(name, True)]
    return obj if len(left) == len(metadata.get("finalizers", ())) else _with(obj, "finalizers", left)


def _by_owners(storage: Storage, kinds: Mapping[str, Resource], collection: Collection, key: Key) -> Change | None:
    """What an object's owners mean for it, None if nothing."""
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
    """The policy of deletion that an object's finalizers ask for, "" if none."""
    finalizers = obj["metadata"].get("finalizers", ())
    return next((policy for policy, finalizer in FINALIZERS.items() if finalizer in finalizers), "")
