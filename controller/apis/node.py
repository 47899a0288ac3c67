"""What the agent on each node reports: its block devices. Reports live in ConfigMaps, so they have no CRD."""

import msgspec

from controller.apis.meta import ApiStruct


class BlockDevice(ApiStruct, frozen=True, kw_only=True):
    """A block device as the agent found it. Empty text and 0 mean: not known, or none.

    Attributes:
        name: The kernel's name: "sdb", "loop3", "dm-0".
        path: The device file, "/dev/sdb".
        dev_links: Stable paths of the same device below /dev/disk.
        size: Bytes.
        type: As lsblk names it: disk, part, loop, lvm, mpath, rom or crypt.
        rotational: Whether it spins.
        read_only: Whether the kernel refuses writes to it.
        parent: Name of the disk that a partition belongs to.
        children: Names of its partitions.
        holders: Names of the devices that are made from it (device mapper, md).
        filesystem: The file system that blkid finds on it.
        signatures: Every signature found on it: file systems, partition tables, "ceph_bluestore", "LVM2_member".
        mountpoints: Where it, or a partition of it, is mounted on the node.
        ceph_fsid: From the BlueStore label: the Ceph cluster that it belongs to.
        osd_id: From the BlueStore label: the OSD's number; -1 without a label.
        osd_uuid: From the BlueStore label: the OSD's UUID.
    """

    name: str = ""
    path: str = ""
    dev_links: tuple[str, ...] = ()
    size: int = 0
    type: str = ""
    rotational: bool = False
    read_only: bool = False
    parent: str = ""
    children: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    filesystem: str = ""
    signatures: tuple[str, ...] = ()
    mountpoints: tuple[str, ...] = ()
    serial: str = ""
    wwn: str = ""
    vendor: str = ""
    model: str = ""
    ceph_fsid: str = ""
    osd_id: int = -1
    osd_uuid: str = ""


DEVICES = msgspec.json.Decoder(list[BlockDevice])
"""Decodes a node's report."""
