"""Claims, volumes, their classes, and where they are attached."""

from __future__ import annotations

import msgspec

from controller.apis.meta import ApiStruct, Condition, ObjectMeta
from controller.runtime.kube.meta import (
    IntOrString,
    LabelSelector,
    LocalReference,
    ObjectReference,
    ResourceRequirements,
)


class ClaimSpec(ApiStruct, frozen=True, kw_only=True):
    """What a claim asks for."""

    access_modes: tuple[str, ...] = ()
    storage_class_name: str | None = None
    volume_name: str = ""
    volume_mode: str = "Filesystem"
    resources: ResourceRequirements = ResourceRequirements()
    data_source: ObjectReference | None = None
    data_source_ref: ObjectReference | None = None
    volume_attributes_class_name: str | None = None


class ModifyVolumeStatus(ApiStruct, frozen=True, kw_only=True):
    """How far the change of a claim's volume to another VolumeAttributesClass is."""

    target_volume_attributes_class_name: str = ""
    status: str = ""


class ClaimStatus(ApiStruct, frozen=True, kw_only=True):
    """What a claim has got."""

    phase: str = ""
    access_modes: tuple[str, ...] = ()
    capacity: dict[str, IntOrString] = msgspec.field(default_factory=dict)
    allocated_resources: dict[str, IntOrString] = msgspec.field(default_factory=dict)
    allocated_resource_statuses: dict[str, str] = msgspec.field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    current_volume_attributes_class_name: str | None = None
    modify_volume_status: ModifyVolumeStatus | None = None


class PersistentVolumeClaim(ApiStruct, frozen=True, kw_only=True):
    """A v1 PersistentVolumeClaim."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()


class CsiVolumeSource(ApiStruct, frozen=True, kw_only=True):
    """A volume that a CSI driver serves."""

    driver: str = ""
    volume_handle: str = ""
    read_only: bool = False
    fs_type: str = ""
    volume_attributes: dict[str, str] = msgspec.field(default_factory=dict)
    node_stage_secret_ref: LocalReference | None = None
    node_publish_secret_ref: LocalReference | None = None
    controller_publish_secret_ref: LocalReference | None = None
    controller_expand_secret_ref: LocalReference | None = None
    node_expand_secret_ref: LocalReference | None = None


class VolumeSpec(ApiStruct, frozen=True, kw_only=True):
    """What a persistent volume is."""

    capacity: dict[str, IntOrString] = msgspec.field(default_factory=dict)
    access_modes: tuple[str, ...] = ()
    persistent_volume_reclaim_policy: str = ""
    storage_class_name: str = ""
    volume_mode: str = "Filesystem"
    mount_options: tuple[str, ...] = ()
    claim_ref: ObjectReference | None = None
    csi: CsiVolumeSource | None = None
    volume_attributes_class_name: str | None = None


class VolumeStatus(ApiStruct, frozen=True, kw_only=True):
    """How a persistent volume is."""

    phase: str = ""
    reason: str = ""
    message: str = ""


class PersistentVolume(ApiStruct, frozen=True, kw_only=True):
    """A v1 PersistentVolume."""

    metadata: ObjectMeta = ObjectMeta()
    spec: VolumeSpec = VolumeSpec()
    status: VolumeStatus = VolumeStatus()


class TopologyExpression(ApiStruct, frozen=True, kw_only=True):
    """A label of nodes, and the values of which it has to have one."""

    key: str = ""
    values: tuple[str, ...] = ()


class TopologyTerm(ApiStruct, frozen=True, kw_only=True):
    """Labels of nodes, all of which have to be as they say."""

    match_label_expressions: tuple[TopologyExpression, ...] = ()


class StorageClass(ApiStruct, frozen=True, kw_only=True):
    """A storage.k8s.io/v1 StorageClass."""

    metadata: ObjectMeta = ObjectMeta()
    provisioner: str = ""
    parameters: dict[str, str] = msgspec.field(default_factory=dict)
    reclaim_policy: str = "Delete"
    mount_options: tuple[str, ...] = ()
    allow_volume_expansion: bool = False
    volume_binding_mode: str = "Immediate"
    allowed_topologies: tuple[TopologyTerm, ...] = ()


class AttachmentSource(ApiStruct, frozen=True, kw_only=True):
    """The volume to attach."""

    persistent_volume_name: str | None = None


class AttachmentSpec(ApiStruct, frozen=True, kw_only=True):
    """What to attach to which node, and by whom."""

    attacher: str = ""
    node_name: str = ""
    source: AttachmentSource = AttachmentSource()


class AttachmentError(ApiStruct, frozen=True, kw_only=True):
    """Why an attach or detach failed."""

    time: str | None = None
    message: str = ""


class AttachmentStatus(ApiStruct, frozen=True, kw_only=True):
    """Whether a volume is attached. `attachment_metadata` is handed to the node."""

    attached: bool = False
    attachment_metadata: dict[str, str] = msgspec.field(default_factory=dict)
    attach_error: AttachmentError | None = None
    detach_error: AttachmentError | None = None


class VolumeAttachment(ApiStruct, frozen=True, kw_only=True):
    """A storage.k8s.io/v1 VolumeAttachment."""

    metadata: ObjectMeta = ObjectMeta()
    spec: AttachmentSpec = AttachmentSpec()
    status: AttachmentStatus = AttachmentStatus()


class CsiNodeDriver(ApiStruct, frozen=True, kw_only=True):
    """A CSI driver that is registered on a node."""

    name: str = ""
    node_id: str = msgspec.field(name="nodeID", default="")
    topology_keys: tuple[str, ...] = ()


class CsiNodeSpec(ApiStruct, frozen=True, kw_only=True):
    """The CSI drivers of a node."""

    drivers: tuple[CsiNodeDriver, ...] = ()


class CsiNode(ApiStruct, frozen=True, kw_only=True):
    """A storage.k8s.io/v1 CSINode; its name is the node's."""

    metadata: ObjectMeta = ObjectMeta()
    spec: CsiNodeSpec = CsiNodeSpec()


class CsiStorageCapacity(ApiStruct, frozen=True, kw_only=True):
    """A storage.k8s.io/v1 CSIStorageCapacity."""

    metadata: ObjectMeta = ObjectMeta()
    storage_class_name: str = ""
    node_topology: LabelSelector | None = None
    capacity: IntOrString | None = None
    maximum_volume_size: IntOrString | None = None
