"""Notifications of a bucket, by S3 and what gateways add: filters by metadata and tags, and changes of a single one.

https://docs.ceph.com/en/latest/radosgw/s3/bucketops/#create-notification
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from controller.ceph.rgw.xml import parse, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.ceph.rgw.signed import Answer, Requests
    from controller.ceph.rgw.xml import Element

type Rules = frozenset[tuple[str, str]]
"""Names with the values that they have to have."""

UNKNOWN = "s3:UnknownEvent"
ABORTED = "s3:ObjectLifecycle:Expiration:AbortMultipartUpload"
"""What gateways take, and answer with as the one before."""
NO_BUCKET = "NoSuchBucket"


class NotificationError(Exception):
    """What a gateway refused. `code` is S3's."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Config:
    """What is told of a bucket, and to whom.

    Attributes:
        topic: The topic's ARN.
        events: What is told of.
        keys: What an object's key has to be like.
        metadata: What its metadata has to be.
        tags: What its tags have to be.
    """

    topic: str
    events: frozenset[str]
    keys: Rules = frozenset()
    metadata: Rules = frozenset()
    tags: Rules = frozenset()


async def find(requests: Requests, bucket: str, name: str) -> Config | None:
    """A notification of a bucket; None: it has none of this name.

    Raises:
        NotificationError: The gateways refuse to say.
        UnreachableError: None answers.
    """
    answer = await requests.send("GET", f"/{bucket}", {"notification": ""})
    _check(answer)
    for found in parse(answer.content).children("TopicConfiguration"):
        if found.first("Id") == name:
            return _config(found)
    return None


async def put(requests: Requests, bucket: str, name: str, config: Config) -> None:
    """Gives a bucket a notification, or changes it. Others that the bucket has stay.

    Raises:
        NotificationError: The gateways refuse it.
        UnreachableError: None answers.
    """
    _check(await requests.send("PUT", f"/{bucket}", {"notification": ""}, _text(name, config).encode()))


async def remove(requests: Requests, bucket: str, name: str) -> None:
    """Takes a notification from a bucket; one that it does not have, and a bucket that is not there, are no error.

    Raises:
        NotificationError: The gateways refuse it.
        UnreachableError: None answers.
    """
    try:
        _check(await requests.send("DELETE", f"/{bucket}", {"notification": name}))
    except NotificationError as error:
        if error.code not in (NO_BUCKET, "NoSuchKey"):
            raise


def _check(answer: Answer) -> None:
    if answer.is_refusal:
        raise NotificationError(*refusal(answer))


def _config(found: Element) -> Config:
    filters = next(iter(found.children("Filter")), None)

    def rules(kind: str) -> Rules:
        groups = filters.children(kind) if filters is not None else []
        return frozenset((r.first("Name"), r.first("Value")) for group in groups for r in group.children("FilterRule"))

    events = (event.text for event in found.children("Event"))
    return Config(
        topic=found.first("Topic"),
        events=frozenset(ABORTED if event == UNKNOWN else event for event in events),
        keys=rules("S3Key"),
        metadata=rules("S3Metadata"),
        tags=rules("S3Tags"),
    )


def _text(name: str, config: Config) -> str:
    filters = _rules("S3Key", config.keys) + _rules("S3Metadata", config.metadata) + _rules("S3Tags", config.tags)
    inner = _element("Id", name) + _element("Topic", config.topic)
    inner += "".join(_element("Event", event) for event in sorted(config.events))
    inner += f"<Filter>{filters}</Filter>" if filters else ""
    return (
        '<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<TopicConfiguration>{inner}</TopicConfiguration></NotificationConfiguration>"
    )


def _rules(kind: str, rules: Iterable[tuple[str, str]]) -> str:
    inner = "".join(
        f"<FilterRule>{_element('Name', name)}{_element('Value', value)}</FilterRule>" for name, value in sorted(rules)
    )
    return f"<{kind}>{inner}</{kind}>" if inner else ""


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"
