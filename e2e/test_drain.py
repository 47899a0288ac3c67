"""Drains of nodes with OSDs under a client that writes: one failure domain at a time, and nothing is copied."""

import http.client
from collections.abc import Iterator

import pytest

from e2e import environment as env
from e2e import pods
from e2e.api import ApiError, Manifest, path
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

OSDS = "app=rook-ceph-osd"
BUDGET = "rook-ceph-osd"
ROUNDS = "/data/rounds"
# Each round is on the disks of all copies that are up before the next begins.
WRITE = f"while sync {ROUNDS}; do echo >> {ROUNDS}; done"


@pytest.fixture
def drain(environment: Environment) -> Iterator[None]:
    """Nodes may be drained, and are open again afterwards, with the cluster as it was before."""
    wait_for_rest(environment)
    yield
    for node in environment.workers:
        environment.run("kubectl", "uncordon", node)
    wait_for_rest(environment)
    env.wait_for_cluster(environment)


def budgets(environment: Environment) -> dict[str, Manifest]:
    """The OSDs' disruption budgets."""
    found = environment.api.list("PodDisruptionBudget", env.NAMESPACE, labels=OSDS)
    return {budget["metadata"]["name"]: budget for budget in found}


def held(environment: Environment) -> list[str]:
    """The hosts whose OSDs Ceph does not count out."""
    flags = env.ceph(environment, "osd", "dump").get("crush_node_flags", {})
    return sorted(unit for unit, names in flags.items() if "noout" in names)


def wait_for_rest(environment: Environment) -> None:
    def look() -> None:
        found = budgets(environment)
        allowed = found.get(BUDGET, {}).get("status", {}).get("disruptionsAllowed", 0)
        if list(found) != [BUDGET] or allowed != 1:
            raise NotYetError(f"budgets {', '.join(found) or 'none'}, of which the first lets {allowed} go")
        if held(environment):
            raise NotYetError(f"noout of {', '.join(held(environment))}")

    eventually("one budget that lets one OSD go", look, deadline=120)


def evict(environment: Environment, node: str) -> None:
    """Evict the OSD of a node, as whoever drains it does. Raises `ApiError` where a budget refuses it."""
    found = environment.api.list("Pod", env.NAMESPACE, labels=OSDS, fields=f"spec.nodeName={node}")
    for pod in env.running(found):
        name = pod["metadata"]["name"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": env.NAMESPACE},
        }
        environment.api.request("POST", f"{path('Pod', env.NAMESPACE, name)}/eviction", body)


def test_nodes_are_drained_one_after_another_while_a_client_writes(
    environment: Environment, namespace: str, drain: None
) -> None:
    first, second, third = environment.workers
    pods.claim(environment, namespace, "written")
    pods.pod(environment, namespace, "writer", "written", node=third)
    pods.wait(environment, namespace, "writer")
    pods.shell(environment, namespace, "writer", f"touch {ROUNDS}; nohup sh -c '{WRITE}' > /dev/null 2>&1 &")

    def rounds() -> int:
        return int(pods.shell(environment, namespace, "writer", f"wc -l < {ROUNDS}"))

    def wait_for_writes(when: str) -> None:
        before = rounds()

        def look() -> None:
            if rounds() <= before:
                raise NotYetError(f"nothing was written since round {before}")

        eventually(f"writes {when}", look, deadline=60)

    wait_for_writes("at rest")
    selected = ("--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={OSDS}", "--timeout=60s")
    environment.run("kubectl", "drain", first, *selected)

    def drained() -> None:
        wanted = sorted(f"{BUDGET}-host-{node}" for node in (second, third))
        if sorted(budgets(environment)) != wanted:
            raise NotYetError(f"budgets {', '.join(budgets(environment))}")
        if held(environment) != [first]:
            raise NotYetError(f"noout of {', '.join(held(environment)) or 'none'}")

    eventually(f"{first} to be the one that is drained", drained, deadline=60)
    wait_for_writes(f"while {first} is drained")

    environment.run("kubectl", "cordon", second)
    with pytest.raises(ApiError) as refused:
        evict(environment, second)
    assert refused.value.status == http.client.TOO_MANY_REQUESTS
    assert "rook-ceph-osd" in str(refused.value)
    status = env.ceph(environment, "status")["osdmap"]
    assert (status["num_up_osds"], status["num_in_osds"]) == (2, 3)

    environment.run("kubectl", "uncordon", first)

    def evicted() -> None:
        # Refused until the first is back and whole.
        try:
            evict(environment, second)
        except ApiError as error:
            if error.status not in (http.client.TOO_MANY_REQUESTS, http.client.INTERNAL_SERVER_ERROR):
                raise
            raise NotYetError(str(error)) from error

    eventually(f"{second} to be drained in its turn", evicted, deadline=120)
    up = {
        d["metadata"]["labels"]["failure-domain"]
        for d in environment.api.list("Deployment", env.NAMESPACE, labels=OSDS)
        if env.ready(d)
    }
    assert first in up
    wait_for_writes(f"while {second} is drained")
