"""csi-sanity on real Ceph: the agent's CSI node service and the operator's CSI controller service, as they are."""

import base64
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest
import yaml

from e2e import binaries, cluster, csi_sanity, host, junit
from e2e import cache as store
from e2e import environment as env
from e2e.api import Manifest, load
from e2e.environment import Environment
from e2e.eventually import eventually
from e2e.leader import leader

DRIVER = f"{env.NAMESPACE}.rbd.csi.ceph.com"
NODE_SECRET = "rook-csi-rbd-node"  # noqa: S105 - its name
KUBELET = PurePosixPath("/var/lib/kubelet")
DIRECTORY = KUBELET / "csi-sanity"
"""On the node, where the agent has it at the same path."""

SOCKETS = PurePosixPath("/run/csi-sanity")
"""On the node, a short name of the operator's directory: the path of a unix socket has 107 characters at most."""

BYTES = 256 << 20


@dataclass(frozen=True)
class Place:
    """The node on which the leading operator runs: its services are both there."""

    node: str

    def shell(self, script: str, stdin: str = "") -> str:
        """What a script on the node wrote to stdout."""
        return host.engine().run("exec", "-i", self.node, "sh", "-euc", script, stdin=stdin, timeout=600).stdout


@pytest.fixture
def place(environment: Environment) -> Iterator[Place]:
    """The leader's node, with the program's files on it; nothing is mounted there in the end."""
    pod = eventually("a leader", lambda: leader(environment), deadline=120)
    made = Place(pod["spec"]["nodeName"])
    sockets = KUBELET / "pods" / pod["metadata"]["uid"] / "volumes" / "kubernetes.io~empty-dir" / "csi"
    made.shell(f"rm -rf {DIRECTORY} && mkdir -m 700 {DIRECTORY} && ln -sfn {sockets} {SOCKETS}")
    for name, content in (("secrets", secrets(environment)), ("parameters", parameters())):
        made.shell(f"umask 077 && cat > {DIRECTORY}/{name}.yaml", stdin=yaml.safe_dump(content))
    yield made
    mounted = made.shell(f"awk '$2 ~ \"^{DIRECTORY}/\" {{print $2}}' /proc/mounts")
    assert mounted == ""
    made.shell(f"rm -rf {DIRECTORY} {SOCKETS}")


def secrets(environment: Environment) -> Manifest:
    """What the agent maps images by."""
    found = environment.api.get("Secret", NODE_SECRET, env.NAMESPACE)["data"]
    return {"NodeStageVolumeSecret": {key: base64.b64decode(value).decode() for key, value in found.items()}}


def parameters() -> Manifest:
    """Those of the example's StorageClass."""
    (found,) = [m for m in load(env.EXAMPLES / "storageclass.yaml") if m["kind"] == "StorageClass"]
    return {key: value for key, value in found["parameters"].items() if not key.startswith("csi.storage.k8s.io/")}


def in_nodes(program: Path) -> PurePosixPath:
    """Where the nodes see a program of the cache."""
    artifacts = (store.root() / "artifacts").resolve()
    return PurePosixPath(cluster.ARTIFACTS_IN_NODES / program.resolve().relative_to(artifacts))


def left(environment: Environment) -> set[str]:
    """What there is of volumes: images of the pool, those in the trash included, and records."""
    images = env.in_toolbox(environment, "rbd", "ls", "--pool", env.POOL).split()
    trash = env.in_toolbox(environment, "rbd", "trash", "ls", "--all", "--pool", env.POOL).splitlines()
    records = environment.api.list("ConfigMap", env.NAMESPACE, labels="csi.rook.io/kind")
    return {*images, *trash, *(record["metadata"]["name"] for record in records)}


def test_csi_sanity_finds_nothing_and_leaves_nothing(environment: Environment, place: Place) -> None:
    before = left(environment)
    command = csi_sanity.command(
        in_nodes(binaries.ensure(csi_sanity.PROGRAM) / csi_sanity.PROGRAM),
        node=KUBELET / "plugins" / DRIVER / "csi.sock",
        controller=SOCKETS / f"{DRIVER}.sock",
        directory=DIRECTORY,
        size=BYTES,
        parameters=True,
    )
    output = place.shell(f"{shlex.join(command)} 2>&1 || true")
    assert "Ran " in output, output[-4000:]
    results = junit.read(place.shell(f"cat {DIRECTORY}/junit.xml"))
    assert not results.failed, "\n\n".join(f"{name}: {why}" for name, why in results.failed.items())
    assert not csi_sanity.unexplained(results)
    assert len(results.passed) > 50
    assert left(environment) <= before
