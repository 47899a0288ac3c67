"""Device discovery: on this machine's own devices, and on labels and tables in the form that Ceph and Linux write."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import msgspec
import pytest

from controller.agent import bluestore, loop, mounts
from controller.agent.command import run
from controller.agent.discovery import Discovery
from controller.apis.node import BlockDevice
from tests.unit.agent.standin import needs_loop_devices

OSD_UUID = "d8d551c3-6205-4bf5-b120-3f2467df96ea"
FSID = "48fa3355-5921-4ffc-ac93-fe6f90f2dda0"
OWN_MOUNTS = Path("/proc/self/mountinfo")


def label(fields: dict[str, str]) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<I", len(value)) + value.encode()

    body = bytes(16) + struct.pack("<QII", 1 << 30, 0, 0) + text("main") + struct.pack("<I", len(fields))
    body += b"".join(text(key) + text(value) for key, value in fields.items())
    header = f"bluestore block device\n{OSD_UUID}\n".encode()
    return (header + struct.pack("<BBI", 2, 1, len(body)) + body).ljust(bluestore.LABEL_SIZE, b"\0")


def test_bluestore_label() -> None:
    block = label({"bfm_blocks": "1", "ceph_fsid": FSID, "osd_key": "AQ==", "whoami": "12"})
    assert bluestore.parse(block) == bluestore.Label(OSD_UUID, FSID, 12)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (bytes(4096), None),
        (b"", None),
        (label({}), bluestore.Label(OSD_UUID)),
        (label({"whoami": "x"}), bluestore.Label(OSD_UUID)),
        (label({"whoami": "1", "ceph_fsid": FSID})[:120], bluestore.Label(OSD_UUID)),
        (label({"key": "v" * 5000}), bluestore.Label(OSD_UUID)),
    ],
)
def test_bluestore_labels_that_are_odd(block: bytes, expected: bluestore.Label | None) -> None:
    assert bluestore.parse(block) == expected


def test_mount_table() -> None:
    table = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        r"30 22 8:2 /sub /mnt/a\040b\134c ro,nosuid - xfs /dev/sda2 rw,noquota" + "\n"
        "31 22 0:5 /loop3 /var/lib/kubelet/x rw master:2 propagate_from:1 - devtmpfs udev rw\n"
    )
    root, second, device = mounts.parse(table)
    assert (root.target, root.filesystem, root.source, root.read_only) == ("/", "ext4", "/dev/sda1", False)
    assert (second.target, second.root, second.read_only) == ("/mnt/a b\\c", "/sub", True)
    assert (device.device, device.root) == ("0:5", "/loop3")
    assert mounts.at("/", (root, second, device)) == root
    assert mounts.at("/nowhere", (root,)) is None


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[str]:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    found = await loop.attach(run, path, read_only=False)
    yield found
    for mount in mounts.read():
        if mount.source == found:
            await mounts.unmount(run, mount.target)
    await loop.detach(run, found)


def discovery(hidden: str = "/nowhere/") -> Discovery:
    return Discovery(run, hidden=hidden, host_mounts=OWN_MOUNTS)


async def look(device: str) -> BlockDevice:
    return next(d for d in await discovery().devices() if d.path == device)


@needs_loop_devices
async def test_what_is_on_a_device(device: str, tmp_path: Path) -> None:
    fingerprint = discovery().fingerprint()
    empty = await look(device)
    assert (empty.type, empty.size, empty.signatures, empty.filesystem) == ("loop", 1 << 30, (), "")
    assert (empty.mountpoints, empty.osd_id) == ((), -1)

    await run("mkfs.ext4", "-q", device)
    assert (await look(device)).filesystem == "ext4"
    assert discovery().fingerprint() != fingerprint  # it was written to

    target = tmp_path / "mnt"
    target.mkdir()
    await mounts.mount(run, device, str(target), filesystem="ext4", options=())
    assert (await look(device)).mountpoints == (str(target),)
    await mounts.unmount(run, str(target))

    await run("wipefs", "--all", device)
    await anyio.Path(device).write_bytes(label({"ceph_fsid": FSID, "whoami": "3", "osd_key": "AQsecret=="}))
    osd = await look(device)
    assert (osd.signatures, osd.filesystem) == (("ceph_bluestore",), "")
    assert (osd.ceph_fsid, osd.osd_id, osd.osd_uuid) == (FSID, 3, OSD_UUID)
    assert b"AQsecret" not in msgspec.json.encode(osd)


@needs_loop_devices
async def test_volumes_of_pods_are_left_out(device: str, tmp_path: Path) -> None:
    found = [d.path for d in await discovery(hidden=str(tmp_path)).devices()]
    assert device not in found


@needs_loop_devices
async def test_a_device_that_cannot_be_read_never_looks_empty(device: str) -> None:
    async def unreadable(*argv: str, deadline: float = 30.0, ok: tuple[int, ...] = (0,)) -> object:
        if argv[0] == "wipefs":
            raise OSError("Input/output error")
        return await run(*argv, deadline=deadline, ok=ok)

    looked = Discovery(unreadable, hidden="/nowhere/", host_mounts=OWN_MOUNTS)  # type: ignore[arg-type]
    found = next(d for d in await looked.devices() if d.path == device)
    assert (found.signatures, found.filesystem) == (("unreadable",), "")
