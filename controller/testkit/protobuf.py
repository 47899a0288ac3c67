"""Objects as an API server encodes them in protobuf: the opposite of what the informers do, for servers in tests.

Like the server's own encoder it writes every field that is no pointer, zeros and empty texts included, in the order of
their numbers.
"""

from base64 import b64decode
from datetime import datetime
from functools import cache
from typing import Any

import orjson

from informers import JsonObject
from informers.decode import message_class
from informers.fields import encode_varint
from informers.schema import Field, schema

MAGIC = b"k8s\0"

_message_class = cache(message_class)


def text(number: int, content: bytes) -> bytes:
    """A field with content."""
    return encode_varint(number << 3 | 2) + encode_varint(len(content)) + content


def number(number: int, value: int) -> bytes:
    """A field that is a number."""
    return encode_varint(number << 3) + encode_varint(value)


def encode(obj: JsonObject, kind: str) -> bytes:
    """The object, without an envelope, and with its managedFields."""
    made = _message_class(kind)()
    _fill(made, schema().kinds[kind], obj)
    encoded: bytes = made.SerializeToString()
    return encoded


def envelope(content: bytes, kind: str) -> bytes:
    """What the server sends: an object, a list or a Status with its type beside it."""
    api_version, _, name = kind.rpartition("/")
    type_meta = text(1, api_version.encode()) + text(2, name.encode())
    return MAGIC + text(1, type_meta) + text(2, content) + text(3, b"") + text(4, b"")


def frame(event: str, content: bytes, kind: str) -> bytes:
    """One event of a watch."""
    body = text(1, event.encode()) + text(2, text(1, envelope(content, kind)))
    return len(body).to_bytes(4) + body


def page(metadata: JsonObject, items: list[bytes], kind: str) -> bytes:
    """A list."""
    about = (
        text(1, b"") + text(2, metadata["resourceVersion"].encode()) + text(3, metadata.get("continue", "").encode())
    )
    if "remainingItemCount" in metadata:
        about += number(4, metadata["remainingItemCount"])
    return envelope(text(1, about) + b"".join(text(2, item) for item in items), f"{kind}List")


def status(obj: JsonObject) -> bytes:
    """A Status."""
    details = obj.get("details", {})
    causes = [_texts(cause, "reason", "message", "field") for cause in details.get("causes", [])]
    inner = _texts(details, "name", "group", "kind") + b"".join(text(4, cause) for cause in causes)
    inner += number(5, details.get("retryAfterSeconds", 0)) + text(6, details.get("uid", "").encode())
    texts = b"".join(text(at, obj.get(name, "").encode()) for at, name in enumerate(("status", "message", "reason"), 2))
    return text(1, b"") + texts + text(5, inner) + number(6, obj.get("code", 0))


def _texts(obj: JsonObject, *names: str) -> bytes:
    return b"".join(text(at, obj.get(name, "").encode()) for at, name in enumerate(names, 1))


def _fill(made: Any, message: str, obj: JsonObject) -> None:
    for field in schema().messages[message]:
        name = f"f{field.number}"
        if field.presence == "inline":
            _fill(getattr(made, name), field.type, obj)
        elif obj.get(field.name) is None:
            if field.shape == "one" and field.presence not in {"optional", "nullable"}:
                _fill_zero(made, name, field)
        elif field.shape == "map":
            for key, value in obj[field.name].items():
                entry = getattr(made, name).add(f1=key)
                if field.type in {"string", "bytes"}:
                    entry.f2 = _scalar(field, value)
                else:
                    entry.f2.SetInParent()
                    _fill_one(entry.f2, field, value)
        elif field.shape == "many":
            for value in obj[field.name]:
                if field.type in {"string", "int"}:
                    getattr(made, name).append(value)
                else:
                    _fill_one(getattr(made, name).add(), field, value)
        elif field.type in {"string", "int", "bool", "bytes"}:
            setattr(made, name, _scalar(field, obj[field.name]))
        else:
            getattr(made, name).SetInParent()
            _fill_one(getattr(made, name), field, obj[field.name])


def _fill_zero(made: Any, name: str, field: Field) -> None:
    if field.type in {"string", "int", "bool"}:
        setattr(made, name, {"string": "", "int": 0, "bool": False}[field.type])
    elif field.type != "bytes":
        getattr(made, name).SetInParent()
        if field.type in schema().messages:
            _fill(getattr(made, name), field.type, {})


def _fill_one(made: Any, field: Field, value: Any) -> None:
    match field.type:
        case "Time" | "MicroTime":
            when = datetime.fromisoformat(value)
            made.f1, made.f2 = int(when.timestamp()), when.microsecond * 1000
        case "Quantity":
            made.f1 = value
        case "IntOrString":
            made.f1, made.f2, made.f3 = (1, 0, value) if isinstance(value, str) else (0, value, "")
        case "Raw":
            made.f1 = orjson.dumps(value)
        case _:
            _fill(made, field.type, value)


def _scalar(field: Field, value: Any) -> Any:
    return b64decode(value) if field.type == "bytes" else value
