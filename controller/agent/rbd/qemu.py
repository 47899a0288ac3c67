"""One RBD image as a file of this node: a qemu-storage-daemon that exports it by FUSE.

The daemon lives in librbd: it takes the image's exclusive lock before it writes, and leaves the image when it ends.
Commands are those of the QEMU Machine Protocol (QMP) reference.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import msgspec
import structlog

from controller.agent.ceph import admin_socket
from controller.agent.ceph.credentials import key_descriptor, memory_file
from controller.agent.rbd.launch import Descriptors, Paths, client_config, command_line
from controller.agent.system import mounts
from controller.agent.system.child import Child
from controller.agent.system.command import short
from controller.framework.text import brief

if TYPE_CHECKING:
    from anyio.abc import SocketStream

    from controller.agent.ceph.credentials import Credentials
    from controller.agent.rbd.launch import Launch
    from controller.agent.rbd.protocol import Image
    from controller.agent.system.command import Runner

START_DEADLINE = 45.0
"""Seconds until an image is open. Longer than the client's own wait for a mon, so that its error is the one told."""

STOP_DEADLINE = 30.0
"""Seconds to flush and close an image."""

_QMP_DEADLINE = 15.0
_POLL = 0.02
"""Seconds between two looks whether a daemon has come up, or a file has grown: neither can be waited on."""

_NO_THREAD = re.compile(
    r"qemu_thread_create|pthread_create|Thread::try_create|Resource temporarily unavailable|can't start new thread"
)
"""What QEMU, Ceph, the C++ library and Python say when the kernel refuses another thread."""

_NOT_OPENED = "encryption load fail: Operation not permitted"
"""What QEMU says where librbd finds no key of the image that the passphrase opens."""

_LOCKED = (
    "the image is not opened by the passphrase; expected the encryptionPassphrase of the Secret that it was made with"
)

_LEARNED = re.compile(r" learned my addr (?:v[12]:|any:)?(\S+:0/\d+) ")
"""How Ceph's messenger tells its address, which it hears from the first mon that it speaks to."""

_log = structlog.get_logger(__name__)


class QemuError(Exception):
    """An image could not be opened, or a command on it failed; the message has the daemon's own words."""


def reason(words: str) -> str:
    """What a person needs of a daemon's last words; empty when it said nothing."""
    if _NO_THREAD.search(words):
        return (
            "the node has no room for another thread (Resource temporarily unavailable): its limit of tasks is "
            "reached; it needs fewer pods with volumes, or a higher limit (kernel.threads-max, pids.max)"
        )
    said = [line for line in words.strip().splitlines() if line.startswith("qemu-storage-daemon: ")]
    # The daemon repeats the option that failed before it says why.
    why = short((said[-1] if said else words).strip().rpartition("}: ")[2])
    return f"{why}: {_LOCKED}" if _NOT_OPENED in why else why


class Export:
    """A running daemon that exports one image.

    Attributes:
        paths: Its files.
        child: The daemon.
        address: The Ceph client's address with its nonce, "10.0.0.1:0/3456", as Ceph lists it among an image's
            watchers; empty when it is not known.
    """

    def __init__(self, paths: Paths, child: Child) -> None:
        self.paths = paths
        self.child = child
        self.address = ""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.child.pid

    @classmethod
    async def open(
        cls,
        image: Image,
        credentials: Credentials,
        paths: Paths,
        *,
        read_only: bool,
        passphrase: str = "",
        launch: Launch = command_line,
    ) -> Export:
        """Starts the daemon and waits until the image is there.

        Args:
            image: The image.
            credentials: The Ceph user.
            paths: Its files.
            read_only: Refuse writes.
            passphrase: What opens an encrypted image; empty: it is not encrypted.
            launch: Gives the command line.

        Raises:
            QemuError: The image cannot be opened. No daemon is left behind, but files are: `clean` removes them.
        """
        paths.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        paths.config.write_text(client_config(image, paths))
        paths.image.touch(mode=0o600)
        try:
            key = key_descriptor(credentials)
        except ValueError as error:
            raise QemuError(str(error)) from None
        secrets = Descriptors(key, memory_file("passphrase", passphrase) if passphrase else None)
        try:
            argv = launch(image, paths, credentials.user, secrets, read_only)
            process = await anyio.open_process(
                argv, stdin=None, stdout=None, start_new_session=True, pass_fds=secrets.numbers
            )
        except OSError as error:
            raise QemuError(f"qemu-storage-daemon cannot be started: {error}") from error
        finally:
            for descriptor in secrets.numbers:
                os.close(descriptor)
        export = cls(paths, Child(process))
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
            if not self.child.runs:
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
        status, words = await self.child.ended()
        said = reason(words)
        if said != words.strip():
            _log.warning("daemon ended", process=self.pid, status=status, words=words)
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
        if self.child.runs:
            self.child.process.terminate()
        if not await self.child.ends_within(STOP_DEADLINE):
            raise QemuError(
                f"qemu-storage-daemon (process {self.pid}) did not flush and end within {STOP_DEADLINE:g} s"
            )

    async def kill(self) -> None:
        """Ends the daemon without a flush."""
        await self.child.kill()

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
