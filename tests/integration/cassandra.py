"""Real Cassandra members in containers, started by the program and with the configuration that our pods have.

What Kubernetes does for a pod is done here by hand: files are mounted from directories, and each member has an address
of its own in a network of the machine.
"""

import asyncio
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio

from controller.cassandra.access.answers import AccessError, Command, Job, JobState, Look, State
from controller.cassandra.access.http import HttpMembers
from controller.cassandra.access.members import Door, Login, Session
from controller.cassandra.member import configuration, containers, record
from controller.cassandra.member.encryption import PLAIN, ClientTls, Encryption, Internode
from controller.framework import issuing
from controller.framework.certificates import Authority, Request
from controller.framework.tls import CLIENT, SERVER, TRUSTED
from e2e import cache as store
from e2e import host, images, jars

LOGIN = Login("operator", "of-the-integration-tests")
LAB = "rook-cassandra-tests"
"""What names of networks and containers begin with."""
SUBNET = "10.231.77"
FAST = (
    "-Dcassandra.ring_delay_ms=5000",
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.superuser_setup_delay_ms=0",
    "-XX:TieredStopAtLevel=1",
)
"""What makes members quicker than they are by themselves; nothing else about them differs from a user's."""
ENCRYPTED = Encryption(internode=Internode.REQUIRED, client=ClientTls.REQUIRED)
START_SECONDS = 240.0
"""In which a member must be up; on a free machine it takes a tenth of it."""
HEAP = 320 << 20
MEMORY = 1200 << 20


@dataclass
class Node:
    """One member's pod."""

    name: str
    address: str
    directory: Path
    lab: "Lab"

    @property
    def door(self) -> Door:
        """How to reach its program."""
        return Door(self.address, LOGIN, ca=self.lab.ca, name=self.name)

    @property
    def container(self) -> str:
        return f"{self.lab.network}-{self.name}"

    def record(self, **fields: object) -> None:
        """Write how it is to be started."""
        wanted = record.Record(**{"address": self.address, **fields})  # type: ignore[arg-type]  # its own fields
        path = self.lab.directory / "members" / record.key(self.name)
        path.with_suffix(".new").write_text(record.text(wanted))
        path.with_suffix(".new").rename(path)

    def start(self, image: str = "cassandra-50", **changes: object) -> None:
        """Make its pod, and start it. What was changed of its settings holds from now on."""
        self.lab.configure(self, image, changes)
        volume = self.directory / "data"
        volume.mkdir(exist_ok=True)
        os.chown(volume, containers.USER, containers.USER)
        run = self.directory / "run"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        (run / "tmp").mkdir()
        for path in (run, run / "tmp"):
            os.chown(path, containers.USER, containers.USER)
        mounts = {
            volume: containers.DATA,
            run: "/run/rook",
            run / "tmp": "/tmp",  # noqa: S108  # in the container
            self.lab.program: "/opt/rook",
            self.directory / "configuration": "/etc/rook/cassandra",
            self.lab.directory / "members": "/etc/rook/members",
            self.lab.directory / "admin": "/etc/rook/admin",
        }
        if (self.directory / "tls").is_dir():
            mounts[self.directory / "tls"] = "/etc/rook/tls"
        pod = containers.member_container("", {}, claim="data", tls=False)
        options = ["--detach", "--read-only", f"--user={containers.USER}", f"--workdir={pod['workingDir']}"]
        options += [
            f"--name={self.container}",
            f"--network={self.lab.network}",
            f"--ip={self.address}",
            f"--memory={MEMORY}",
        ]
        options += [f"--env=ROOK_MEMBER={self.name}", f"--env=ROOK_POD_IP={self.address}", "--entrypoint="]
        for source, target in mounts.items():
            options += ["--volume", f"{source}:{target}"]
        reference = self.lab.images[image]
        self.lab.run("run", *options, reference, *pod["command"])

    def stop(self) -> None:
        """End it in good order, as a kubelet does."""
        self.lab.run("stop", f"--time={containers.GRACE_SECONDS}", self.container)
        self.remove()

    def kill(self) -> None:
        """End it at once."""
        self.lab.run("kill", self.container, check=False)
        self.remove()

    def remove(self) -> None:
        """Remove its pod; its volume stays. Its log is kept beside it."""
        with (self.directory / "log").open("a") as file:
            file.write(self.log())
        self.lab.run("rm", "--force", self.container, check=False)

    def limit_volume(self, size: int) -> None:
        """Give it a file system of its own for its volume, of so many bytes."""
        image, volume = self.directory / "volume.ext4", self.directory / "data"
        volume.mkdir()
        with image.open("wb") as file:
            file.truncate(size)
        for command in (["mkfs.ext4", "-q", "-m0", str(image)], ["mount", "-o", "loop", str(image), str(volume)]):
            subprocess.run(command, check=True, capture_output=True, timeout=60)

    def unmount(self) -> None:
        """Take away the file system of its own, where it has one."""
        volume = self.directory / "data"
        if volume.is_mount():
            subprocess.run(["umount", str(volume)], check=True, capture_output=True, timeout=60)

    def lose_volume(self) -> None:
        """Empty its volume."""
        shutil.rmtree(self.directory / "data")

    def status(self) -> int:
        """With which status its pod ended, as soon as it has."""
        command = [host.engine().name, "wait", self.container]
        ended = subprocess.run(
            command, env=host.engine().environ(), stdout=subprocess.PIPE, text=True, check=True, timeout=START_SECONDS
        )
        return int(ended.stdout)

    def log(self) -> str:
        """What its pod has written to its log."""
        command = [host.engine().name, "logs", self.container]
        shown = subprocess.run(
            command, env=host.engine().environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return shown.stdout


class Lab:
    """A place for members: a network, and the program as an init container would have put it there.

    A machine has one of them at a time: another run of the tests waits until it is left.
    """

    def __init__(self, directory: Path, *, tls: bool = False) -> None:
        self.directory = directory
        self.ca = ""
        self._tls = tls
        self._authority: Mapping[str, bytes] = {}
        self.nodes: dict[str, Node] = {}
        self.program = directory / "program"
        self.images: Mapping[str, str] = {}
        self._alone = store.lock(LAB)
        # The engine may think that addresses are taken in a network of which a run was killed, even when it is remade.
        self.network = f"{LAB}-{uuid.uuid4().hex[:8]}"
        self._settings = configuration.Settings(
            cluster_name="tests",
            datacenter="dc1",
            rack="r1",
            release=(5, 0),
            encryption=ENCRYPTED if tls else PLAIN,
            heap=HEAP,
            memory=MEMORY,
            options=FAST,
        )

    def __enter__(self) -> Self:
        self._alone.__enter__()
        found = images.ensure("cassandra-41", "cassandra-50")
        self.images = {name: image.reference for name, image in found.items()}
        for name, text in {"username": LOGIN.user, "password": LOGIN.password}.items():
            (self.directory / "admin").mkdir(exist_ok=True)
            (self.directory / "admin" / name).write_text(text)
        (self.directory / "members").mkdir()
        if self._tls:
            authority = Authority(meta={"name": "tests-ca"}, common_name="tests")
            self._authority = issuing.make_authority(authority, time.time())
            self.ca = self._authority[TRUSTED].decode()
        self._install()
        self._clear()
        self.run("network", "create", f"--subnet={SUBNET}.0/24", self.network)
        # A network without containers has no device, and what is meant for it would go out of the machine.
        keeper = ["--detach", f"--name={self.network}-keeper", f"--network={self.network}", f"--ip={SUBNET}.2"]
        self.run("run", *keeper, "--entrypoint=", self.images["cassandra-50"], "sleep", "infinity")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes.values():
            node.remove()
            node.unmount()
        self._clear()
        self._alone.__exit__(kind, error, trace)

    def node(self, number: int) -> Node:
        """The member of that number, from 0."""
        name = f"tests-{number}"
        if name not in self.nodes:
            directory = self.directory / name
            directory.mkdir()
            if self._tls:
                self.certify(name, directory / "tls")
            self.nodes[name] = Node(name, f"{SUBNET}.{10 + number}", directory, self)
        return self.nodes[name]

    def certify(self, name: str, directory: Path) -> None:
        """Give a member a new key and certificate, as a Secret's volume has them."""
        usages = frozenset({SERVER, CLIENT})
        request = Request(meta={"name": name}, common_name=name, names=(name,), usages=usages)
        directory.mkdir(exist_ok=True)
        for key, content in issuing.issue(self._authority, request, time.time()).items():
            (directory / key).write_bytes(content)
            (directory / key).chmod(0o644)

    def configure(self, node: Node, image: str, changes: Mapping[str, object]) -> None:
        """Write a member's configuration."""
        release = (4, 1) if image == "cassandra-41" else (5, 0)
        self._settings = replace(self._settings, release=release, **changes)  # type: ignore[arg-type]
        assert not list(configuration.refusals(self._settings))
        directory = node.directory / "configuration"
        directory.mkdir(exist_ok=True)
        for name, text in configuration.files(self._settings).items():
            (directory / name).write_text(text)

    def run(self, *arguments: str, check: bool = True) -> str:
        return host.engine().run(*arguments, check=check, timeout=600).stdout

    def _clear(self) -> None:
        """Remove containers and networks of this run, and of those that were killed."""
        for name in self.run("ps", "--all", f"--filter=name=^{LAB}", "--format={{.Names}}").split():
            self.run("rm", "--force", "--time=0", name, check=False)
        for name in self.run("network", "ls", f"--filter=name={LAB}", "--format={{.Name}}").split():
            self.run("network", "rm", "--force", name, check=False)

    def _install(self) -> None:
        self.program.mkdir()
        source = Path(containers.__file__).parent / "pod"
        shutil.copytree(source, self.program / "rook_member", ignore=shutil.ignore_patterns("__pycache__"))
        for jar in jars.ensure("agents").glob("*.jar"):
            shutil.copy(jar, self.program / images.AGENTS[jar.name.partition("-")[0]])


async def eventually[T](
    question: Callable[[], Awaitable[T]], good: Callable[[T], bool], what: str, *, seconds: float = START_SECONDS
) -> T:
    """The first answer that is good; answers that do not come are waited for."""
    last: object = None
    with anyio.move_on_after(seconds):
        while True:
            try:
                last = answer = await question()
                if good(answer):
                    return answer
            except AccessError as error:
                last = error
            await asyncio.sleep(0.5)
    raise AssertionError(f"not within {seconds:g} s: {what}; last seen: {last!r}")


async def serving(members: HttpMembers, node: Node, *, seconds: float = START_SECONDS) -> State:
    """The member's state as soon as it serves and its volume is marked."""

    def good(look: Look) -> bool:
        return look.state is not None and look.state.is_serving and look.report.host_id != ""

    look = await eventually(members.member(node.door).look, good, f"{node.name} serves", seconds=seconds)
    assert look.state is not None
    return look.state


async def done(members: HttpMembers, node: Node, name: str, command: Command) -> Job:
    """How a job ended."""
    member = members.member(node.door)
    await member.start(name, command)

    async def ask() -> Job:
        job = await member.job(name)
        assert job is not None
        return job

    return await eventually(ask, lambda job: job.state is not JobState.RUNNING, f"{command} ends")


def seeds(look: Look) -> tuple[str, ...]:
    return () if look.state is None else look.state.seeds


@asynccontextmanager
async def session(members: HttpMembers, node: Node, login: Login | None) -> AsyncIterator[Session]:
    async with members.session(node.address, login, ca=node.lab.ca, name=node.name) as session:
        yield session


async def write_rows(members: HttpMembers, node: Node, login: Login | None, count: int, *, copies: int = 1) -> None:
    """Make rows with the numbers below `count`."""
    async with session(members, node, login) as cql:
        replication = f"{{'class': 'NetworkTopologyStrategy', 'dc1': {copies}}}"
        await cql.query(f"CREATE KEYSPACE IF NOT EXISTS app WITH replication = {replication}")
        await cql.query("CREATE TABLE IF NOT EXISTS app.rows (id int PRIMARY KEY)")
        for number in range(count):
            await cql.query(f"INSERT INTO app.rows (id) VALUES ({number})")  # noqa: S608  # our own numbers


async def read_rows(members: HttpMembers, node: Node, login: Login | None) -> set[int]:
    """The numbers of all rows."""
    async with session(members, node, login) as cql:
        return {row["id"] for row in await cql.query("SELECT id FROM app.rows")}
