"""Which encodings to ask a server for. It answers in the first one that it knows for a resource."""

from __future__ import annotations

from typing import Final, NamedTuple

JSON: Final = "application/json"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"

_PARTIAL: Final = ";as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"


class Accept(NamedTuple):
    """Accept headers: of a list, and of a watch."""

    list: str
    watch: str


def accept(*, protobuf: bool, partial: bool) -> Accept:
    """The headers for objects in protobuf, JSON otherwise; `partial` asks for their metadata alone."""
    encodings = (PROTOBUF, JSON) if protobuf else (JSON,)
    lists = [encoding + (_PARTIAL.format("List") if partial else "") for encoding in encodings]
    watches = [encoding + (_PARTIAL.format("") if partial else "") for encoding in encodings]
    return Accept(",".join(lists), ",".join(watches))


def is_protobuf(content_type: str) -> bool:
    """Whether an answer's Content-Type is that of protobuf."""
    return content_type.startswith(PROTOBUF)
