"""What to ask a server for: whole objects, or their metadata alone."""

from __future__ import annotations

from typing import Final, NamedTuple

JSON: Final = "application/json"

MERGE_PATCH: Final = "application/merge-patch+json"
"""What changes the fields that it names, of an object of any kind (RFC 7386)."""

PARTIAL: Final = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
"""What an object says of itself that has nothing but metadata."""


class Accept(NamedTuple):
    """Accept headers: of a list, and of a watch."""

    list: str
    watch: str


WHOLE: Final = Accept(JSON, JSON)

METADATA: Final = Accept(
    f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
)
