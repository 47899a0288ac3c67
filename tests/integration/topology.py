"""Writes controller/testkit/topology.json: the fields of built-in kinds, and how an API server merges them.

python -m tests.integration.topology >controller/testkit/topology.json
"""

import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import anyio
import msgspec
import orjson

from controller.testkit.topology import OBJECT_META, BuiltIn, Message, Table
from e2e.apiserver import ApiServer
from informers import Client, JsonObject


def table(types: JsonObject) -> Table:
    """The kinds of Kubernetes' own API groups, and all messages in their objects."""
    declared = {_message(name): found for name, found in types.items() if "properties" in found}
    kinds = {
        kind: _message(name)
        for name, found in types.items()
        if name.startswith("io.k8s.api.") and _type(found.get("properties", {}).get("metadata", {})) == OBJECT_META
        for kind in _kinds(found)
    }
    messages: dict[str, Message] = {}
    pending = [OBJECT_META, *kinds.values()]
    while pending:
        name = pending.pop()
        if name in declared and name not in messages:
            found = declared[name]
            fields = {field: _built_in(part, declared) for field, part in sorted(found["properties"].items())}
            messages[name] = Message(fields, found.get("x-kubernetes-map-type", "granular"))
            pending.extend(field.type for field in fields.values())
    return Table(kinds, messages)


def _message(name: str) -> str:
    """How the table calls a type that OpenAPI calls so."""
    return name.removeprefix("io.k8s.api.").removeprefix("io.k8s.apimachinery.pkg.apis.")


def _kinds(found: JsonObject) -> list[str]:
    """The "apiVersion/kind" of a type."""
    kinds = found.get("x-kubernetes-group-version-kind", ())
    return ["/".join(kind[part] for part in ("group", "version", "kind") if kind[part]) for kind in kinds]


def _built_in(part: JsonObject, declared: JsonObject) -> BuiltIn:
    shape: Literal["one", "many", "map"] = "one"
    rule: Any = "atomic" if part.get("x-kubernetes-map-type") == "atomic" else None
    if "items" in part:
        shape, rule, part = "many", _list_rule(part, declared), part["items"]
    elif "additionalProperties" in part:
        shape, part = "map", part["additionalProperties"]
    found = _type(part)
    return BuiltIn(found if found in declared else "", shape, rule)


def _list_rule(part: JsonObject, declared: JsonObject) -> Any:
    match part.get("x-kubernetes-list-type"):
        case "map":
            fields = declared[_type(part["items"])]["properties"]
            return {key: fields[key].get("default") for key in part["x-kubernetes-list-map-keys"]}
        case "set":
            return "set"
    return None


def _type(part: JsonObject) -> str:
    """The type that is referred to; "" if none is."""
    reference: str = part.get("$ref") or (part["allOf"][0]["$ref"] if "allOf" in part else "")
    return _message(reference.rpartition("/")[2])


async def published(client: Client) -> JsonObject:
    """All types that the server publishes."""
    found: JsonObject = {}
    index = orjson.loads(await client.request("GET", "/openapi/v3"))["paths"]
    for group in index:
        if group.startswith(("api/", "apis/")):
            document = orjson.loads(await client.request("GET", f"/openapi/v3/{group}"))
            found |= document.get("components", {}).get("schemas", {})
    return found


def text(found: Table) -> str:
    """The table as it is in the file, a line for each kind and message."""
    return f'{{"kinds":{{\n{_lines(found.kinds)}\n}},"messages":{{\n{_lines(found.messages)}\n}}}}\n'


def _lines(entries: dict[str, Any]) -> str:
    encode = msgspec.json.encode
    return ",\n".join(f"{encode(name).decode()}:{encode(entries[name]).decode()}" for name in sorted(entries))


async def main() -> None:
    """Start a server, and ask it."""
    with tempfile.TemporaryDirectory() as directory, ApiServer(Path(directory)) as server:
        async with Client.connect(kubeconfig=str(server.kubeconfig)) as client:
            sys.stdout.write(text(table(await published(client))))


if __name__ == "__main__":
    anyio.run(main)
