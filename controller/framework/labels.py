"""Who an object belongs to: the labels that find it."""

from __future__ import annotations

from controller.framework.names import label_value

MANAGER = "rook-ceph-operator"
"""The value of `app.kubernetes.io/managed-by`; upstream's, which dashboards and selectors know."""

INSTANCE = "app.kubernetes.io/instance"
"""The label of an installation. Argo CD tracks its own objects by it, and may delete others that have it."""


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
