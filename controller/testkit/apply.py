"""Server-side apply: the owners of fields, the changes of an apply, and its conflicts.

The rules are those of Kubernetes' structured-merge-diff. A path names a field. Its elements are written as in
`managedFields`: "f:" for a field's name, "k:" for the keys of a list's item, "v:" for an item of a set.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

from controller.testkit.topology import BuiltIn
from informers import ApiError
from informers.errors import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from controller.testkit.topology import Topology
    from informers import JsonObject

type Path = tuple[str, ...]
type OwnerKey = tuple[str, str, str]

_SERVERS = frozenset(
    {"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields"}
)
_UNOWNED = _SERVERS | {"name", "namespace", "resourceVersion", "uid"}
"""Metadata that has no owner."""

BEFORE_FIRST_APPLY = "before-first-apply"
"""Owner of the present fields of an object without known owners, from its first apply on."""

_NODE = object()
"""Stands for a value that is merged by its parts."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A manager and the fields that it owns: an entry of `managedFields`.

    Attributes:
        manager: Its name.
        operation: "Apply", or "Update" for any other write. The same name may own fields by both.
        subresource: The subresource that it wrote; empty for the object.
        api_version: The version of the object that it wrote.
        time: Time of the last change, RFC 3339.
        fields: The paths that it owns.
    """

    manager: str
    operation: str
    subresource: str
    api_version: str
    time: str
    fields: frozenset[Path] = field(default=frozenset())

    @property
    def key(self) -> OwnerKey:
        """The identity of an owner."""
        return self.manager, self.operation, self.subresource

    def __str__(self) -> str:
        by = f' with subresource "{self.subresource}"' if self.subresource else ""
        return f'"{self.manager}"{by} using {self.api_version}'


def applied(live: JsonObject, wanted: JsonObject, owner: Owner, topology: Topology, *, force: bool) -> JsonObject:
    """The object after an apply.

    Args:
        live: The object before; without fields if it does not exist.
        wanted: The fields that the owner applies.
        owner: The owner that applies; its `fields` are ignored.
        topology: The topology of the kind.
        force: Take over fields that others own with other values, instead of a conflict.

    Raises:
        ApiError: 409, others own such fields. 422, a custom object's map has lost all that was in it, and is applied as
            an empty one: the API server makes null of it, which is no map.
    """
    owners = owners_of(live)
    if live and not owners:
        fields, _ = _compare({}, live, topology)
        first = Owner(BEFORE_FIRST_APPLY, "Update", "", owner.api_version, owner.time, fields)
        owners[first.key] = first
    before = owners.pop(owner.key, owner).fields
    wants = frozenset(path for path, _, own in _walk(_owned_part(wanted), topology) if own)
    merged = _merge(live, wanted, topology)
    theirs = frozenset[Path]().union(*(other.fields for other in owners.values()))
    if unowned := before - wants - theirs:
        merged = _without(merged, unowned, theirs, topology) or {}
        if emptied := _lost(wants, merged, topology):
            raise _invalid(wanted, emptied)
    changed, removed = _compare(live, merged, topology)
    conflicts = {other: sorted(other.fields & changed) for other in owners.values() if other.fields & changed}
    if conflicts and not force:
        raise _conflict(conflicts)
    kept = [replace(other, fields=other.fields - changed - removed) for other in owners.values()]
    same = wants == before and not changed and not removed
    mine = replace(owners_of(live)[owner.key] if same else owner, fields=wants)
    return _with_owners(merged, [*kept, mine])


def updated(live: JsonObject, new: JsonObject, owner: Owner, topology: Topology) -> JsonObject:
    """The new object with its owners after a write that is no apply: the writer alone owns each field that it changed.

    An object that was created without any field to own has no owners until its first apply.

    Args:
        live: The object before; without fields if it does not exist.
        new: The object after.
        owner: The owner that writes; its `fields` are ignored.
        topology: The topology of the kind.
    """
    owners = owners_of(live)
    if live and not owners:
        return new
    changed, removed = _compare(live, new, topology)
    mine = owners.pop(owner.key, owner)
    if changed or removed:
        mine = replace(owner, fields=(mine.fields | changed) - removed)
    kept = [replace(other, fields=other.fields - changed - removed) for other in owners.values()]
    return _with_owners(new, [*kept, mine])


def owners_of(obj: JsonObject) -> dict[OwnerKey, Owner]:
    """The owners of fields of the object."""
    found: dict[OwnerKey, Owner] = {}
    for entry in obj.get("metadata", {}).get("managedFields", ()):
        owner = Owner(
            entry["manager"],
            entry["operation"],
            entry.get("subresource", ""),
            entry["apiVersion"],
            entry["time"],
            frozenset(_paths(entry["fieldsV1"])),
        )
        found[owner.key] = owner
    return found


def _with_owners(obj: JsonObject, owners: Iterable[Owner]) -> JsonObject:
    entries = [
        {
            "manager": owner.manager,
            "operation": owner.operation,
            "apiVersion": owner.api_version,
            "time": owner.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": _fields(owner.fields),
            **({"subresource": owner.subresource} if owner.subresource else {}),
        }
        for owner in sorted(owners, key=lambda owner: (owner.operation, owner.time, owner.manager, owner.subresource))
        if owner.fields
    ]
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": metadata | ({"managedFields": entries} if entries else {})}


def _fields(paths: Iterable[Path]) -> JsonObject:
    """The paths in the format of `fieldsV1`."""
    root: JsonObject = {}
    found = set(paths)
    inner = {path[:length] for path in found for length in range(1, len(path))}
    for path in sorted(found):
        node = root
        for element in path:
            node = node.setdefault(element, {})
        if path in inner:
            node["."] = {}
    return root


def _paths(fields: Mapping[str, Any], at: Path = ()) -> Iterator[Path]:
    """The inverse of `_fields`."""
    for element, below in fields.items():
        if element == ".":
            yield at
        elif below:
            yield from _paths(below, (*at, element))
        else:
            yield (*at, element)


def _owned_part(obj: JsonObject) -> JsonObject:
    """The part of an object that can have owners."""
    metadata = {name: value for name, value in obj.get("metadata", {}).items() if name not in _UNOWNED}
    rest = {name: value for name, value in obj.items() if name not in ("apiVersion", "kind", "metadata")}
    return rest | ({"metadata": metadata} if metadata else {})


def _is_leaf(value: Any, topology: Topology) -> bool:
    if isinstance(value, dict):
        return topology.merge == "atomic"
    return not (isinstance(value, list) and topology.merge in {"set", "map"})


def _items(values: list[Any] | None, topology: Topology) -> dict[str, Any]:
    """The items of a list that is merged, by their path elements."""
    if topology.merge == "set":
        return {f"v:{_compact(value)}": value for value in values or ()}
    found = {}
    for value in values or ():
        keys = {name: value.get(name, default) for name, default in topology.keys.items()}
        found[f"k:{_compact({name: key for name, key in keys.items() if key is not None})}"] = value
    return found


def _compact(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _parts(value: Any, topology: Topology) -> Iterator[tuple[str, Any, Topology, bool]]:
    """Path element, value and topology of each part, and whether a part that has parts is owned, too."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield f"f:{name}", part, topology.child(name), not topology.declares(name)
    else:
        for element, part in _items(value, topology).items():
            yield element, part, topology.item(), True


def _walk(value: Any, topology: Topology, at: Path = ()) -> list[tuple[Path, Any, bool]]:
    """Path and value of every part of a value, and whether its writer owns the path."""
    found: list[tuple[Path, Any, bool]] = []
    for element, part, below, own in _parts(value, topology):
        path = (*at, element)
        if _is_end(element, part, below):
            found.append((path, part, True))
        else:
            found.append((path, _NODE, own or not part))
            found += _walk(part, below, path)
    return found


def _is_end(element: str, part: Any, topology: Topology) -> bool:
    """Whether a part has no parts of its own."""
    return element.startswith("v:") or _is_leaf(part, topology)


def _compare(old: JsonObject, new: JsonObject, topology: Topology) -> tuple[frozenset[Path], frozenset[Path]]:
    """Paths whose values were set or changed, and paths that were removed."""
    changed: set[Path] = set()
    removed: set[Path] = set()
    _differ(_owned_part(old), _owned_part(new), topology, (), changed, removed)
    return frozenset(changed - {("f:metadata",)}), frozenset(removed)


def _differ(old: Any, new: Any, topology: Topology, at: Path, changed: set[Path], removed: set[Path]) -> None:
    """Add the paths in which two values with parts differ; parts that are equal are not looked into."""
    before = {element: (part, below) for element, part, below, _ in _parts(old, topology)}
    for element, part, below, _ in _parts(new, topology):
        path = (*at, element)
        if element not in before:
            changed.add(path)
            _all_parts(element, part, below, path, changed)
            continue
        was, _ = before.pop(element)
        if was == part:
            continue
        ended, ends = _is_end(element, was, below), _is_end(element, part, below)
        if not ended and not ends:
            _differ(was, part, below, path, changed, removed)
            continue
        changed.add(path)
        _all_parts(element, was, below, path, removed)
        _all_parts(element, part, below, path, changed)
    for element, (part, below) in before.items():
        removed.add((*at, element))
        _all_parts(element, part, below, (*at, element), removed)


def _all_parts(element: str, part: Any, topology: Topology, at: Path, paths: set[Path]) -> None:
    """Add the paths of all parts of a part."""
    if not _is_end(element, part, topology):
        paths.update(path for path, _, _ in _walk(part, topology, at))


def _merge(live: Any, wanted: Any, topology: Topology) -> Any:
    if _is_leaf(wanted, topology) or type(live) is not type(wanted):
        live = None
    if _is_leaf(wanted, topology):
        return wanted
    if isinstance(wanted, dict):
        merged = dict(live or {})
        for name, value in wanted.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = _merge(merged.get(name), value, topology.child(name))
        return merged
    return _merge_lists(_items(live, topology), _items(wanted, topology), topology)


def _merge_lists(live: dict[str, Any], wanted: dict[str, Any], topology: Topology) -> list[Any]:
    """The items in the applied order; each other item keeps its place before the item that it preceded."""
    merged: list[Any] = []
    left = list(wanted)
    below = topology.item()

    def take(element: str) -> None:
        left.remove(element)
        merged.append(_merge(live.get(element), wanted[element], below) if topology.merge == "map" else wanted[element])

    for element, value in live.items():
        if element not in wanted:
            merged.append(value)
        elif element == next((other for other in left if other in live), None):
            while element in left:
                take(left[0])
    while left:
        take(left[0])
    return merged


def _without(value: Any, doomed: frozenset[Path], kept: frozenset[Path], topology: Topology, at: Path = ()) -> Any:
    """The value without parts that have no owner any more; None if nothing is left. An item goes as a whole."""
    if not any(path[: len(at)] == at for path in doomed):
        return value
    left: list[tuple[str, Any]] = []
    for element, part, below, _ in _parts(value, topology):
        path = (*at, element)
        shared = any(other[: len(path)] == path for other in kept)
        if path in doomed and not shared:
            continue
        rest = part if _is_leaf(part, below) else _without(part, doomed, kept, below, path)
        if rest is not None:
            left.append((element, rest))
    if not left:
        return None
    return {element[2:]: part for element, part in left} if isinstance(value, dict) else [part for _, part in left]


def _lost(wants: frozenset[Path], merged: JsonObject, topology: Topology) -> list[Path]:
    """The paths of a custom object that are wanted and not there."""
    if isinstance(topology, BuiltIn):
        return []
    return sorted(wants - {path for path, _, _ in _walk(_owned_part(merged), topology)})


def _invalid(wanted: JsonObject, nulls: list[Path]) -> ApiError:
    what = f'{wanted["kind"]}.{wanted["apiVersion"].partition("/")[0]} "{wanted["metadata"]["name"]}" is invalid'
    fields = [_readable(path).removeprefix(".") for path in nulls]
    told = (f'{name}: Invalid value: "null": {name} in body must be of type object: "null"' for name in fields)
    return ApiError(422, "Invalid", f"{what}: {', '.join(told)}")


def _conflict(conflicts: Mapping[Owner, list[Path]]) -> ApiError:
    causes = tuple(
        Cause("FieldManagerConflict", f"conflict with {owner}", _readable(path))
        for owner, paths in conflicts.items()
        for path in paths
    )
    told = "; ".join(f"{cause.message}: {cause.field}" for cause in causes)
    plural = "" if len(causes) == 1 else "s"
    return ApiError(409, "Conflict", f"Apply failed with {len(causes)} conflict{plural}: {told}", causes=causes)


def _readable(path: Path) -> str:
    """A path as the API server writes it: .spec.containers[name="a"].image"""
    text = ""
    for element in path:
        kind, rest = element[:2], element[2:]
        if kind == "f:":
            text += f".{rest}"
        elif kind == "k:":
            text += f"[{','.join(f'{name}={_compact(key)}' for name, key in orjson.loads(rest).items())}]"
        else:
            text += f"[={rest}]"
    return text
