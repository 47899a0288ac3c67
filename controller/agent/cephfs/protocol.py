"""What the agent and the mounter of file systems say to each other, by `controller.agent.system.messages`.

The mounter may be older than the agent, or newer. So fields are only added, with a default that means what it meant
without them. Whatever is added raises `VERSION`.
"""

from __future__ import annotations

import msgspec

from controller.agent.ceph.credentials import Credentials

SOCKET = "/var/lib/rook/mounter/cephfs.sock"
"""Where the mounter listens: a directory of the node that both pods mount."""

VERSION = 1
"""Of this protocol."""


class Directory(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A directory of a CephFS, and where its cluster is.

    Attributes:
        monitors: The mons' addresses, "10.96.0.7:6789".
        filesystem: The file system's name.
        path: The directory, "/volumes/csi/csi-vol-1/5d1f".
        ms_mode: How the kernel's client speaks to the cluster; empty: as it does by itself.
        location: Where the node is in the CRUSH map, by which the kernel's client reads from the nearest OSD; empty: it
            reads from any.
    """

    monitors: tuple[str, ...]
    filesystem: str
    path: str
    ms_mode: str = ""
    location: str = ""

    def __str__(self) -> str:
        return f"{self.filesystem}:{self.path}"


class Mounted(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A volume that a process of the mounter serves.

    Attributes:
        volume: The CSI volume id.
        directory: What is mounted, "myfs:/volumes/csi/csi-vol-1/5d1f".
        target: Where.
        problem: Why I/O on it fails; empty while it is healthy.
        address: Of its Ceph client, with its nonce, "10.0.0.1:0/3456"; empty: not known.
    """

    volume: str
    directory: str
    target: str
    problem: str = ""
    address: str = ""


class Mount(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="mount"):
    """Mount a directory for a volume. Repeating it is no error.

    Attributes:
        volume: The CSI volume id.
        directory: What to mount.
        target: Where: a directory that is there.
        credentials: By which Ceph user.
        options: Of the FUSE mount.
    """

    volume: str
    directory: Directory
    target: str
    credentials: Credentials
    options: tuple[str, ...] = ()


class Release(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="release"):
    """Unmount a volume and end its process. One that is not there is no error.

    Attributes:
        volume: The CSI volume id.
        force: It is dead: nothing is flushed.
    """

    volume: str
    force: bool = False


class Look(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="look"):
    """Tell a volume; empty: none, only whether the mounter answers."""

    volume: str = ""


type Command = Mount | Release | Look


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer: what failed, or the volume that the command was about, if it is there."""

    error: str = ""
    mounted: Mounted | None = None
    version: int = VERSION
