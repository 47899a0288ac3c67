"""Encrypted images on devices that the kernel maps: opened by dm-crypt, through cryptsetup.

The passphrase goes through a pipe. The volume's key is kept in dm-crypt and not in a keyring of this process, so that
the device can be resized without the passphrase. cryptsetup's locks, which need a /run that can be written to, are left
out: one operation on a volume is under way at a time.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import anyio
import anyio.to_thread

from controller.agent.system.command import CommandError, short
from controller.agent.system.files import file_name, read_attribute

if TYPE_CHECKING:
    from controller.agent.system.command import Runner

PREFIX = "rook-luks-"
"""What the names of its devices begin with, as the device mapper knows them."""

_DEADLINE = 60.0
_MODPROBE_DEADLINE = 30.0


class Feeder(Protocol):
    """Runs a program with something on its standard input; tests put a standin in place of `feed`."""

    async def __call__(self, *argv: str, words: str = "") -> None:
        """Runs `argv`.

        Args:
            argv: The program and its arguments.
            words: What it reads.

        Raises:
            CommandError: It failed, could not be started, or did not end in time.
        """
        ...


async def feed(*argv: str, words: str = "") -> None:
    """The real `Feeder`."""
    # udev's daemon is outside of this container, and would be waited for in vain: its semaphores are the host's.
    environment = {**os.environ, "DM_DISABLE_UDEV": "1"}
    try:
        with anyio.fail_after(_DEADLINE):
            done = await anyio.run_process(
                argv, input=words.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, env=environment
            )
    except TimeoutError:
        raise CommandError(argv[0], f"did not end within {_DEADLINE:g} s: {' '.join(argv)}") from None
    except OSError as error:
        raise CommandError(argv[0], f"cannot be started: {error}") from error
    if done.returncode:
        said = short(done.stderr.decode(errors="replace"))
        raise CommandError(argv[0], f"exit status {done.returncode}: {said}", done.returncode)


class Crypt:
    """Opens and closes encrypted devices.

    Args:
        sys: Where sysfs is mounted.
        dev: Where devices are.
        feeder: Runs cryptsetup.
    """

    def __init__(self, *, sys: Path = Path("/sys"), dev: Path = Path("/dev"), feeder: Feeder = feed) -> None:
        self._sys = sys
        self._dev = dev
        self._feed = feeder
        self._module = ""

    async def load(self, run: Runner) -> None:
        """Loads the kernel's module where it is not loaded yet; one that cannot be is no error."""
        try:
            await run("modprobe", "dm_crypt", deadline=_MODPROBE_DEADLINE)
        except CommandError as error:
            self._module = str(error)

    async def usable(self) -> str:
        """Why no device can be opened on this node; empty when one can."""
        if not await anyio.Path(self._sys / "class/misc/device-mapper").exists():
            missing = "the kernel has no device mapper (/sys/class/misc/device-mapper does not exist"
        elif self._module and not await anyio.Path(self._sys / "module/dm_crypt").exists():
            missing = "the kernel has no dm-crypt (/sys/module/dm_crypt does not exist"
        else:
            return ""
        return f"{missing}; {self._module})" if self._module else f"{missing})"

    def find(self, volume: str) -> str:
        """The opened device of a volume, "/dev/dm-3"; empty: there is none. Blocking."""
        for disk in sorted((self._sys / "block").glob("dm-*")):
            if read_attribute(disk / "dm/name") == _name(volume):
                return f"{self._dev}/{disk.name}"
        return ""

    async def open(self, volume: str, device: str, passphrase: str, *, read_only: bool) -> None:
        """Opens a volume's device.

        Raises:
            CommandError: cryptsetup refused.
        """
        reading = ("--readonly",) if read_only else ()
        argv = ("cryptsetup", "open", "--type", "luks2", "--disable-keyring", "--disable-locks", *reading)
        await self._feed(*argv, "--key-file", "-", device, _name(volume), words=passphrase)

    async def close(self, volume: str) -> None:
        """Closes a volume's device, which nobody uses.

        Raises:
            CommandError: cryptsetup refused.
        """
        await self._feed("cryptsetup", "close", "--disable-locks", _name(volume))

    async def grow(self, volume: str) -> None:
        """Makes a volume's device as large as what is below it.

        Raises:
            CommandError: cryptsetup refused.
        """
        await self._feed("cryptsetup", "resize", "--disable-keyring", "--disable-locks", _name(volume))


def _name(volume: str) -> str:
    return f"{PREFIX}{file_name(volume)}"
