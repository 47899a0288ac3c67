"""File systems on block devices: made only where there is provably nothing, checked before each mount, grown.

Tools that write run to their end, however long it takes: what they do is worse cut off in the middle than late.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from controller.agent.system.command import CommandError
from controller.agent.system.files import write_durably
from controller.agent.system.loop import size_of

if TYPE_CHECKING:
    from pathlib import Path

    from controller.agent.system.command import Runner

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
_FSCK_UNCORRECTED = 4
"""A bit of e2fsck's exit status: damage is left that it mends only with a person's consent."""

_EXT_OPTIONS = ("-q", "-m", "0", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1")
_MAKE = {
    # No discard: a new image is sparse already.
    "ext4": ("mkfs.ext4", *_EXT_OPTIONS),
    "ext3": ("mkfs.ext3", *_EXT_OPTIONS),
    "xfs": ("mkfs.xfs", "-q", "-K"),
}
_MAKE_AGAIN = {"ext4": "-F", "ext3": "-F", "xfs": "-f"}

MOUNT_OPTIONS = {"ext4": (), "ext3": (), "xfs": ("nouuid",)}
"""Options that are always set. `nouuid`: a clone of a volume has the same UUID and may be mounted on the same node."""

WITHOUT_JOURNAL = {"ext4": "noload", "ext3": "noload", "xfs": "norecovery"}
"""The mount options that leave a journal as it is: what is seen then may be inconsistent."""

_EXT4_NEEDS_RECOVERY = 0x4
_EXT4_RESIZE_SPARE = 50
"""Blocks beyond its own tables that a last group must have, or resize2fs leaves it out."""


_TRIM_DEADLINE = 3600.0
_TRIMMED = re.compile(rb"\((\d+) bytes\)")


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


SUPPORTED = tuple(_MAKE)
"""The types of file systems that this module makes and grows."""

EXT = ("ext4", "ext3")
"""Those with the format of ext: the same programs serve them, and the same driver of the kernel."""


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
    """Makes sure that a device has a sound file system of the type asked for.

    Args:
        run: Runs the tools.
        device: The block device; not mounted.
        filesystem: One of `SUPPORTED`.
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
    await run(*_MAKE[filesystem], *again, device, deadline=None)
    await anyio.Path(unfinished).unlink()


async def grow_mounted(run: Runner, device: str, filesystem: str, mountpoint: str) -> None:
    """Makes a mounted file system as large as its device; one that is already is left alone.

    Raises:
        CommandError: The kernel refused.
    """
    if not await anyio.to_thread.run_sync(_can_grow, device, filesystem):
        return
    if filesystem == "xfs":
        await run("xfs_growfs", "-d", mountpoint, deadline=None)
    else:
        await run("resize2fs", device, deadline=None)


async def grow_unmounted(run: Runner, device: str) -> None:
    """Makes an ext file system that is not mounted as large as its device: for a kernel that cannot grow it mounted.

    Raises:
        FilesystemError: It has damage that needs a person.
        CommandError: A tool failed.
    """
    # resize2fs insists on a full check since the last mount.
    await _fsck(run, device, "-f")
    await run("resize2fs", device, deadline=None)


async def trim(run: Runner, mountpoint: str) -> int:
    """Has a mounted file system discard what none of its files has. The kernel ends it soon when it is cut off.

    Returns:
        The bytes that it has discarded: ext leaves out what it has discarded since it was mounted.

    Raises:
        CommandError: The kernel refused, as where the device cannot discard.
    """
    done = await run("fstrim", "--verbose", mountpoint, deadline=_TRIM_DEADLINE)
    found = _TRIMMED.search(done.stdout)
    return int(found[1]) if found is not None else 0


def needs_recovery(device: str, filesystem: str) -> bool:
    """Whether an ext4 or ext3 file system has a journal with what its last user had not written yet. Blocking.

    XFS does not tell; its mount does.
    """
    return filesystem in EXT and bool(_number(_ext4_superblock(device), 0x60) & _EXT4_NEEDS_RECOVERY)


def _xfs_size(device: str) -> int:
    """The bytes that an XFS file system takes (fs/xfs/libxfs/xfs_format.h); 0 where there is none. Blocking."""
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        block = os.pread(descriptor, 512, 0)
    finally:
        os.close(descriptor)
    if block[:4] != b"XFSB":
        return 0
    return int.from_bytes(block[4:8], "big") * int.from_bytes(block[8:16], "big")


def _ext4_superblock(device: str) -> bytes:
    """The superblock of an ext4 file system (Documentation/filesystems/ext4/super.rst), or what is in its place."""
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, 1024, 1024)
    finally:
        os.close(descriptor)


def _number(block: bytes, offset: int, length: int = 4) -> int:
    return int.from_bytes(block[offset : offset + length], "little")


def ext4_can_grow(superblock: bytes, bytes_: int) -> bool:
    """Whether resize2fs would make a file system with this superblock larger on a device of so many bytes.

    It leaves out a last block group that has hardly more than its own tables.
    """
    if superblock[0x38:0x3A] != b"\x53\xef":
        return False
    has_64_bits = _number(superblock, 0x60) & 0x80
    block_size = 1024 << _number(superblock, 0x18)
    blocks = _number(superblock, 0x4) + ((_number(superblock, 0x150) << 32) if has_64_bits else 0)
    first, per_group = _number(superblock, 0x14), _number(superblock, 0x20)
    wanted = bytes_ // block_size
    groups = ceil((wanted - first) / per_group)
    last = (wanted - first) % per_group
    inode_tables = ceil(_number(superblock, 0x28) * _number(superblock, 0x58, 2) / block_size)
    descriptors = ceil(groups * (_number(superblock, 0xFE, 2) or 32) / block_size)
    # The superblock's copy, the descriptors and room for more, two bitmaps, the inodes.
    tables = 1 + descriptors + _number(superblock, 0xCE, 2) + 2 + inode_tables
    if last < tables + _EXT4_RESIZE_SPARE:
        wanted -= last
    return wanted > blocks


async def _check(run: Runner, device: str, filesystem: str) -> None:
    if filesystem in EXT:  # XFS replays its log when it is mounted; there is nothing to run before
        await _fsck(run, device)


async def _fsck(run: Runner, device: str, *options: str) -> None:
    try:
        await run("e2fsck", *options, "-p", device, deadline=None, ok=(0, _FSCK_CORRECTED))
    except CommandError as error:
        if error.returncode is not None and error.returncode > 0 and error.returncode & _FSCK_UNCORRECTED:
            raise FilesystemError(f"{device} needs a check by hand (e2fsck {device}): {error}") from error
        raise


def _can_grow(device: str, filesystem: str) -> bool:
    if filesystem in EXT:
        return ext4_can_grow(_ext4_superblock(device), size_of(device))
    # XFS leaves out a last group of less than 64 blocks.
    return size_of(device) - _xfs_size(device) >= _MIB


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


def places_looked_at(total: int) -> list[tuple[int, int]]:
    """Which parts of a device, as (start, length), must be zero for it to count as empty; they may end behind it. Pure.

    Args:
        total: Its bytes.
    """
    places = [(0, _PROBED), *((start, _MIB) for start in _EXT4_BACKUPS)]
    return places + [(max(total // parts - _XFS_ROUNDING, 0), 2 * _XFS_ROUNDING) for parts in _XFS_GROUPS]


def _find_data(device: str) -> int | None:
    """The first place that is looked at, to the MiB, where a device has data; None: it counts as empty. Blocking.

    A file system that lost its start, as an image does with its first object, still has copies of its superblock.
    """
    total = size_of(device)
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for start, length in places_looked_at(total):
            for offset in range(start, min(start + length, total), _MIB):
                if any(os.pread(descriptor, _MIB, offset)):
                    return offset
    finally:
        os.close(descriptor)
    return None
