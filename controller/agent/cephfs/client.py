"""One mounted directory of a CephFS in userspace: a process of ceph-fuse(8).

Options are those of the Ceph configuration reference. The process runs in the foreground, so that it is a child that
can be waited for.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import msgspec
import structlog

from controller.agent.ceph import admin_socket
from controller.agent.ceph.credentials import key_descriptor
from controller.agent.system import mounts
from controller.agent.system.child import Child
from controller.agent.system.command import short
from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from controller.agent.cephfs.protocol import Directory, Mount

START_DEADLINE = 85.0
"""Seconds until a directory is mounted. Longer than the client's own wait, so that its error is the one told."""

STOP_DEADLINE = 30.0
"""Seconds to flush, and to leave the file system, once it is unmounted."""

_MOUNT_TIMEOUT = 70
"""Seconds that a client waits. MDS daemons keep for a dead one what it had locked for 60 s (`session_timeout`)."""

_STATUS_DEADLINE = 5.0
_POLL = 0.05

_PREFIX = re.compile(r"^(?:ceph-fuse\[\d+\]: |[-\d]+T\S+ \S+ +-?\d+ )")
"""What stands before the words of ceph-fuse, and of its log."""

_NO_ERROR = re.compile(r"starting ceph client|starting fuse|init, (?:newargv|args)")
"""What a process also writes when all is well. Two threads may write one line."""

_CRASH = "what():"
"""What stands before the reason of a crash; a stack trace comes after it."""

_NO_MON = "failed to fetch mon config"

_log = structlog.get_logger(__name__)


class FuseError(Exception):
    """A directory could not be mounted, or its process did not end; the message says which one and why."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The files of one process, in a directory that no other uses."""

    directory: Path

    @property
    def config(self) -> Path:
        """The client's configuration."""
        return self.directory / "ceph.conf"

    @property
    def socket(self) -> Path:
        """The client's admin socket."""
        return self.directory / "client.asok"

    def remove(self) -> None:
        """Removes all of them. Blocking."""
        for path in (self.config, self.socket):
            path.unlink(missing_ok=True)
        if self.directory.exists():
            self.directory.rmdir()


type Launch = Callable[[Mount, Paths], Sequence[str]]
"""The command line of a process."""


class _Status(msgspec.Struct, frozen=True, kw_only=True):
    """What of a client's `status` is needed here."""

    addr_str: str = ""
    blocklisted: bool = False


def command_line(command: Mount, paths: Paths) -> Sequence[str]:
    """The real `Launch`: all else is in the configuration."""
    options = ("-o", ",".join(command.options)) if command.options else ()
    return (
        "ceph-fuse",
        "-f",
        "-c",
        str(paths.config),
        "-n",
        f"client.{command.credentials.user}",
        *options,
        command.target,
    )


def client_config(directory: Directory, paths: Paths, descriptor: int) -> str:
    """The configuration of a client. The key is read from a descriptor: it is no argument and in no file.

    The kernel checks permissions (`fuse_default_permissions`): the client could not, since it does not see the groups
    of processes in other containers, and with them a pod's fsGroup.
    """
    return (
        "[global]\n"
        f"mon_host = {','.join(directory.monitors)}\n"
        f"keyfile = /proc/self/fd/{descriptor}\n"
        f"client_fs = {directory.filesystem}\n"
        f"client_mountpoint = {directory.path}\n"
        f"client_mount_timeout = {_MOUNT_TIMEOUT}\n"
        "fuse_default_permissions = true\n"
        f"run_dir = {paths.directory}\n"
        f"admin_socket = {paths.socket}\n"
        "log_file =\n"
        "log_to_stderr = false\n"
    )


def reason(words: str) -> str:
    """What a person needs of a process' last words; empty when it said nothing."""
    said = [_PREFIX.sub("", line.strip()) for line in words.splitlines()]
    said = [line for line in said if line and not _NO_ERROR.search(line)]
    failed = [line for line in said if "mount failed" in line or line.startswith(_CRASH)]
    last = (failed or said or [""])[-1].removeprefix(_CRASH)
    if last.startswith(_NO_MON):
        return "no mon took its client: none answers, or none knows the user with this key"
    return short(last)


class FuseClient:
    """A running process that serves one directory.

    Attributes:
        command: What it was started for.
        paths: Its files.
        child: The process.
        address: The client's address with its nonce, as the MDS has it; empty when it is not known.
    """

    def __init__(self, command: Mount, paths: Paths, child: Child) -> None:
        self.command = command
        self.paths = paths
        self.child = child
        self.address = ""

    @classmethod
    async def open(cls, command: Mount, paths: Paths, *, launch: Launch = command_line) -> FuseClient:
        """Starts the process and waits until the directory is mounted.

        Raises:
            FuseError: It cannot be mounted. No process is left behind, but files and, where it came that far, a dead
                mount.
        """
        paths.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = key_descriptor(command.credentials)
        except ValueError as error:
            raise FuseError(str(error)) from None
        try:
            paths.config.write_text(client_config(command.directory, paths, descriptor))
            process = await anyio.open_process(
                launch(command, paths), stdin=None, stdout=None, start_new_session=True, pass_fds=(descriptor,)
            )
        except OSError as error:
            raise FuseError(f"ceph-fuse cannot be started: {error}") from error
        finally:
            os.close(descriptor)
        client = cls(command, paths, Child(process))
        try:
            with anyio.fail_after(START_DEADLINE):
                await client._mounted()
            await client._learn_address()
        except BaseException as error:
            await client.kill()
            if isinstance(error, TimeoutError):
                raise FuseError(f"{command.directory} was not mounted after {START_DEADLINE:g} s") from None
            raise
        return client

    async def problem(self) -> str:
        """Why I/O fails; empty while it works, as far as the client knows."""
        try:
            return "Ceph has put its client on the blocklist" if (await self._status()).blocklisted else ""
        except (*admin_socket.ERRORS, TimeoutError):
            return ""  # whether the file system answers is asked of the file system

    async def ended(self) -> str:
        """Waits until the process has ended, and returns why, as far as it said so."""
        status, words = await self.child.ended()
        return reason(words) or f"ceph-fuse ended with status {status}"

    async def close(self) -> None:
        """Waits until the process has flushed and ended, which it does once it is mounted nowhere.

        Raises:
            FuseError: It did not in time; it was left to go on.
        """
        if not await self.child.ends_within(STOP_DEADLINE):
            raise FuseError(
                f"ceph-fuse (process {self.child.pid}) did not flush and end within {STOP_DEADLINE:g} s after "
                f"{self.command.target} was unmounted: the cluster does not answer, or the volume is still mounted "
                "elsewhere"
            )

    async def kill(self) -> None:
        """Ends the process without a flush."""
        await self.child.kill()

    async def _mounted(self) -> None:
        while mounts.at(self.command.target, await mounts.table()) is None:
            if not self.child.runs:
                raise FuseError(f"{self.command.directory} cannot be mounted: {await self.ended()}")
            await anyio.sleep(_POLL)

    async def _learn_address(self) -> None:
        try:
            self.address = (await self._status()).addr_str
        except (*admin_socket.ERRORS, TimeoutError) as error:
            _log.warning("client's address is not known", process=self.child.pid, error=brief(error))

    async def _status(self) -> _Status:
        with anyio.fail_after(_STATUS_DEADLINE):
            return msgspec.json.decode(await admin_socket.ask(self.paths.socket, "status"), type=_Status)
