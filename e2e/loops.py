"""Loop devices: attaching, finding and detaching them one by one.

They belong to the whole machine, however many containers see them. `losetup -D` is never used: on a device in use it
silently marks it to vanish later.
"""

import json
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from e2e import host


@dataclass(frozen=True)
class Loop:
    """An attached loop device."""

    device: str
    backing: str
    """The path of the file behind it, as whoever attached it saw it."""
    filesystem: str
    """The number, `major:minor`, of the file system on which that file is."""


def attached() -> list[Loop]:
    """All attached loop devices of the machine."""
    output = subprocess.run(
        ["losetup", "--list", "--json", "--output", "NAME,BACK-FILE,BACK-MAJ:MIN"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return parse(output)


def parse(listed: str) -> list[Loop]:
    """The loop devices in what `losetup --list --json` printed; it prints nothing when there are none."""
    found = json.loads(listed)["loopdevices"] if listed.strip() else []
    return [
        Loop(entry["name"], (entry["back-file"] or "").removesuffix(" (deleted)"), entry["back-maj:min"].strip())
        for entry in found
    ]


def attach(backing: Path) -> str:
    """Attach a free loop device to a file and return its name."""
    output = subprocess.run(["losetup", "--find", "--show", str(backing)], check=True, capture_output=True, text=True)
    return output.stdout.strip()


def detach(device: str, seconds: float) -> None:
    """Detach a loop device and wait until the kernel has let go of it; `RuntimeError` after `seconds`."""
    deadline = time.monotonic() + seconds
    while any(loop.device == device for loop in attached()):
        result = subprocess.run(["losetup", "--detach", device], capture_output=True, text=True)
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"{device} is still attached after {seconds} s: {result.stderr.strip() or 'it is in use'}"
            )
        time.sleep(0.1)


def made_in_containers(containers: Iterable[str]) -> list[str]:
    """The loop devices whose files lie on file systems that only these running containers have mounted.

    That is how the node agent's are found: it attaches them to files that a FUSE process shows inside of a node.
    """
    own = {filesystem for container in containers for filesystem in _mounted_in(container)}
    own -= set(mounted(Path("/proc/self/mountinfo").read_text()))
    return [loop.device for loop in attached() if loop.filesystem in own]


def _mounted_in(container: str) -> list[str]:
    result = host.engine().run("exec", container, "cat", "/proc/1/mountinfo", check=False)
    return mounted(result.stdout) if result.returncode == 0 else []


def mounted(mountinfo: str) -> list[str]:
    """The numbers, `major:minor`, of all file systems in a mountinfo file."""
    return [line.split()[2] for line in mountinfo.splitlines() if line]
