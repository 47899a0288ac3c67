"""From changes to requests: mappers say which requests an object stands for, predicates which changes matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.runtime.reconciler import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from controller.runtime.kube import HasMetadata
    from informers import Delta, Informer, Resource

type ToRequests[T] = Callable[[T], Iterable[Request]]
"""The requests that an object stands for. Pure; called for the old and the new form of an object that changed."""

type Predicate[T] = Callable[[Delta[T]], bool]
"""Whether a change matters. Pure."""


def owned_by(resource: Resource) -> ToRequests[HasMetadata]:
    """Maps an object to its controlling owner (`ownerReferences` with `controller: true`) if that is of `resource`.

    Owners of other versions of the same group count too: they are the same objects.
    """

    def to_requests(obj: HasMetadata) -> tuple[Request, ...]:
        namespace = obj.metadata.namespace if resource.namespaced else ""
        return tuple(
            Request(namespace, owner.name)
            for owner in obj.metadata.owner_references
            if owner.controller
            and owner.kind == resource.kind
            and owner.api_version.rpartition("/")[0] == resource.group
        )

    return to_requests


def in_namespace(objects: Informer[Any]) -> ToRequests[HasMetadata]:
    """Maps an object to all objects of a kind in its namespace, by the cache of that kind."""

    def to_requests(obj: HasMetadata) -> tuple[Request, ...]:
        return tuple(Request(*key) for key in objects.keys(obj.metadata.namespace))

    return to_requests


def by_label(label: str, *, namespaced: bool = True) -> ToRequests[HasMetadata]:
    """Maps an object to the object that its label names, in the same namespace or (not `namespaced`) in none."""

    def to_requests(obj: HasMetadata) -> tuple[Request, ...]:
        name = obj.metadata.labels.get(label, "")
        return (Request(obj.metadata.namespace if namespaced else "", name),) if name else ()

    return to_requests


def generation_changed(delta: Delta[HasMetadata]) -> bool:
    """Accepts changes of the spec, and the beginning of a deletion; not changes of status, labels or annotations.

    The API server increases `metadata.generation` for these. Additions and deletions are accepted, and all changes of
    kinds without generations: ConfigMaps, Secrets, Services, Nodes, claims and volumes, StorageClasses.
    """
    old, new = delta.old, delta.new
    if old is None or new is None:
        return True
    return (
        not (old.metadata.generation and new.metadata.generation)
        or old.metadata.generation != new.metadata.generation
        or old.metadata.uid != new.metadata.uid
        or old.metadata.deletion_timestamp != new.metadata.deletion_timestamp
    )


def annotations_changed(delta: Delta[HasMetadata]) -> bool:
    """Accepts changes of annotations, additions and deletions."""
    old, new = delta.old, delta.new
    return old is None or new is None or old.metadata.annotations != new.metadata.annotations


def labels_changed(delta: Delta[HasMetadata]) -> bool:
    """Accepts changes of labels, additions and deletions."""
    old, new = delta.old, delta.new
    return old is None or new is None or old.metadata.labels != new.metadata.labels


def any_of[T](*predicates: Predicate[T]) -> Predicate[T]:
    """Accepts what at least one of `predicates` accepts."""
    return lambda delta: any(predicate(delta) for predicate in predicates)
