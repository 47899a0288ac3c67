"""One RBD image as a file of this node: a qemu-storage-daemon that exports it by FUSE.

The daemon lives in librbd: it takes the image's exclusive lock before it writes, and leaves the image when it ends.
Options are those of qemu-storage-daemon(1), commands those of the QEMU Machine Protocol (QMP) reference.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import msgspec
import structlog

from controller.agent.ceph import admin_socket
from controller.agent.ceph.credentials import key_descriptor
from controller.agent.ceph.kernel import is_location
from controller.agent.system import mounts
from controller.agent.system.command import short
from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from anyio.abc import Process, SocketStream

    from controller.agent.ceph.credentials import Credentials
    from controller.agent.rbd.protocol import Image
    from controller.agent.system.command import Runner

START_DEADLINE = 45.0
"""Seconds until an image is open. Longer than the client's own wait for a mon, so that its error is the one told."""

STOP_DEADLINE = 30.0
"""Seconds to flush and close an image."""

_MON_DEADLINE = 30
_QMP_DEADLINE = 15.0
_POLL = 0.02
"""Seconds between two looks whether a daemon has come up, or a file has grown: neither can be waited on."""

_STDERR_KEPT = 16_000
"""Characters of a daemon's last words that are kept: a crash of librbd comes with a long backtrace."""

_NO_THREAD = re.compile(
    r"qemu_thread_create|pthread_create|Thread::try_create|Resource temporarily unavailable|can't start new thread"
)
"""What QEMU, Ceph, the C++ library and Python say when the kernel refuses another thread."""

_LEARNED = re.compile(r" learned my addr (?:v[12]:|any:)?(\S+:0/\d+) ")
"""How Ceph's messenger tells its address, which it hears from the first mon that it speaks to."""

_log = structlog.get_logger(__name__)


class QemuError(Exception):
    """An image could not be opened, or a command on it failed; the message has the daemon's own words."""


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


type Launch = Callable[[Image, Paths, str, int, bool], Sequence[str]]
"""The command line of an export: image, files, Ceph user, descriptor number of the key, read-only."""


def command_line(image: Image, paths: Paths, user: str, key_descriptor: int, read_only: bool) -> Sequence[str]:
    """The real `Launch`. The key is read from a descriptor: it is no argument and in no file."""
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
        f"secret,id=key,format=base64,file=/proc/self/fd/{key_descriptor}",
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


def reason(words: str) -> str:
    """What a person needs of a daemon's last words; empty when it said nothing."""
    if _NO_THREAD.search(words):
        return (
            "the node has no room for another thread (Resource temporarily unavailable): its limit of tasks is "
            "reached; it needs fewer pods with volumes, or a higher limit (kernel.threads-max, pids.max)"
        )
    said = [line for line in words.strip().splitlines() if line.startswith("qemu-storage-daemon: ")]
    # The daemon repeats the option that failed before it says why.
    return short((said[-1] if said else words).strip().rpartition("}: ")[2])


class Export:
    """A running daemon that exports one image.

    Attributes:
        paths: Its files.
        process: The daemon.
        address: The Ceph client's address with its nonce, "10.0.0.1:0/3456", as Ceph lists it among an image's
            watchers; empty when it is not known.
    """

    def __init__(self, paths: Paths, process: Process) -> None:
        self.paths = paths
        self.process = process
        self.address = ""
        self._last_words = ""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @classmethod
    async def open(
        cls, image: Image, credentials: Credentials, paths: Paths, *, read_only: bool, launch: Launch = command_line
    ) -> Export:
        """Starts the daemon and waits until the image is there.

        Raises:
            QemuError: The image cannot be opened. No daemon is left behind, but files are: `clean` removes them.
        """
        paths.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        paths.config.write_text(client_config(image, paths))
        paths.image.touch(mode=0o600)
        try:
            descriptor = key_descriptor(credentials)
        except ValueError as error:
            raise QemuError(str(error)) from None
        try:
            argv = launch(image, paths, credentials.user, descriptor, read_only)
            process = await anyio.open_process(
                argv, stdin=None, stdout=None, start_new_session=True, pass_fds=(descriptor,)
            )
        except OSError as error:
            raise QemuError(f"qemu-storage-daemon cannot be started: {error}") from error
        finally:
            os.close(descriptor)
        export = cls(paths, process)
        try:
            with anyio.fail_after(START_DEADLINE):
                await export._opened(image)
                await export._learn_address()
        except BaseException as error:
            await export.kill()
            if isinstance(error, TimeoutError):
                raise QemuError(f"image {image} was not open after {START_DEADLINE:g} s") from None
            raise
        return export

    async def _opened(self, image: Image) -> None:
        while True:
            if self.process.returncode is not None:
                raise QemuError(f"image {image} cannot be opened: {await self.ended()}")
            if self.paths.monitor.exists():
                try:
                    await self._command("query-version")
                except OSError:  # the socket is bound, but not listening yet
                    pass
                else:
                    return
            await anyio.sleep(_POLL)

    async def _learn_address(self) -> None:
        """Reads the client's address from its log, and ends the log. Without it, only fencing is less exact."""
        try:
            await self._tell_client("config set", var="debug_ms", val=["0/0"])
            await self._tell_client("log flush")
            found = _LEARNED.findall(await anyio.Path(self.paths.log).read_text(errors="replace"))
            await self._tell_client("config set", var="log_file", val=[""])
            await anyio.Path(self.paths.log).unlink(missing_ok=True)
        except admin_socket.ERRORS as error:
            _log.warning("client's address is not known", process=self.pid, error=brief(error))
            return
        # The first client of a process only fetches the cluster's settings, and ends.
        self.address = found[-1] if found else ""

    async def _tell_client(self, prefix: str, **arguments: object) -> None:
        await admin_socket.ask(self.paths.client, prefix, **arguments)

    async def ended(self) -> str:
        """Waits until the daemon has ended, and returns why, as far as it said so."""
        if self.process.stderr is not None:
            async for chunk in self.process.stderr:
                self._last_words = (self._last_words + chunk.decode(errors="replace"))[-_STDERR_KEPT:]
        status = await self.process.wait()
        said = reason(self._last_words)
        if said != self._last_words.strip():
            _log.warning("daemon ended", process=self.pid, status=status, words=self._last_words)
        return said or f"qemu-storage-daemon ended with status {status}"

    async def grow(self, size: int) -> None:
        """Makes the daemon see that the image has `size` bytes, and waits until the file has.

        Raises:
            QemuError: It refused, or the file kept its size.
        """
        await self._command("block_resize", {"node-name": "image", "size": size})
        with anyio.move_on_after(_QMP_DEADLINE):
            # FUSE caches a file's size for a second.
            while (await anyio.Path(self.paths.image).stat()).st_size < size:  # noqa: ASYNC110
                await anyio.sleep(_POLL)
            return
        raise QemuError(f"{self.paths.image} did not grow to {size} bytes within {_QMP_DEADLINE:g} s")

    async def close(self) -> None:
        """Flushes and closes the image, and ends the daemon.

        Raises:
            QemuError: It did not end in time, as when the cluster is not reachable; it was left to go on.
        """
        if self.process.returncode is None:
            self.process.terminate()
            with anyio.move_on_after(STOP_DEADLINE):
                await self.process.wait()
        if self.process.returncode is None:
            raise QemuError(
                f"qemu-storage-daemon (process {self.pid}) did not flush and end within {STOP_DEADLINE:g} s"
            )

    async def kill(self) -> None:
        """Ends the daemon without a flush."""
        with anyio.CancelScope(shield=True):
            if self.process.returncode is None:
                self.process.kill()
            with anyio.move_on_after(STOP_DEADLINE):
                await self.process.wait()

    async def _command(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        with anyio.move_on_after(_QMP_DEADLINE):
            async with await anyio.connect_unix(self.paths.monitor) as stream:
                buffered = _Lines(stream)
                await buffered.answer()  # the greeting
                await _say(stream, {"execute": "qmp_capabilities"})
                await buffered.answer()
                await _say(stream, {"execute": name, "arguments": arguments or {}})
                answer = await buffered.answer()
                if "error" in answer:
                    raise QemuError(
                        f"qemu-storage-daemon refused {name}: {answer['error'].get('desc', answer['error'])}"
                    )
                return
        raise QemuError(f"qemu-storage-daemon did not answer {name} within {_QMP_DEADLINE:g} s")


class _Lines:
    """QMP's answers: one JSON object a line, events between them left out."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def answer(self) -> dict[str, Any]:
        while True:
            while b"\n" not in self._buffer:
                try:
                    self._buffer += await self._stream.receive()
                except anyio.EndOfStream:
                    raise QemuError("qemu-storage-daemon closed its monitor") from None
            line, _, self._buffer = self._buffer.partition(b"\n")
            message = msgspec.json.decode(line, type=dict[str, Any])
            if "event" not in message:
                return message


async def _say(stream: SocketStream, message: dict[str, Any]) -> None:
    await stream.send(msgspec.json.encode(message) + b"\n")


def _json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


async def clean(run: Runner, paths: Paths) -> None:
    """Removes what an export that has ended left behind: a dead FUSE mount when it was killed, and its files."""
    # The loop device is gone or dead by now: nobody else has the file open.
    await mounts.unmount(run, str(paths.image), lazy=True)
    await anyio.to_thread.run_sync(_remove_files, paths)


def _remove_files(paths: Paths) -> None:
    # The image's file is only the empty one that was below the FUSE mount.
    for path in (paths.monitor, paths.config, paths.client, paths.log, paths.image):
        path.unlink(missing_ok=True)
    if paths.directory.exists():
        paths.directory.rmdir()
