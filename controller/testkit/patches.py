"""Patches other than server-side apply.

Source: RFC 7386 (JSON merge patch), and
https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/ (strategic merge patch)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from controller.testkit.topology import Topology


def merge_patch(value: Any, patch: Any) -> Any:
    """The value after a JSON merge patch."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for name, part in patch.items():
        if part is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), part)
    return merged


def strategic_merge_patch(value: Any, patch: Any, topology: Topology) -> Any:
    """The value after a strategic merge patch: like a merge patch, but lists are merged by key, or as sets.

    The key of a list is the first of its keys in server-side apply. Directives, such as "$patch", are not supported.

    Raises:
        ValueError: The patch has a directive.
    """
    if isinstance(patch, list) and isinstance(value, list) and topology.merge in {"map", "set"}:
        return _merge_items(value, patch, topology)
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for name, part in patch.items():
        if name.startswith("$"):
            raise ValueError(f"strategic merge patch: directive {name} is not supported here")
        if part is None:
            merged.pop(name, None)
        else:
            merged[name] = strategic_merge_patch(merged.get(name), part, topology.child(name))
    return merged


def _merge_items(values: list[Any], patch: list[Any], topology: Topology) -> list[Any]:
    if topology.merge == "set":
        return values + [item for item in patch if item not in values]
    key = next(iter(topology.keys))
    merged = {value[key]: value for value in values}
    for item in patch:
        merged[item[key]] = strategic_merge_patch(merged.get(item[key], {}), item, topology.item())
    return list(merged.values())
