"""Encodes objects, lists and events as JSON: whole objects, or their metadata alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from informers import ApiError
from informers.media import JSON, PARTIAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from informers import JsonObject, Resource


_ESCAPES = [(character.encode(), rb"\u%04x" % ord(character)) for character in "<>&\u2028\u2029"]


def content_type(accept: str, resource: Resource) -> str:
    """The encoding of a response: the first accepted one that the server has. It has JSON and no tables.

    Raises:
        ApiError: 406, the server has none of them.
    """
    for found in map(str.strip, accept.split(",")):
        media, *parameters = (part.strip() for part in found.split(";"))
        is_object = _is_partial(found) or not any(part.startswith("as=") for part in parameters)
        if media in ("", "*/*", JSON) and is_object:
            return found
    raise ApiError(406, "NotAcceptable", f"{resource}: none of the encodings {accept!r} can be had")


def encode_object(obj: JsonObject, media: str = JSON) -> bytes:
    """Encodes one object, or a Status."""
    return to_json(partial(obj) if _is_partial(media) and obj["kind"] != "Status" else obj)


def to_json(value: JsonObject) -> bytes:
    """JSON as servers in Go write it, with HTML escapes."""
    encoded = orjson.dumps(value)
    for character, escape in _ESCAPES:
        encoded = encoded.replace(character, escape)
    return encoded


def encode_event(event: str, obj: JsonObject, media: str = JSON) -> bytes:
    """Encodes an event of a watch."""
    shown = partial(obj) if _is_partial(media) and event != "ERROR" else obj
    return to_json({"type": event, "object": shown}) + b"\n"


def encode_list(resource: Resource, items: Sequence[JsonObject], metadata: JsonObject, media: str = JSON) -> bytes:
    """Encodes a page of a list."""
    kind, api_version = f"{resource.kind}List", resource.api_version
    if _is_partial(media):
        items = [partial(obj) for obj in items]
        kind, api_version = f"{PARTIAL['kind']}List", PARTIAL["apiVersion"]
    return to_json({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items})


def partial(obj: JsonObject) -> JsonObject:
    """The object's metadata alone."""
    return {**PARTIAL, "metadata": obj["metadata"]}


def bookmark(resource: Resource, version: int, *, initial_events_end: bool = False) -> JsonObject:
    """The object of a bookmark."""
    metadata: JsonObject = {"resourceVersion": str(version)}
    if initial_events_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}


def _is_partial(media: str) -> bool:
    return "as=PartialObjectMetadata" in media
