"""A NetworkFence shuts a node's clients out of Ceph, and lets new ones in again; daemons of the cluster are refused."""

from collections.abc import Iterator

import pytest

from e2e import binaries, pods
from e2e import environment as env
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

FENCE = "e2e-fence"
MODULE = "github.com/csi-addons/kubernetes-csi-addons"
FILE = f"{pods.PATH}/file"


@pytest.fixture
def kinds(environment: Environment) -> Iterator[None]:
    """csi-addons' kinds, as its module has them; its controller is not needed."""
    directory = binaries.module_directory("csi-addons", MODULE) / "config" / "crd" / "bases"
    for name in ("networkfences", "networkfenceclasses"):
        file = directory / f"csiaddons.openshift.io_{name}.yaml"
        environment.run("kubectl", "apply", "--server-side", "--filename", file)
    try:
        yield
    finally:
        if environment.api.find("NetworkFence", FENCE) is not None:
            environment.api.patch("NetworkFence", FENCE, "", {"spec": {"fenceState": "Unfenced"}})
            environment.api.delete("NetworkFence", FENCE)
            env.gone(environment, "NetworkFence", FENCE)


@pytest.mark.long
@pytest.mark.timeout(900, func_only=True)
def test_a_node_is_fenced_and_let_in_again(environment: Environment, kinds: None, namespace: str) -> None:
    node = environment.workers[0]
    pods.claim(environment, namespace, "one")
    pods.pod(environment, namespace, "holder", "one", node=node)
    pods.wait(environment, namespace, "holder")
    pods.shell(environment, namespace, "holder", f"echo one > {FILE}; sync")
    handle = pods.volume_of(environment, namespace, "one")["spec"]["csi"]["volumeHandle"]
    report = environment.api.get("NodeReport", node, env.NAMESPACE)
    (client,) = [found["address"] for found in report["clients"] if found["volumeHandle"] == handle]
    range_ = f"{client.rpartition(':')[0]}/32"

    (mon, *_) = env.ceph(environment, "mon", "dump")["mons"]
    fence(environment, range_, f"{mon['public_addr'].rpartition(':')[0]}/32")
    wait_for(environment, "Failed", f"mon.{mon['name']}")
    fence(environment, range_)
    wait_for(environment, "Succeeded", "fencing operation successful")
    blocklists = env.ceph(environment, "osd", "dump")
    assert client in blocklists["blocklist"]
    assert any(range_.partition("/")[0] in found for found in blocklists["range_blocklist"])

    environment.api.patch("NetworkFence", FENCE, "", {"spec": {"fenceState": "Unfenced"}})
    wait_for(environment, "Succeeded", "unfencing operation successful")
    blocklists = env.ceph(environment, "osd", "dump")
    assert client in blocklists["blocklist"], "what was cut off stays so"
    assert not blocklists["range_blocklist"]

    pods.delete(environment, namespace, "holder")
    pods.pod(environment, namespace, "next", "one", node=node)
    pods.wait(environment, namespace, "next", deadline=180)
    assert pods.shell(environment, namespace, "next", f"cat {FILE}") == "one"


def fence(environment: Environment, *ranges: str) -> None:
    """Have ranges of addresses fenced, and no others."""
    environment.api.apply(
        {
            "apiVersion": "csiaddons.openshift.io/v1alpha1",
            "kind": "NetworkFence",
            "metadata": {"name": FENCE},
            "spec": {
                "driver": f"{env.NAMESPACE}.rbd.csi.ceph.com",
                "fenceState": "Fenced",
                "cidrs": list(ranges),
                "parameters": {"clusterID": env.NAMESPACE},
            },
        }
    )


def wait_for(environment: Environment, result: str, message: str) -> None:
    """Wait until the NetworkFence has this result, with these words."""

    def look() -> None:
        status = environment.api.get("NetworkFence", FENCE).get("status", {})
        if status.get("result") != result or message not in status.get("message", ""):
            raise NotYetError(f"{status.get('result')}: {status.get('message')}")

    # The operator looks each minute whether kinds have come that were not there.
    eventually(f"the fence to tell {result}, {message}", look, deadline=150)
