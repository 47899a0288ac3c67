"""The kinds of csiaddons.openshift.io/v1alpha1 that tell of fences, with the fields in use.

https://github.com/csi-addons/kubernetes-csi-addons/blob/main/docs/networkfence.md and networkfenceclass.md beside it.
"""

from __future__ import annotations

import msgspec

from controller.apis.meta import ApiStruct, Condition, ObjectMeta
from informers import Resource

GROUP = "csiaddons.openshift.io"
FENCED, UNFENCED = "Fenced", "Unfenced"
"""What `spec.fenceState` may be."""
SUCCEEDED, FAILED = "Succeeded", "Failed"
"""What `status.result` may be."""

FENCES = Resource(group=GROUP, version="v1alpha1", kind="NetworkFence", plural="networkfences", namespaced=False)
CLASSES = Resource(
    group=GROUP, version="v1alpha1", kind="NetworkFenceClass", plural="networkfenceclasses", namespaced=False
)


class FenceSpec(ApiStruct, frozen=True, kw_only=True):
    """What a user asks for. Driver and parameters may be those of a class."""

    network_fence_class_name: str = ""
    driver: str = ""
    fence_state: str = FENCED
    cidrs: tuple[str, ...] = ()
    parameters: dict[str, str] = msgspec.field(default_factory=dict)


class FenceStatus(ApiStruct, frozen=True, kw_only=True):
    """What became of it."""

    result: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()


class NetworkFence(ApiStruct, frozen=True, kw_only=True):
    """Ranges of addresses that are fenced."""

    metadata: ObjectMeta = ObjectMeta()
    spec: FenceSpec = FenceSpec()
    status: FenceStatus = FenceStatus()


class FenceClassSpec(ApiStruct, frozen=True, kw_only=True):
    """By which driver ranges are fenced, and for which cluster."""

    provisioner: str = ""
    parameters: dict[str, str] = msgspec.field(default_factory=dict)


class NetworkFenceClass(ApiStruct, frozen=True, kw_only=True):
    """A way of fencing."""

    metadata: ObjectMeta = ObjectMeta()
    spec: FenceClassSpec = FenceClassSpec()
