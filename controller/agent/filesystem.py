"""File systems on block devices: made only where there is provably nothing, checked before each mount, grown."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from controller.agent.command import CommandError
from controller.agent.files import write_durably
from controller.agent.loop import size_of

if TYPE_CHECKING:
    from pathlib import Path

    from controller.agent.command import Runner

MKFS_DEADLINE = 90.0
"""Seconds. Both file systems initialise lazily, so it is not a matter of the device's size."""

CHECK_DEADLINE = 90.0
"""Seconds for replaying a journal and, where that is not enough, a full check."""

MOUNT_DEADLINE = 60.0
"""Seconds; XFS replays its log while mounting."""

GROW_DEADLINE = 90.0

_MIB = 1 << 20
_PROBED = 4 * _MIB
"""Bytes at the start of a device that must be zero for it to count as empty."""

_EXT4_BACKUPS = (8 * _MIB, 32 * _MIB, 128 * _MIB)
"""Where ext4 has the first copy of its superblock: with blocks of 1, 2 and 4 KiB."""

_XFS_GROUPS = (4, 32)
"""Into how many equal parts mkfs.xfs divides a device; each begins with a copy of the superblock."""

_XFS_ROUNDING = 4 * _MIB
"""By so much a part may be larger or smaller, for the sake of the device's alignment."""

_BLKID_NOTHING = 2
_BLKID_AMBIVALENT = 8
_FSCK_CORRECTED = 1

_MAKE = {
    # No discard: a new image is sparse already.
    "ext4": ("mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"),
    "xfs": ("mkfs.xfs", "-q", "-K"),
}
_MAKE_AGAIN = {"ext4": "-F", "xfs": "-f"}

MOUNT_OPTIONS = {"ext4": (), "xfs": ("nouuid",)}
"""Options that are always set. `nouuid`: a clone of a volume has the same UUID and may be mounted on the same node."""


class FilesystemError(Exception):
    """A device cannot be used as it is, and only a person can decide what becomes of its content."""


@dataclass(frozen=True, slots=True)
class Content:
    """What blkid finds on a device: the type of a file system (or RAID member, …), and that of a partition table."""

    type: str = ""
    partition_table: str = ""

    def __bool__(self) -> bool:
        return bool(self.type or self.partition_table)

    def __str__(self) -> str:
        return self.type or f"a {self.partition_table} partition table"


def supported(filesystem: str) -> bool:
    """Whether this module makes and grows file systems of that type."""
    return filesystem in _MAKE


async def probe(run: Runner, device: str) -> Content:
    """What is on a device.

    Raises:
        FilesystemError: blkid sees the signs of more than one thing.
        CommandError: The device cannot be read.
    """
    try:
        done = await run("blkid", "--probe", "--output", "export", device, ok=(0, _BLKID_NOTHING))
    except CommandError as error:
        if error.returncode == _BLKID_AMBIVALENT:
            raise FilesystemError(
                f"{device} bears the signs of more than one file system: expected one, or none; "
                "`wipefs` shows and removes them"
            ) from error
        raise
    fields = dict(line.split("=", 1) for line in done.stdout.decode(errors="replace").splitlines() if "=" in line)
    return Content(fields.get("TYPE", ""), fields.get("PTTYPE", ""))


async def prepare(run: Runner, device: str, filesystem: str, *, unfinished: Path, read_only: bool) -> None:
    """Makes sure that a device has a sound file system of the type asked for, as large as the device.

    Args:
        run: Runs the tools.
        device: The block device; not mounted.
        filesystem: "ext4" or "xfs".
        unfinished: A file of this volume that exists while its file system is being made. It is found again when the
            maker died: then what it left is made anew. Another node may have finished since, so a file system that may
            have been in use is kept.
        read_only: Change nothing.

    Raises:
        FilesystemError: The device has other content, or damage that needs a person.
        CommandError: A tool failed.
    """
    restarted = await anyio.Path(unfinished).exists()
    content = await probe(run, device)
    if restarted and content.type == filesystem:
        if not read_only and await anyio.to_thread.run_sync(_never_used, device, filesystem):
            content = Content()
        else:
            await anyio.Path(unfinished).unlink()
    if content.type == filesystem:
        if not read_only:
            await _check(run, device, filesystem)
            await _grow_unmounted(run, device, filesystem)
        return
    if content:
        raise FilesystemError(f"{device} has {content}: expected {filesystem}, or an empty device; nothing was changed")
    if read_only:
        raise FilesystemError(f"{device} has no file system, and is to be mounted read-only: expected {filesystem}")
    # Read in any case: to blkid a device that cannot be read is one without a file system.
    data = await anyio.to_thread.run_sync(_find_data, device)
    if not restarted and data is not None:
        raise FilesystemError(
            f"{device} has data that is no known file system, at byte {data}: expected {filesystem}, or an empty "
            "device; nothing was changed"
        )
    await anyio.to_thread.run_sync(write_durably, unfinished, device.encode())
    again = (_MAKE_AGAIN[filesystem],) if restarted else ()
    await run(*_MAKE[filesystem], *again, device, deadline=MKFS_DEADLINE)
    await anyio.Path(unfinished).unlink()


async def grow_mounted(run: Runner, device: str, filesystem: str, mountpoint: str) -> None:
    """Makes a mounted file system as large as its device; one that is already is left alone.

    Raises:
        CommandError: The kernel refused.
    """
    if not await anyio.to_thread.run_sync(_can_grow, device, filesystem):
        return
    if filesystem == "xfs":
        await run("xfs_growfs", "-d", mountpoint, deadline=GROW_DEADLINE)
    else:
        await run("resize2fs", device, deadline=GROW_DEADLINE)


def size(device: str, filesystem: str) -> int:
    """The bytes that a file system takes, from its superblock; 0 where there is none. Blocking.

    The layouts are those of the kernel's Documentation/filesystems (ext4/super.rst) and fs/xfs/libxfs/xfs_format.h.
    """
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if filesystem == "xfs":
            block = os.pread(descriptor, 512, 0)
            if block[:4] != b"XFSB":
                return 0
            return int.from_bytes(block[4:8], "big") * int.from_bytes(block[8:16], "big")
        block = os.pread(descriptor, 1024, 1024)
    finally:
        os.close(descriptor)
    if block[0x38:0x3A] != b"\x53\xef":
        return 0
    has_64_bits = int.from_bytes(block[0x60:0x64], "little") & 0x80
    high = int.from_bytes(block[0x150:0x154], "little") if has_64_bits else 0
    count = (high << 32) + int.from_bytes(block[0x4:0x8], "little")
    return count * (1024 << int.from_bytes(block[0x18:0x1C], "little"))


async def _check(run: Runner, device: str, filesystem: str) -> None:
    if filesystem == "xfs":  # it replays its log when it is mounted; there is nothing to run before
        return
    try:
        await run("e2fsck", "-p", device, deadline=CHECK_DEADLINE, ok=(0, _FSCK_CORRECTED))
    except CommandError as error:
        raise FilesystemError(f"{device} needs a check by hand (e2fsck {device}): {error}") from error


async def _grow_unmounted(run: Runner, device: str, filesystem: str) -> None:
    # XFS grows only while it is mounted.
    if filesystem != "ext4" or not await anyio.to_thread.run_sync(_can_grow, device, filesystem):
        return
    # resize2fs insists on a full check since the last mount.
    await run("e2fsck", "-f", "-p", device, deadline=CHECK_DEADLINE, ok=(0, _FSCK_CORRECTED))
    await run("resize2fs", device, deadline=GROW_DEADLINE)


def _can_grow(device: str, filesystem: str) -> bool:
    slack = 1 << 20  # less than this is left over by the rounding to blocks and groups
    return size_of(device) - size(device, filesystem) >= slack


def _never_used(device: str, filesystem: str) -> bool:
    """Whether a file system was never mounted for writing (ext4), or its making never ended (XFS). Blocking.

    By the time of the last mount, and by the flag that mkfs takes away last.
    """
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if filesystem == "xfs":
            return os.pread(descriptor, 1, 126) != b"\0"
        return os.pread(descriptor, 4, 1024 + 0x2C) == bytes(4)
    finally:
        os.close(descriptor)


def _find_data(device: str) -> int | None:
    """The first place that is looked at, to the MiB, where a device has data; None: it counts as empty. Blocking.

    A file system that lost its start, as an image does with its first object, still has copies of its superblock.
    """
    total = size_of(device)
    places = [(0, _PROBED), *((start, _MIB) for start in _EXT4_BACKUPS)]
    places += [(max(total // parts - _XFS_ROUNDING, 0), 2 * _XFS_ROUNDING) for parts in _XFS_GROUPS]
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for start, length in places:
            for offset in range(start, min(start + length, total), _MIB):
                if any(os.pread(descriptor, _MIB, offset)):
                    return offset
    finally:
        os.close(descriptor)
    return None
