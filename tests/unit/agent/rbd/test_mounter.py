"""The mounter over its socket, with real processes and loop devices; a standin takes qemu-storage-daemon's place."""

from __future__ import annotations

import errno
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest
from anyio._backends._asyncio import UNIXSocketListener
from anyio.abc import ByteStream, SocketStream

from controller.agent.ceph.credentials import Credentials
from controller.agent.rbd.launch import Descriptors, Paths, client_config, command_line
from controller.agent.rbd.mapper import MapperUnavailableError, MappingError, MounterClient
from controller.agent.rbd.mounter import Mounter, serve
from controller.agent.rbd.protocol import RECORDS, VERSION, Image, Map, MapEncrypted, Mapped, Reply
from controller.agent.rbd.qemu import reason
from controller.agent.system import loop, mounts
from controller.agent.system.command import run
from controller.agent.system.messages import receive
from tests.unit.agent.standin import needs_loop_devices

pytestmark = needs_loop_devices

GIB = 1 << 30
IMAGE = Image(monitors=("10.0.0.1:6789",), pool="p", name="image")
KEY = Credentials(user="node", key="c2VjcmV0")
STANDIN = str(Path(__file__).parents[1] / "standin_qsd.py")


def launch(image: Image, paths: Paths, user: str, secrets: Descriptors, read_only: bool) -> Sequence[str]:
    behaviour = image.name if image.name in ("fail", "full", "mute") else "serve"
    return sys.executable, STANDIN, str(paths.directory), str(GIB), behaviour


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short name: the path of a unix socket has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="rook-") as name:
        yield Path(name)


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[tuple[Mounter, MounterClient]]:
    socket = directory / "mounter.sock"
    async with anyio.create_task_group() as tasks:
        mounter = Mounter(tasks, runtime=directory / "run", state=directory / RECORDS, launch=launch)
        mounter.load()
        tasks.start_soon(serve, mounter, socket)
        client = MounterClient(socket)
        with anyio.fail_after(60):
            while await client.usable():  # noqa: ASYNC110
                await anyio.sleep(0.01)
        try:
            yield mounter, client
        finally:
            for volume in list(mounter._volumes.values()):
                if volume.export is not None:
                    if mounter._owns(volume):
                        await run("losetup", "--detach", volume.mapped.device)
                    await volume.export.kill()
            tasks.cancel_scope.cancel()


def write(device: str) -> None:
    descriptor = os.open(device, os.O_WRONLY | os.O_DSYNC)
    try:
        os.write(descriptor, bytes(4096))
    finally:
        os.close(descriptor)


async def eventually[T](look: Callable[[], T]) -> T:
    with anyio.fail_after(60):
        while not (found := look()):  # noqa: ASYNC110
            await anyio.sleep(0.01)
    return found


async def test_a_volume_comes_and_goes(directory: Path) -> None:
    async with running(directory) as (mounter, client):
        mapped = await client.map("v", IMAGE, KEY, read_only=False)
        assert mapped == Mapped(volume="v", image="p/image", device=mapped.device, address="10.0.0.5:0/22")
        assert loop.size_of(mapped.device) == GIB
        assert await client.map("v", IMAGE, KEY, read_only=False) == mapped
        assert await client.find("v") == mapped
        assert await client.find("w") is None
        await client.unmap("v")
        assert await client.find("v") is None
        assert loop.backing_file(mapped.device) == ""
        await client.unmap("v")
        assert not list((directory / "run").iterdir())
        assert not list((directory / RECORDS).iterdir())
        with anyio.fail_after(60):
            await mounter.drained()
        with pytest.raises(MappingError, match="ending"):
            await client.map("v", IMAGE, KEY, read_only=False)


async def test_a_lock_that_was_handed_on_stays_the_volumes(directory: Path) -> None:
    inside: list[str] = []
    most = 0

    async def use(name: str) -> None:
        nonlocal most
        async with mounter._locked("v"):
            inside.append(name)
            most = max(most, len(inside))
            await anyio.wait_all_tasks_blocked()
            if name == "first":
                tasks.start_soon(use, "second")
                await anyio.wait_all_tasks_blocked()
            inside.remove(name)
        if name == "first":
            await use("third")

    async with anyio.create_task_group() as tasks:
        mounter = Mounter(tasks, runtime=directory, state=directory)
        tasks.start_soon(use, "first")
    assert most == 1
    assert mounter._locks == {}


async def test_a_volume_is_mapped_one_way_at_a_time(directory: Path) -> None:
    async with running(directory) as (_, client):
        await client.map("v", IMAGE, KEY, read_only=False)
        other = msgspec.structs.replace(IMAGE, name="other")
        with pytest.raises(MappingError, match="read-only False, encrypted False; asked for image p/other"):
            await client.map("v", other, KEY, read_only=False)
        with pytest.raises(MappingError, match="read-only True"):
            await client.map("v", IMAGE, KEY, read_only=True)


async def test_a_read_only_volume_refuses_writes(directory: Path) -> None:
    async with running(directory) as (_, client):
        mapped = await client.map("v", IMAGE, KEY, read_only=True)
        assert mapped.read_only
        with pytest.raises(OSError, match=r"not permitted|Read-only"):
            write(mapped.device)


async def test_an_image_that_cannot_be_opened_leaves_nothing(directory: Path) -> None:
    async with running(directory) as (_, client):
        missing = msgspec.structs.replace(IMAGE, name="fail")
        with pytest.raises(MappingError, match=r"image p/fail cannot be opened: error reading header from image"):
            await client.map("v", missing, KEY, read_only=False)
        assert await client.find("v") is None
        assert not list((directory / "run").iterdir())


async def test_a_volume_that_cannot_be_recorded_is_not_mapped(directory: Path) -> None:
    async with running(directory) as (mounter, client):
        mounter.state = directory / "no-directory"
        mounter.state.touch()
        with pytest.raises(MappingError, match="no-directory"):
            await client.map("v", IMAGE, KEY, read_only=False)
        assert mounter._volumes == {}
        assert not list((directory / "run").iterdir())
        listing = await run("losetup", "--list", "--noheadings", "--output", "BACK-FILE")
        assert str(directory) not in listing.stdout.decode()


async def test_a_mounted_volume_is_not_unmapped(directory: Path) -> None:
    async with running(directory) as (_, client):
        mapped = await client.map("v", IMAGE, KEY, read_only=False)
        await run("mkfs.ext4", "-q", mapped.device)
        target = str(directory / "mnt")
        await anyio.Path(target).mkdir()
        await mounts.mount(run, mapped.device, target, filesystem="ext4", options=())
        try:
            with pytest.raises(MappingError, match="still mounted"):
                await client.unmap("v")
            assert await client.find("v") == mapped
        finally:
            await mounts.unmount(run, target)
        await client.unmap("v")


async def test_a_volume_grows_and_never_shrinks(directory: Path) -> None:
    async with running(directory) as (_, client):
        mapped = await client.map("v", IMAGE, KEY, read_only=False)
        await client.expand("v", 2 * GIB)
        assert loop.size_of(mapped.device) == 2 * GIB
        await client.expand("v", GIB)
        assert loop.size_of(mapped.device) == 2 * GIB
        with pytest.raises(MappingError, match="refused block_resize: not a multiple of 512"):
            await client.expand("v", 2 * GIB + 1)
        with pytest.raises(MappingError, match="no working block device"):
            await client.expand("w", GIB)


async def test_a_daemon_that_dies_is_noticed_and_its_volume_mapped_anew(directory: Path) -> None:
    async with running(directory) as (mounter, client):
        await client.map("v", IMAGE, KEY, read_only=False)
        export = mounter._volumes["v"].export
        assert export is not None
        os.kill(export.pid, signal.SIGKILL)
        await eventually(lambda: mounter._volumes["v"].mapped.problem)
        found = await client.find("v")
        assert found is not None
        assert "qemu-storage-daemon ended" in found.problem
        again = await client.map("v", IMAGE, KEY, read_only=False)
        assert again.problem == ""
        assert mounter._volumes["v"].export is not export


async def test_a_loop_device_that_was_taken_away_is_never_touched_again(directory: Path) -> None:
    async with running(directory) as (_, client):
        mapped = await client.map("v", IMAGE, KEY, read_only=False)
        await run("losetup", "--detach", mapped.device)
        somebody_elses = directory / "other"
        somebody_elses.write_bytes(bytes(1 << 20))
        await run("losetup", mapped.device, str(somebody_elses))
        try:
            await client.unmap("v")
            assert loop.backing_file(mapped.device) == str(somebody_elses)
        finally:
            await run("losetup", "--detach", mapped.device)


async def test_a_restarted_mounter_knows_what_its_predecessor_lost(directory: Path) -> None:
    async with running(directory) as (_, client):
        mapped = await client.map("v", IMAGE, KEY, read_only=False)
    async with running(directory) as (_, client):
        found = await client.find("v")
        assert found is not None
        assert (found.device, found.image) == (mapped.device, "p/image")
        assert "restarted" in found.problem
        again = await client.map("v", IMAGE, KEY, read_only=False)
        assert again.problem == ""


async def test_without_a_mounter(directory: Path) -> None:
    client = MounterClient(directory / "mounter.sock")
    assert "rook-mounter" in await client.usable()
    assert await client.find("never mapped") is None  # told without asking
    await client.unmap("never mapped")
    with pytest.raises(MapperUnavailableError):
        await client.map("v", IMAGE, KEY, read_only=False)


async def test_nonsense_on_the_socket_is_survived(directory: Path) -> None:
    async with running(directory) as (_, client):
        for nonsense in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x02{}", b"\x00\x00\x00\x09not json!"):
            async with await anyio.connect_unix(directory / "mounter.sock") as stream:
                await stream.send(nonsense)
                reply = await receive(stream, Reply)
                assert "no command" in reply.error
        assert await client.usable() == ""


async def test_a_command_of_a_newer_agent_is_answered_with_what_to_do(directory: Path) -> None:
    async with running(directory), await anyio.connect_unix(directory / "mounter.sock") as stream:
        body = b'{"type":"sing","volume":"v"}'
        await stream.send(len(body).to_bytes(4) + body)
        reply = await receive(stream, Reply)
        assert "older than the agent; drain the node and delete its rook-mounter pod" in reply.error
        assert reply.version == VERSION


class OldImage(msgspec.Struct, rename="camel"):
    """What of an image the first version has, as far as it matters here."""

    monitors: tuple[str, ...]
    pool: str
    name: str


class OldMap(msgspec.Struct, rename="camel", tag="map"):
    """The command of the first version."""

    volume: str
    image: OldImage


async def test_a_mounter_of_the_first_version_is_understood(directory: Path) -> None:
    """It names no version, tells no address, and does not know the fields that came later."""

    async def answer(stream: ByteStream) -> None:
        async with stream:
            command = await receive(stream, OldMap)
            body = msgspec.json.encode(
                {"mapped": [{"volume": command.volume, "image": command.image.name, "device": "/dev/loop9"}]}
            )
            await stream.send(len(body).to_bytes(4) + body)

    listener = await anyio.create_unix_listener(directory / "mounter.sock")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        image = msgspec.structs.replace(IMAGE, ms_mode="secure")
        mapped = await MounterClient(directory / "mounter.sock").map("v", image, KEY, read_only=False)
        assert (mapped.device, mapped.address) == ("/dev/loop9", "")
        tasks.cancel_scope.cancel()


async def test_one_volumes_trouble_is_no_others(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong, of any type: a handler or a watch that raises would end the process and all volumes."""
    async with running(directory) as (mounter, client):
        healthy = await client.map("healthy", IMAGE, KEY, read_only=False)
        await client.map("v", IMAGE, KEY, read_only=False)
        export = mounter._volumes["v"].export
        assert export is not None

        async def raises(size: int) -> None:
            raise KeyError(size)

        with monkeypatch.context() as broken:
            broken.setattr(export, "grow", raises)
            with pytest.raises(MappingError, match="KeyError"):
                await client.expand("v", 2 * GIB)
        # A pipe that is closed under who reads from it.
        assert export.child.process.stderr is not None
        await export.child.process.stderr.aclose()
        await eventually(lambda: mounter._volumes["v"].mapped.problem)
        assert await client.find("healthy") == healthy
        await client.unmap("v")
        await client.unmap("healthy")


async def test_a_caller_that_hangs_up_is_survived(directory: Path) -> None:
    async with running(directory) as (_, client):
        for _ in range(3):
            stream = await anyio.connect_unix(directory / "mounter.sock")
            await stream.send(b"\x00\x00")
            await stream.aclose()
        assert await client.usable() == ""


async def test_connections_are_taken_again_when_there_are_files_for_them(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = anyio.Event()

    async def accept(listener: UNIXSocketListener) -> SocketStream:
        if not refused.is_set():
            refused.set()
            raise OSError(errno.EMFILE, "Too many open files")
        return await real(listener)

    real = UNIXSocketListener.accept
    monkeypatch.setattr(UNIXSocketListener, "accept", accept)
    async with running(directory) as (_, client):
        assert refused.is_set()
        assert await client.usable() == ""


async def test_a_record_that_cannot_be_read_hides_no_other(directory: Path) -> None:
    async with running(directory) as (_, client):
        await client.map("v", IMAGE, KEY, read_only=False)
    (directory / RECORDS / "torn.json").write_text('{"volume": "w')
    async with running(directory) as (_, client):
        found = await client.find("v")
        assert found is not None
        assert await client.volumes() == ("v",)
        await client.unmap("v")


async def test_a_client_that_does_not_tell_its_address_is_served(directory: Path) -> None:
    async with running(directory) as (_, client):
        mute = msgspec.structs.replace(IMAGE, name="mute")
        assert (await client.map("v", mute, KEY, read_only=False)).address == ""
        await client.unmap("v")


async def test_what_a_map_could_not_take_back_is_taken_away_before_the_next(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the node has no room for a thread: each step may fail, and none may keep the others from being tried."""

    def refuses(*arguments: object) -> None:
        raise RuntimeError("can't start new thread")

    async with running(directory) as (mounter, client):
        with monkeypatch.context() as full:
            full.setattr("controller.agent.rbd.mounter.write_durably", refuses)
            full.setattr("controller.agent.rbd.qemu._remove_files", refuses)
            with pytest.raises(MappingError, match="its limit of tasks is reached"):
                await client.map("v", IMAGE, KEY, read_only=False)
            (left,) = (directory / "run").iterdir()
            assert loop.devices_on(left / "image") == []
        assert mounter._volumes == {}
        mapped = await client.map("v", IMAGE, KEY, read_only=False)
        assert loop.devices_on(left / "image") == [mapped.device]
        await client.unmap("v")
        assert not list((directory / "run").iterdir())


async def test_a_node_without_room_for_threads_says_so_in_a_sentence(directory: Path) -> None:
    async with running(directory) as (_, client):
        full = msgspec.structs.replace(IMAGE, name="full")
        with pytest.raises(MappingError, match="its limit of tasks is reached") as refused:
            await client.map("v", full, KEY, read_only=False)
        assert "libc" not in str(refused.value)


def test_a_daemons_words_are_cut_to_what_a_person_needs() -> None:
    said = 'qemu-storage-daemon: --blockdev {"a": {"b": 1}}: error connecting: Connection timed out\n'
    assert reason(said) == "error connecting: Connection timed out"
    assert reason("noise\n" + said) == "error connecting: Connection timed out"
    assert reason("") == ""
    assert len(reason("x" * 10_000)) < 500


def test_the_key_is_in_no_argument_and_no_file(directory: Path) -> None:
    paths = Paths(directory)
    argv = command_line(IMAGE, paths, KEY.user, Descriptors(7), False)
    assert not any(KEY.key in argument for argument in argv)
    assert "secret,id=key,format=base64,file=/proc/self/fd/7" in argv
    assert KEY.key not in client_config(IMAGE, paths)
    assert KEY.key not in repr(Map(volume="v", image=IMAGE, credentials=KEY))


async def test_an_encrypted_image_is_mapped_as_such(directory: Path) -> None:
    async with running(directory) as (_, client):
        assert await client.cannot_decrypt() == ""
        mapped = await client.map("v", IMAGE, KEY, read_only=False, passphrase="p")
        assert mapped.encrypted
        assert await client.find("v") == mapped
        with pytest.raises(MappingError, match=r"encrypted True; asked for .* encrypted False: unmap"):
            await client.map("v", IMAGE, KEY, read_only=False)
        await client.unmap("v")


async def test_a_mounter_that_would_map_what_is_encrypted_is_not_asked_to(directory: Path) -> None:
    """One of the second version passes over fields that it does not know, and refuses commands."""

    async def answer(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()
            body = msgspec.json.encode({"version": 2, "mapped": []})
            await stream.send(len(body).to_bytes(4) + body)

    listener = await anyio.create_unix_listener(directory / "mounter.sock")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        problem = await MounterClient(directory / "mounter.sock").cannot_decrypt()
        assert "speaks version 2 of the protocol, and opens no encrypted images: drain the node" in problem
        tasks.cancel_scope.cancel()
    command = MapEncrypted(volume="v", image=IMAGE, credentials=KEY, passphrase="p")
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(command), type=OldMap)


def test_the_passphrase_is_in_no_argument_and_no_words(directory: Path) -> None:
    argv = command_line(IMAGE, Paths(directory), KEY.user, Descriptors(7, 8), False)
    assert "secret,id=passphrase,format=raw,file=/proc/self/fd/8" in argv
    block = msgspec.json.decode(argv[argv.index("--blockdev") + 1])
    assert block["encrypt"] == {"format": "luks2", "key-secret": "passphrase"}
    assert "secret words" not in repr(MapEncrypted(volume="v", image=IMAGE, credentials=KEY, passphrase="secret words"))


def test_a_wrong_passphrase_is_told_as_such() -> None:
    said = 'qemu-storage-daemon: --blockdev {"a": {"b": 1}}: encryption load fail: Operation not permitted\n'
    assert "not opened by the passphrase; expected the encryptionPassphrase of the Secret" in reason(said)


def test_the_client_reads_from_the_nearest_osd_where_the_node_is_known_to_be(directory: Path) -> None:
    paths = Paths(directory)
    here = client_config(msgspec.structs.replace(IMAGE, location="zone:a|host:n1"), paths).splitlines()
    assert "rbd_read_from_replica_policy = localize" in here
    assert "crush_location = zone=a host=n1" in here
    for location in ("", "zone:a\nkeyring = /x", "zone"):
        found = client_config(msgspec.structs.replace(IMAGE, location=location), paths)
        assert found == client_config(IMAGE, paths)


async def test_a_key_that_is_none_is_refused(directory: Path) -> None:
    async with running(directory) as (_, client):
        with pytest.raises(MappingError, match="key of Ceph user node is not base64") as refused:
            await client.map("v", IMAGE, Credentials(user="node", key="not base64!"), read_only=False)
        assert "not base64!" not in str(refused.value)


def test_command_line_of_a_read_only_image_in_a_namespace(directory: Path) -> None:
    argv = command_line(msgspec.structs.replace(IMAGE, namespace="ns"), Paths(directory), "node", Descriptors(7), True)
    block = msgspec.json.decode(argv[argv.index("--blockdev") + 1])
    export = msgspec.json.decode(argv[argv.index("--export") + 1])
    assert (block["read-only"], block["namespace"], export["writable"]) == (True, "ns", False)
    assert argv[-1] == "chardev=qmp"  # last: once it answers, everything before it is there
