"""A database on a claim: it moves between nodes, and nothing that happens to us reaches its I/O."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from e2e import environment as env
from e2e import postgres
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

COMMITS = r"""
rm -f /tmp/stop
n=0
while [ ! -e /tmp/stop ]; do
    psql -U postgres -Xqc 'INSERT INTO talk (said) VALUES ($$tick$$)' || exit 1
    n=$((n + 1))
done
echo "$n"
"""


@contextmanager
def commits_meanwhile(environment: Environment, namespace: str) -> Iterator[None]:
    """Commit rows one after the other all the while; afterwards assert that each succeeded and is there."""
    before, _ = postgres.rows(environment, namespace)
    in_pod = ("exec", "--namespace", namespace, postgres.POD, "--", "bash", "-c", COMMITS)
    command = [str(environment.programs / "kubectl"), f"--kubeconfig={environment.kubeconfig}", *in_pod]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as writer:
        try:
            wait_for_rows(environment, namespace, more_than=before)
            yield
            seen, _ = postgres.rows(environment, namespace)
            wait_for_rows(environment, namespace, more_than=seen)
        finally:
            environment.execute(postgres.POD, "touch", "/tmp/stop", namespace=namespace)  # noqa: S108  # in the pod
            output, errors = writer.communicate(timeout=60)
    assert writer.returncode == 0, errors
    after, _ = postgres.rows(environment, namespace)
    assert after == before + int(output), "a row that was committed is not there"


def wait_for_rows(environment: Environment, namespace: str, *, more_than: int) -> None:
    def look() -> None:
        if postgres.rows(environment, namespace)[0] <= more_than:
            raise NotYetError(f"still {more_than}")

    eventually("more rows", look, deadline=120)


def operator_pods(environment: Environment) -> list[str]:
    return [p["metadata"]["name"] for p in environment.api.list("Pod", env.NAMESPACE, labels="app=rook-ceph-operator")]


def test_rows_are_there_after_the_pod_moved_to_another_node(environment: Environment, database: str) -> None:
    before = postgres.rows(environment, database)
    assert before[0] >= 1000
    postgres.move(environment, database)
    assert postgres.rows(environment, database) == before


def test_writes_go_on_while_both_operators_die(environment: Environment, database: str) -> None:
    victims = operator_pods(environment)
    assert len(victims) == 2
    with commits_meanwhile(environment, database):
        for name in victims:
            environment.api.delete("Pod", name, env.NAMESPACE, grace_seconds=0)
        env.wait_for_chart(environment)
    assert not set(victims) & set(operator_pods(environment))
    env.wait_for_cluster(environment)


def test_writes_go_on_while_the_nodes_agent_restarts(environment: Environment, database: str) -> None:
    node = environment.api.get("Pod", postgres.POD, database)["spec"]["nodeName"]
    (agent,) = environment.api.list("Pod", env.NAMESPACE, labels="app=rook-agent", fields=f"spec.nodeName={node}")
    with commits_meanwhile(environment, database):
        environment.api.delete("Pod", agent["metadata"]["name"], env.NAMESPACE)
        env.gone(environment, "Pod", agent["metadata"]["name"], env.NAMESPACE)
        env.wait_for_chart(environment)
    postgres.move(environment, database)


def test_writes_go_on_while_a_mon_and_an_osd_restart(environment: Environment, database: str) -> None:
    with commits_meanwhile(environment, database):
        for kind in ("mon", "osd"):
            victim = environment.api.list("Pod", env.NAMESPACE, labels=f"app=rook-ceph-{kind}")[0]
            environment.api.delete("Pod", victim["metadata"]["name"], env.NAMESPACE, grace_seconds=0)
            env.gone(environment, "Pod", victim["metadata"]["name"], env.NAMESPACE)
        env.wait_for_cluster(environment)
