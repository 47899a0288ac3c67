"""`NodeReport`: what the agent of a node tells the operator. Group `rook.io` is of all storage systems, not of one."""

from typing import Annotated

import msgspec

from controller.apis.meta import ApiStruct, Column, Int64, Kind, ObjectMeta, Schema


class BlockDevice(ApiStruct, frozen=True, kw_only=True):
    """A block device as the agent found it. Empty text and 0 mean: not known, or none."""

    name: Annotated[str, Schema(required=True)] = ""
    """The kernel's name: "sdb", "loop3", "dm-0"."""
    path: str = ""
    """The device file, "/dev/sdb"."""
    dev_links: tuple[str, ...] = ()
    """Stable paths of the same device: below /dev/disk, /dev/mapper, and of a logical volume /dev/VG/LV."""
    size: Int64 = 0
    """Bytes."""
    type: str = ""
    """As lsblk names it: disk, part, loop, lvm, mpath, rom or crypt."""
    rotational: bool = False
    """Whether it spins."""
    read_only: bool = False
    """Whether the kernel refuses writes to it."""
    parent: str = ""
    """Name of the disk that a partition belongs to."""
    children: tuple[str, ...] = ()
    """Names of its partitions."""
    holders: tuple[str, ...] = ()
    """Names of the devices that are made from it (device mapper, md)."""
    filesystem: str = ""
    """The file system that is found on it."""
    signatures: tuple[str, ...] = ()
    """Every signature found on it: file systems, partition tables, "ceph_bluestore", "LVM2_member"."""
    mountpoints: tuple[str, ...] = ()
    """Where it, or a partition of it, is mounted on the node."""
    serial: str = ""
    """Its serial number."""
    wwn: str = ""
    """Its World Wide Name."""
    dm_uuid: str = ""
    """What the device mapper knows it by: "LVM-…", "mpath-…", "CRYPT-…"."""
    vendor: str = ""
    """Who made it."""
    model: str = ""
    """What its maker calls it."""
    ceph_fsid: str = ""
    """From the BlueStore label: the Ceph cluster that it belongs to."""
    osd_id: int = -1
    """From the BlueStore label: the OSD's number; not set without a label."""
    osd_uuid: str = ""
    """From the BlueStore label: the OSD's UUID."""


class Mapper(ApiStruct, frozen=True, kw_only=True):
    """By what RBD images become block devices on the node."""

    name: Annotated[str, Schema(enum=("", "krbd", "userspace"))] = ""
    """krbd (the kernel), userspace, or empty where neither can."""
    reason: str = ""
    """Why the kernel does not, or why neither can; empty where the kernel does."""


class VolumeClient(ApiStruct, frozen=True, kw_only=True):
    """A client of a storage system by which the node uses a volume."""

    driver: Annotated[str, Schema(required=True)] = ""
    """Name of the volume's CSI driver."""
    volume_handle: Annotated[str, Schema(required=True)] = ""
    """The volume's handle, as its PersistentVolume has it."""
    image: str = ""
    """What of the storage system it is: of RBD "pool/namespace/image", without the namespace where it is in none."""
    address: str = ""
    """The client as the storage system knows it: of Ceph its address with its nonce, "10.0.0.1:0/3456"."""
    cookie: str = ""
    """The cookie of the lock that it holds on the image; empty where it is not known, or where it holds none."""


class VolumeProblem(ApiStruct, frozen=True, kw_only=True):
    """A volume on which I/O fails on the node."""

    driver: Annotated[str, Schema(required=True)] = ""
    """Name of the volume's CSI driver."""
    volume_handle: Annotated[str, Schema(required=True)] = ""
    """The volume's handle, as its PersistentVolume has it."""
    message: str = ""
    """Why it fails."""


class Trim(ApiStruct, frozen=True, kw_only=True):
    """A volume on whose file system the node's agent is to run fstrim."""

    driver: Annotated[str, Schema(required=True)] = ""
    """Name of the volume's CSI driver."""
    volume_handle: Annotated[str, Schema(required=True)] = ""
    """The volume's handle, as its PersistentVolume has it."""
    id: Annotated[str, Schema(required=True)] = ""
    """What tells this request from others for the same volume."""


class Trimmed(ApiStruct, frozen=True, kw_only=True):
    """What an fstrim that was asked for has brought."""

    claim: Annotated[str, Schema(required=True)] = ""
    """The key of the request in `trims`."""
    id: Annotated[str, Schema(required=True)] = ""
    """The request's id."""
    bytes: Int64 = 0
    """How many bytes the file system has discarded: those that none of its files has, as far as it had not before."""
    error: str = ""
    """Why it failed; empty: it did not."""


class NodeReport(ApiStruct, frozen=True, kw_only=True):
    """What the agent of a node found there, and, in `trims`, what the operator asks of it.

    It has the node's name, and of the agents only that node's may write it.
    """

    metadata: ObjectMeta = ObjectMeta()
    devices: tuple[BlockDevice, ...] = ()
    """The node's block devices, by name."""
    mapper: Mapper = Mapper()
    """By what RBD images become block devices on the node."""
    clients: tuple[VolumeClient, ...] = ()
    """The clients by which volumes are in use on the node."""
    problems: tuple[VolumeProblem, ...] = ()
    """The volumes that pods use and on which I/O fails, as the kubelet was told when it asked last."""
    trims: dict[str, Trim] = msgspec.field(default_factory=dict)
    """Where the agent is to run fstrim, by the volume's claim, "namespace/name". The operator writes it."""
    trimmed: tuple[Trimmed, ...] = ()
    """What of `trims` is done, as long as it is asked for."""


NODE_REPORT = Kind(
    group="rook.io",
    version="v1alpha1",
    kind="NodeReport",
    plural="nodereports",
    columns=(
        Column("Mapper", ".mapper.name", description="By what RBD images are mapped"),
        Column("Age", ".metadata.creationTimestamp", type="date"),
    ),
)
