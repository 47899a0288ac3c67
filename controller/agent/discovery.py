"""The block devices of a node, and what is on them: looked at, never written to.

Names, sizes and kinds come from lsblk, signatures from blkid and wipefs, mounts from the host's mount table. The device
files are opened for reading only.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import msgspec
import structlog

from controller.agent import bluestore, mounts
from controller.agent.command import CommandError
from controller.apis.node import BlockDevice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.agent.command import Runner

_log = structlog.get_logger(__name__)

_IGNORED_TYPES = ("ram", "zram", "rbd", "nbd", "floppy")
_IGNORED_NAMES = ("ram", "zram", "rbd", "nbd", "fd")
_PROBES_AT_ONCE = 8
_KOBJECT_UEVENT = 15
_UEVENT_GROUP = 1
"""The netlink protocol of device events (linux/netlink.h), and of its groups the kernel's own, not udev's."""

_COLUMNS = "NAME,PATH,SIZE,TYPE,ROTA,RO,PKNAME,MODEL,VENDOR,SERIAL,WWN"
_BLUESTORE, _UNREADABLE = "ceph_bluestore", "unreadable"
_NO_FILESYSTEMS = (_BLUESTORE, _UNREADABLE, "gpt", "dos", "PMBR")


class _Row(msgspec.Struct, frozen=True):
    """A line of lsblk. A device with several parents has several lines."""

    name: str
    path: str | None = None
    size: int | None = None
    type: str | None = None
    rota: bool = False
    ro: bool = False
    pkname: str | None = None
    model: str | None = None
    vendor: str | None = None
    serial: str | None = None
    wwn: str | None = None


class _Listing(msgspec.Struct, frozen=True):
    blockdevices: tuple[_Row, ...] = ()


class _Signature(msgspec.Struct, frozen=True):
    type: str | None = None


class _Signatures(msgspec.Struct, frozen=True):
    signatures: tuple[_Signature, ...] = ()


class Discovery:
    """Looks at the devices of this node.

    Args:
        runner: Runs the tools.
        hidden: Loop devices on files below this directory are volumes of pods, and are left out.
        host_mounts: The mount table of the host.
        sys: Where sysfs is mounted.
    """

    def __init__(
        self, runner: Runner, *, hidden: str, host_mounts: Path, sys: Path = Path("/sys"), dev: Path = Path("/dev")
    ) -> None:
        self._run = runner
        self._hidden = hidden
        self._host_mounts = host_mounts
        self._block = sys / "block"
        self._dev = dev
        self._unreadable: set[str] = set()

    async def devices(self) -> tuple[BlockDevice, ...]:
        """All block devices, by name.

        Raises:
            CommandError: lsblk failed.
        """
        done = await self._run("lsblk", "--json", "--bytes", "--list", "--output", _COLUMNS, deadline=20.0)
        rows: dict[str, _Row] = {}
        for row in msgspec.json.decode(done.stdout, type=_Listing).blockdevices:
            rows.setdefault(row.name, row)
        links, tree, mounted = await anyio.to_thread.run_sync(self._surroundings)
        shown = {name: row for name, row in rows.items() if self._is_shown(row)}
        found: dict[str, BlockDevice] = {}
        limiter = anyio.CapacityLimiter(_PROBES_AT_ONCE)

        async def look(row: _Row) -> None:
            async with limiter:
                signatures, label = await self._signatures(row)
            parent = row.pkname or "" if row.type == "part" else ""
            children = tuple(sorted(r.name for r in shown.values() if r.type == "part" and r.pkname == row.name))
            names = (row.name, *children)
            types = [s for s in signatures if s not in _NO_FILESYSTEMS]
            found[row.name] = BlockDevice(
                name=row.name,
                path=row.path or f"/dev/{row.name}",
                dev_links=links.get(row.name, ()),
                size=row.size or 0,
                type=row.type or "disk",
                rotational=row.rota,
                read_only=row.ro,
                parent=parent,
                children=children,
                holders=tree.get(row.name, ()),
                filesystem=types[0] if types else "",
                signatures=tuple(signatures),
                mountpoints=tuple(dict.fromkeys(p for name in names for p in mounted.get(name, ()))),
                serial=row.serial or "",
                wwn=row.wwn or "",
                vendor=(row.vendor or "").strip(),
                model=(row.model or "").strip(),
                ceph_fsid=label.fsid if label else "",
                osd_id=label.osd_id if label else -1,
                osd_uuid=label.osd_uuid if label else "",
            )

        async with anyio.create_task_group() as tasks:
            for row in shown.values():
                tasks.start_soon(look, row)
        return tuple(found[name] for name in sorted(found))

    def fingerprint(self) -> bytes:
        """Changes when `devices` may have: cheap, as it starts no program and reads no device. Blocking.

        The counts of writes stand for the content: who makes a file system or an OSD on a device writes to it.
        """
        digest = hashlib.blake2b(digest_size=16)
        for path in sorted(self._block.iterdir()):
            if path.name.startswith(_IGNORED_NAMES) or self._is_hidden(path.name):
                continue
            parts = (path, *sorted(path.glob(f"{path.name}*")))
            for part in parts:
                writes = _read(part / "stat").split()[4:5]
                facts = (part.name, _read(part / "size"), _read(part / "ro"), *writes, *_names(part / "holders"))
                digest.update("\0".join(facts).encode())
        for mount in mounts.read(self._host_mounts):
            if mount.source.startswith("/dev/"):
                digest.update(f"{mount.device}\0{mount.target}\0".encode(errors="surrogateescape"))
        return digest.digest()

    def _is_shown(self, row: _Row) -> bool:
        if not row.size or row.name.startswith(_IGNORED_NAMES) or row.type in _IGNORED_TYPES:
            return False
        return not self._is_hidden(row.name)

    def _is_hidden(self, name: str) -> bool:
        file = _read(self._block / name / "loop/backing_file")
        # "/" is the file of a mounter that has ended: the kernel no longer knows its path.
        return file == "/" or file.startswith(self._hidden)

    def _surroundings(
        self,
    ) -> tuple[Mapping[str, tuple[str, ...]], Mapping[str, tuple[str, ...]], Mapping[str, tuple[str, ...]]]:
        """By device name: links below /dev/disk, holders, and mount points on the host."""
        links: dict[str, list[str]] = defaultdict(list)
        for link in sorted((self._dev / "disk").glob("by-*/*")):
            if link.is_symlink():
                links[link.resolve().name].append(str(link))
        holders: dict[str, tuple[str, ...]] = {}
        numbers: dict[str, str] = {}
        for disk in self._block.iterdir():
            for part in (disk, *(p for p in disk.glob(f"{disk.name}*") if (p / "dev").exists())):
                holders[part.name] = tuple(_names(part / "holders"))
                numbers[_read(part / "dev")] = part.name
        mounted: dict[str, list[str]] = defaultdict(list)
        for mount in mounts.read(self._host_mounts):
            name = numbers.get(mount.device) or Path(mount.source).name
            if mount.source.startswith("/dev/") or mount.device in numbers:
                mounted[name].append(mount.target.encode(errors="replace").decode())
        return (
            {name: tuple(paths) for name, paths in links.items()},
            holders,
            {name: tuple(dict.fromkeys(targets)) for name, targets in mounted.items()},
        )

    async def _signatures(self, row: _Row) -> tuple[list[str], bluestore.Label | None]:
        """What blkid and wipefs find on a device, and its BlueStore label.

        A device that cannot be read has the signature "unreadable": it must never look empty.
        """
        path = row.path or f"/dev/{row.name}"
        found: list[str] = []
        label = None
        if row.type == "rom":
            return found, label
        try:
            label = bluestore.parse(await anyio.to_thread.run_sync(_head, path))
            done = await self._run("wipefs", "--no-act", "--json", path, deadline=20.0)
            if done.stdout.strip():
                found += [s.type for s in msgspec.json.decode(done.stdout, type=_Signatures).signatures if s.type]
        except (OSError, CommandError, msgspec.MsgspecError) as error:
            if path not in self._unreadable:
                self._unreadable.add(path)
                _log.warning("device cannot be read", device=path, error=str(error))
            return [_UNREADABLE], None
        self._unreadable.discard(path)
        if label is not None and _BLUESTORE not in found:
            found.append(_BLUESTORE)
        return list(dict.fromkeys(found)), label


class Uevents:
    """The kernel's messages about devices, as far as it sends them into this network namespace.

    They only say that it is time to look; none is relied upon.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _KOBJECT_UEVENT)
        self._socket.setblocking(False)
        self._socket.bind((0, _UEVENT_GROUP))

    def close(self) -> None:
        """Stops listening."""
        self._socket.close()

    async def wait(self) -> None:
        """Waits for a message about a block device."""
        while True:
            await anyio.wait_readable(self._socket)
            if self._take():
                return

    async def settle(self, seconds: float) -> None:
        """Waits until no message has come for `seconds`: devices come in bursts."""
        while True:
            with anyio.move_on_after(seconds):
                await self.wait()
                continue
            return

    def _take(self) -> bool:
        block = False
        while True:
            try:
                message = self._socket.recv(65536)
            except BlockingIOError:
                return block
            except OSError:  # messages were lost: there were many
                return True
            block = block or b"\0SUBSYSTEM=block\0" in message


def _head(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, bluestore.LABEL_SIZE, 0)
    finally:
        os.close(descriptor)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _names(directory: Path) -> Sequence[str]:
    try:
        return sorted(path.name for path in directory.iterdir())
    except OSError:
        return ()
