"""Manifests that people have of upstream's object stores, NFS servers and mirrors apply under strict validation.

The files hold the fields that upstream's own examples set, of 2018 and of today, nothing of their text.
"""

from pathlib import Path

import msgspec
import pytest
import yaml

from controller.apis.meta import JsonObject
from controller.apis.registry import KINDS
from informers import Client
from tests.integration.crds import NAMESPACE, resource

pytestmark = pytest.mark.usefixtures("crds")

MANIFESTS = Path(__file__).with_name("manifests")
TYPES = {(kind.api_version, kind.kind): (kind, struct) for kind, struct in KINDS.items()}
EVERY = [
    (path.stem, document)
    for path in sorted(MANIFESTS.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]


def name_of(document: JsonObject) -> str:
    return f"{document['kind']}/{document['metadata']['name']}"


@pytest.mark.parametrize(("year", "document"), EVERY, ids=[f"{year}-{name_of(document)}" for year, document in EVERY])
async def test_applies_and_nothing_of_it_is_dropped(client: Client, year: str, document: JsonObject) -> None:
    kind, struct = TYPES[document["apiVersion"], document["kind"]]

    body = await client.request(
        "POST",
        resource(kind).path(NAMESPACE),
        body=document,
        params={"fieldValidation": "Strict", "dryRun": "All"},
    )

    created: JsonObject = msgspec.json.decode(body)
    assert written(created.get("spec"), document.get("spec")), f"of {year}: {created.get('spec')}"
    msgspec.convert(created, struct)


def written(stored: object, asked: object) -> bool:
    """Whether all that was asked for is stored; defaults may have come beside it."""
    match asked:
        case dict():
            return isinstance(stored, dict) and all(
                key in stored and written(stored[key], value) for key, value in asked.items()
            )
        case list():
            return (
                isinstance(stored, list)
                and len(stored) == len(asked)
                and all(written(*pair) for pair in zip(stored, asked, strict=True))
            )
    return stored == asked
