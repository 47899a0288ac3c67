"""File systems of the node's kernel: whether it has one, and its module, loaded where that is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from controller.agent.system.command import CommandError, run

if TYPE_CHECKING:
    from controller.agent.system.command import Runner

_MODPROBE_DEADLINE = 30.0


class KernelFilesystem:
    """A type of file system of the kernel.

    Args:
        name: The type, as /proc/filesystems has it.
        module: The kernel module that it is in.
        runner: Runs the system's tools.
        proc: Where proc(5) is.
    """

    def __init__(self, name: str, module: str, *, runner: Runner = run, proc: Path = Path("/proc")) -> None:
        self._name, self._module, self._run = name, module, runner
        self._filesystems = proc / "filesystems"
        self._why = "is it a module that is not loaded?"

    async def usable(self) -> str:
        """Why the kernel cannot mount it now; empty when it can."""
        known = (await anyio.Path(self._filesystems).read_text()).split()
        return "" if self._name in known else f"the kernel has no {self._name} file system ({self._why})"

    async def load(self) -> None:
        """Loads it where it is a module that is not loaded yet; one that cannot be is no error."""
        if not await self.usable():
            return
        try:
            await self._run("modprobe", self._module, deadline=_MODPROBE_DEADLINE)
        except CommandError as error:
            self._why = str(error)
