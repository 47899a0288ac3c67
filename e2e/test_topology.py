"""Where a volume is made, how much fits there, and what the scheduler is told of both."""

import json
from collections.abc import Iterator

import pytest

from e2e import environment as env
from e2e import pods
from e2e.api import Manifest, load
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually
from e2e.rbd import image_of

DRIVER = f"{env.NAMESPACE}.rbd.csi.ceph.com"
SECOND = "second-zone"
"""A pool for the nodes of the second zone; those of the first use the examples' pool."""
pytestmark = pytest.mark.meanwhile


@pytest.fixture
def zones(environment: Environment) -> Iterator[str]:
    """A class like the example's, with a pool for each of the two zones of the workers."""
    first, _, storage_class = load(env.EXAMPLES / "topology.yaml")
    first["metadata"]["name"] = SECOND
    del first["spec"]["crushRoot"]  # the CRUSH map knows nothing of these zones
    environment.api.apply(first)
    env.wait_for_pool(environment, SECOND)
    pools = json.loads(storage_class["parameters"]["topologyConstrainedPools"])
    for pool, name, zone in zip(pools, (env.POOL, SECOND), env.ZONES, strict=True):
        pool["poolName"] = name
        (segment,) = pool["domainSegments"]
        segment["value"] = zone
    storage_class["parameters"]["topologyConstrainedPools"] = json.dumps(pools)
    environment.api.apply(storage_class)
    yield storage_class["metadata"]["name"]
    environment.api.delete("StorageClass", storage_class["metadata"]["name"])
    environment.api.delete("CephBlockPool", SECOND, env.NAMESPACE)
    env.gone(environment, "CephBlockPool", SECOND, env.NAMESPACE, deadline=120)


def test_a_volume_is_in_the_pool_of_the_zone_of_its_first_pod(
    environment: Environment, namespace: str, zones: str
) -> None:
    label = f"topology.{DRIVER}/{env.ZONE_LABEL.rpartition('/')[2]}"
    zone, node = env.ZONES[1], max(environment.devices)

    def told() -> dict[str, Manifest]:
        """What the scheduler is told, by zone."""
        found = environment.api.list("CSIStorageCapacity", env.NAMESPACE)
        mine = [o for o in found if o["storageClassName"] == zones]
        by_zone = {o["nodeTopology"].get("matchLabels", {}).get(label, ""): o for o in mine}
        if set(by_zone) != set(env.ZONES):
            raise NotYetError(f"zones {sorted(by_zone)}")
        return by_zone

    assert environment.api.get("Node", node)["metadata"]["labels"][label] == zone
    (driver,) = [d for d in environment.api.get("CSINode", node)["spec"]["drivers"] if d["name"] == DRIVER]
    assert driver["topologyKeys"] == [label]
    if _maps_in_userspace(environment, node):
        assert driver["allocatable"]["count"] > 0, "each volume takes threads of the node"

    pods.claim(environment, namespace, "data", storage_class=zones, size="64Mi")
    pods.pod(environment, namespace, "writer", "data", node=node)
    pods.wait(environment, namespace, "writer")
    volume = pods.volume_of(environment, namespace, "data")
    assert volume["spec"]["csi"]["volumeAttributes"]["pool"] == SECOND
    assert image_of(volume) in env.in_toolbox(environment, "rbd", "ls", SECOND).split()
    (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": label, "operator": "In", "values": [zone]}]

    for found in eventually("how much fits in each zone", told, deadline=90).values():
        assert found["capacity"] != "0"
        assert found["metadata"]["ownerReferences"][0]["name"] == "rook-ceph-operator"

    pods.delete(environment, namespace, "writer")
    environment.api.delete("PersistentVolumeClaim", "data", namespace)
    env.gone(environment, "PersistentVolume", volume["metadata"]["name"], deadline=120)
    environment.api.delete("StorageClass", zones)

    def forgotten() -> None:
        found = environment.api.list("CSIStorageCapacity", env.NAMESPACE)
        if any(o["storageClassName"] == zones for o in found):
            raise NotYetError("the scheduler is still told of a class that is gone")

    eventually("the class to be forgotten", forgotten, deadline=60)


def _maps_in_userspace(environment: Environment, node: str) -> bool:
    name: str = environment.api.get("NodeReport", node, env.NAMESPACE)["mapper"]["name"]
    return name == "userspace"
