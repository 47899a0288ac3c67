"""Which directory of which server an NFS volume is, and how it is to be mounted. Pure.

Attributes are those of Ceph's CSI driver for NFS: `server` and `share`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from controller.agent.node.calls import CsiError

if TYPE_CHECKING:
    from controller.agent.node.driver import Stage

_SERVER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?")
_SHARE = re.compile(r"/[^\s,;#]*")
_RESERVED = frozenset(("addr", "clientaddr", "mountaddr", "mounthost", "mountproto"))
"""Options that say where the server is, which the volume says itself."""


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory that a server exports."""

    server: str
    share: str

    def __str__(self) -> str:
        host = f"[{self.server}]" if ":" in self.server else self.server
        return f"{host}:{self.share}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a stage asks for. Implements `controller.agent.node.directories.Asked`.

    Attributes:
        directory: What is to be mounted.
        options: Mount options.
        mounter: Any; there is one.
        snapshot: None: volumes that show one are copies.
    """

    directory: Directory
    options: tuple[str, ...]
    mounter: str = ""
    snapshot: str = ""

    def read_only(self, _: str) -> bool:
        """Whether it is mounted so that nobody writes."""
        return "ro" in self.options


def asked_of(stage: Stage) -> Asked:
    """What a stage asks for.

    Raises:
        CsiError: Something is missing or wrong; the message names it.
    """
    if stage.access.block:
        raise _wrong(stage, "volumeMode Block is not served by NFS: expected Filesystem")
    # Where the operator knows the Service that the class names, it tells its address: nodes do not know its name.
    server = stage.told.get("server") or stage.attributes.get("server", "")
    share = stage.attributes.get("share", "")
    if not _SERVER.fullmatch(server):
        raise _wrong(stage, f"volumeAttributes server is {server!r}: expected the name or the address of an NFS server")
    if not _SHARE.fullmatch(share) or ".." in share.split("/"):
        expected = "an absolute path without '..', space, comma, semicolon and number sign"
        raise _wrong(stage, f"volumeAttributes share is {share!r}: expected {expected}")
    for option in stage.access.options:
        if re.search(r"[\s,]", option) or option.partition("=")[0] in _RESERVED:
            raise _wrong(stage, f"mountOptions has {option!r}: expected no space, no comma, and no address")
    read_only = ("ro",) if stage.access.read_only else ()
    options = tuple(dict.fromkeys((*stage.access.options, *read_only)))
    return Asked(directory=Directory(server, share), options=options)


def _wrong(stage: Stage, why: str) -> CsiError:
    return CsiError(grpc.StatusCode.INVALID_ARGUMENT, f"volume {stage.volume}: {why}")
