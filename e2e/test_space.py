"""Space that volumes do not need any more is given back, at rest and while a pod uses them."""

import json

import pytest

from e2e import environment as env
from e2e import pods
from e2e.api import Manifest
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually
from e2e.rbd import image_of, rbd

pytestmark = pytest.mark.meanwhile


def test_space_of_zeros_is_given_back(environment: Environment, namespace: str) -> None:
    pods.claim(environment, namespace, "raw", size="128Mi", block=True)
    pods.pod(environment, namespace, "writer", "raw", block=True)
    pods.wait(environment, namespace, "writer")
    pods.shell(environment, namespace, "writer", "echo -n kept | dd of=/data bs=4 count=1 conv=fsync status=none")
    pods.shell(
        environment, namespace, "writer", "dd if=/dev/zero of=/data bs=4M seek=1 count=16 conv=fsync status=none"
    )
    asked = {"metadata": {"annotations": {"volumes.rook.io/reclaim-space": "once"}}}
    environment.api.patch("PersistentVolumeClaim", "raw", namespace, asked)
    pods.delete(environment, namespace, "writer")

    def given_back() -> int:
        claim = environment.api.get("PersistentVolumeClaim", "raw", namespace)
        note = claim["metadata"]["annotations"].get("volumes.rook.io/space-reclaimed")
        if note is None:
            raise NotYetError("nothing was tried")
        found: int = json.loads(note)["bytes"]
        return found

    assert eventually("the space to be given back", given_back, deadline=120) >= 64 << 20
    pods.pod(environment, namespace, "reader", "raw", block=True)
    pods.wait(environment, namespace, "reader")
    assert pods.shell(environment, namespace, "reader", "head -c 4 /data") == "kept"


def test_space_of_deleted_files_is_given_back_while_a_pod_uses_them(environment: Environment, namespace: str) -> None:
    # Large enough for blocks of 4 KiB: of smaller ones, ext4 has some in every second object, which then stays.
    pods.claim(environment, namespace, "files", size="1Gi")
    pods.pod(environment, namespace, "writer", "files")
    pods.wait(environment, namespace, "writer")
    image = f"{env.POOL}/{image_of(pods.volume_of(environment, namespace, 'files'))}"
    write = "dd if=/dev/urandom of=/data/gone bs=4M count=24 conv=fsync status=none; echo -n kept > /data/kept; sync"
    pods.shell(environment, namespace, "writer", write)
    before = used(environment, image)
    assert before >= 96 << 20
    pods.shell(environment, namespace, "writer", "rm /data/gone; sync -f /data")
    asked = {"metadata": {"annotations": {"volumes.rook.io/reclaim-space": "once"}}}
    environment.api.patch("PersistentVolumeClaim", "files", namespace, asked)

    def trimmed() -> Manifest:
        claim = environment.api.get("PersistentVolumeClaim", "files", namespace)
        note = claim["metadata"]["annotations"].get("volumes.rook.io/space-reclaimed")
        if note is None:
            events = environment.api.list("Event", namespace, fields="involvedObject.name=files")
            told = [event.get("note") or event.get("message") for event in events]
            node = environment.api.get("Pod", "writer", namespace)["spec"]["nodeName"]
            report = environment.api.get("NodeReport", node, env.NAMESPACE)
            raise NotYetError(f"{told}; node {node}: {report.get('trims')}, {report.get('trimmed')}")
        found: Manifest = json.loads(note)
        return found

    done = eventually("fstrim on the pod's node", trimmed, deadline=120)
    assert done.get("discarded", 0) >= 96 << 20, done
    assert used(environment, image) <= before - (80 << 20)
    assert pods.shell(environment, namespace, "writer", "cat /data/kept") == "kept"


def used(environment: Environment, image: str) -> int:
    """The bytes that an image takes."""
    found: int = rbd(environment, "du", image)["images"][0]["used_size"]
    return found
