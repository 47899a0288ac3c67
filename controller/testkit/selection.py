"""Selects the objects of a list or a watch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from informers import ApiError
from informers.selector import labels_match

if TYPE_CHECKING:
    from informers import JsonObject, Key

_FIELD_TERM = re.compile(r"(?P<path>[^\s=!]+)\s*(?P<operator>!=|==?)\s*(?P<value>.*)")


@dataclass(frozen=True, slots=True)
class Selection:
    """A namespace and selectors; an empty one does not restrict.

    Field selectors may name any path of the object, such as "spec.nodeName"; real servers support few.
    """

    namespace: str = ""
    labels: str = ""
    fields: str = ""

    def matches(self, key: Key, obj: JsonObject) -> bool:
        """Whether the object is selected.

        Raises:
            ApiError: 400, a selector cannot be parsed.
        """
        if self.namespace not in ("", key[0]):
            return False
        found = labels_match(self.labels, obj["metadata"].get("labels", {}))
        if found is None:
            raise ApiError(400, "BadRequest", f"unable to parse the label selector {self.labels!r}")
        return found and all(_field_matches(term.strip(), obj) for term in self.fields.split(",") if term.strip())


def _field_matches(term: str, obj: JsonObject) -> bool:
    match = _FIELD_TERM.fullmatch(term)
    if match is None:
        raise ApiError(400, "BadRequest", f"unable to parse the field selector {term!r}")
    value: Any = obj
    for name in match["path"].split("."):
        value = value.get(name) if isinstance(value, dict) else None
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return (text == match["value"]) == (match["operator"] != "!=")
