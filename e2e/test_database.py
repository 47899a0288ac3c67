"""A database on a claim: it moves between nodes, and nothing that happens to us reaches its I/O."""

from e2e import environment as env
from e2e import postgres
from e2e.environment import Environment


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
    with postgres.commits_meanwhile(environment, database):
        for name in victims:
            environment.api.delete("Pod", name, env.NAMESPACE, grace_seconds=0)
        env.wait_for_chart(environment)
    assert not set(victims) & set(operator_pods(environment))
    env.wait_for_cluster(environment)


def test_writes_go_on_while_the_nodes_agent_restarts(environment: Environment, database: str) -> None:
    node = environment.api.get("Pod", postgres.POD, database)["spec"]["nodeName"]
    (agent,) = environment.api.list("Pod", env.NAMESPACE, labels="app=rook-agent", fields=f"spec.nodeName={node}")
    with postgres.commits_meanwhile(environment, database):
        environment.api.delete("Pod", agent["metadata"]["name"], env.NAMESPACE)
        env.gone(environment, "Pod", agent["metadata"]["name"], env.NAMESPACE)
        env.wait_for_chart(environment)
    postgres.move(environment, database)


def test_writes_go_on_while_a_mon_and_an_osd_restart(environment: Environment, database: str) -> None:
    with postgres.commits_meanwhile(environment, database):
        for kind in ("mon", "osd"):
            victim = environment.api.list("Pod", env.NAMESPACE, labels=f"app=rook-ceph-{kind}")[0]
            environment.api.delete("Pod", victim["metadata"]["name"], env.NAMESPACE, grace_seconds=0)
            env.gone(environment, "Pod", victim["metadata"]["name"], env.NAMESPACE)
        env.wait_for_cluster(environment)
