"""Names and label values derived from names of nodes, namespaces and objects, valid whatever those are; ids of daemons.

Rules: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and `.../labels/`. What is valid already
stays as it is; anything else is made to fit, and told apart by a digest of what it was.
"""

from __future__ import annotations

import re
from hashlib import sha256
from string import ascii_lowercase

LIMIT = 63
"""Characters of a label value, and of the name of whatever puts its name into a label, as a Job does."""

LONGEST = 253
"""Characters of the name of whatever does not."""

_DIGEST = 8
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


def object_name(text: str, limit: int = LIMIT) -> str:
    """A name for an object: a DNS subdomain of at most `limit` characters."""
    if len(text) <= limit and _NAME.fullmatch(text):
        return text
    labels = (label.strip("-") for label in re.sub(r"[^a-z0-9.-]", "-", text.lower()).split("."))
    return _told_apart(".".join(filter(None, labels)), text, limit)


def label_value(text: str) -> str:
    """A value for a label."""
    if len(text) <= LIMIT and _VALUE.fullmatch(text):
        return text
    return _told_apart(re.sub(r"[^-A-Za-z0-9_.]", "-", text).lstrip("-_."), text, LIMIT)


def letters(number: int) -> str:
    """The id of one of several alike daemons, counted from 0: a, b, …, z, aa, ab, …"""
    more, last = divmod(number, len(ascii_lowercase))
    return (letters(more - 1) if more else "") + ascii_lowercase[last]


def _told_apart(fit: str, text: str, limit: int) -> str:
    digest = sha256(text.encode()).hexdigest()[:_DIGEST]
    kept = fit[: limit - _DIGEST - 1].rstrip("-_.")
    return f"{kept}-{digest}" if kept else digest
