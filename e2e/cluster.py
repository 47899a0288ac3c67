"""A kind cluster with raw disks: one control plane, workers, and loop devices that belong to a worker each.

All that is made for a cluster stands in a state file below the cache before it is made, so that a run that died
half-way can be cleaned up. Nothing is written to the user's own kubeconfig.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from e2e import binaries, host, images, loops
from e2e import cache as store
from e2e.image_recipe import Image
from e2e.progress import say, step

NAME = "rook"
WORKERS = 3
DISKS_PER_WORKER = 2
DISK_BYTES = 8 << 30
"""The size of a disk; its backing file is sparse and holds only what was written."""
CREATE_SECONDS = 300
READY_SECONDS = 120
RUNTIME_SECONDS = 120
"""How long a new worker's container runtime may take to answer."""
DETACH_SECONDS = 30
NETWORK = "kind"
ARTIFACTS_IN_NODES = Path("/rook-artifacts")
"""Where the nodes see the cache's artifacts, so that image archives need not be copied to them."""
QUICK_KUBELET = {
    "nodeStatusUpdateFrequency": "1s",
    "nodeStatusReportFrequency": "5m",
    "syncFrequency": "10s",
    "volumeStatsAggPeriod": "10s",
}
"""A kubelet that looks more often than by default. By default, a pod waits up to ten seconds until its node says that
it uses a volume, as long again until the node says that it does not, and a minute for what has changed in a Secret."""


class Disk(msgspec.Struct, frozen=True):
    """A raw disk of one worker."""

    node: str
    backing: str
    """The sparse file below the cache that holds its content."""
    device: str = ""
    """The loop device, such as `/dev/loop3`; empty until it is attached."""


class Cluster(msgspec.Struct, frozen=True):
    """A cluster as its state file describes it."""

    name: str
    node_image: str
    control_plane: str
    workers: tuple[str, ...]
    disks: tuple[Disk, ...]
    quick: bool = False
    """Whether its kubelets are `QUICK_KUBELET`: nothing that users wait for may be measured on it."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """All nodes; each is a container of the engine with the same name."""
        return (self.control_plane, *self.workers)

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig file of the cluster's administrator."""
        return directory(self.name) / "kubeconfig"

    def devices(self, node: str) -> tuple[str, ...]:
        """The raw disks of a worker, such as `/dev/loop3`. Every node sees all of them: name only its own."""
        return tuple(disk.device for disk in self.disks if disk.node == node)


def directory(name: str) -> Path:
    """Where the state of a cluster is kept."""
    return store.root() / "clusters" / name


def read(name: str = NAME) -> Cluster | None:
    """The cluster that the state file describes, whether or not it still works; None if there is none."""
    try:
        return msgspec.json.decode((directory(name) / "state.json").read_bytes(), type=Cluster)
    except FileNotFoundError:
        return None


def write(cluster: Cluster) -> None:
    """Put the state file in place, never half-written."""
    path = directory(cluster.name) / "state.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(cluster)))
    temporary.rename(path)


def planned(name: str, node_image: str, workers: int, disks_per_worker: int, *, quick: bool = False) -> Cluster:
    """The cluster to be made, with kind's names for the nodes and no device attached yet."""
    nodes = tuple(f"{name}-worker{index if index > 1 else ''}" for index in range(1, workers + 1))
    disks = tuple(
        Disk(node, str(directory(name) / "disks" / f"{node}-{index}.img"))
        for node in nodes
        for index in range(disks_per_worker)
    )
    return Cluster(name, node_image, f"{name}-control-plane", nodes, disks, quick)


def up(
    name: str = NAME,
    *,
    workers: int = WORKERS,
    disks_per_worker: int = DISKS_PER_WORKER,
    loaded: Collection[Image] = (),
    quick: bool = False,
) -> Cluster:
    """A cluster whose nodes are all Ready: the one that is there if it is of this shape and healthy, else a new one.

    What an earlier run left behind under this name is removed first. The workers have the `loaded` images in the end;
    a new cluster's get them while it comes up, and it is `quick` as is said here: one that is there stays as it is.
    Raises `RuntimeError` when it cannot be made.
    """
    host.install()
    binaries.ensure("kind", "kubectl")
    node_image = images.ensure("node")["node"].reference
    wanted = planned(name, node_image, workers, disks_per_worker, quick=quick)
    with store.lock(f"cluster-{name}"):
        if (found := read(name)) is not None:
            if _same_shape(found, wanted) and healthy(found):
                say(f"    cluster {name} is there and healthy: it is used again")
                load(found, loaded)
                return found
            say(f"    what is left of an earlier cluster {name} is removed first")
        _down(name)
        write(wanted)
        cluster = _attach_disks(wanted)
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(_load_early, cluster, loaded)
            with step(f"create cluster {name}: 1 control plane, {workers} workers"):
                _create(cluster)
            with step(f"wait until all {len(cluster.nodes)} nodes are Ready"):
                kubectl(cluster, "wait", "--for=condition=Ready", "nodes", "--all", f"--timeout={READY_SECONDS}s")
            loading.result()
        return cluster


def _load_early(cluster: Cluster, wanted: Collection[Image]) -> None:
    """Load the images as soon as every worker has a container runtime, which is long before it is a node."""
    for image in wanted:
        images.archive(image)
    deadline = time.monotonic() + RUNTIME_SECONDS
    while not all(_has_runtime(node) for node in cluster.workers):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the workers of {cluster.name} had no container runtime after {RUNTIME_SECONDS} s")
        time.sleep(0.5)
    load(cluster, wanted)


def _has_runtime(node: str) -> bool:
    return host.engine().run("exec", node, "ctr", "version", check=False).returncode == 0


def _same_shape(found: Cluster, wanted: Cluster) -> bool:
    return (found.node_image, found.nodes, [disk.backing for disk in found.disks]) == (
        wanted.node_image,
        wanted.nodes,
        [disk.backing for disk in wanted.disks],
    )


def healthy(cluster: Cluster) -> bool:
    """Whether every node of the cluster runs and is Ready, and every disk is attached."""
    attached = {loop.device: loop.backing for loop in loops.attached()}
    if any(attached.get(disk.device) != disk.backing for disk in cluster.disks):
        return False
    try:
        output = kubectl(cluster, "get", "nodes", "-o", "json", "--request-timeout=10s")
    except RuntimeError:
        return False
    return ready_nodes(json.loads(output)) == set(cluster.nodes)


def ready_nodes(listed: Mapping[str, object]) -> set[str]:
    """The names of the Ready nodes in a NodeList."""
    found = msgspec.convert(listed, _NodeList)
    return {
        node.metadata.name
        for node in found.items
        if any(condition.type == "Ready" and condition.status == "True" for condition in node.status.conditions)
    }


class _Condition(msgspec.Struct):
    type: str
    status: str


class _Status(msgspec.Struct):
    conditions: list[_Condition] = msgspec.field(default_factory=list)


class _Metadata(msgspec.Struct):
    name: str


class _Node(msgspec.Struct):
    metadata: _Metadata
    status: _Status


class _NodeList(msgspec.Struct):
    items: list[_Node]


def _attach_disks(cluster: Cluster) -> Cluster:
    """Attach a loop device to each disk's file, recording each before the next is made."""
    for index, disk in enumerate(cluster.disks):
        backing = Path(disk.backing)
        backing.parent.mkdir(parents=True, exist_ok=True)
        with backing.open("wb") as file:
            file.truncate(DISK_BYTES)
        attached = Disk(disk.node, disk.backing, loops.attach(backing))
        cluster = msgspec.structs.replace(
            cluster, disks=(*cluster.disks[:index], attached, *cluster.disks[index + 1 :])
        )
        write(cluster)
    return cluster


def kind_config(cluster: Cluster, *, artifacts: Path, cgroup_v1: bool) -> dict[str, object]:
    """The configuration that `kind create cluster` reads."""
    mounts = [
        # Devices that are made later, by the node agent among others, must be seen in the nodes.
        {"hostPath": "/dev", "containerPath": "/dev"},
        {"hostPath": str(artifacts), "containerPath": str(ARTIFACTS_IN_NODES), "readOnly": True},
    ]
    roles = ["control-plane", *("worker" for _ in cluster.workers)]
    config: dict[str, object] = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": cluster.name,
        "nodes": [{"role": role, "extraMounts": mounts} for role in roles],
    }
    settings = {**(QUICK_KUBELET if cluster.quick else {}), **({"failCgroupV1": False} if cgroup_v1 else {})}
    if settings:
        kubelet = {"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1", **settings}
        config["kubeadmConfigPatches"] = [json.dumps(kubelet)]
    return config


def _create(cluster: Cluster) -> None:
    # kind mounts it into every node, and podman, unlike Docker, wants a mount's source to exist.
    Path("/lib/modules").mkdir(exist_ok=True)
    host.raise_inotify_limit()
    artifacts = store.root() / "artifacts"
    config = kind_config(cluster, artifacts=artifacts, cgroup_v1=not host.unified_cgroups())
    # kind reads YAML, of which JSON is a part.
    _kind(
        *("create", "cluster", "--config", "-", "--image", cluster.node_image),
        *("--kubeconfig", str(cluster.kubeconfig), "--retain"),
        stdin=json.dumps(config),
    )


def _kind(*arguments: str, stdin: str | None = None) -> str:
    result = subprocess.run(
        [binaries.ensure("kind") / "kind", *arguments],
        env=host.engine().environ(),
        capture_output=True,
        text=True,
        input=stdin,
        timeout=CREATE_SECONDS,
    )
    if result.returncode:
        raise RuntimeError(f"kind {' '.join(arguments[:2])} failed:\n{result.stderr.strip()[-6000:]}")
    return result.stdout


def kubectl(cluster: Cluster, *arguments: str, stdin: str | None = None, timeout: float = 300) -> str:
    """Run kubectl against the cluster and return its stdout.

    Raises `RuntimeError` with its stderr when it fails, and `subprocess.TimeoutExpired` after `timeout` seconds.
    """
    result = subprocess.run(
        client_command("kubectl", cluster, arguments), capture_output=True, text=True, input=stdin, timeout=timeout
    )
    if result.returncode:
        raise RuntimeError(f"kubectl {' '.join(arguments)} failed:\n{result.stderr.strip()[-4000:]}")
    return result.stdout


def client_command(program: str, cluster: Cluster, arguments: Sequence[str]) -> list[str]:
    """The command line that runs kubectl or Helm as the cluster's administrator."""
    return [str(binaries.ensure(program) / program), f"--kubeconfig={cluster.kubeconfig}", *arguments]


def load(cluster: Cluster, wanted: Collection[Image]) -> None:
    """Make every worker have the images, all workers at once; an image that a worker has already costs nothing."""
    todo = {node: _absent(node, wanted) for node in cluster.workers}
    if not any(todo.values()):
        return
    names = sorted({image.name for absent in todo.values() for image in absent})
    archives = {image: images.archive(image) for absent in todo.values() for image in absent}
    with step(f"load {', '.join(names)} into the workers"), ThreadPoolExecutor(len(todo)) as pool:
        list(pool.map(lambda node: _import(node, [archives[image] for image in todo[node]]), todo))


def _absent(node: str, wanted: Collection[Image]) -> list[Image]:
    listed = host.engine().run("exec", node, "ctr", "--namespace", "k8s.io", "images", "list", "--quiet").stdout
    present = set(listed.split())
    return [image for image in wanted if image.reference not in present]


def _import(node: str, archives: Iterable[Path]) -> None:
    for archive in archives:
        path = ARTIFACTS_IN_NODES / archive.relative_to(store.root() / "artifacts")
        command = (
            "ctr",
            "--namespace",
            "k8s.io",
            "images",
            "import",
            "--local",
            "--discard-unpacked-layers",
            str(path),
        )
        host.engine().run("exec", node, *command, timeout=CREATE_SECONDS)


def down(name: str = NAME) -> None:
    """Remove the cluster and all that was made for it: nodes, their volumes, network, loop devices, disks, state.

    What is not there is no error. Raises `RuntimeError` naming what cannot be removed.
    """
    host.install()
    with store.lock(f"cluster-{name}"), step(f"remove cluster {name}"):
        _down(name)


def _down(name: str) -> None:
    cluster = read(name)
    nodes = _containers(name)
    # Found while the nodes' mounts can still be seen; detached only when nothing in the nodes uses them any more.
    strays = loops.made_in_containers(nodes)
    if nodes:
        # Told to stop, systemd takes longer in each node than the engine waits; there is nothing left to save.
        host.engine().run("kill", "--signal", "KILL", *nodes, check=False)
        _kind("delete", "cluster", "--name", name, "--kubeconfig", str(directory(name) / "kubeconfig"))
    disks = cluster.disks if cluster else ()
    backings = {disk.backing for disk in disks}
    own = [loop.device for loop in loops.attached() if loop.backing in backings or not loop.file]
    for device in dict.fromkeys([*strays, *own]):
        loops.detach(device, DETACH_SECONDS)
    _remove_network()
    shutil.rmtree(directory(name), ignore_errors=True)


def _containers(name: str) -> list[str]:
    label = f"label=io.x-k8s.kind.cluster={name}"
    return host.engine().run("ps", "--all", "--filter", label, "--format", "{{.Names}}").stdout.split()


def _remove_network() -> None:
    """Remove kind's network unless another kind cluster is there to use it."""
    engine = host.engine()
    if engine.run("ps", "--all", "--quiet", "--filter", "label=io.x-k8s.kind.cluster").stdout.strip():
        return
    if engine.run("network", "inspect", NETWORK, check=False).returncode == 0:
        engine.run("network", "rm", NETWORK)
