"""A check of an object against a structural schema, as strict as the API server with `--validate=strict`."""

import re
from collections.abc import Iterator
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


def violations(value: Any, schema: dict[str, Any]) -> list[str]:
    """Everything that is wrong with an object, each with the path of the field; CEL is not evaluated."""
    return list(_violations(value, schema, ""))


def _violations(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    if value is None:
        if not schema.get("nullable"):
            yield f"{path}: null"
        return
    types = (int, str) if schema.get("x-kubernetes-int-or-string") else TYPES[schema["type"]]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        yield f"{path}: {value!r} is not {schema.get('type', 'an integer or a string')}"
        return
    yield from _scalar_violations(value, schema, path)
    if isinstance(value, dict):
        yield from _object_violations(value, schema, path)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _violations(item, schema["items"], f"{path}[{index}]")


def _scalar_violations(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is not in {schema['enum']}"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{path}: {value!r} does not match {schema['pattern']}"
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{path}: {value} is out of range"


def _object_violations(value: dict[str, Any], schema: dict[str, Any], path: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: missing"
    for name, child in value.items():
        if name in properties:
            if path or name != "metadata":
                yield from _violations(child, properties[name], f"{path}.{name}")
        elif "additionalProperties" in schema:
            yield from _violations(child, schema["additionalProperties"], f"{path}.{name}")
        elif not schema.get("x-kubernetes-preserve-unknown-fields"):
            yield f"{path}.{name}: unknown field"
