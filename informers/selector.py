"""Whether an object matches a watch's selectors, as far as that can be told without asking the API server.

Label selectors are evaluated in full. Field selectors depend on the kind; only those on the name and the namespace are
the same for all.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TERMS = re.compile(r",(?![^()]*\))")
_SET = re.compile(r"(?P<key>\S+)\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUALITY = re.compile(r"(?P<key>[^\s=!<>()]+)\s*(?P<operator>!=|==?)\s*(?P<value>[^\s=!<>()]*)")
_PRESENCE = re.compile(r"(?P<absent>!?)\s*(?P<key>[^\s=!<>()]+)")


def labels_match(selector: str, labels: Mapping[str, str]) -> bool | None:
    """Whether an object with these labels matches; None where a term of the selector is not understood."""
    return _all(_label_term(term.strip(), labels) for term in _TERMS.split(selector) if term.strip())


def fields_match(selector: str, namespace: str, name: str) -> bool | None:
    """Whether an object of this namespace and name matches; None where it depends on other fields."""
    known = {"metadata.name": name, "metadata.namespace": namespace}
    return _all(_field_term(term.strip(), known) for term in selector.split(",") if term.strip())


def _all(terms: Iterable[bool | None]) -> bool | None:
    """Whether all terms hold: one that does not decides, whatever is not known of others."""
    found = set(terms)
    if False in found:
        return False
    return None if None in found else True


def _label_term(term: str, labels: Mapping[str, str]) -> bool | None:
    if match := _SET.fullmatch(term):
        listed = labels.get(match["key"]) in {value.strip() for value in match["values"].split(",")}
        return listed == (match["operator"] == "in")
    if match := _EQUALITY.fullmatch(term):
        return (labels.get(match["key"]) == match["value"]) == (match["operator"] != "!=")
    if match := _PRESENCE.fullmatch(term):
        return (match["key"] in labels) != bool(match["absent"])
    return None


def _field_term(term: str, known: Mapping[str, str]) -> bool | None:
    match = _EQUALITY.fullmatch(term)
    if match is None or match["key"] not in known:
        return None
    return (known[match["key"]] == match["value"]) == (match["operator"] != "!=")
