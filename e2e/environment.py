"""The scene of the demo and of every scenario: the kind cluster, our chart in it, and a Ceph cluster that it runs.

Everything here may be called again: what is there already is found and kept.
"""

import http.client
import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e import binaries, cluster, images
from e2e.api import OF_A_CLUSTER, Api, ApiError, Manifest, condition, load
from e2e.eventually import NotYetError, eventually
from e2e.image_recipe import Image
from e2e.timetable import Timetable

REPOSITORY = Path(__file__).parents[1]
CHART = REPOSITORY / "charts" / "rook"
EXAMPLES = REPOSITORY / "manifests" / "examples" / "ceph"

NAMESPACE = "rook-ceph"
RELEASE = "rook"
RELEASE_OF_CEPH = "18.2."
CLUSTER = "rook-ceph"
POOL = "replicapool"
STORAGE_CLASS = "rook-ceph-block"
ZONE_LABEL, ZONES = "example.com/zone", ("first", "second")
"""The label of workers by which StorageClasses tell places apart, and its values."""
IMAGES = ("operator", "agent", "ceph", "postgres")
"""What the demo runs."""

READY_SECONDS = 420.0
"""How long a new Ceph cluster may take on a slow machine; bench/cluster.py measures how long it does take."""
GONE_SECONDS = 120.0


@dataclass(frozen=True)
class Environment:
    """What scenarios work with."""

    api: Api
    kubeconfig: Path
    programs: Path
    """The directory of kubectl and helm."""
    images: Mapping[str, str]
    """The reference under which the nodes have each image."""
    devices: Mapping[str, tuple[str, ...]]
    """Each worker's own raw disks."""

    @property
    def workers(self) -> list[str]:
        """The nodes that pods run on."""
        return sorted(self.devices)

    def run(self, program: str, *arguments: str | Path, stdin: str | None = None, deadline: float = 120.0) -> str:
        """What kubectl or helm wrote to stdout. Raises `RuntimeError` with its stderr when it fails."""
        command = [self.programs / program, "--kubeconfig", self.kubeconfig, *arguments]
        result = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=deadline)
        if result.returncode:
            shown = " ".join(str(argument) for argument in (program, *arguments))
            raise RuntimeError(f"{shown} failed with {result.returncode}:\n{result.stderr.strip()[-4000:]}")
        return result.stdout

    def execute(self, pod: str, *command: str, namespace: str, container: str = "", deadline: float = 60.0) -> str:
        """What a command in a pod's container wrote to stdout. Raises `RuntimeError` when it fails."""
        chosen = ["--container", container] if container else []
        arguments = ["exec", "--namespace", namespace, pod, *chosen, "--", *command]
        return self.run("kubectl", *arguments, deadline=deadline)


def up(timetable: Timetable) -> Environment:
    """Everything, up to a pool and a StorageClass that claims can ask for."""
    environment = prepare(timetable)
    bring_up(environment, timetable)
    return environment


def bring_up(environment: Environment, timetable: Timetable, **values: Any) -> None:
    """The chart with these values, the Ceph cluster, the pool and the StorageClass."""
    with timetable.step("operator and agents"):
        label_zones(environment)
        install_chart(environment, **values)
        wait_for_chart(environment)
    with timetable.step("Ceph cluster"):
        if runs_another_release(environment):
            # Left by a scenario that was killed. No daemon goes back to an older release.
            wipe(environment)
        apply_ceph_cluster(environment)
        wait_for_cluster(environment)
    with timetable.step("pool and StorageClass"):
        create_pool(environment)


def prepare(timetable: Timetable, *, more_images: tuple[str, ...] = (), quick: bool = False) -> Environment:
    """The kind cluster with the images on its nodes, and nothing of ours in it yet; `quick` as `cluster.up` has it."""
    with timetable.step("programs"):
        programs = binaries.ensure("helm", "kind", "kubectl")
    with timetable.step("images"):
        built = images.ensure(*IMAGES, *more_images)
    with timetable.step("kind cluster with the images on its nodes"):
        state = cluster.up(loaded=built.values(), quick=quick)
    return _of(state, programs, built)


def joined(*, more_images: tuple[str, ...] = ()) -> Environment:
    """What another process has made of `prepare` and `bring_up`, as it is. Raises `RuntimeError` when there is none."""
    state = cluster.read()
    if state is None:
        raise RuntimeError(f"there is no cluster {cluster.NAME}")
    return _of(state, binaries.ensure("helm", "kind", "kubectl"), images.ensure(*IMAGES, *more_images))


def _of(state: cluster.Cluster, programs: Path, built: Mapping[str, Image]) -> Environment:
    return Environment(
        api=Api(state.kubeconfig),
        kubeconfig=state.kubeconfig,
        programs=programs,
        images={name: image.reference for name, image in built.items()},
        devices={node: state.devices(node) for node in state.workers},
    )


def label_zones(environment: Environment) -> None:
    """Say in which zone each worker is, before its agent tells the kubelet; the last half is in the second zone.

    The label is none of those by which the CRUSH map is made: nothing else depends on it.
    """
    workers = sorted(environment.devices)
    for number, node in enumerate(workers):
        zone = ZONES[2 * number // len(workers)]
        environment.api.patch("Node", node, "", {"metadata": {"labels": {ZONE_LABEL: zone}}})


def install_chart(
    environment: Environment, *, chart: Path = CHART, operator: str = "operator", agent: str = "agent", **values: Any
) -> None:
    """Install or upgrade the release, without waiting until its pods are ready.

    Args:
        environment: The cluster.
        chart: The chart's directory.
        operator: Which image the operator runs.
        agent: Which image the agents run.
        values: More values of the chart.
    """
    # The control plane is not given the images, so nothing of ours may tolerate its taint.
    topology = {"enabled": True, "domainLabels": [ZONE_LABEL]}
    settings: dict[str, Any] = {
        "allowLoopDevices": True,
        "csi.pluginTolerations": [],
        "csi.topology": topology,
        **values,
    }
    for prefix, image in (("image", operator), ("agent.image", agent)):
        settings[f"{prefix}.repository"], settings[f"{prefix}.tag"] = environment.images[image].rsplit(":", 1)
    arguments: list[str | Path] = ["upgrade", "--install", RELEASE, chart, "--namespace", NAMESPACE]
    for name, value in settings.items():
        arguments += ["--set-json", f"{name}={json.dumps(value)}"]
    environment.run("helm", *arguments, "--create-namespace")


def wait_for_chart(environment: Environment) -> None:
    """Wait until all of the release's pods are ready."""

    def look() -> None:
        deployment = environment.api.get("Deployment", "rook-ceph-operator", NAMESPACE)
        wanted = deployment["spec"]["replicas"]
        missing = [] if rolled_out(deployment, wanted) else [f"operator {ready(deployment)} of {wanted}"]
        for name in ("rook-agent", "rook-mounter"):
            daemons = environment.api.get("DaemonSet", name, NAMESPACE)
            status = daemons["status"]
            if (
                status.get("observedGeneration") != daemons["metadata"]["generation"]
                or status.get("numberReady", 0) < max(1, status.get("desiredNumberScheduled", 0))
                or (name == "rook-agent" and status.get("updatedNumberScheduled", 0) < status["desiredNumberScheduled"])
            ):
                missing.append(f"{name} {status.get('numberReady', 0)} of {status.get('desiredNumberScheduled', '?')}")
        if missing:
            raise NotYetError(", ".join(missing) + " ready")

    eventually("the chart's pods", look, deadline=180)


def ready(workload: Manifest) -> int:
    """How many of a workload's pods are ready."""
    return int(workload.get("status", {}).get("readyReplicas", 0))


def rolled_out(workload: Manifest, replicas: int) -> bool:
    """Whether all of a workload's pods are of its newest template and ready."""
    status = workload.get("status", {})
    return bool(
        status.get("observedGeneration") == workload["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == status.get("replicas", 0) == replicas
        and status.get("readyReplicas", 0) == replicas
    )


def apply_ceph_cluster(environment: Environment, *, mon: Manifest | None = None, image: str = "ceph") -> None:
    """Apply the example for tests, with an image of ours, each worker's first disk, and these fields of `spec.mon`."""
    manifests = list(load(EXAMPLES / "cluster-test.yaml"))
    manifest = next(m for m in manifests if m["kind"] == "CephCluster")
    spec = manifest["spec"]
    spec["cephVersion"] = {"image": environment.images[image], "imagePullPolicy": "IfNotPresent"}
    spec["mon"].update(mon or {})
    # Debian's Ceph has a mgr module that cannot be loaded, and a test machine's disk may be fuller than mons like.
    spec["mgr"]["modules"] = [{"name": "restful", "enabled": False}]
    spec["cephConfig"]["mon"]["mon_data_avail_warn"] = "5"
    spec["storage"] = {
        **spec.get("storage", {}),
        "useAllNodes": False,
        "useAllDevices": False,
        "nodes": [
            {"name": node, "devices": [{"name": devices[0]}]} for node, devices in sorted(environment.devices.items())
        ],
    }
    for applied in manifests:
        environment.api.apply(applied)


def runs_another_release(environment: Environment) -> bool:
    """Whether there is a Ceph cluster, and not of the release of the image that the example for tests gets."""
    found = environment.api.find("CephCluster", CLUSTER, NAMESPACE)
    version = found["status"].get("version", {}).get("version", "") if found is not None else ""
    return bool(version) and not version.startswith(RELEASE_OF_CEPH)


def wait_for_cluster(
    environment: Environment, *, mons: int = 3, mgrs: int = 1, osds: int = 3, deadline: float = READY_SECONDS
) -> None:
    """Wait until the Ceph cluster is Ready for its newest spec, with this many daemons."""

    def look() -> None:
        found = environment.api.get("CephCluster", CLUSTER, NAMESPACE)
        status = found.get("status", {})
        if status.get("observedGeneration") != found["metadata"]["generation"]:
            raise NotYetError("the operator to see its spec")
        state = condition(found, "Ready")
        if state.get("status") != "True" or state.get("observedGeneration") != found["metadata"]["generation"]:
            raise NotYetError(progress(found))
        for kind, wanted in (("mon", mons), ("mgr", mgrs), ("osd", osds)):
            running = ready_daemons(environment, kind)
            if len(running) != wanted:
                raise NotYetError(f"{len(running)} of {wanted} {kind}s ready")

    eventually("the Ceph cluster", look, deadline=deadline)


def ready_daemons(environment: Environment, kind: str) -> list[str]:
    """The names of the Ceph daemon Deployments of a kind (mon, mgr, osd) whose pod is ready."""
    found = environment.api.list("Deployment", NAMESPACE, labels=f"app=rook-ceph-{kind}")
    return sorted(d["metadata"]["name"] for d in found if ready(d) == 1)


def progress(found: Manifest) -> str:
    """What the operator says that it is at and waits for."""
    status = found.get("status", {})
    steps = [
        f"{step['subject']}: {step.get('error') or step.get('waitsFor') or step.get('reason', '')}"
        for step in status.get("plan", {}).get("steps", [])
    ]
    return "; ".join(steps[:4]) or condition(found, "Ready").get("message") or status.get("phase") or "no status yet"


def create_pool(environment: Environment) -> None:
    """The examples' pool and StorageClass; wait until the pool is there."""
    for file in ("pool.yaml", "storageclass.yaml"):
        for manifest in load(EXAMPLES / file):
            if manifest["kind"] == "CephBlockPool":
                environment.api.apply(manifest)
            elif manifest["kind"] == "StorageClass":
                _apply_class(environment, manifest)
    wait_for_pool(environment, POOL)


def _apply_class(environment: Environment, manifest: Manifest) -> None:
    """Apply a StorageClass; one whose parameters have changed since is made anew, as they cannot be changed."""
    try:
        environment.api.apply(manifest)
    except ApiError as error:
        if error.status != http.client.UNPROCESSABLE_ENTITY:
            raise
        environment.api.delete("StorageClass", manifest["metadata"]["name"])
        environment.api.apply(manifest)


def wait_for_pool(environment: Environment, name: str) -> None:
    """Wait until a pool is Ready for its newest spec."""
    wait_for_phase(environment, "CephBlockPool", name)


def wait_for_phase(environment: Environment, kind: str, name: str, *, deadline: float = 120.0) -> None:
    """Wait until an object of a kind of Ceph is Ready for its newest spec."""

    def look() -> None:
        found = environment.api.get(kind, name, NAMESPACE)
        status = found.get("status", {})
        if status.get("phase") != "Ready" or status.get("observedGeneration") != found["metadata"]["generation"]:
            raise NotYetError(progress(found))

    eventually(f"{kind} {name}", look, deadline=deadline)


def wait_until_blocked(environment: Environment, kind: str, name: str, *, by: str) -> None:
    """Wait until an object of a kind of Ceph says that its deletion is blocked by what is named so."""

    def look() -> None:
        found = environment.api.get(kind, name, NAMESPACE)
        state = condition(found, "DeletionIsBlocked")
        if state.get("status") != "True" or by not in state.get("message", ""):
            raise NotYetError(progress(found))

    eventually(f"the deletion of {kind} {name} to be blocked by {by}", look, deadline=120)


def ceph(environment: Environment, *command: str) -> Any:
    """The JSON answer of a `ceph` command, asked from the toolbox pod."""
    return json.loads(in_toolbox(environment, "ceph", *command, "--format", "json"))


def in_toolbox(environment: Environment, *command: str) -> str:
    """What a command wrote in the toolbox: a pod with Ceph's command line and the admin's key, made if missing."""
    return environment.execute(_toolbox(environment), *command, namespace=NAMESPACE)


def _toolbox(environment: Environment) -> str:
    image = environment.images["ceph"]

    def found() -> list[str]:
        pods = running(environment.api.list("Pod", NAMESPACE, labels="app=rook-ceph-tools"))
        return [pod["metadata"]["name"] for pod in pods if pod["spec"]["containers"][0]["image"] == image]

    def look() -> str:
        if not (names := found()):
            raise NotYetError("its pod to be ready")
        return names[0]

    if not found():
        for manifest in load(EXAMPLES / "toolbox.yaml"):
            manifest["metadata"]["namespace"] = NAMESPACE
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                container["image"] = image
            environment.api.apply(manifest)
    return eventually("the toolbox", look, deadline=60)


def running(pods: Iterable[Manifest]) -> list[Manifest]:
    """Those pods that are ready and not on their way out."""
    return [
        pod
        for pod in pods
        if condition(pod, "Ready").get("status") == "True" and "deletionTimestamp" not in pod["metadata"]
    ]


def gone(environment: Environment, kind: str, name: str, namespace: str = "", *, deadline: float = 60.0) -> None:
    """Wait until the object is gone."""

    def look() -> None:
        found = environment.api.find(kind, name, namespace)
        if found is not None:
            held = ", ".join(found["metadata"].get("finalizers", [])) or "its owner"
            raise NotYetError(f"{kind} {name} is still there, held by {held}")

    eventually(f"{kind} {name} to be gone", look, deadline=deadline)


def wipe(environment: Environment) -> None:
    """Delete the Ceph cluster, if there is one, with its data and what a scenario that failed has left in it."""
    environment.api.delete("Cluster", CLUSTER, NAMESPACE)
    if environment.api.find("CephCluster", CLUSTER, NAMESPACE) is None:
        return
    force = {"metadata": {"annotations": {"rook.io/force-deletion": "true"}}}
    for kind in OF_A_CLUSTER:
        for name in [found["metadata"]["name"] for found in environment.api.list(kind, NAMESPACE)]:
            environment.api.patch(kind, name, NAMESPACE, force)
            environment.api.delete(kind, name, NAMESPACE)
    consent = {"spec": {"cleanupPolicy": {"confirmation": "yes-really-destroy-data"}}}
    environment.api.patch("CephCluster", CLUSTER, NAMESPACE, consent)
    environment.api.delete("CephCluster", CLUSTER, NAMESPACE)
    gone(environment, "CephCluster", CLUSTER, NAMESPACE, deadline=GONE_SECONDS)
    # The toolbox has the keys and mons of that cluster.
    environment.api.delete("Deployment", "rook-ceph-tools", NAMESPACE)
    for pod in environment.api.list("Pod", NAMESPACE, labels="app=rook-ceph-tools"):
        gone(environment, "Pod", pod["metadata"]["name"], NAMESPACE)
