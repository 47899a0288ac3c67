"""Loop devices: attaching, finding and detaching them one by one.

They belong to the whole machine, however many containers see them. `losetup -D` is never used: on a device in use it
silently marks it to vanish later.
"""

import json
import shlex
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
    file: str
    """That file's file system and number in it, as `major:minor inode`; empty if the file cannot be reached any more,
    as when the FUSE process that showed it has died. Such a device serves nobody."""

    @property
    def filesystem(self) -> str:
        """The number, `major:minor`, of the file system on which the file is; empty if that is not known."""
        return self.file.partition(" ")[0]


def attached() -> list[Loop]:
    """All attached loop devices of the machine."""
    output = subprocess.run(
        ["losetup", "--list", "--json", "--output", "NAME,BACK-FILE,BACK-MAJ:MIN,BACK-INO"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return parse(output)


def parse(listed: str) -> list[Loop]:
    """The loop devices in what `losetup --list --json` printed; it prints nothing when there are none."""
    found = json.loads(listed)["loopdevices"] if listed.strip() else []
    return [
        Loop(
            entry["name"],
            (entry["back-file"] or "").removesuffix(" (deleted)"),
            f"{entry['back-maj:min'].strip()} {entry['back-ino']}" if entry["back-maj:min"] else "",
        )
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
    """The loop devices that are mounted, or whose files are, in these running containers and not on the machine itself.

    That is how the node agent's are found: it attaches them to files that a FUSE process shows inside of a node.
    """
    loops = attached()
    here = Mounts.parse(Path("/proc/self/mountinfo").read_text())
    paths = shlex.join(loop.backing for loop in loops if not Path(loop.backing).exists())
    own = []
    for container in containers:
        there = Mounts.parse(_read_in(container, "cat /proc/[0-9]*/mountinfo"))
        files = set(_read_in(container, f"stat --format '%Hd:%Ld %i' {paths}").splitlines()) if paths else set()
        own += [
            loop.device
            for loop in loops
            if loop.device in there.sources - here.sources
            or loop.filesystem in there.filesystems - here.filesystems
            or loop.file in files
        ]
    return own


def _read_in(container: str, command: str) -> str:
    """What a shell command prints in a container; of files that vanish meanwhile or are not there, nothing."""
    return host.engine().run("exec", container, "sh", "-c", command, check=False).stdout


@dataclass(frozen=True)
class Mounts:
    """What is mounted, in one or more mount namespaces."""

    filesystems: frozenset[str]
    """The numbers, `major:minor`, of the file systems."""
    sources: frozenset[str]
    """What they were mounted from, such as `/dev/loop3`."""

    @classmethod
    def parse(cls, mountinfo: str) -> "Mounts":
        """Read the text of mountinfo files as proc(5) has it."""
        halves = [line.partition(" - ") for line in mountinfo.splitlines() if line]
        return cls(
            frozenset(left.split()[2] for left, _, _ in halves), frozenset(right.split()[1] for _, _, right in halves)
        )
