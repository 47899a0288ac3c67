"""The kinds of replication.storage.openshift.io/v1alpha1, with the fields in use.

https://github.com/csi-addons/kubernetes-csi-addons/blob/main/docs/volumereplication.md
"""

from __future__ import annotations

import msgspec

from controller.apis.meta import ApiStruct, Condition, ObjectMeta
from informers import Resource

GROUP = "replication.storage.openshift.io"
PRIMARY, SECONDARY, RESYNC = "primary", "secondary", "resync"
"""What `spec.replicationState` may be."""

REPLICATIONS = Resource(group=GROUP, version="v1alpha1", kind="VolumeReplication", plural="volumereplications")
CLASSES = Resource(
    group=GROUP,
    version="v1alpha1",
    kind="VolumeReplicationClass",
    plural="volumereplicationclasses",
    namespaced=False,
)

GROUPS = Resource(group=GROUP, version="v1alpha1", kind="VolumeGroupReplication", plural="volumegroupreplications")
GROUP_CLASSES = Resource(
    group=GROUP,
    version="v1alpha1",
    kind="VolumeGroupReplicationClass",
    plural="volumegroupreplicationclasses",
    namespaced=False,
)


class DataSource(ApiStruct, frozen=True, kw_only=True):
    """What is replicated."""

    kind: str = ""
    name: str = ""


class ReplicationSpec(ApiStruct, frozen=True, kw_only=True):
    """What a user asks for."""

    volume_replication_class: str = ""
    replication_state: str = ""
    data_source: DataSource = DataSource()
    auto_resync: bool = False


class ReplicationStatus(ApiStruct, frozen=True, kw_only=True):
    """What became of it. `state`: Primary, Secondary or Unknown."""

    state: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    observed_generation: int = 0
    last_completion_time: str | None = None
    last_sync_time: str | None = None
    last_sync_bytes: int | None = None


class VolumeReplication(ApiStruct, frozen=True, kw_only=True):
    """The replication of a claim's volume."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicationSpec = ReplicationSpec()
    status: ReplicationStatus = ReplicationStatus()


class ReplicationClassSpec(ApiStruct, frozen=True, kw_only=True):
    """How volumes are replicated, and by which driver."""

    provisioner: str = ""
    parameters: dict[str, str] = msgspec.field(default_factory=dict)


class VolumeReplicationClass(ApiStruct, frozen=True, kw_only=True):
    """A way of replicating volumes."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicationClassSpec = ReplicationClassSpec()


class GroupSpec(ApiStruct, frozen=True, kw_only=True):
    """What a user asks for; `external`: another controller serves it."""

    volume_group_replication_class_name: str = ""
    replication_state: str = ""
    external: bool = False


class VolumeGroupReplication(ApiStruct, frozen=True, kw_only=True):
    """The replication of several claims' volumes, all as of one moment."""

    metadata: ObjectMeta = ObjectMeta()
    spec: GroupSpec = GroupSpec()
    status: ReplicationStatus = ReplicationStatus()


class VolumeGroupReplicationClass(ApiStruct, frozen=True, kw_only=True):
    """A way of replicating groups of volumes."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicationClassSpec = ReplicationClassSpec()
