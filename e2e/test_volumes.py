"""Claims: file systems and block devices, growth, deletion and retention."""

import json
from collections.abc import Iterator
from functools import partial

import pytest

from e2e import environment as env
from e2e import host, pods
from e2e.api import Manifest, load
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually
from e2e.rbd import image_of, images, rbd

MANY = 50
"""Pods with a volume of their own that start at once."""
pytestmark = pytest.mark.meanwhile


@pytest.fixture
def storage_class(environment: Environment, request: pytest.FixtureRequest) -> Iterator[str]:
    """A StorageClass like the example's, with the parameters and fields of the test's `storage_class` parameter."""
    (manifest,) = load(env.EXAMPLES / "storageclass.yaml")
    name = f"e2e-{request.node.name.split('[')[0].removeprefix('test_').replace('_', '-')[:40].strip('-')}"
    manifest["metadata"]["name"] = name
    changes: Manifest = request.param
    manifest["parameters"] |= changes.get("parameters", {})
    manifest |= {key: value for key, value in changes.items() if key != "parameters"}
    environment.api.apply(manifest)
    yield name
    environment.api.delete("StorageClass", name)


def test_deleting_a_claim_deletes_its_image(environment: Environment, namespace: str) -> None:
    pods.claim(environment, namespace, "one")
    volume = pods.volume_of(environment, namespace, "one")
    assert image_of(volume) in images(environment)
    environment.api.delete("PersistentVolumeClaim", "one", namespace)
    env.gone(environment, "PersistentVolume", volume["metadata"]["name"])
    assert image_of(volume) not in images(environment)


def test_an_image_that_a_second_volume_keeps_goes_with_that(environment: Environment, namespace: str) -> None:
    pods.claim(environment, namespace, "one")
    volume = pods.volume_of(environment, namespace, "one")
    name, copy = volume["metadata"]["name"], f"copy-{namespace}"
    kept = ("capacity", "accessModes", "volumeMode", "csi")  # without a class: no claim is bound to it
    spec = {field: volume["spec"][field] for field in kept} | {"persistentVolumeReclaimPolicy": "Retain"}
    environment.api.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": copy}, "spec": spec})
    environment.api.delete("PersistentVolumeClaim", "one", namespace)

    def refused() -> None:
        events = environment.api.list("Event", "default", fields=f"involvedObject.name={name},type=Warning")
        if not any(copy in (event.get("message") or "") for event in events):
            raise NotYetError(f"no event says that {copy} keeps the image")

    eventually("the image to be kept", refused, deadline=120)
    assert image_of(volume) in images(environment)
    environment.api.delete("PersistentVolume", copy)
    env.gone(environment, "PersistentVolume", name, deadline=120)
    assert image_of(volume) not in images(environment)


def test_an_image_that_was_made_by_hand(environment: Environment, namespace: str) -> None:
    # As one that was copied from a volume which this operator had made: even then its image is kept.
    image = made_by_hand(environment, namespace, "archive", reclaim="Delete")
    try:
        pods.pod(environment, namespace, "reader", "archive")
        pods.wait(environment, namespace, "reader")
        pods.shell(environment, namespace, "reader", "echo kept > /data/f; sync")
        pods.delete(environment, namespace, "reader")
        environment.api.delete("PersistentVolumeClaim", "archive", namespace)
        env.gone(environment, "PersistentVolumeClaim", "archive", namespace)
    finally:
        environment.api.delete("PersistentVolume", image)
        env.gone(environment, "PersistentVolume", image)
    eventually("it to be detached", lambda: detached(environment, image), deadline=120)
    assert image in images(environment)
    env.in_toolbox(environment, "rbd", "rm", "--no-progress", f"{env.POOL}/{image}")


def detached(environment: Environment, volume: str) -> None:
    """Raises `NotYetError` while there is a VolumeAttachment of the PersistentVolume."""
    for found in environment.api.list("VolumeAttachment"):
        if found["spec"]["source"].get("persistentVolumeName") == volume:
            raise NotYetError(found["status"].get("detachError", {}).get("message", "its VolumeAttachment to go"))


def made_by_hand(
    environment: Environment,
    namespace: str,
    claim: str,
    *,
    storage_class: str = "",
    file_system: str = "ext4",
    size: str = "512Mi",
    reclaim: str = "Retain",
) -> str:
    """A claim with an image and a PersistentVolume made by hand, in the form that Ceph's CSI driver documents.

    Returns:
        The name of image and PersistentVolume.
    """
    image = f"by-hand-{namespace}-{claim}"
    env.in_toolbox(
        environment,
        *("rbd", "create", f"{env.POOL}/{image}", "--size", size.removesuffix("i"), "--image-feature", "layering"),
    )
    driver = f"{env.NAMESPACE}.rbd.csi.ceph.com"
    common = {"storageClassName": storage_class, "accessModes": ["ReadWriteOnce"]}
    attributes = {
        "clusterID": env.NAMESPACE,
        "pool": env.POOL,
        "staticVolume": "true",
        "imageFeatures": "layering",
    }
    csi = {
        "driver": driver,
        "volumeHandle": image,
        "fsType": file_system,
        "nodeStageSecretRef": {"name": "rook-csi-rbd-node", "namespace": env.NAMESPACE},
        "volumeAttributes": attributes,
    }
    copied = {"annotations": {"pv.kubernetes.io/provisioned-by": driver}} if reclaim == "Delete" else {}
    environment.api.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": image, **copied},
            "spec": {
                **common,
                "capacity": {"storage": size},
                "persistentVolumeReclaimPolicy": reclaim,
                "claimRef": {"namespace": namespace, "name": claim},
                "csi": csi,
            },
        }
    )
    environment.api.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "namespace": namespace},
            "spec": {**common, "volumeName": image, "resources": {"requests": {"storage": size}}},
        }
    )
    return image


@pytest.mark.parametrize("storage_class", [{"reclaimPolicy": "Retain"}], indirect=True, ids=["retain"])
def test_a_retained_volume_keeps_its_image(environment: Environment, namespace: str, storage_class: str) -> None:
    pods.claim(environment, namespace, "one", storage_class=storage_class)
    volume = pods.volume_of(environment, namespace, "one")
    name = volume["metadata"]["name"]
    environment.api.delete("PersistentVolumeClaim", "one", namespace)

    def released() -> None:
        phase = environment.api.get("PersistentVolume", name)["status"]["phase"]
        if phase != "Released":
            raise NotYetError(f"it is {phase}")

    eventually(f"volume {name} to be released", released, deadline=120)
    assert image_of(volume) in images(environment)
    environment.api.delete("PersistentVolume", name)
    env.gone(environment, "PersistentVolume", name)
    assert image_of(volume) in images(environment)
    env.in_toolbox(environment, "rbd", "rm", "--no-progress", f"{env.POOL}/{image_of(volume)}")


@pytest.mark.parametrize(
    "storage_class", [{"parameters": {"csi.storage.k8s.io/fstype": "xfs"}}], indirect=True, ids=["xfs"]
)
def test_xfs(environment: Environment, namespace: str, storage_class: str) -> None:
    pods.claim(environment, namespace, "one", storage_class=storage_class)
    pods.pod(environment, namespace, "writer", "one", node=environment.workers[0])
    pods.wait(environment, namespace, "writer")
    assert pods.shell(environment, namespace, "writer", "stat -f -c %T /data") == "xfs"
    pods.shell(environment, namespace, "writer", "echo kept > /data/f; sync")
    pods.delete(environment, namespace, "writer")
    pods.pod(environment, namespace, "reader", "one", node=environment.workers[1])
    pods.wait(environment, namespace, "reader")
    assert pods.shell(environment, namespace, "reader", "cat /data/f") == "kept"


@pytest.mark.parametrize(
    "storage_class", [{"parameters": {"csi.storage.k8s.io/fstype": "xfs"}}], indirect=True, ids=["xfs"]
)
def test_a_mounted_volume_grows(environment: Environment, namespace: str, storage_class: str) -> None:
    pods.claim(environment, namespace, "one", storage_class=storage_class)
    pods.pod(environment, namespace, "writer", "one")
    pods.wait(environment, namespace, "writer")
    larger = {"spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    environment.api.patch("PersistentVolumeClaim", "one", namespace, larger)

    def look() -> None:
        size = pods.shell(environment, namespace, "writer", "df --block-size=1M --output=size /data | tail -n 1")
        capacity = environment.api.get("PersistentVolumeClaim", "one", namespace)["status"]["capacity"]["storage"]
        if int(size) < 900 or capacity != "1Gi":
            raise NotYetError(f"the file system has {size} MiB, the claim {capacity}")

    eventually("the volume to grow", look, deadline=150)


def test_block_device(environment: Environment, namespace: str) -> None:
    pods.claim(environment, namespace, "raw", block=True)
    pods.pod(environment, namespace, "writer", "raw", node=environment.workers[0], block=True)
    pods.wait(environment, namespace, "writer")
    assert pods.shell(environment, namespace, "writer", "test -b /data && blockdev --getsize64 /data") == str(512 << 20)
    pods.shell(environment, namespace, "writer", "echo -n kept | dd of=/data bs=4 count=1 conv=fsync status=none")
    pods.delete(environment, namespace, "writer")
    pods.pod(environment, namespace, "reader", "raw", node=environment.workers[1], block=True)
    pods.wait(environment, namespace, "reader")
    assert pods.shell(environment, namespace, "reader", "head -c 4 /data") == "kept"


def test_read_only(environment: Environment, namespace: str) -> None:
    pods.claim(environment, namespace, "one")
    pods.pod(environment, namespace, "writer", "one")
    pods.wait(environment, namespace, "writer")
    pods.shell(environment, namespace, "writer", "echo kept > /data/f; sync")
    pods.delete(environment, namespace, "writer")
    pods.pod(environment, namespace, "reader", "one", read_only=True)
    pods.wait(environment, namespace, "reader")
    assert pods.shell(environment, namespace, "reader", "cat /data/f") == "kept"
    with pytest.raises(RuntimeError, match="Read-only file system"):
        pods.shell(environment, namespace, "reader", "echo lost > /data/f")


@pytest.mark.parametrize(
    ("storage_class", "told"),
    [
        ({"parameters": {"pool": "no-such-pool"}}, "pool 'no-such-pool' (parameter 'pool') does not exist"),
        ({"parameters": {"dataPool": "ec-poool"}}, "pool 'ec-poool' (parameter 'dataPool') does not exist"),
        ({"provisioner": "elsewhere.rbd.csi.ceph.com"}, f"expected {env.NAMESPACE}.rbd.csi.ceph.com"),
    ],
    indirect=["storage_class"],
    ids=["pool", "dataPool", "provisioner"],
)
def test_an_impossible_claim_says_why(environment: Environment, namespace: str, storage_class: str, told: str) -> None:
    pods.claim(environment, namespace, "never", storage_class=storage_class)

    def look() -> None:
        events = environment.api.list("Event", namespace, fields="involvedObject.name=never,type=Warning")
        if not any(told in (event.get("message") or "") for event in events):
            raise NotYetError(f"no event says {told!r}")

    eventually("the reason", look, deadline=120)


@pytest.mark.parametrize(
    "storage_class", [{"parameters": {"csi.storage.k8s.io/fstype": "xfs"}}], indirect=True, ids=["xfs"]
)
def test_a_claim_that_is_too_small_for_its_file_system_gets_a_larger_volume(
    environment: Environment, namespace: str, storage_class: str
) -> None:
    pods.claim(environment, namespace, "tiny", storage_class=storage_class, size="100Mi")
    pods.pod(environment, namespace, "user", "tiny")
    pods.wait(environment, namespace, "user")
    assert pods.volume_of(environment, namespace, "tiny")["spec"]["capacity"]["storage"] == "300Mi"


def test_a_claim_that_names_its_class_by_the_annotation_of_before(environment: Environment, namespace: str) -> None:
    annotations = {"volume.beta.kubernetes.io/storage-class": env.STORAGE_CLASS}
    environment.api.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "old-chart", "namespace": namespace, "annotations": annotations},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
        }
    )
    volume = pods.volume_of(environment, namespace, "old-chart")
    assert volume["spec"]["storageClassName"] == env.STORAGE_CLASS


def test_the_kubelet_reports_how_full_a_volume_is(environment: Environment, namespace: str) -> None:
    node = environment.workers[0]
    pods.claim(environment, namespace, "one")
    pods.pod(environment, namespace, "writer", "one", node=node)
    pods.wait(environment, namespace, "writer")
    pods.shell(environment, namespace, "writer", "head -c 64M /dev/zero > /data/f; sync")

    def look() -> None:
        answer = environment.api.request("GET", f"/api/v1/nodes/{node}/proxy/stats/summary")
        for found in json.loads(answer)["pods"]:
            if found["podRef"]["namespace"] == namespace:
                used = [v.get("usedBytes", 0) for v in found.get("volume", []) if v["name"] == "data"]
                if used and used[0] >= 64 << 20:
                    return
                raise NotYetError(f"{used} bytes used")
        raise NotYetError("the pod is not in the kubelet's statistics")

    eventually("the volume's statistics", look, deadline=120)


@pytest.mark.parametrize("storage_class", [{"mountOptions": ["no-such-option"]}], indirect=True, ids=["wrong-option"])
def test_a_first_mount_that_fails_leaves_nothing_and_sees_a_new_size(
    environment: Environment, namespace: str, storage_class: str
) -> None:
    node = environment.workers[0]
    for name in ("given-up", "grown"):
        pods.claim(environment, namespace, name, storage_class=storage_class, size="100Mi")
        pods.pod(environment, namespace, name, name, node=node)
    volumes = {name: pods.volume_of(environment, namespace, name) for name in ("given-up", "grown")}
    for name in volumes:
        eventually(f"the reason of pod {name}", partial(not_mounted, environment, namespace, name), deadline=90)
        pods.delete(environment, namespace, name)

    environment.api.delete("PersistentVolumeClaim", "given-up", namespace)
    env.gone(environment, "PersistentVolume", volumes["given-up"]["metadata"]["name"], deadline=120)
    assert image_of(volumes["given-up"]) not in images(environment)
    assert clients(environment, node, volumes["given-up"]) == []
    processes = host.run_on(node, "sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")
    assert image_of(volumes["given-up"]) not in processes

    name = volumes["grown"]["metadata"]["name"]
    environment.api.patch("PersistentVolume", name, "", {"spec": {"mountOptions": None}})
    larger = {"spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    environment.api.patch("PersistentVolumeClaim", "grown", namespace, larger)

    def grown() -> None:
        capacity = environment.api.get("PersistentVolume", name)["spec"]["capacity"]["storage"]
        if capacity != "1Gi":
            raise NotYetError(f"it has {capacity}")

    eventually("the image to grow", grown, deadline=60)
    pods.pod(environment, namespace, "grown", "grown", node=node)
    pods.wait(environment, namespace, "grown", deadline=120)
    size = pods.shell(environment, namespace, "grown", "df --block-size=1M --output=size /data | tail -n 1")
    assert int(size) > 900
    (watcher,) = rbd(environment, "status", f"{env.POOL}/{image_of(volumes['grown'])}")["watchers"]
    assert clients(environment, node, volumes["grown"]) == [watcher["address"]]


def not_mounted(environment: Environment, namespace: str, name: str) -> None:
    """Raises `NotYetError` until an event has the words with which the mount of the pod's volume failed."""
    for event in environment.api.list("Event", namespace, fields=f"involvedObject.name={name},type=Warning"):
        # Which words the kernel has for a wrong option depends on its version.
        if event["reason"] == "FailedMount" and "mount: exit status" in event["message"]:
            return
    raise NotYetError("no event says that the mount failed")


def clients(environment: Environment, node: str, volume: Manifest) -> list[str]:
    """The addresses of the clients by which the node's agent reports that the volume is in use there."""
    report = environment.api.get("NodeReport", node, env.NAMESPACE)
    handle = volume["spec"]["csi"]["volumeHandle"]
    return [client.get("address", "") for client in report.get("clients", []) if client["volumeHandle"] == handle]


@pytest.mark.alone  # else nothing else gets its share of the machine
def test_many_volumes_are_used_at_once(environment: Environment, namespace: str) -> None:
    names = [f"v{number}" for number in range(MANY)]
    for name in names:
        pods.claim(environment, namespace, name, size="64Mi")
        pods.pod(environment, namespace, name, name)

    def all_run() -> None:
        found = environment.api.list("Pod", namespace)
        if len(ready := env.running(found)) < MANY:
            raise NotYetError(f"{len(ready)} of {MANY} pods run")

    def all_gone() -> None:
        left = [v for v in environment.api.list("PersistentVolume") if v["spec"]["claimRef"]["namespace"] == namespace]
        if left:
            raise NotYetError(f"{len(left)} volumes are left")

    eventually("all pods", all_run, deadline=180)
    environment.api.delete("Namespace", namespace)
    eventually("all volumes to be gone", all_gone, deadline=100)
    for node in environment.workers:
        reported = environment.api.get("NodeReport", node, env.NAMESPACE).get("clients", [])
        assert not [client for client in reported if client["image"].rpartition("/")[2] not in images(environment)]
