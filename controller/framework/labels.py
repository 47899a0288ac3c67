"""Who an object belongs to: the labels that find it and the owner reference that collects it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.framework.names import label_value

if TYPE_CHECKING:
    from controller.apis.meta import Kind, ObjectMeta

MANAGER = "rook-ceph-operator"
"""The value of `app.kubernetes.io/managed-by`; upstream's, which dashboards and selectors know."""

INSTANCE = "app.kubernetes.io/instance"
"""The label of an installation. Argo CD tracks its own objects by it, and may delete others that have it."""


def owner_reference(kind: Kind, owner: ObjectMeta) -> dict[str, Any]:
    """The controller reference to `owner`, through which the garbage collector deletes what it owns."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def recommended(*, name: str, instance: str, component: str, part_of: str) -> dict[str, str]:
    """The labels that Kubernetes recommends for every object: what it is, of which installation, made by whom."""
    return {
        "app.kubernetes.io/name": name,
        INSTANCE: label_value(instance),
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": label_value(part_of),
        "app.kubernetes.io/managed-by": MANAGER,
        "app.kubernetes.io/created-by": MANAGER,
    }
