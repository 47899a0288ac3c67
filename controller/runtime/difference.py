"""Compares a desired object with the live one, and says in words what differs.

The comparison covers only fields of the desired object: other fields belong to the server or to other writers. A list
without keys belongs to the desired object as a whole, as in server-side apply, so additions to its elements count.
Values to which the API gives the same meaning are equal here: a missing field and a zero value, the quantities "1000m"
and "1", and lists in another order whose elements have a key (containers by name, ports by number and protocol,
conditions by type).

An empty object is no zero value: its presence is its meaning, as in `emptyDir: {}` or `podSelector: {}`. Only an empty
map of texts or quantities means the same as a missing one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from controller.runtime.log import looks_secret, redact
from controller.runtime.quantities import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from informers import JsonObject

NOT_COMPARED = frozenset({"apiVersion", "kind", "status"})
"""Top-level fields that say where the object is served, or that an apply of the object cannot set."""

LIST_KEYS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "conditions": (("type",),),
    "containers": (("name",),),
    "ephemeralContainers": (("name",),),
    "env": (("name",),),
    "hostAliases": (("ip",),),
    "imagePullSecrets": (("name",),),
    "initContainers": (("name",),),
    "ownerReferences": (("uid",),),
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
    "resourceClaims": (("name",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "volumeClaimTemplates": (("metadata.name",),),
    "volumeDevices": (("devicePath",),),
    "volumeMounts": (("mountPath",),),
    "volumes": (("name",),),
}
"""For lists of the built-in kinds, by the field's name: the fields that identify an element, as in the API's
`listMapKeys`. The first alternative applies whose leading field is in every element."""

KEY_DEFAULTS = {"protocol": "TCP"}

SETS = frozenset({"finalizers"})
"""Lists that are sets: elements that others have added stay."""

QUANTITIES = frozenset(
    {"allocatable", "capacity", "default", "defaultRequest", "hard", "limits", "max", "min", "overhead", "requests"}
)
"""Fields whose values are maps of quantities."""

QUANTITY = frozenset({"divisor", "sizeLimit"})
"""Fields that are a quantity."""

MAPS = QUANTITIES | {
    "annotations",
    "binaryData",
    "data",
    "labels",
    "matchLabels",
    "nodeSelector",
    "parameters",
    "stringData",
    "volumeAttributes",
}
"""Fields whose values are maps: an empty map means the same as a missing one."""

DEFAULTS: Mapping[tuple[str, str], Any] = {
    ("fieldRef", "apiVersion"): "v1",
    ("ports", "protocol"): "TCP",
    ("resourceFieldRef", "divisor"): "0",
    ("serviceAccountToken", "expirationSeconds"): 3600,
    ("subjects", "apiGroup"): "rbac.authorization.k8s.io",
}
"""Defaults that the server sets inside elements of lists without keys, by the field's parent and name."""

REFERENCES = frozenset({"secret", "secretKeyRef", "serviceAccountToken", "tokenRequests"})
"""Fields that have the name of a secret, but only refer to one."""

SHOWN = 80
"""Most characters of a value that a difference shows."""

_ELEMENT = re.compile(r"\[.*\]$")
"""The part of a name in a path that identifies the element of a list."""


class Difference(NamedTuple):
    """One difference.

    Attributes:
        path: The place, by names of fields and keys of elements.
        wanted: The desired value; None: no value.
        found: The live value; None: no value.
    """

    path: tuple[str, ...]
    wanted: Any
    found: Any


def difference(desired: JsonObject, live: JsonObject) -> str | None:
    """The first difference that an apply of `desired` would correct, in words; None if there is none.

    The text shows no value of a Secret, and none whose field or variable has the name of a secret.

    Args:
        desired: The desired object, with the fields that this writer sets and no others.
        live: The live object.
    """
    found = differences(desired, live)
    if not found:
        return None
    path = found[0].path
    secret = desired.get("kind") == "Secret" and path[0] == "data"
    return _words(found[0], show=not secret and not any(map(_tells_secret, path)))


def differences(desired: JsonObject, live: JsonObject) -> list[Difference]:
    """All differences that an apply of `desired` would correct."""
    found: list[Difference] = []
    for name, wanted in desired.items():
        if name not in NOT_COMPARED:
            _compare(wanted, live.get(name), (name,), found)
    return found


def covers(live: Any, desired: Any) -> bool:
    """Whether `live` has everything that `desired` has, by the rules of this module."""
    found: list[Difference] = []
    _compare(desired, live, (), found)
    return not found


def _compare(wanted: Any, found: Any, path: tuple[str, ...], into: list[Difference], *, whole: bool = False) -> None:
    """Adds the differences below a path. `whole`: everything there belongs to the desired object."""
    if wanted == found or (_is_zero(wanted, path) and _is_zero(found, path)):
        return
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name, value in wanted.items():
            _compare(value, found.get(name), (*path, name), into, whole=whole)
        if whole:
            _compare_added(wanted, found, path, into)
        return
    if isinstance(wanted, list) and isinstance(found, list):
        _compare_lists(wanted, found, path, into, whole=whole)
        return
    if _is_quantity(path):
        amount = quantity(wanted) if isinstance(wanted, str | int | float) else None
        if amount is not None and isinstance(found, str | int | float) and amount == quantity(found):
            return
    into.append(Difference(path, wanted, found))


def _compare_added(wanted: JsonObject, found: JsonObject, path: tuple[str, ...], into: list[Difference]) -> None:
    parent = _ELEMENT.sub("", path[-1])
    for name, value in found.items():
        at = (*path, name)
        if name not in wanted and not _is_zero(value, at) and DEFAULTS.get((parent, name)) != value:
            into.append(Difference(at, None, value))


def _compare_lists(
    wanted: list[Any], found: list[Any], path: tuple[str, ...], into: list[Difference], *, whole: bool
) -> None:
    keys = _keys(wanted, path)
    if path[-1:] and path[-1] in SETS:
        into.extend(Difference(path, element, None) for element in wanted if element not in found)
    elif keys and not (whole and len(wanted) != len(found)):
        by_key = {_key(element, keys): element for element in found if isinstance(element, dict)}
        for element in wanted:
            key = _key(element, keys)
            _compare(element, by_key.get(key), _element(path, key), into, whole=whole)
    elif len(wanted) != len(found):
        into.append(Difference(path, wanted, found))
    else:
        for index, (element, other) in enumerate(zip(wanted, found, strict=True)):
            _compare(element, other, _element(path, (str(index),)), into, whole=True)


def _keys(elements: list[Any], path: tuple[str, ...]) -> tuple[str, ...]:
    for keys in LIST_KEYS.get(path[-1] if path else "", ()):
        if all(isinstance(element, dict) and _at(element, keys[0]) is not None for element in elements):
            return keys
    return ()


def _key(element: JsonObject, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(value if (value := _at(element, key)) is not None else KEY_DEFAULTS.get(key)) for key in keys)


def _at(element: JsonObject, dotted: str) -> Any:
    value: Any = element
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _element(path: tuple[str, ...], key: tuple[str, ...]) -> tuple[str, ...]:
    return (*path[:-1], f"{path[-1] if path else ''}[{'/'.join(key)}]")


def _is_zero(value: Any, path: tuple[str, ...]) -> bool:
    """Whether the API omits such a value: it reads a missing field the same way."""
    if value is None:
        return True
    if isinstance(value, dict):
        return not value and path[-1:] != () and path[-1] in MAPS
    if len(path) > 1 and path[-2] in MAPS:  # a label without a value is a label
        return False
    return value is False or value in (0, "", [])


def _is_quantity(path: tuple[str, ...]) -> bool:
    return bool(path) and (path[-1] in QUANTITY or (len(path) > 1 and path[-2] in QUANTITIES))


def _words(difference: Difference, *, show: bool) -> str:
    path, wanted, found = difference
    where = _dotted(path)
    if wanted is None:
        return f"{where} is {_shown(found)}, not wanted" if show else f"{where} is not wanted"
    if isinstance(wanted, list) and isinstance(found, list):
        return f"{where} has {len(found)} elements, wanted {len(wanted)}"
    if not show:
        return f"{where} differs" if found is not None else f"{where} is missing"
    if found is None:
        return f"{where} is missing, wanted {_shown(wanted)}"
    if _shown(found) == _shown(wanted):  # a secret, or the end of a long text
        return f"{where} differs"
    return f"{where} is {_shown(found)}, wanted {_shown(wanted)}"


def _dotted(path: tuple[str, ...]) -> str:
    dotted = ""
    for name in path:
        if re.fullmatch(r"[\w-]+(\[[^]]*\])?", name):
            dotted += f".{name}" if dotted else name
        else:
            dotted += f"[{name!r}]"
    return dotted


def _tells_secret(name: str) -> bool:
    """Whether a name in a path says that the value there is a secret."""
    element = _ELEMENT.search(name)
    return name not in REFERENCES and looks_secret(element[0] if element else name)


def _shown(value: Any) -> str:
    text = repr(redact("", value))
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
