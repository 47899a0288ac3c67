"""How Ceph names its clients: an address with a nonce, with which no two of them are the same."""

from __future__ import annotations

import re

_CLIENT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[0-9.]+):\d+/\d+")
"""A client's address with its nonce, as in "v1:10.0.0.1:0/123" and "[v2:[fd00::1]:0/123,v1:[fd00::1]:0/123]"."""


def clients_in(text: str) -> set[str]:
    """All clients that a text names, each as by `plain`."""
    return set(_CLIENT.findall(text))


def plain(entity: str) -> str:
    """A client's "10.0.0.1:0/123" or "[fd00::1]:0/123", without the protocol that may stand before it."""
    found = _CLIENT.search(entity)
    return found.group() if found is not None else entity


def address_of(entity: str) -> str:
    """The IP address of a client's "10.0.0.1:0/123", "v1:10.0.0.1:0/123" or "[fd00::1]:0/123"."""
    return plain(entity).rpartition(":")[0].strip("[]")
