"""NFS volumes on a node: how they are mounted, by tables. No kernel of a test machine needs to have a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from controller.agent.nfs.mounter import KernelNfs
from controller.agent.nfs.volume import Asked, Directory, asked_of
from controller.agent.node.calls import CsiError
from controller.agent.node.directories import DirectoryDriver, MountError
from controller.agent.node.driver import Access, Stage, UnavailableError
from controller.agent.node.records import Records
from controller.agent.system.command import CommandError, Done

if TYPE_CHECKING:
    from pathlib import Path

SHARE = "/0001-0009-rook-ceph-0000000000000007-5d1f"
ATTRIBUTES = {"server": "rook-ceph-nfs-my-nfs-a", "share": SHARE}
TOLD = {"clusterID": "rook-ceph", "server": "10.96.0.7"}


def a_stage(
    attributes: dict[str, str] | None = None,
    told: dict[str, str] | None = None,
    *,
    path: str = "/staging",
    **access: Any,
) -> Stage:
    return Stage(
        driver="rook-ceph.nfs.csi.ceph.com",
        volume="v",
        path=path,
        access=Access(**{"block": False, **access}),
        attributes={**ATTRIBUTES, **(attributes or {})},
        told=TOLD if told is None else told,
    )


class TestAsked:
    def test_the_address_that_the_operator_tells_goes_before_the_name(self) -> None:
        assert asked_of(a_stage()).directory == Directory("10.96.0.7", SHARE)
        assert asked_of(a_stage(told={})).directory == Directory("rook-ceph-nfs-my-nfs-a", SHARE)
        assert str(Directory("fd00::7", "/x")) == "[fd00::7]:/x"

    def test_options(self) -> None:
        found = asked_of(a_stage(options=("hard", "vers=4.2", "hard"), read_only=True))
        assert (found.options, found.read_only("kernel")) == (("hard", "vers=4.2", "ro"), True)

    @pytest.mark.parametrize(
        ("stage", "words"),
        [
            (a_stage(block=True), "volumeMode Block is not served"),
            (a_stage({"server": ""}, {}), "server is ''"),
            (a_stage({"server": "a b"}, {}), "server is 'a b'"),
            (a_stage({"share": "x"}), "share is 'x'"),
            (a_stage({"share": "/a/../b"}), "expected an absolute path without"),
            (a_stage(options=("addr=10.0.0.1",)), "mountOptions has 'addr=10.0.0.1'"),
            (a_stage(options=("a,b",)), "mountOptions has 'a,b'"),
        ],
    )
    def test_what_cannot_be(self, stage: Stage, words: str) -> None:
        with pytest.raises(CsiError, match=words):
            asked_of(stage)


class Kernel:
    """Runs nothing, and keeps what it was told to; `refuses`: what it says instead."""

    def __init__(self, refuses: str = "") -> None:
        self.commands: list[tuple[str, ...]] = []
        self.refuses = refuses

    async def __call__(self, *command: str, **_: Any) -> Done:
        self.commands.append(command)
        if self.refuses:
            raise CommandError(command[0], self.refuses)
        return Done(0)


def mounter(directory: Path, kernel: Kernel, *, known: str = "nodev\tnfs4\n", address: str = "10.96.0.7") -> KernelNfs:
    (directory / "filesystems").write_text(known)

    def resolve(server: str) -> str:
        if server == "unknown":
            raise OSError("Name or service not known")
        return address

    return KernelNfs(runner=kernel, proc=directory, resolve=resolve)


@pytest.mark.parametrize(
    ("options", "address", "expected"),
    [
        ((), "10.96.0.7", "vers=4.1,addr=10.96.0.7"),
        (("hard", "noresvport"), "10.96.0.7", "vers=4.1,hard,noresvport,addr=10.96.0.7"),
        (("nfsvers=4.2",), "10.96.0.7", "nfsvers=4.2,addr=10.96.0.7"),
        (("vers=4", "minorversion=2", "ro"), "fd00::7", "vers=4,minorversion=2,ro,addr=fd00::7"),
    ],
)
async def test_mount(tmp_path: Path, options: tuple[str, ...], address: str, expected: str) -> None:
    kernel = Kernel()
    asked = Asked(directory=Directory("nfs.example.net", SHARE), options=options)
    await mounter(tmp_path, kernel, address=address).mount("v", asked, "/target")
    command = ("mount", "-i", "-t", "nfs4", "-o", expected, f"nfs.example.net:{SHARE}", "/target")
    assert kernel.commands == [command]


@pytest.mark.parametrize(
    ("server", "refuses", "words"),
    [
        ("unknown", "", "unknown is not known to this node"),
        ("a", "access denied", "v: mount: access denied"),
    ],
)
async def test_a_mount_that_fails(tmp_path: Path, server: str, refuses: str, words: str) -> None:
    asked = Asked(directory=Directory(server, SHARE), options=())
    with pytest.raises(MountError, match=words):
        await mounter(tmp_path, Kernel(refuses)).mount("v", asked, "/target")


async def test_a_node_without_a_client_refuses_and_says_why(tmp_path: Path) -> None:
    kernel = Kernel("FATAL: Module nfsv4 not found")
    found = mounter(tmp_path, kernel, known="nodev\tsysfs\n")
    await found.load()
    assert kernel.commands == [("modprobe", "nfsv4")]
    clients: Any = None
    records = Records(tmp_path / "records")
    driver = DirectoryDriver(".nfs.csi.ceph.com", asked_of, "n1", (found,), clients, records, None)
    why = "kernel: the kernel has no nfs4 file system"
    assert (await driver.usable()).startswith(why)
    with pytest.raises(UnavailableError, match="cannot be mounted on node n1: kernel: the kernel has no nfs4") as told:
        await driver.stage(a_stage(path=str(tmp_path / "staging")))
    assert "Module nfsv4 not found" in str(told.value)
    assert not (tmp_path / "records").exists()
    assert await driver.max_volumes() == 0
