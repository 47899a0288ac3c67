"""The kernel's way of mapping, on a tree of files in the form of /sys/bus/rbd: this machine's kernel may have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from controller.agent.ceph.credentials import Credentials
from controller.agent.rbd.mapper import KernelMapper, MappingError, add_line, kernel_options
from controller.agent.rbd.protocol import Image
from controller.agent.system.command import CommandError, Done

IMAGE = Image(monitors=("10.0.0.1:6789", "10.0.0.2:6789"), pool="p", name="image", features=0x5)
KEY = Credentials(user="node", key="c2VjcmV0")


class Kernel:
    """What of the kernel the mapper sees. A device appears when the test says so."""

    def __init__(self, directory: Path) -> None:
        self.bus = directory / "sys/bus/rbd"
        (self.bus / "devices").mkdir(parents=True)
        (self.bus / "supported_features").write_text("0x3d\n")
        (self.bus / "add").write_text("")
        (self.bus / "remove").write_text("")
        self.dev = directory / "dev"
        self.dev.mkdir()
        self.mapper = KernelMapper(directory / "state", sys=directory / "sys", dev=self.dev)

    def appear(self, number: int, image: Image = IMAGE, snapshot: str = "-") -> None:
        device = self.bus / "devices" / str(number)
        device.mkdir()
        for name, value in (
            ("pool", image.pool),
            ("pool_ns", image.namespace),
            ("name", image.name),
            ("current_snap", snapshot),
            ("client_addr", "10.0.0.9:0/3456"),
            *([("cluster_fsid", image.fsid)] if image.fsid else []),
        ):
            (device / name).write_text(f"{value}\n")
        (self.dev / f"rbd{number}").write_bytes(bytes(1 << 20))


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


async def test_without_the_driver(tmp_path: Path) -> None:
    mapper = KernelMapper(tmp_path / "state", sys=tmp_path, dev=tmp_path)
    assert "/sys/bus/rbd does not exist" in await mapper.usable()
    assert "/sys/bus/rbd does not exist" in await mapper.unsuitable(IMAGE)
    assert await mapper.find("v") is None
    await mapper.unmap("v")


async def test_images_with_features_that_the_kernel_lacks_are_left_to_others(kernel: Kernel) -> None:
    assert await kernel.mapper.unsuitable(IMAGE) == ""
    journaling = msgspec.structs.replace(IMAGE, features=0x45)
    assert "features of the image (not 0x40)" in await kernel.mapper.unsuitable(journaling)


async def test_a_mapping_is_found_again_by_the_image(kernel: Kernel) -> None:
    with pytest.raises(MappingError, match="does not list it"):
        await kernel.mapper.map("v", IMAGE, KEY, read_only=False)
    written = await anyio.Path(kernel.bus / "add").read_text()
    assert written == "10.0.0.1:6789,10.0.0.2:6789 name=node,secret=c2VjcmV0,rw p image -"
    kernel.appear(0, snapshot="snap")
    kernel.appear(1, msgspec.structs.replace(IMAGE, namespace="ns"))
    kernel.appear(2)
    mapped = await kernel.mapper.map("v", IMAGE, KEY, read_only=False)
    assert mapped.device == f"{kernel.dev}/rbd2"
    assert mapped.address == "10.0.0.9:0/3456"
    assert await kernel.mapper.find("v") == mapped
    assert await kernel.mapper.volumes() == ["v"]
    await kernel.mapper.unmap("v")
    assert await anyio.Path(kernel.bus / "remove").read_text() == "2"
    assert await kernel.mapper.find("v") is None
    assert not list(kernel.bus.parents[2].glob("state/*.json"))


async def test_an_image_of_the_same_name_in_another_cluster_is_another(kernel: Kernel) -> None:
    ours = msgspec.structs.replace(IMAGE, fsid="a7beedc0-36a7-4be2-afe3-22094a6770aa")
    kernel.appear(0, msgspec.structs.replace(IMAGE, fsid="11111111-2222-3333-4444-555555555555"))
    with pytest.raises(MappingError, match="does not list it"):
        await kernel.mapper.map("v", ours, KEY, read_only=False)
    await kernel.mapper.unmap("v")
    assert await anyio.Path(kernel.bus / "remove").read_text() == "", "the other cluster's image stays mapped"
    kernel.appear(1, ours)
    assert (await kernel.mapper.map("v", ours, KEY, read_only=False)).device == f"{kernel.dev}/rbd1"


async def test_a_kernel_that_does_not_tell_the_cluster_is_believed(kernel: Kernel) -> None:
    kernel.appear(0)
    ours = msgspec.structs.replace(IMAGE, fsid="a7beedc0-36a7-4be2-afe3-22094a6770aa")
    assert (await kernel.mapper.map("v", ours, KEY, read_only=False)).device == f"{kernel.dev}/rbd0"


async def test_the_newer_interface_is_preferred(kernel: Kernel) -> None:
    (kernel.bus / "add_single_major").write_text("")
    with pytest.raises(MappingError):
        await kernel.mapper.map("v", IMAGE, KEY, read_only=True)
    assert ",ro p image -" in await anyio.Path(kernel.bus / "add_single_major").read_text()
    assert await anyio.Path(kernel.bus / "add").read_text() == ""


def test_options_of_the_class_and_the_namespace() -> None:
    image = msgspec.structs.replace(IMAGE, namespace="ns", options="lock_on_read,queue_depth=1024")
    line = add_line(image, KEY, read_only=False, release="6.1.0")
    assert line.split(" ")[1] == "name=node,secret=c2VjcmV0,rw,_pool_ns=ns,lock_on_read,queue_depth=1024"


@pytest.mark.parametrize(
    "changes",
    [
        {"pool": "a b"},
        {"name": "x,noshare"},
        {"pool": ""},
        {"namespace": "ns,ro"},
        {"monitors": ("10.0.0.1:6789 name=admin",)},
        {"monitors": ()},
        {"monitors": ("",)},
        {"options": "a b"},
        {"ms_mode": "none"},
        {"ms_mode": "secure,ro"},
    ],
)
def test_values_cannot_smuggle_in_options(changes: dict[str, Any]) -> None:
    with pytest.raises(MappingError, match=r"cannot be handed to the kernel|expected"):
        add_line(msgspec.structs.replace(IMAGE, **changes), KEY, read_only=False, release="6.1.0")


def test_a_key_with_an_option_in_it_is_refused_and_not_shown() -> None:
    with pytest.raises(MappingError, match="key cannot be handed") as refused:
        add_line(IMAGE, Credentials(user="node", key="c2VjcmV0,noshare"), read_only=False, release="6.1.0")
    assert "c2VjcmV0" not in str(refused.value)


@pytest.mark.parametrize(
    ("location", "options", "release", "expected"),
    [
        ("zone:a|host:n1", "", "5.8.0", "rw,read_from_replica=localize,crush_location=zone:a|host:n1"),
        ("zone:a", "queue_depth=8", "6.1.0", "rw,read_from_replica=localize,crush_location=zone:a,queue_depth=8"),
        ("zone:a", "read_from_replica=no", "6.1.0", "rw,read_from_replica=no"),
        ("zone:a", "", "5.4.0-150-generic", "rw"),
        ("", "", "6.1.0", "rw"),
        ("zone:a,ro", "", "6.1.0", "rw"),
        ("zone", "", "6.1.0", "rw"),
    ],
)
def test_the_kernel_reads_from_the_nearest_osd(location: str, options: str, release: str, expected: str) -> None:
    image = msgspec.structs.replace(IMAGE, location=location, options=options)
    line = add_line(image, KEY, read_only=False, release=release)
    assert line.split(" ")[1] == f"name=node,secret=c2VjcmV0,{expected}"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", "rw,ms_mode=secure"),
        ("queue_depth=8", "rw,ms_mode=secure,queue_depth=8"),
        ("ms_mode=crc", "rw,ms_mode=crc"),
    ],
)
def test_the_kernel_speaks_as_the_cluster_asks_unless_the_class_says_otherwise(options: str, expected: str) -> None:
    line = add_line(
        msgspec.structs.replace(IMAGE, ms_mode="secure", options=options), KEY, read_only=False, release="6.1.0"
    )
    assert line.split(" ")[1] == f"name=node,secret=c2VjcmV0,{expected}"


@pytest.mark.parametrize(
    ("release", "mode", "suits"),
    [("5.10.0-28-amd64", "secure", False), ("5.11.0", "secure", True), ("6.1.0", "crc", True), ("5.4.0", "", True)],
)
async def test_a_kernel_that_is_too_old_for_the_clusters_protocol_is_left_out(
    tmp_path: Path, release: str, mode: str, suits: bool
) -> None:
    kernel = Kernel(tmp_path)
    mapper = KernelMapper(tmp_path / "state", sys=tmp_path / "sys", dev=kernel.dev, release=release)
    problem = await mapper.unsuitable(msgspec.structs.replace(IMAGE, ms_mode=mode))
    assert (problem == "") == suits
    assert suits or f"kernel {release} does not speak to the cluster with ms_mode=secure" in problem


async def test_the_driver_is_loaded_where_it_is_a_module(tmp_path: Path) -> None:
    mapper = KernelMapper(tmp_path / "state", sys=tmp_path / "sys", dev=tmp_path)
    ran: list[tuple[str, ...]] = []

    async def modprobe(*argv: str, deadline: float | None = 30.0, ok: Any = (0,)) -> Done:
        ran.append(argv)
        Kernel(tmp_path)
        return Done(0)

    await mapper.load(modprobe)
    assert await mapper.usable() == ""
    await mapper.load(modprobe)
    assert ran == [("modprobe", "rbd")], "it is there"


async def test_why_the_driver_is_not_there_is_told(tmp_path: Path) -> None:
    mapper = KernelMapper(tmp_path / "state", sys=tmp_path / "sys", dev=tmp_path)

    async def modprobe(*argv: str, deadline: float | None = 30.0, ok: Any = (0,)) -> Done:
        raise CommandError("modprobe", "FATAL: Module rbd not found in directory /lib/modules/6.1.0")

    await mapper.load(modprobe)
    assert "Module rbd not found in directory /lib/modules/6.1.0" in await mapper.usable()


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("", ""),
        ("lock_on_read", "lock_on_read"),
        ("krbd:lock_on_read,queue_depth=1024;nbd:try-netlink", "lock_on_read,queue_depth=1024"),
        ("nbd:try-netlink", ""),
    ],
)
def test_map_options(parameter: str, expected: str) -> None:
    assert kernel_options(parameter) == expected
