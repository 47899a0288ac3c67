"""What gateways answer as XML, as S3, SNS and IAM have it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from controller.ceph.rgw.signed import Answer


class Element:
    """An element, whose children are found by their names without namespaces.

    Args:
        element: The element; None: one that is empty.
    """

    def __init__(self, element: ET.Element | None) -> None:
        self._element = element

    @property
    def text(self) -> str:
        """What is in it, where that is text."""
        return (self._element.text or "") if self._element is not None else ""

    def children(self, name: str) -> list[Element]:
        """The elements of this name in it."""
        found = self._element if self._element is not None else ()
        return [Element(child) for child in found if _local(child) == name]

    def all(self, name: str) -> list[Element]:
        """The elements of this name in it, however deep."""
        found = self._element.iter() if self._element is not None else ()
        return [Element(child) for child in found if _local(child) == name]

    def first(self, *names: str) -> str:
        """The text of the first element that these names lead to; empty: there is none."""
        at: Element = self
        for name in names:
            at = next(iter(at.children(name)), Element(None))
        return at.text


def parse(content: bytes) -> Element:
    """The outermost element of an answer; an empty one of what is no XML."""
    try:
        # It comes from the store's own gateways, whose certificate was looked at.
        return Element(ET.fromstring(content))  # noqa: S314
    except ET.ParseError:
        return Element(None)


def refusal(answer: Answer) -> tuple[str, str]:
    """The code and the message of a refusal, which gateways give with and without an element around them."""
    found = parse(answer.content)
    codes, messages = found.all("Code"), found.all("Message")
    return (codes[0].text if codes else f"HTTP {answer.status}"), (messages[0].text if messages else "")


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
