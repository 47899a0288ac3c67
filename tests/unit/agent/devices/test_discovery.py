"""Device discovery: on this machine's own devices, and on labels and tables in the form that Ceph and Linux write."""

from __future__ import annotations

import struct
import threading
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import anyio
import anyio.lowlevel
import msgspec
import pytest

from controller.agent.devices import bluestore
from controller.agent.devices import discovery as discovery_module
from controller.agent.devices.discovery import Discovery
from controller.agent.system import loop, mounts
from controller.agent.system.command import Done, run
from controller.apis.rook.node_report import BlockDevice
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
    fingerprint = await discovery().fingerprint()
    empty = await look(device)
    assert (empty.type, empty.size, empty.signatures, empty.filesystem) == ("loop", 1 << 30, (), "")
    assert (empty.mountpoints, empty.osd_id) == ((), -1)

    await run("mkfs.ext4", "-q", device)
    assert (await look(device)).filesystem == "ext4"
    assert await discovery().fingerprint() != fingerprint  # it was written to

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


class Tree:
    """A /dev, a /sys, a mount table and an lsblk, made up."""

    def __init__(self, root: Path) -> None:
        self.dev, self.sys, self.mounts = root / "dev", root / "sys", root / "mountinfo"
        (self.dev / "mapper").mkdir(parents=True)
        self.mounts.touch()
        self.rows: list[dict[str, object]] = []
        self.asked: list[str] = []

    def add(self, name: str, *, kind: str = "disk", dm: str = "", uuid: str = "", links: tuple[str, ...] = ()) -> None:
        device, sysfs = self.dev / name, self.sys / "block" / name.replace("/", "!")
        device.parent.mkdir(parents=True, exist_ok=True)
        device.write_bytes(bytes(8192))
        (sysfs / "holders").mkdir(parents=True)
        (sysfs / "dev").write_text(f"253:{len(self.rows)}\n")
        (sysfs / "stat").write_text("0 0 0 0 7 0\n")
        path = self.dev / "mapper" / dm if dm else device
        if dm:
            (sysfs / "dm").mkdir()
            (sysfs / "dm/name").write_text(dm)
            (sysfs / "dm/uuid").write_text(uuid)
            path.symlink_to(device)
        for link in links:
            place = self.dev / link
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(device)
        self.rows.append({"name": dm or name, "kname": name, "path": str(path), "size": 100 << 30, "type": kind})

    def holds(self, name: str, holder: str) -> None:
        (self.sys / "block" / name / "holders" / holder).touch()

    async def run(self, *argv: str, deadline: float | None = None, ok: Collection[int] = (0,)) -> Done:
        self.asked.append(argv[0])
        return Done(0, msgspec.json.encode({"blockdevices": self.rows}) if argv[0] == "lsblk" else b"")

    def discovery(self) -> Discovery:
        return Discovery(self.run, hidden="/nowhere/", host_mounts=self.mounts, sys=self.sys, dev=self.dev)

    async def found(self) -> dict[str, BlockDevice]:
        return {device.name: device for device in await self.discovery().devices()}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


async def test_what_an_encrypted_volume_of_a_pod_decrypts_to_is_left_out(tree: Tree) -> None:
    tree.add("dm-0", kind="crypt", dm="rook-luks-1", uuid="CRYPT-LUKS2-a")
    tree.add("dm-1", kind="crypt", dm="own", uuid="CRYPT-LUKS2-b")
    tree.add("dm-2", kind="lvm", dm="on-that", uuid="LVM-c")
    for name, below in (("dm-0", "rbd0"), ("dm-1", "sda"), ("dm-2", "dm-0")):
        (tree.sys / "block" / name / "slaves" / below).mkdir(parents=True)
    assert set(await tree.found()) == {"dm-1"}


async def test_devices_of_the_device_mapper_go_by_the_kernels_name_and_by_all_their_links(tree: Tree) -> None:
    tree.add("dm-0", kind="lvm", dm="vg--x-osd1", uuid="LVM-aaaa", links=("disk/by-id/dm-name-vg--x-osd1", "vg-x/osd1"))
    tree.add("dm-1", kind="lvm", dm="vg--x-home", uuid="LVM-bbbb")
    tree.mounts.write_text(f"30 22 253:1 / /home rw shared:1 - ext4 {tree.dev}/mapper/vg--x-home rw\n")
    found = await tree.found()
    assert set(found) == {"dm-0", "dm-1"}
    links = [link.removeprefix(str(tree.dev)) for link in found["dm-0"].dev_links]
    assert links == ["/disk/by-id/dm-name-vg--x-osd1", "/mapper/vg--x-osd1", "/vg-x/osd1"]
    assert found["dm-0"].dm_uuid == "LVM-aaaa"
    assert found["dm-1"].mountpoints == ("/home",)


async def test_paths_of_a_multipath_device_are_told_from_it(tree: Tree) -> None:
    tree.add("sda", links=("disk/by-path/a",))
    tree.add("sdb")
    tree.add(
        "dm-0", kind="mpath", dm="mpatha", uuid="mpath-3600a098000aaaa", links=("disk/by-id/wwn-0x600a098000aaaa",)
    )
    for name in ("sda", "sdb"):
        tree.holds(name, "dm-0")
    (tree.dev / "dm-0").write_bytes(label({"ceph_fsid": FSID, "whoami": "3"}))
    (tree.dev / "sda").write_bytes(label({"ceph_fsid": FSID, "whoami": "3"}))
    found = await tree.found()
    for name in ("sda", "sdb"):
        assert (found[name].filesystem, found[name].holders) == ("mpath_member", ("dm-0",))
        assert found[name].osd_uuid == "", "the OSD is on the multipath device"
    assert (found["dm-0"].osd_id, found["dm-0"].wwn) == (3, "0x600a098000aaaa")


async def test_names_with_a_directory(tree: Tree) -> None:
    tree.add("cciss/c0d0", links=("disk/by-id/cciss-1",))
    tree.mounts.write_text("30 22 253:0 / /mnt rw - ext4 /dev/cciss/c0d0 rw\n")
    found = (await tree.found())["cciss/c0d0"]
    assert found.dev_links == (str(tree.dev / "disk/by-id/cciss-1"),)
    assert found.mountpoints == ("/mnt",)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("fdvg-data", True), ("ramdisk", True), ("rbdata", True), ("fd0", False), ("ram15", False), ("nbd3p1", False)],
)
async def test_drivers_that_make_no_disks_are_known_by_the_whole_name(tree: Tree, name: str, shown: bool) -> None:
    tree.add(name)
    assert (name in await tree.found()) is shown


async def test_what_an_osd_writes_is_no_change_and_that_its_label_goes_is_one(tree: Tree) -> None:
    tree.add("sda")
    tree.add("sdb")
    (tree.dev / "sda").write_bytes(label({"ceph_fsid": FSID, "whoami": "3"}))
    discovery = tree.discovery()
    await discovery.devices()
    before, asked = await discovery.fingerprint(), len(tree.asked)
    for name, changes in (("sda", False), ("sdb", True)):
        (tree.sys / "block" / name / "stat").write_text("0 0 0 0 8 0\n")
        after = await discovery.fingerprint()
        assert (after != before) is changes
        before = after
    (tree.dev / "sda").write_bytes(bytes(8192))
    assert await discovery.fingerprint() != before
    assert len(tree.asked) == asked, "no program was started"


async def test_a_disk_that_hangs_does_not_keep_the_others_from_being_reported(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.add("sda")
    tree.add("sdb")
    hangs, read = threading.Event(), discovery_module._head
    asked: list[str] = []

    def head(path: str) -> bytes:
        asked.append(path)
        if path.endswith("sda"):
            hangs.wait(60)
        return read(path)

    monkeypatch.setattr(discovery_module, "_head", head)
    monkeypatch.setattr(discovery_module, "_READ_DEADLINE", 0.05)
    looked = tree.discovery()
    for _ in range(3):
        found = {device.name: device for device in await looked.devices()}
        assert (found["sda"].signatures, found["sdb"].signatures) == (("unreadable",), ())
    assert [path.rpartition("/")[2] for path in asked].count("sda") == 1, "one thread waits, not one for each look"
    hangs.set()
    await eventually(looked)


async def eventually(looked: Discovery) -> None:
    """Returns when every device can be read."""
    with anyio.fail_after(10):
        while any(device.signatures for device in await looked.devices()):
            await anyio.lowlevel.checkpoint()
