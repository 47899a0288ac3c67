"""What objects of all kinds have, and references between objects."""

from __future__ import annotations

from typing import Protocol

import msgspec

from controller.apis.meta import ApiStruct, ObjectMeta

type IntOrString = int | str


class HasMetadata(Protocol):
    """Anything that has object metadata: every view, and every kind of `controller.apis`."""

    @property
    def metadata(self) -> ObjectMeta:
        """The object's metadata."""
        ...


class PartialObject(ApiStruct, frozen=True, kw_only=True):
    """The metadata of an object of any kind: for informers with `metadata_only`."""

    metadata: ObjectMeta = ObjectMeta()


class LabelSelector(ApiStruct, frozen=True, kw_only=True):
    """Selects objects by their labels; only equality is read here."""

    match_labels: dict[str, str] = msgspec.field(default_factory=dict)


class LocalReference(ApiStruct, frozen=True, kw_only=True):
    """Names an object; the namespace is empty for one in the same namespace, or for one without."""

    name: str = ""
    namespace: str = ""


class ObjectReference(ApiStruct, frozen=True, kw_only=True):
    """Names any object."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    resource_version: str = ""


class ResourceRequirements(ApiStruct, frozen=True, kw_only=True):
    """Requests and limits, as quantities."""

    requests: dict[str, IntOrString] = msgspec.field(default_factory=dict)
    limits: dict[str, IntOrString] = msgspec.field(default_factory=dict)
