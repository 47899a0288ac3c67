"""Loop devices: reading what losetup and mountinfo say, and telling a node's devices from the machine's."""

import json
from pathlib import Path

import pytest

from e2e import loops

LISTED = json.dumps(
    {
        "loopdevices": [
            {"name": "/dev/loop0", "back-file": "/cache/disk.img", "back-maj:min": "254:0  ", "back-ino": 7},
            {"name": "/dev/loop1", "back-file": "/gone.img (deleted)", "back-maj:min": "254:0  ", "back-ino": 8},
            {"name": "/dev/loop2", "back-file": "/", "back-maj:min": None, "back-ino": None},
        ]
    }
)
MOUNTINFO = (
    "415 360 0:416 / /var/lib/kubelet/x/image rw,relatime shared:9 - fuse /dev/fuse rw,user_id=0\n"
    "416 360 7:9 / /var/lib/kubelet/x/m rw,relatime - ext4 /dev/loop9 rw\n"
)


def test_a_device_whose_file_cannot_be_reached_has_no_file() -> None:
    found = loops.parse(LISTED)
    assert [loop.device for loop in found] == ["/dev/loop0", "/dev/loop1", "/dev/loop2"]
    assert [loop.backing for loop in found] == ["/cache/disk.img", "/gone.img", "/"]
    assert [loop.file for loop in found] == ["254:0 7", "254:0 8", ""]
    assert [loop.filesystem for loop in found] == ["254:0", "254:0", ""]


def test_losetup_prints_nothing_when_nothing_is_attached() -> None:
    assert loops.parse("\n") == []


def test_mounts_are_file_systems_and_sources() -> None:
    found = loops.Mounts.parse(MOUNTINFO)
    assert found.filesystems == {"0:416", "7:9"}
    assert found.sources == {"/dev/fuse", "/dev/loop9"}


def loop(device: str, file: str, backing: str = "/no/such/file") -> loops.Loop:
    return loops.Loop(device, backing, file)


def test_a_nodes_devices_are_those_on_its_mounts_or_files_and_never_the_machines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.img"
    disk.touch()
    machine = Path("/proc/self/mountinfo").read_text().split()[2]
    attached = [
        loop("/dev/loop1", "0:416 1"),  # on the node's FUSE mount
        loop("/dev/loop9", ""),  # mounted in the node, its FUSE process dead
        loop("/dev/loop3", "254:77 5"),  # a plain file in the node
        loop("/dev/loop4", "254:77 6"),  # a plain file elsewhere on the same file system
        loop("/dev/loop5", f"{machine} 1", str(disk)),  # a file of the machine
    ]
    monkeypatch.setattr(loops, "attached", lambda: attached)

    def answer(container: str, command: str) -> str:
        assert container == "node"
        if command.startswith("cat"):
            return MOUNTINFO + f"1 0 {machine} / / rw - ext4 /dev/vda rw\n"
        assert str(disk) not in command
        return "254:77 5\n"

    monkeypatch.setattr(loops, "_read_in", answer)
    assert loops.made_in_containers(["node"]) == ["/dev/loop1", "/dev/loop9", "/dev/loop3"]


def test_a_device_that_stays_attached_is_an_error_that_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    losetup = tmp_path / "losetup"
    losetup.write_text(f"#!/bin/sh\n[ \"$1\" = --list ] && echo '{LISTED}' && exit\necho 'busy' >&2\nexit 1\n")
    losetup.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(RuntimeError, match="/dev/loop0 is still attached after 0 s: busy"):
        loops.detach("/dev/loop0", 0)


def test_a_device_that_is_gone_needs_no_detaching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "attached", list)
    loops.detach("/dev/loop0", 0)
