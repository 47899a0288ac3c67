"""The objects and names of a claim: its class, its PersistentVolume, and the Secrets that this one names. All pure.

Names and annotations are those of Kubernetes' own controllers and of the external-provisioner and external-resizer
(https://kubernetes-csi.github.io/docs/).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from controller.framework.quantities import quantity
from controller.volumes.backend import ParameterError
from controller.volumes.capabilities import FILESYSTEM
from controller.volumes.places import node_affinity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.runtime.kube import PersistentVolumeClaim, StorageClass
    from controller.volumes.backend import Created, Description
    from controller.volumes.capabilities import Capabilities
    from informers import JsonObject

CLAIM_FINALIZER = "volumes.rook.io/provisioning"
SOURCE_FINALIZER = "provisioner.storage.kubernetes.io/cloning-protection"
"""The finalizer of a claim that others are copies of."""

CLAIM_VOLUME = "volumes.rook.io/volume"
"""The annotation that says, as JSON, which volume is being made for a claim."""

VOLUME_FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
STORAGE_PROVISIONERS = ("volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner")
"""Kubernetes writes them on a claim that no existing volume fits: only then one is to be made."""

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
"""Where a claim named its class before it had a field for that. Kubernetes still goes by it, and before the field."""

SELECTED_NODE = "volume.kubernetes.io/selected-node"
WAIT_FOR_FIRST_CONSUMER = "WaitForFirstConsumer"
DELETION_SECRET_NAME = "volume.kubernetes.io/provisioner-deletion-secret-name"  # noqa: S105
DELETION_SECRET_NAMESPACE = "volume.kubernetes.io/provisioner-deletion-secret-namespace"  # noqa: S105

CSI = "csi.storage.k8s.io/"
FSTYPE = f"{CSI}fstype"

_SECRETS = {
    "nodeStageSecretRef": "node-stage",
    "nodePublishSecretRef": "node-publish",
    "controllerPublishSecretRef": "controller-publish",
    "controllerExpandSecretRef": "controller-expand",
    "nodeExpandSecretRef": "node-expand",
}
"""Fields of a PersistentVolume, by what stands before "-secret-name" in the parameters of a class."""

_TEMPLATE = re.compile(r"\$\{([^}]*)\}")


def volume_name(claim: PersistentVolumeClaim) -> str:
    """The name of the PersistentVolume that is made for a claim."""
    return f"pvc-{claim.metadata.uid}"


def class_name(claim: PersistentVolumeClaim) -> str:
    """The StorageClass that a claim names; empty: none."""
    return claim.metadata.annotations.get(BETA_CLASS) or claim.spec.storage_class_name or ""


def file_system(storage_class: StorageClass, capabilities: Capabilities) -> str:
    """The file system type that a class asks for; empty: its volumes are file systems by themselves."""
    if not capabilities.file_systems:
        return ""
    parameters = storage_class.parameters
    asked = parameters.get(FSTYPE) or parameters.get("fsType") or parameters.get("fstype")
    return asked or capabilities.file_systems[0]


def persistent_volume(
    claim: PersistentVolumeClaim,
    storage_class: StorageClass,
    description: Description,
    capabilities: Capabilities,
    created: Created,
) -> JsonObject:
    """The PersistentVolume of a volume that was made for a claim. Pure."""
    csi: dict[str, Any] = {
        "driver": description.volume.driver,
        "volumeHandle": created.handle,
        "volumeAttributes": {**description.volume.attributes, **created.attributes},
        **secret_references(claim, storage_class, description),
    }
    if claim.spec.volume_mode == FILESYSTEM and (fs_type := file_system(storage_class, capabilities)):
        csi["fsType"] = fs_type
    name, namespace = _secret(claim, storage_class, "provisioner", description)
    attributes = claim.spec.volume_attributes_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": volume_name(claim),
            "annotations": {
                PROVISIONED_BY: storage_class.provisioner,
                DELETION_SECRET_NAME: name,
                DELETION_SECRET_NAMESPACE: namespace,
            },
            "finalizers": [VOLUME_FINALIZER],
        },
        "spec": {
            "capacity": {"storage": quantity(created.size)},
            "accessModes": list(claim.spec.access_modes),
            "persistentVolumeReclaimPolicy": storage_class.reclaim_policy,
            "storageClassName": storage_class.metadata.name,
            "mountOptions": list(storage_class.mount_options),
            "volumeMode": claim.spec.volume_mode,
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim.metadata.namespace,
                "name": claim.metadata.name,
                "uid": claim.metadata.uid,
                "resourceVersion": claim.metadata.resource_version,
            },
            "csi": csi,
            **({"volumeAttributesClassName": attributes} if attributes else {}),
            **({"nodeAffinity": node_affinity(description.place)} if description.place else {}),
        },
    }


def secret_references(
    claim: PersistentVolumeClaim, storage_class: StorageClass, description: Description
) -> dict[str, dict[str, str]]:
    """The Secrets that the PersistentVolume of a claim names, by field.

    Raises:
        ParameterError: A name in the class uses what there is not.
    """
    references = {}
    for reference, purpose in _SECRETS.items():
        name, namespace = _secret(claim, storage_class, purpose, description)
        if name:
            references[reference] = {"name": name, "namespace": namespace}
    return references


def _secret(
    claim: PersistentVolumeClaim, storage_class: StorageClass, purpose: str, description: Description
) -> tuple[str, str]:
    """Name and namespace of the Secret of a purpose; empty where there is none."""
    defaults = {
        "node-stage": description.stage_secret,
        "controller-expand": description.expand_secret,
        "provisioner": description.expand_secret,
    }
    name = storage_class.parameters.get(f"{CSI}{purpose}-secret-name") or defaults.get(purpose, "")
    namespace = storage_class.parameters.get(f"{CSI}{purpose}-secret-namespace") or description.secret_namespace
    # As in the external-provisioner: an owner of claims chooses no namespace whose Secrets are used.
    values = {"pv.name": volume_name(claim), "pvc.namespace": claim.metadata.namespace}
    annotations = {f"pvc.annotations['{key}']": value for key, value in claim.metadata.annotations.items()}
    named = {**values, "pvc.name": claim.metadata.name, **annotations}
    return (
        _fill(name, storage_class, named, "${pvc.name}, ${pvc.namespace}, ${pv.name} or an annotation of the claim"),
        _fill(namespace, storage_class, values, "${pvc.namespace} or ${pv.name}"),
    )


def _fill(template: str, storage_class: StorageClass, values: Mapping[str, str], expected: str) -> str:
    def value(match: re.Match[str]) -> str:
        if match.group(1) not in values:
            raise ParameterError(
                f"StorageClass {storage_class.metadata.name}: parameter value {template!r} uses {match.group(0)}: "
                f"expected {expected}"
            )
        return values[match.group(1)]

    return _TEMPLATE.sub(value, template)
