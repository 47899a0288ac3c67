"""Encrypted volumes: what is in the pool, and what pods on any node read."""

import base64
from collections.abc import Iterator

import pytest

from e2e import environment as env
from e2e import pods
from e2e.api import load
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually
from e2e.rbd import image_of

WORD = "rook-was-here"
pytestmark = pytest.mark.meanwhile


@pytest.fixture
def encrypting(environment: Environment) -> Iterator[tuple[str, str]]:
    """The example's StorageClass and its Secret, by name, with the key of the nodes' user."""
    manifests = list(load(env.EXAMPLES / "storageclass-encrypted.yaml"))
    names = {manifest["kind"]: manifest["metadata"]["name"] for manifest in manifests}
    key = environment.api.get("Secret", "rook-csi-rbd-node", env.NAMESPACE)["data"]["userKey"]
    for manifest in manifests:
        if manifest["kind"] == "Secret":
            manifest["stringData"] |= {"userKey": base64.b64decode(key).decode(), "encryptionPassphrase": "first"}
        environment.api.apply(manifest)
    yield names["StorageClass"], names["Secret"]
    for manifest in manifests:
        environment.api.delete(
            manifest["kind"], manifest["metadata"]["name"], manifest["metadata"].get("namespace", "")
        )


def test_an_encrypted_volume(environment: Environment, namespace: str, encrypting: tuple[str, str]) -> None:
    here, there, _ = environment.workers
    storage_class, secret = encrypting
    classes = {"sealed": storage_class, "plain": env.STORAGE_CLASS}
    for name, its_class in classes.items():
        pods.claim(environment, namespace, name, storage_class=its_class, size="128Mi")
        pods.pod(environment, namespace, name, name, node=here)
    for name in classes:
        pods.wait(environment, namespace, name, deadline=150)
        pods.shell(environment, namespace, name, f"for _ in $(seq 1000); do echo {WORD}; done > /data/f; sync")
    volume = pods.volume_of(environment, namespace, "sealed")
    image = image_of(volume)
    assert times_in_pool(environment, image) == 0
    assert times_in_pool(environment, image_of(pods.volume_of(environment, namespace, "plain"))) >= 1000
    assert stored(environment, image, "head -c 4") == "LUKS"
    assert volume["spec"]["capacity"]["storage"] == "128Mi", "all that was asked for: the header has its own room"

    for name in classes:
        pods.delete(environment, namespace, name)
    copy(environment, namespace, "copy", "sealed", storage_class)
    larger = {"spec": {"resources": {"requests": {"storage": "256Mi"}}}}
    environment.api.patch("PersistentVolumeClaim", "sealed", namespace, larger)

    def grown() -> None:
        capacity = environment.api.get("PersistentVolume", volume["metadata"]["name"])["spec"]["capacity"]["storage"]
        if capacity != "256Mi":
            raise NotYetError(f"it has {capacity}")

    eventually("the image to grow", grown, deadline=60)
    for name in ("sealed", "copy"):
        pods.pod(environment, namespace, name, name, node=there)
    for name in ("sealed", "copy"):
        pods.wait(environment, namespace, name, deadline=150)
        assert pods.shell(environment, namespace, name, "sort -u /data/f") == WORD
        size = pods.shell(environment, namespace, name, "df --block-size=1M --output=size /data | tail -n 1")
        assert int(size) > 200
    assert times_in_pool(environment, image_of(pods.volume_of(environment, namespace, "copy"))) == 0

    pods.delete(environment, namespace, "copy")
    environment.api.patch("Secret", secret, env.NAMESPACE, {"stringData": {"encryptionPassphrase": "second"}})
    pods.pod(environment, namespace, "copy", "copy", node=here)

    def refused() -> None:
        events = environment.api.list("Event", namespace, fields="involvedObject.name=copy,type=Warning")
        if not any(
            "encryptionPassphrase of the Secret does not open" in (event.get("message") or "") for event in events
        ):
            raise NotYetError("no event says that the passphrase is another")

    eventually("the reason", refused, deadline=120)
    assert pods.shell(environment, namespace, "sealed", "sort -u /data/f") == WORD, "what is open stays open"


def copy(environment: Environment, namespace: str, name: str, source: str, storage_class: str) -> None:
    """Ask for a volume that begins as a copy of another claim's."""
    spec = {
        "storageClassName": storage_class,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "256Mi"}},
        "dataSource": {"kind": "PersistentVolumeClaim", "name": source},
    }
    meta = {"name": name, "namespace": namespace}
    environment.api.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec})


def times_in_pool(environment: Environment, image: str) -> int:
    """How often the word is in an image as the pool has it."""
    return int(stored(environment, image, f"grep --text --only-matching {WORD} | wc -l"))


def stored(environment: Environment, image: str, script: str) -> str:
    """What a script makes of an image as the pool has it."""
    export = f"rbd export --no-progress {env.POOL}/{image} - 2> /dev/null"
    return env.in_toolbox(environment, "sh", "-c", f"{export} | {script}").strip()
