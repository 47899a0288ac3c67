"""What the agent and the mounter say to each other over a unix socket, by `controller.agent.system.messages`.

The socket is reachable for root on the node only. Keys travel over it and are in no file.

The mounter may be much older than the agent, since it is updated by hand, or newer after a downgrade. So fields are
only added, with a default that means what it meant without them; unknown ones are passed over. Whatever is added raises
`VERSION`. A command that the mounter does not know is answered with what to do about it.
"""

from __future__ import annotations

import msgspec

from controller.agent.ceph.credentials import Credentials

SOCKET = "/var/lib/rook/mounter/mounter.sock"
"""Where the mounter listens: a directory of the node that both pods mount."""

RECORDS = "volumes"
"""The directory beside the socket in which the mounter has a file for each volume."""

VERSION = 3
"""Of this protocol. 1 is that of mounters which name none; 2 tells the address of each volume's Ceph client; 3 takes
where the node is."""


class Image(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An RBD image and where its cluster is.

    Attributes:
        monitors: The mons' addresses, "10.96.0.7:6789".
        pool: The pool's name.
        namespace: The RADOS namespace within the pool; empty for the default one.
        name: The image's name.
        features: The image's feature bits (as `rbd info --format json` counts them); 0: not known.
        options: Map options for the kernel client, "lock_on_read,queue_depth=1024".
        fsid: The cluster's; empty: not known.
        ms_mode: How the kernel's client speaks to the cluster: "legacy", "crc", "secure", "prefer-crc" or
            "prefer-secure"; empty: as it does by itself, which is by the first version of the protocol.
        location: Where the node is in the CRUSH map, "zone:a|host:n1", to read from the nearest OSD; empty: from any.
    """

    monitors: tuple[str, ...]
    pool: str
    namespace: str = ""
    name: str
    features: int = 0
    options: str = ""
    fsid: str = ""
    ms_mode: str = ""
    location: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.pool, self.namespace, self.name) if part)


class Mapped(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A volume's block device on this node.

    Attributes:
        volume: The CSI volume id.
        image: The image behind it, "pool/name".
        device: The block device, "/dev/loop7".
        read_only: Whether it refuses writes.
        problem: Why I/O on it fails; empty while it is healthy.
        address: Of the Ceph client that has the image open, with its nonce, "10.0.0.1:0/3456"; empty: not known.
    """

    volume: str
    image: str
    device: str
    read_only: bool = False
    problem: str = ""
    address: str = ""


class Map(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="map"):
    """Make a block device of an image. Repeating it is no error."""

    volume: str
    image: Image
    credentials: Credentials
    read_only: bool = False


class Unmap(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="unmap"):
    """Take a volume's block device away. One that is not there is no error."""

    volume: str


class Expand(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="expand"):
    """Make a volume's block device at least `size` bytes large; its image is that large already."""

    volume: str
    size: int


class List(msgspec.Struct, frozen=True, kw_only=True, tag="list"):
    """Tell all block devices."""


type Command = Map | Unmap | Expand | List


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer: what failed, or the block devices that the command was about; and the version the mounter speaks."""

    error: str = ""
    mapped: tuple[Mapped, ...] = ()
    version: int = 1
