"""How a qemu-storage-daemon that exports an image is started: its files, its options, its Ceph client's configuration.

Options are those of qemu-storage-daemon(1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from controller.agent.ceph.kernel import is_location

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from controller.agent.rbd.protocol import Image

_MON_DEADLINE = 30


@dataclass(frozen=True, slots=True)
class Paths:
    """The files of one export, in a directory that no other export uses."""

    directory: Path

    @property
    def image(self) -> Path:
        """The file that is the image."""
        return self.directory / "image"

    @property
    def monitor(self) -> Path:
        """The socket that takes QMP commands."""
        return self.directory / "qmp.sock"

    @property
    def config(self) -> Path:
        """The Ceph client's configuration."""
        return self.directory / "ceph.conf"

    @property
    def client(self) -> Path:
        """The admin socket of the Ceph client."""
        return self.directory / "client.asok"

    @property
    def log(self) -> Path:
        """What the Ceph client logs until its address is known."""
        return self.directory / "client.log"


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The numbers of the memory files that a daemon reads its secrets from.

    Attributes:
        key: Of the Ceph user's key.
        passphrase: Of what opens an encrypted image; None: the image is not encrypted.
    """

    key: int
    passphrase: int | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """All that there are."""
        return (self.key,) if self.passphrase is None else (self.key, self.passphrase)


type Launch = Callable[[Image, Paths, str, Descriptors, bool], Sequence[str]]
"""The command line of an export: image, files, Ceph user, where its secrets are, read-only."""


def command_line(image: Image, paths: Paths, user: str, secrets: Descriptors, read_only: bool) -> Sequence[str]:
    """The real `Launch`. Secrets are read from descriptors: they are no arguments and in no file."""
    block: dict[str, Any] = {
        "driver": "rbd",
        "node-name": "image",
        "pool": image.pool,
        "image": image.name,
        "user": user,
        "conf": str(paths.config),
        "auth-client-required": ["cephx"],
        "key-secret": "key",
        "discard": "unmap",
        "read-only": read_only,
    }
    if image.namespace:
        block["namespace"] = image.namespace
    passphrase: tuple[str, ...] = ()
    if secrets.passphrase is not None:
        # By librbd. What it discards it overwrites with encrypted zeros: discarding saves nothing.
        block["encrypt"] = {"format": "luks2", "key-secret": "passphrase"}
        block["discard"] = "ignore"
        passphrase = ("--object", f"secret,id=passphrase,format=raw,file=/proc/self/fd/{secrets.passphrase}")
    export = {
        "type": "fuse",
        "id": "export",
        "node-name": "image",
        "mountpoint": str(paths.image),
        "writable": not read_only,
        # Only root on this node opens the file, and only to put a loop device on it.
        "allow-other": "off",
    }
    return (
        "qemu-storage-daemon",
        "--object",
        f"secret,id=key,format=base64,file=/proc/self/fd/{secrets.key}",
        *passphrase,
        "--blockdev",
        _json(block),
        "--export",
        _json(export),
        # Options are carried out in order: once the monitor answers, the export is there.
        "--chardev",
        f"socket,id=qmp,server=on,wait=off,path={paths.monitor}",
        "--monitor",
        "chardev=qmp",
    )


def client_config(image: Image, paths: Paths) -> str:
    """The Ceph client's configuration file: as few threads as it can do with, and a bounded wait for the mons.

    A client serves one image: one thread for the network and one for completions are enough. The messenger's log is the
    one place that tells the client's address; once the image is open, it is turned off.
    """
    nearest = ""
    if is_location(image.location):
        place = image.location.replace(":", "=").replace("|", " ")
        nearest = f"rbd_read_from_replica_policy = localize\ncrush_location = {place}\n"
    return (
        "[global]\n"
        f"mon_host = {','.join(image.monitors)}\n"
        f"client_mount_timeout = {_MON_DEADLINE}\n"
        "ms_async_op_threads = 1\n"
        "ms_async_max_op_threads = 1\n"
        "librados_thread_count = 1\n"
        f"log_file = {paths.log}\n"
        "log_to_stderr = false\n"
        "debug_ms = 1/0\n"
        f"admin_socket = {paths.client}\n"
        f"{nearest}"
    )


def _json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
