"""Objects made from a structural schema: one that sets every field, and one that sets every nullable field to null."""

import re
from typing import Any

STRINGS = (
    "sample",
    "a",
    "yes-really-destroy-data",
    "yes-really-migrate-osds",
    "yes-really-update-store",
    "daily",
    "/var/lib/rook",
    "10Gi",
    "2026-01-02T03:04:05Z",
)
"""Of these, the first one that a field's constraints allow is its sample."""

ANYTHING = {"anyField": {"below": [1, "two", {"three": 3.5}]}}
"""For objects that take any field: nothing in it may be lost."""


def full(schema: dict[str, Any], special: dict[str, Any], path: str = "") -> Any:
    """A value that sets every field of the schema; `special` has those, by path, that a CEL rule constrains."""
    if path in special:
        return special[path]
    if schema.get("enum"):
        return next(value for value in schema["enum"] if value)
    if schema.get("x-kubernetes-int-or-string"):
        return "10Gi"
    match schema["type"]:
        case "boolean":
            return True
        case "integer":
            return max(1, schema.get("minimum", 0))
        case "number":
            return 0.5
        case "string":
            return _text(schema, path)
        case "array":
            return [full(schema["items"], special, f"{path}[]")]
    return _object(schema, special, path)


def _object(schema: dict[str, Any], special: dict[str, Any], path: str) -> dict[str, Any]:
    if "properties" in schema:
        return {name: full(child, special, f"{path}.{name}") for name, child in schema["properties"].items()}
    if "additionalProperties" in schema:
        return {"key": full(schema["additionalProperties"], special, f"{path}.*")}
    return ANYTHING


def _text(schema: dict[str, Any], path: str) -> str:
    if schema.get("format") == "date-time":
        return "2026-01-02T03:04:05Z"
    for text in STRINGS:
        if re.search(schema.get("pattern", ""), text) and len(text) in _lengths(schema):
            return text
    raise ValueError(f"no sample for {path}: add a text that matches {schema} to STRINGS")


def _lengths(schema: dict[str, Any]) -> range:
    return range(schema.get("minLength", 0), schema.get("maxLength", 1000) + 1)


def nulls(schema: dict[str, Any]) -> Any:
    """A value with a null for each field that is nullable, as far up as possible; None when there is no such field.

    An enum lets no null pass that it does not list, whatever `nullable` says; here as in upstream's CRDs.
    """
    found: dict[str, Any] = {}
    for name, child in schema.get("properties", {}).items():
        if child.get("nullable") and "enum" not in child:
            found[name] = None
        elif (below := nulls(child)) is not None:
            found[name] = below | {key: full(child["properties"][key], {}) for key in child.get("required", ())}
    return found or None
