"""VolumeAttributesClass of storage.k8s.io, and the words by which a claim tells how far its volume follows one.

https://kubernetes.io/docs/concepts/storage/volume-attributes-classes/
"""

from __future__ import annotations

import msgspec

from controller.apis.meta import ApiStruct, ObjectMeta
from informers import Resource

GROUP, KIND, PLURAL = "storage.k8s.io", "VolumeAttributesClass", "volumeattributesclasses"
V1 = Resource(group=GROUP, version="v1", kind=KIND, plural=PLURAL, namespaced=False)
V1BETA1 = Resource(group=GROUP, version="v1beta1", kind=KIND, plural=PLURAL, namespaced=False)
"""Where Kubernetes is older than 1.34, and the feature is turned on."""

PENDING, IN_PROGRESS, INFEASIBLE = "Pending", "InProgress", "Infeasible"
"""Values of `status.modifyVolumeStatus.status` of a claim."""

MODIFYING, MODIFY_ERROR = "ModifyingVolume", "ModifyVolumeError"
"""Conditions of a claim."""


class VolumeAttributesClass(ApiStruct, frozen=True, kw_only=True):
    """Attributes that volumes of a CSI driver can have."""

    metadata: ObjectMeta = ObjectMeta()
    driver_name: str = ""
    parameters: dict[str, str] = msgspec.field(default_factory=dict)
