"""The kernel's way of mapping, on a tree of files in the form of /sys/bus/rbd: this machine's kernel may have none."""

from __future__ import annotations

from pathlib import Path

import anyio
import msgspec
import pytest

from controller.agent.protocol import Credentials, Image
from controller.agent.rbd import KernelMapper, MappingError, add_line, kernel_options

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
            *([("cluster_fsid", image.fsid)] if image.fsid else []),
        ):
            (device / name).write_text(f"{value}\n")
        (self.dev / f"rbd{number}").write_bytes(bytes(1 << 20))


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


async def test_without_the_driver(tmp_path: Path) -> None:
    mapper = KernelMapper(tmp_path / "state", sys=tmp_path, dev=tmp_path)
    assert "modprobe rbd" in await mapper.usable()
    assert not await mapper.suits(IMAGE)
    assert await mapper.find("v") is None
    await mapper.unmap("v")


async def test_images_with_features_that_the_kernel_lacks_are_left_to_others(kernel: Kernel) -> None:
    assert await kernel.mapper.suits(IMAGE)
    assert not await kernel.mapper.suits(msgspec.structs.replace(IMAGE, features=0x45))  # journaling


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
    assert await kernel.mapper.find("v") == mapped
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
    line = add_line(image, KEY, read_only=False)
    assert line.split(" ")[1] == "name=node,secret=c2VjcmV0,rw,_pool_ns=ns,lock_on_read,queue_depth=1024"


@pytest.mark.parametrize("changes", [{"pool": "a b"}, {"name": "x,noshare"}, {"pool": ""}])
def test_values_cannot_smuggle_in_options(changes: dict[str, str]) -> None:
    with pytest.raises(MappingError, match="cannot be handed to the kernel"):
        add_line(msgspec.structs.replace(IMAGE, **changes), KEY, read_only=False)


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
