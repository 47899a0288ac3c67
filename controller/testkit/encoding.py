"""How objects, lists and events are sent: as JSON or protobuf, whole or their metadata alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from controller.testkit import protobuf
from informers import ApiError
from informers.media import JSON, PROTOBUF, is_protobuf
from informers.schema import PARTIAL, is_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from informers import JsonObject, Resource


_ESCAPES = [(character.encode(), rb"\u%04x" % ord(character)) for character in "<>&\u2028\u2029"]


def content_type(accept: str, resource: Resource, *, with_protobuf: bool) -> str:
    """The encoding of an answer: the first one asked for that the server has for the kind.

    Custom kinds have protobuf of their metadata alone. There is no YAML, and there are no tables.

    Raises:
        ApiError: 406, it has none of them.
    """
    known = with_protobuf and is_known(f"{resource.api_version}/{resource.kind}")
    for found in map(str.strip, accept.split(",")):
        media, *parameters = (part.strip() for part in found.split(";"))
        kinds = [part for part in parameters if part.startswith("as=")]
        if kinds and not _is_partial(found):
            continue
        if media in ("", "*/*", JSON) or (media == PROTOBUF and (known or (with_protobuf and kinds))):
            return found
    raise ApiError(406, "NotAcceptable", f"{resource}: none of the encodings {accept!r} can be had")


def encode_object(obj: JsonObject, media: str = JSON) -> bytes:
    """An object, or a Status, alone."""
    if obj["kind"] == "Status":
        return protobuf.envelope(protobuf.status(obj), "v1/Status") if is_protobuf(media) else to_json(obj)
    if _is_partial(media):
        obj = partial(obj)
    if not is_protobuf(media):
        return to_json(obj)
    kind = f"{obj['apiVersion']}/{obj['kind']}"
    return protobuf.envelope(protobuf.encode(obj, PARTIAL if _is_partial(media) else kind), kind)


def to_json(value: JsonObject) -> bytes:
    """JSON as servers in Go write it, with escapes that HTML needs."""
    encoded = orjson.dumps(value)
    for character, escape in _ESCAPES:
        encoded = encoded.replace(character, escape)
    return encoded


def encode_event(event: str, obj: JsonObject, media: str = JSON) -> bytes:
    """An event as it stands in a watch."""
    if _is_partial(media) and event != "ERROR":
        obj = partial(obj)
    if not media.startswith(PROTOBUF):
        return to_json({"type": event, "object": obj}) + b"\n"
    if event == "ERROR":
        return protobuf.frame(event, protobuf.status(obj), "v1/Status")
    kind = PARTIAL if _is_partial(media) else f"{obj['apiVersion']}/{obj['kind']}"
    return protobuf.frame(event, protobuf.encode(obj, kind), kind)


def encode_list(resource: Resource, items: Sequence[JsonObject], metadata: JsonObject, media: str = JSON) -> bytes:
    """A page of a list."""
    if _is_partial(media):
        items = [partial(obj) for obj in items]
    if media.startswith(PROTOBUF):
        kind = PARTIAL if _is_partial(media) else f"{resource.api_version}/{resource.kind}"
        encoded = [protobuf.encode(obj, kind) for obj in items]
        return protobuf.page(metadata, encoded, kind)
    kind, api_version = f"{resource.kind}List", resource.api_version
    if _is_partial(media):
        kind, api_version = "PartialObjectMetadataList", "meta.k8s.io/v1"
    return to_json({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items})


def partial(obj: JsonObject) -> JsonObject:
    """The object's metadata alone."""
    api_version, _, kind = PARTIAL.rpartition("/")
    return {"kind": kind, "apiVersion": api_version, "metadata": obj["metadata"]}


def bookmark(resource: Resource, version: int, *, initial_events_end: bool = False) -> JsonObject:
    """The object of a bookmark."""
    metadata: JsonObject = {"resourceVersion": str(version)}
    if initial_events_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}


def _is_partial(media: str) -> bool:
    return "as=PartialObjectMetadata" in media
