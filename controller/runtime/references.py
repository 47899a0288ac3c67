"""References from one object to another: to its owner, and to what an event is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from controller.runtime.kube import ObjectMeta

if TYPE_CHECKING:
    from controller.runtime.kube import HasMetadata
    from informers import JsonObject


class Typed(Protocol):
    """What says of which kind an object is: a `Resource`, or a `Kind` of `controller.apis`."""

    @property
    def api_version(self) -> str:
        """What such an object carries as `apiVersion`."""
        ...

    @property
    def kind(self) -> str:
        """What such an object carries as `kind`."""
        ...


def owner_reference(owner: HasMetadata | ObjectMeta, kind: Typed) -> JsonObject:
    """The entry of `metadata.ownerReferences` that makes `owner` the controller of an object.

    The garbage collector deletes the object after its owner, and `owned_by` finds the owner. The owner must be in the
    namespace of the object, or in none: https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/

    Args:
        owner: The owner, or its metadata.
        kind: Its kind, which typed views do not carry.
    """
    metadata = _metadata(owner)
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": metadata.name,
        "uid": metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def object_reference(obj: HasMetadata | ObjectMeta, kind: Typed) -> JsonObject:
    """A reference to an object in its present version, for `EventRecorder.event`.

    Args:
        obj: The object, or its metadata.
        kind: Its kind, which typed views do not carry.
    """
    metadata = _metadata(obj)
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "namespace": metadata.namespace,
        "name": metadata.name,
        "uid": metadata.uid,
        "resourceVersion": metadata.resource_version,
    }


def _metadata(obj: HasMetadata | ObjectMeta) -> ObjectMeta:
    return obj if isinstance(obj, ObjectMeta) else obj.metadata
