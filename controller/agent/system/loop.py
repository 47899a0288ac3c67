"""Loop devices: a file of this node as a block device."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from controller.agent.system.files import read_attribute

if TYPE_CHECKING:
    from controller.agent.system.command import Runner

_BLKGETSIZE64 = 0x80081272
"""The ioctl that tells a block device's bytes (linux/fs.h)."""

_LOOP_GET_STATUS64 = 0x4C05
_LOOP_INFO64_SIZE = 232
"""The ioctl that tells how a loop device was made, and the size of its answer (linux/loop.h)."""


_CLOSE_DEADLINE = 10.0
"""Seconds that a device which is not busy gets to be closed."""

_POLL = 0.02


class DeviceBusyError(Exception):
    """A block device is mounted, or opened exclusively by somebody."""


async def attach(run: Runner, file: Path, *, read_only: bool) -> str:
    """Puts a free loop device on `file` and returns its path. Direct I/O: the image has its own cache.

    Raises:
        CommandError: It cannot be done.
    """
    access = ("--read-only",) if read_only else ()
    done = await run("losetup", "--find", "--show", "--direct-io=on", *access, str(file))
    return done.stdout.decode().strip()


async def detach(run: Runner, device: str) -> None:
    """Frees one loop device. Detaching a device that is in use would make it go at an unknown later time: refused.

    Raises:
        DeviceBusyError: It is in use.
        CommandError: It cannot be detached.
    """
    if await anyio.to_thread.run_sync(is_busy, device):
        raise DeviceBusyError(f"{device} is still mounted or opened exclusively")
    await run("losetup", "--detach", device)
    # Somebody who looked at the device just now, as device discovery does, keeps it for that long.
    with anyio.move_on_after(_CLOSE_DEADLINE):
        while await anyio.to_thread.run_sync(backing_file, device):  # noqa: ASYNC110
            await anyio.sleep(_POLL)
        return
    raise DeviceBusyError(f"{device} is still open; it goes when the last user closes it")


async def set_capacity(run: Runner, device: str) -> None:
    """Makes a loop device as large as its file is now."""
    await run("losetup", "--set-capacity", device)


def is_busy(device: str) -> bool:
    """Whether a block device is mounted, or opened exclusively by somebody. Blocking."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return True
        if error.errno in (errno.ENOENT, errno.ENXIO):
            return False
        raise
    return False


def devices_on(file: Path) -> list[str]:
    """The loop devices on a file. Blocking."""
    devices = (f"/dev/{entry.name}" for entry in Path("/sys/block").glob("loop*"))
    return [device for device in devices if backing_file(device) == str(file)]


def backing_file(device: str) -> str:
    """The file under a loop device; empty when there is none. Blocking."""
    return read_attribute(Path("/sys/block", Path(device).name, "loop/backing_file"))


def is_dead(device: str) -> bool:
    """Whether the file under a loop device was served by a FUSE process that has ended. Blocking.

    When the whole container ended, its mount namespace went too, and the kernel no longer knows the file by its path.
    """
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.ioctl(descriptor, _LOOP_GET_STATUS64, bytes(_LOOP_INFO64_SIZE))
    except OSError as error:
        return error.errno == errno.ENOTCONN
    finally:
        os.close(descriptor)
    return False


def size_of(device: str) -> int:
    """The bytes of a block device. Blocking."""
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, _BLKGETSIZE64, bytes(8)), "little")
    finally:
        os.close(descriptor)
