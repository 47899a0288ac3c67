"""Writes controller/testkit/topology.json: how an API server merges the fields of built-in kinds.

python -m tests.integration.topology >controller/testkit/topology.json
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import orjson

from e2e.apiserver import ApiServer
from informers import Client, JsonObject
from informers.schema import schema


def table(types: JsonObject) -> dict[str, dict[str, Any]]:
    """What is not the default, by message and field; of a message as a whole as the field ""."""
    found: dict[str, dict[str, Any]] = {}
    for name, declared in types.items():
        message = name.removeprefix("io.k8s.api.").removeprefix("io.k8s.apimachinery.pkg.apis.")
        rules = {"": "atomic"} if declared.get("x-kubernetes-map-type") == "atomic" else {}
        rules |= {field: rule for field, part in declared.get("properties", {}).items() if (rule := _rule(part, types))}
        if rules and message in schema().messages:
            found[message] = rules
    return found


def _rule(part: JsonObject, types: JsonObject) -> Any:
    match part.get("x-kubernetes-list-type"):
        case "map":
            items = part["items"]
            reference = items.get("$ref") or items["allOf"][0]["$ref"]
            fields = types[reference.rpartition("/")[2]]["properties"]
            return {key: fields[key].get("default") for key in part["x-kubernetes-list-map-keys"]}
        case "set":
            return "set"
    return "atomic" if part.get("x-kubernetes-map-type") == "atomic" else None


async def published(client: Client) -> JsonObject:
    """All types that the server publishes."""
    found: JsonObject = {}
    index = orjson.loads(await client.request("GET", "/openapi/v3"))["paths"]
    for group in index:
        if group.startswith(("api/", "apis/")):
            document = orjson.loads(await client.request("GET", f"/openapi/v3/{group}"))
            found |= document.get("components", {}).get("schemas", {})
    return found


def text(rules: dict[str, dict[str, Any]]) -> str:
    """The table as it is in the file, a line for each message."""
    lines = (f"{orjson.dumps(name).decode()}:{orjson.dumps(rules[name]).decode()}" for name in sorted(rules))
    return "{\n" + ",\n".join(lines) + "\n}\n"


async def main() -> None:
    """Start a server, and ask it."""
    with tempfile.TemporaryDirectory() as directory, ApiServer(Path(directory)) as server:
        async with Client.connect(kubeconfig=str(server.kubeconfig)) as client:
            sys.stdout.write(text(table(await published(client))))


if __name__ == "__main__":
    anyio.run(main)
