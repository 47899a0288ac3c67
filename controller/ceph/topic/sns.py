"""Topics of a store, by the part of Amazon's SNS that gateways have (https://docs.ceph.com/en/latest/radosgw/notifications/)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from controller.ceph.rgw.xml import parse, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.ceph.rgw.signed import Answer, Requests

PUSH_ENDPOINT, OPAQUE_DATA, PERSISTENT = "push-endpoint", "OpaqueData", "persistent"
"""Attributes of topics."""


class SnsError(Exception):
    """What a gateway refused."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the gateways have it: its endpoint, with its password, and the text that is in its notifications."""

    endpoint: str = field(repr=False)
    opaque_data: str


async def find(requests: Requests, arn: str) -> Topic | None:
    """The topic; None: there is none.

    Raises:
        SnsError: The gateways refuse to say.
        UnreachableError: None answers.
    """
    answer = await requests.send("POST", "/", {}, _body("GetTopicAttributes", {"TopicArn": arn}))
    if answer.status == 404:
        return None
    _check(answer)
    entries = parse(answer.content).all("entry")
    found = {entry.first("key"): entry.first("value") for entry in entries}
    try:
        endpoint = str(json.loads(found.get("EndPoint", ""))["EndpointAddress"])
    except (ValueError, KeyError, TypeError):
        endpoint = ""
    return Topic(endpoint, found.get(OPAQUE_DATA, ""))


async def create(requests: Requests, name: str, attributes: Mapping[str, str]) -> str:
    """Makes a topic, or gives it these attributes and no others. Returns its ARN.

    Raises:
        SnsError: The gateways refuse it.
        UnreachableError: None answers.
    """
    answer = await requests.send("POST", "/", {}, _body("CreateTopic", {"Name": name}, attributes))
    _check(answer)
    return parse(answer.content).first("CreateTopicResult", "TopicArn")


async def delete(requests: Requests, arn: str) -> None:
    """Removes a topic; one that is not there is no error.

    Raises:
        SnsError: The gateways refuse it.
        UnreachableError: None answers.
    """
    answer = await requests.send("POST", "/", {}, _body("DeleteTopic", {"TopicArn": arn}))
    if answer.status != 404:
        _check(answer)


def _check(answer: Answer) -> None:
    if answer.is_refusal:
        code, message = refusal(answer)
        raise SnsError(f"{code}: {message}" if message else code)


def _body(action: str, given: Mapping[str, str], attributes: Mapping[str, str] | None = None) -> bytes:
    def parts() -> Iterator[str]:
        yield f"Action={action}"
        for name, value in given.items():
            yield f"{name}={_quoted(value)}"
        for number, (name, value) in enumerate((attributes or {}).items(), 1):
            yield f"Attributes.entry.{number}.key={_quoted(name)}"
            yield f"Attributes.entry.{number}.value={_quoted(value)}"

    return "&".join(parts()).encode()


def _quoted(text: str) -> str:
    # Gateways take a plus sign for itself, and cut values at dots and put them together again with single ones.
    return quote(text, safe="").replace(".", "%2E")
