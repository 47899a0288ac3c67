"""The block devices of a node, and what is on them: looked at, never written to.

Names, sizes and kinds come from lsblk, signatures from wipefs, mounts from the host's mount table. The device files are
opened for reading only. A device goes by the kernel's name (`sdb`, `dm-0`), in which sysfs has "!" for "/".
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import socket
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import msgspec
import structlog

from controller.agent.devices import bluestore
from controller.agent.system import mounts
from controller.agent.system.command import CommandError
from controller.agent.system.files import read_attribute
from controller.apis.rook.node_report import BlockDevice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.agent.system.command import Runner

_log = structlog.get_logger(__name__)

_IGNORED_TYPES = ("ram", "zram", "rbd", "nbd", "floppy")
_IGNORED_NAMES = re.compile(r"(ram|zram|rbd|nbd|fd)\d+(p\d+)?")
_PROBES_AT_ONCE = 8
_READ_DEADLINE = 20.0
"""Seconds for reading the start of a device. One that does not answer is not asked again until it has."""

_KOBJECT_UEVENT = 15
_UEVENT_GROUP = 1
"""The netlink protocol of device events (linux/netlink.h), and of its groups the kernel's own, not udev's."""

_COLUMNS = "NAME,KNAME,PATH,SIZE,TYPE,ROTA,RO,PKNAME,MODEL,VENDOR,SERIAL,WWN"
_BLUESTORE, _UNREADABLE = "ceph_bluestore", "unreadable"
_MULTIPATH = "mpath-"
"""Begins the device mapper's UUID of a multipath device; the disk's own identity follows."""

_MULTIPATH_MEMBER = "mpath_member"
_NO_FILESYSTEMS = (_BLUESTORE, _UNREADABLE, "gpt", "dos", "PMBR")


class _Row(msgspec.Struct, frozen=True):
    """A line of lsblk. A device with several parents has several lines. `name` may be the device mapper's."""

    name: str
    kname: str = ""
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


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What the kernel and udev know of the devices, by their names.

    Attributes:
        links: Stable paths.
        holders: Devices made from it.
        mounted: Mount points on the host.
        dm_uuids: What the device mapper calls its own devices: "LVM-…", "mpath-…", "CRYPT-…".
    """

    links: Mapping[str, tuple[str, ...]]
    holders: Mapping[str, tuple[str, ...]]
    mounted: Mapping[str, tuple[str, ...]]
    dm_uuids: Mapping[str, str]

    def is_path(self, name: str) -> bool:
        """Whether it is one path of a multipath device."""
        return any(self.dm_uuids.get(holder, "").startswith(_MULTIPATH) for holder in self.holders.get(name, ()))


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
        self._asked: set[str] = set()
        self._osds: dict[str, str] = {}

    async def devices(self) -> tuple[BlockDevice, ...]:
        """All block devices, by name.

        Raises:
            CommandError: lsblk failed.
        """
        done = await self._run("lsblk", "--json", "--bytes", "--list", "--output", _COLUMNS, deadline=20.0)
        rows: dict[str, _Row] = {}
        for row in msgspec.json.decode(done.stdout, type=_Listing).blockdevices:
            rows.setdefault(self._name(row), row)
        around = await anyio.to_thread.run_sync(self._surroundings)
        shown = {name: row for name, row in rows.items() if self._is_shown(name, row)}
        found: dict[str, BlockDevice] = {}
        limiter = anyio.CapacityLimiter(_PROBES_AT_ONCE)

        async def look(name: str, row: _Row) -> None:
            member = around.is_path(name)
            async with limiter:
                signatures, label = ([_MULTIPATH_MEMBER], None) if member else await self._signatures(row)
            parent = row.pkname or "" if row.type == "part" else ""
            children = tuple(sorted(n for n, r in shown.items() if r.type == "part" and r.pkname == name))
            types = [s for s in signatures if s not in _NO_FILESYSTEMS]
            dm_uuid = around.dm_uuids.get(name, "")
            found[name] = BlockDevice(
                name=name,
                path=row.path or f"/dev/{name}",
                dev_links=around.links.get(name, ()),
                size=row.size or 0,
                type=row.type or "disk",
                rotational=row.rota,
                read_only=row.ro,
                parent=parent,
                children=children,
                holders=around.holders.get(name, ()),
                filesystem=types[0] if types else "",
                signatures=tuple(signatures),
                mountpoints=tuple(dict.fromkeys(p for n in (name, *children) for p in around.mounted.get(n, ()))),
                serial=row.serial or "",
                wwn=row.wwn or _wwn(dm_uuid),
                dm_uuid=dm_uuid,
                vendor=(row.vendor or "").strip(),
                model=(row.model or "").strip(),
                ceph_fsid=label.fsid if label else "",
                osd_id=label.osd_id if label else -1,
                osd_uuid=label.osd_uuid if label else "",
            )

        async with anyio.create_task_group() as tasks:
            for name, row in shown.items():
                tasks.start_soon(look, name, row)
        self._osds = {device.path: device.name.replace("/", "!") for device in found.values() if device.osd_uuid}
        return tuple(found[name] for name in sorted(found))

    async def fingerprint(self) -> bytes:
        """Changes when `devices` may have: cheap, as it starts no program.

        The counts of writes stand for the content: who makes a file system or an OSD on a device writes to it. An OSD
        writes all the time; its label does not change, so that is read.
        """
        heads: dict[str, bytes] = {}

        async def read(path: str) -> None:
            try:
                heads[path] = await self._head(path)
            except OSError as error:
                heads[path] = str(error).encode()

        async with anyio.create_task_group() as tasks:
            for path in self._osds:
                tasks.start_soon(read, path)
        return await anyio.to_thread.run_sync(self._fingerprint, heads, frozenset(self._osds.values()))

    def _fingerprint(self, heads: Mapping[str, bytes], osds: frozenset[str]) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for path in sorted(self._block.iterdir()):
            if _IGNORED_NAMES.fullmatch(path.name) or self._is_hidden(path.name):
                continue
            for part in (path, *sorted(path.glob(f"{glob.escape(path.name)}*"))):
                writes = () if part.name in osds else read_attribute(part / "stat").split()[4:5]
                facts = (
                    part.name,
                    read_attribute(part / "size"),
                    read_attribute(part / "ro"),
                    *writes,
                    *_names(part / "holders"),
                )
                digest.update("\0".join(facts).encode())
        for path_of_osd, head in sorted(heads.items()):
            digest.update(path_of_osd.encode() + head)
        for mount in mounts.read(self._host_mounts):
            if mount.source.startswith("/dev/"):
                digest.update(f"{mount.device}\0{mount.target}\0".encode(errors="surrogateescape"))
        return digest.digest()

    def _name(self, row: _Row) -> str:
        """The kernel's name of a device."""
        return row.kname or self._below_dev(Path(row.path or f"/dev/{row.name}").resolve())

    def _below_dev(self, device: Path) -> str:
        return str(device.relative_to(self._dev)) if device.is_relative_to(self._dev) else device.name

    def _is_shown(self, name: str, row: _Row) -> bool:
        if not row.size or _IGNORED_NAMES.fullmatch(name) or row.type in _IGNORED_TYPES:
            return False
        return not self._is_hidden(name.replace("/", "!"))

    def _is_hidden(self, sysfs_name: str) -> bool:
        below = _names(self._block / sysfs_name / "slaves")
        if any(_IGNORED_NAMES.fullmatch(name) or self._is_hidden(name) for name in below):
            return True  # as what an encrypted volume of a pod decrypts to
        file = read_attribute(self._block / sysfs_name / "loop/backing_file")
        # "/" is the file of a mounter that has ended: the kernel no longer knows its path.
        return file == "/" or file.startswith(self._hidden)

    def _surroundings(self) -> _Surroundings:
        links: dict[str, list[str]] = defaultdict(list)
        for link in (*sorted((self._dev / "disk").glob("by-*/*")), *sorted((self._dev / "mapper").glob("*"))):
            if link.is_symlink():
                links[self._below_dev(link.resolve())].append(str(link))
        holders: dict[str, tuple[str, ...]] = {}
        numbers: dict[str, str] = {}
        dm_uuids: dict[str, str] = {}
        for disk in self._block.iterdir():
            parts = disk.glob(f"{glob.escape(disk.name)}*")
            for part in (disk, *(p for p in parts if (p / "dev").exists())):
                name = part.name.replace("!", "/")
                holders[name] = tuple(holder.replace("!", "/") for holder in _names(part / "holders"))
                numbers[read_attribute(part / "dev")] = name
            if uuid := read_attribute(disk / "dm/uuid"):
                dm_uuids[disk.name] = uuid
            volume = self._dev / _logical_volume(read_attribute(disk / "dm/name"))
            if uuid.startswith("LVM-") and volume.is_symlink() and self._below_dev(volume.resolve()) == disk.name:
                links[disk.name].append(str(volume))
        mounted: dict[str, list[str]] = defaultdict(list)
        for mount in mounts.read(self._host_mounts):
            name = numbers.get(mount.device) or self._below_dev(Path(mount.source))
            if mount.source.startswith("/dev/") or mount.device in numbers:
                mounted[name].append(mount.target.encode(errors="replace").decode())
        return _Surroundings(
            {name: tuple(paths) for name, paths in links.items()},
            holders,
            {name: tuple(dict.fromkeys(targets)) for name, targets in mounted.items()},
            dm_uuids,
        )

    async def _head(self, path: str) -> bytes:
        """The start of a device.

        Raises:
            OSError: It cannot be read, or does not answer: TimeoutError.
        """
        if path in self._asked:
            raise TimeoutError(f"{path} has not answered since it was asked last")

        def read() -> bytes:
            try:
                return _head(path)
            finally:
                self._asked.discard(path)

        self._asked.add(path)
        try:
            with anyio.fail_after(_READ_DEADLINE):
                return await anyio.to_thread.run_sync(read, abandon_on_cancel=True)
        except TimeoutError:
            raise TimeoutError(f"{path} does not answer within {_READ_DEADLINE:g} s") from None

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
            label = bluestore.parse(await self._head(path))
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


def _logical_volume(dm_name: str) -> str:
    """The path of an LVM volume below /dev, by the name that the device mapper has for it: "vg-lv", with "-" doubled.

    https://man7.org/linux/man-pages/man8/lvm.8.html
    """
    group, dash, volume = dm_name.replace("--", "\0").partition("-")
    return f"{group}/{volume}".replace("\0", "-") if dash and group and volume else ""


def _wwn(dm_uuid: str) -> str:
    """The World Wide Name of a multipath device, as lsblk writes that of its paths; empty where it has none.

    Its UUID has the disk's identifier, which for SCSI (page 0x83) begins with its type: 3 is an NAA name.
    """
    identifier = dm_uuid.removeprefix(_MULTIPATH) if dm_uuid.startswith(_MULTIPATH) else ""
    return f"0x{identifier[1:]}" if identifier.startswith("3") else identifier


def _head(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, bluestore.LABEL_SIZE, 0)
    finally:
        os.close(descriptor)


def _names(directory: Path) -> Sequence[str]:
    try:
        return sorted(path.name for path in directory.iterdir())
    except OSError:
        return ()
