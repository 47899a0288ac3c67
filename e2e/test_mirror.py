"""Mirroring of images between two Ceph clusters: a volume moves to the other, and back, by plan and by force."""

from collections.abc import Iterator

import pytest

from e2e import cache, dump, mirror, pods
from e2e import environment as env
from e2e.conftest import CHART_VALUES
from e2e.environment import Environment
from e2e.mirror import FIRST, POOL, SECOND

HERE, THERE = "here", "there"
"""The claims of the volume in the first and in the second cluster."""
FILE = f"{pods.PATH}/file"


@pytest.fixture
def two_clusters(environment: Environment, namespace: str) -> Iterator[None]:
    """A second cluster, that the operator serves too, and a pool that both mirror."""
    environment.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SECOND}})
    env.install_chart(environment, clusterNamespaces=[FIRST, SECOND], **CHART_VALUES)
    env.wait_for_chart(environment)
    try:
        mirror.install_kinds(environment)
        mirror.make_second_cluster(environment)
        mirror.make_pools(environment)
        mirror.make_classes(environment)
        yield
    except BaseException:
        dump.write(environment, cache.root() / "failures" / "second-cluster", [SECOND])
        raise
    finally:
        forget(environment, namespace)
        mirror.remove(environment)
        env.install_chart(environment, **CHART_VALUES)
        env.wait_for_chart(environment)
        environment.api.delete("Namespace", SECOND)


@pytest.mark.long
@pytest.mark.timeout(1500, func_only=True)
def test_a_volume_fails_over_and_comes_back(environment: Environment, two_clusters: None, namespace: str) -> None:
    pods.claim(environment, namespace, HERE, storage_class=mirror.CLASS, size="64Mi")
    volume = pods.volume_of(environment, namespace, HERE)
    image = volume["spec"]["csi"]["volumeAttributes"]["imageName"]
    write(environment, namespace, HERE, "one")
    mirror.replicate(environment, namespace, HERE, "primary")
    mirror.wait_for_state(environment, namespace, HERE, "Primary", degraded="False")
    mirror.claim_the_copy(environment, namespace, THERE, volume)
    mirror.replicate(environment, namespace, THERE, "secondary")
    mirror.wait_for_state(environment, namespace, THERE, "Secondary", degraded="False")

    # Planned: nothing is lost, whatever was written last.
    move(environment, namespace, HERE, THERE)
    assert written(environment, namespace, THERE) == "one"
    write(environment, namespace, THERE, "two")
    move(environment, namespace, THERE, HERE)
    assert written(environment, namespace, HERE) == "one two"

    # Without the first cluster: what its last snapshot did not have is lost, and by a word alone.
    write(environment, namespace, HERE, "three")
    mirror.sync(environment, FIRST, image)
    write(environment, namespace, HERE, "lost")
    mirror.replicate(environment, namespace, THERE, "primary")
    held = mirror.wait_for_state(environment, namespace, THERE, "Secondary", message="force-promote")
    generation = str(held["metadata"]["generation"])
    mirror.annotate(environment, namespace, THERE, "force-promote", generation)
    mirror.wait_for_state(environment, namespace, THERE, "Primary")
    assert written(environment, namespace, THERE) == "one two three"
    write(environment, namespace, THERE, "four")

    # The first is back: what was written there alone is discarded by the id of its image, and by nothing else.
    mirror.replicate(environment, namespace, HERE, "secondary")
    apart = mirror.wait_for_state(environment, namespace, HERE, "Secondary", message="discard-image")
    image_id = apart["status"]["message"].partition("discard-image: ")[2].partition(",")[0]
    assert image_id in mirror.rbd(environment, FIRST, "info", f"{POOL}/{image}")
    mirror.annotate(environment, namespace, HERE, "discard-image", image_id)
    mirror.wait_for_state(environment, namespace, HERE, "Secondary", degraded="False")
    move(environment, namespace, THERE, HERE)
    assert written(environment, namespace, HERE) == "one two three four"


def write(environment: Environment, namespace: str, claim: str, word: str) -> None:
    """Add a word to the file of a volume, by a pod that is gone afterwards."""
    _in_pod(environment, namespace, claim, f"printf '%s ' {word} >> {FILE}; sync {FILE}")


def written(environment: Environment, namespace: str, claim: str) -> str:
    """The words in the file of a volume."""
    return _in_pod(environment, namespace, claim, f"cat {FILE}")


def _in_pod(environment: Environment, namespace: str, claim: str, script: str) -> str:
    pods.pod(environment, namespace, claim, claim)
    pods.wait(environment, namespace, claim, deadline=120)
    output = pods.shell(environment, namespace, claim, script)
    pods.delete(environment, namespace, claim)
    return output


def move(environment: Environment, namespace: str, source: str, target: str) -> None:
    """Let the other cluster write to the volume, as nobody uses it here."""
    mirror.replicate(environment, namespace, source, "secondary")
    mirror.replicate(environment, namespace, target, "primary")
    mirror.wait_for_state(environment, namespace, source, "Secondary")
    mirror.wait_for_state(environment, namespace, target, "Primary")


def forget(environment: Environment, namespace: str) -> None:
    """Delete the replications, claims and volumes, and wait until they are gone."""
    for kind in ("VolumeReplication", "PersistentVolumeClaim"):
        for claim in (THERE, HERE):
            environment.api.delete(kind, claim, namespace)
        for claim in (THERE, HERE):
            env.gone(environment, kind, claim, namespace)
    environment.api.delete("PersistentVolume", f"second-{namespace}")
