"""The kernel's mount table (proc_pid_mountinfo(5)), and the system's `mount` and `umount` on it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from controller.agent.system.command import Runner

OWN_TABLE = Path("/proc/self/mountinfo")

_ESCAPE = re.compile(r"\\([0-7]{3})")
_MAX_STACKED = 32
_LAZY_DEADLINE = 30.0


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount.

    Attributes:
        device: The file system's device number, "7:3"; for a bind mount of a device file: that of /dev.
        root: The directory of the file system that is mounted.
        target: Where it is mounted.
        options: Of this mount: "rw", "nosuid", …
        filesystem: "ext4", "fuse", …
        source: What was mounted, "/dev/loop3".
    """

    device: str
    root: str
    target: str
    options: frozenset[str]
    filesystem: str
    source: str

    @property
    def read_only(self) -> bool:
        """Whether writes through this mount are refused."""
        return "ro" in self.options


def parse(table: str) -> tuple[Mount, ...]:
    """The mounts of a mountinfo file, in the order in which they were made."""
    return tuple(_parse_line(line) for line in table.splitlines() if line)


def at(target: str, mounts: Iterable[Mount]) -> Mount | None:
    """The mount that is seen at `target`: the last one made there."""
    found = None
    for mount in mounts:
        if mount.target == target:
            found = mount
    return found


def is_on(mount: Mount, device: str) -> bool:
    """Whether a mount is of the file system on a block device. Blocking."""
    number = device_number(device)
    return mount.device == f"{os.major(number)}:{os.minor(number)}"


def users(device: str, table: Sequence[Mount]) -> list[str]:
    """Where a block device is mounted, or bound as a device file. Blocking."""
    name = Path(device).name
    return [m.target for m in table if is_on(m, device) or (Path(m.root).name == name and _is_node_of(m, device))]


def device_number(path: str) -> int:
    """The number of the device that a device file is of; 0: there is no such file, or it is none. Blocking."""
    try:
        return Path(path).stat().st_rdev
    except FileNotFoundError:
        return 0


async def table(path: Path = OWN_TABLE) -> tuple[Mount, ...]:
    """The mount table as it is now."""
    return await anyio.to_thread.run_sync(read, path)


def read(path: Path = OWN_TABLE) -> tuple[Mount, ...]:
    """The mount table as it is now. Blocking."""
    # A path may hold any byte.
    return parse(path.read_text(errors="surrogateescape"))


async def mount(run: Runner, source: str, target: str, *, filesystem: str, options: Sequence[str]) -> None:
    """Mounts a block device. It takes as long as it takes to replay the file system's log.

    Raises:
        CommandError: The kernel refused; its reason is in the message.
    """
    arguments = ("-o", ",".join(options)) if options else ()
    await run("mount", "-t", filesystem, *arguments, source, target, deadline=None)


async def bind(run: Runner, source: str, target: str, *, options: Sequence[str] = ()) -> None:
    """Makes `source`, a directory or a file, seen at `target` too. `options` ("ro", "noexec") hold there only.

    Raises:
        CommandError: The kernel refused; its reason is in the message. Nothing is mounted.
    """
    await run("mount", "--bind", source, target)
    if not options:
        return
    try:
        # The kernel ignores a bind mount's own options unless it is remounted.
        await run("mount", "-o", ",".join(("remount", "bind", *options)), target)
    except BaseException:
        await unmount(run, target)
        raise


async def unmount(run: Runner, target: str, *, lazy: bool = False, deadline: float | None = None) -> None:
    """Unmounts all that is mounted at `target`; nothing mounted there is no error.

    Args:
        run: Runs `umount`.
        target: The mount point. It is not followed, so it may also lead to a dead file system.
        lazy: Take it out of sight now though it is in use; it goes when the last user does. Flushes nothing.
        deadline: Seconds to flush what is not written yet; None: as long as it takes. Nothing is won by killing an
            `umount` that the kernel keeps waiting, and a second one would only wait behind it.

    Raises:
        CommandError: It is in use, or was not flushed before the deadline.
    """
    for _ in range(_MAX_STACKED):
        if at(target, await table()) is None:
            return
        if lazy:
            await run("umount", "--lazy", "--no-canonicalize", target, deadline=_LAZY_DEADLINE)
        else:
            await run("umount", "--no-canonicalize", target, deadline=deadline)
    raise OSError(f"{target} has more than {_MAX_STACKED} mounts on top of each other")


def _is_node_of(mount: Mount, device: str) -> bool:
    number = device_number(device)
    return bool(number) and device_number(mount.target) == number


def _parse_line(line: str) -> Mount:
    fields, _, rest = line.partition(" - ")
    _, _, device, root, target, options, *_ = fields.split(" ")
    filesystem, source, *_ = rest.split(" ")
    return Mount(
        device=device,
        root=_unescape(root),
        target=_unescape(target),
        options=frozenset(options.split(",")),
        filesystem=filesystem,
        source=_unescape(source),
    )


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), text)
