"""`CephCluster.spec.storage`: which nodes, devices and claims become OSDs, and how."""

from typing import Annotated

from msgspec import field

from controller.apis.meta import Int32, JsonObject, Nullable, Resources, Rule, Schema, SpecStruct

PRESERVE = Schema(preserve_unknown=True)
"""For objects in which upstream takes any field."""

type AnyObject = Annotated[JsonObject, PRESERVE]
"""A Kubernetes type that is handed on as the user wrote it."""

type Config = Annotated[dict[str, str], PRESERVE]
"""Settings by name. Values are text, so YAML has to quote numbers and booleans."""


class Device(SpecStruct, frozen=True, kw_only=True):
    """A device of a node, by kernel name or by path."""

    name: str = ""
    """Kernel name, such as sdb, or the path of a link below /dev/disk."""
    fullpath: str = ""
    """Path of the device, or of a link to it below /dev/disk, which stays the same when kernel names change."""
    config: Nullable[Config] = field(default_factory=dict)
    """OSD settings of this device; they go before those of the node and the cluster."""


class Node(SpecStruct, frozen=True, kw_only=True):
    """A node that offers storage. Unset fields have the values of the same fields of `storage`."""

    name: str = ""
    """The node's kubernetes.io/hostname label."""
    use_all_devices: bool | None = None
    """Take every device of the node that is empty."""
    device_filter: str = ""
    """Regular expression on kernel names of devices, such as ^sd[b-d]."""
    device_path_filter: str = ""
    """Regular expression on paths of devices, such as ^/dev/disk/by-path/pci-.*"""
    devices: Nullable[Annotated[tuple[Device, ...], PRESERVE]] = ()
    """The devices to take, one by one."""
    config: Nullable[Config] = field(default_factory=dict)
    """OSD settings of this node's devices; they go before those of the cluster."""
    resources: Nullable[Resources] = field(default_factory=dict)
    """Requests and limits of this node's OSDs."""
    volume_claim_templates: tuple[AnyObject, ...] = ()
    """Claims that give this node its OSDs."""


NAMED = Schema(rules=(Rule("has(self.name) && size(self.name) > 0", "a node of storage.nodes needs its name"),))


class StorageClassDeviceSet(SpecStruct, frozen=True, kw_only=True):
    """OSDs on volumes of a StorageClass instead of devices of nodes."""

    name: Annotated[str, Schema(required=True)] = ""
    """Unique name of the set; names of its claims begin with it."""
    count: Annotated[int, Schema(required=True, minimum=1)] = 1
    """OSDs in the set."""
    volume_claim_templates: Annotated[tuple[AnyObject, ...], Schema(required=True)] = ()
    """Claims of one OSD, named data, metadata (for its database) and wal."""
    portable: bool = False
    """Whether an OSD may move to another node with its volume."""
    encrypted: bool = False
    """Encrypt the OSDs."""
    tune_device_class: bool = False
    """Set OSDs up for a device class that is slow."""
    tune_fast_device_class: bool = False
    """Set OSDs up for a device class that is fast."""
    scheduler_name: str = ""
    """Scheduler of the OSD pods."""
    config: Nullable[Config] = field(default_factory=dict)
    """OSD settings of the set."""
    placement: Nullable[AnyObject] = field(default_factory=dict)
    """Where OSDs may run."""
    prepare_placement: Nullable[AnyObject] = field(default_factory=dict)
    """Where the Jobs that prepare OSDs may run; `placement` when not set."""
    resources: Nullable[Resources] = field(default_factory=dict)
    """Requests and limits of the OSDs."""


class OsdMigration(SpecStruct, frozen=True, kw_only=True):
    """Consent to make OSDs anew when their store or encryption is changed."""

    confirmation: Annotated[str, Schema(pattern="^$|^yes-really-migrate-osds$")] = ""
    """yes-really-migrate-osds: OSDs whose setup no longer fits the spec are emptied and made anew, one by one."""


class OsdStore(SpecStruct, frozen=True, kw_only=True):
    """How OSDs keep their data."""

    type: Annotated[str, Schema(enum=("bluestore", "bluestore-rdr"))] = "bluestore"
    """Backend of new OSDs."""
    update_store: Annotated[str, Schema(pattern="^$|^yes-really-update-store$")] = ""
    """yes-really-update-store: existing OSDs are made anew with the given type, one by one."""


class StorageScopeSpec(SpecStruct, frozen=True, kw_only=True):
    """Which nodes and devices the cluster may use.

    Nothing is taken that the spec does not select, that is mounted, or that carries the signature of other data.
    """

    use_all_nodes: bool = False
    """Take devices of every node that OSDs may run on; `nodes` must be empty then."""
    nodes: Nullable[tuple[Annotated[Node, NAMED], ...]] = ()
    """The nodes to take devices of, with their own selection where it differs."""
    use_all_devices: bool | None = None
    """Take every device that is empty; not set and false select none."""
    device_filter: str = ""
    """Regular expression on kernel names of devices, such as ^sd[b-d]."""
    device_path_filter: str = ""
    """Regular expression on paths of devices, such as ^/dev/disk/by-path/pci-.*"""
    devices: Nullable[Annotated[tuple[Device, ...], PRESERVE]] = ()
    """The devices to take on each node, one by one."""
    config: Nullable[Config] = field(default_factory=dict)
    """OSD settings: metadataDevice, databaseSizeMB, walSizeMB, deviceClass, initialWeight, primaryAffinity,
    osdsPerDevice, encryptedDevice, crushRoot, enableCrushUpdates. overwriteUnknownData "true" consents that data on a
    device goes that is no known file system."""
    storage_class_device_sets: Nullable[tuple[StorageClassDeviceSet, ...]] = ()
    """OSDs on volumes of a StorageClass."""
    volume_claim_templates: tuple[AnyObject, ...] = ()
    """Claims that give each node its OSDs."""
    store: OsdStore = OsdStore()
    """How OSDs keep their data."""
    migration: OsdMigration = OsdMigration()
    """Consent to make OSDs anew."""
    only_apply_osd_placement: bool = field(name="onlyApplyOSDPlacement", default=False)
    """Leave the placement for all daemons out of account for OSDs."""
    schedule_always: bool = False
    """Keep an OSD's pod scheduled though its node is not ready."""
    osd_max_updates_in_parallel: Annotated[Int32, Schema(minimum=1)] = 20
    """OSDs updated at once, where Ceph says that they may stop together."""
    flapping_restart_interval_hours: int = 24
    """Hours that an OSD pauses which failed too often in a row."""
    allow_device_class_update: bool = False
    """Change the device class of OSDs that exist to the one in the spec."""
    allow_osd_crush_weight_update: bool = False
    """Raise the CRUSH weight of OSDs whose device grew."""
    full_ratio: Nullable[Annotated[float | None, Schema(minimum=0, maximum=1)]] = None
    """Part of an OSD in use at which the cluster stops writes; Ceph has 0.95."""
    backfill_full_ratio: Nullable[Annotated[float | None, Schema(minimum=0, maximum=1)]] = None
    """Part of an OSD in use at which no data is moved to it; Ceph has 0.90."""
    near_full_ratio: Nullable[Annotated[float | None, Schema(minimum=0, maximum=1)]] = None
    """Part of an OSD in use at which the cluster warns; Ceph has 0.85."""
