"""The operator as a Kubernetes citizen: two replicas of which one acts, what it may, what it costs, what it says."""

import re

from e2e import environment as env
from e2e.api import Manifest
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually
from e2e.leader import leader, metrics


def test_helm_test_passes(environment: Environment) -> None:
    output = environment.run(
        "helm", "test", env.RELEASE, "--namespace", env.NAMESPACE, "--timeout", "120s", deadline=150
    )
    assert re.search(r"^Phase:\s+Succeeded$", output, re.MULTILINE), output


def test_the_other_replica_takes_over_from_a_leader_that_dies(environment: Environment) -> None:
    first = eventually("a leader", lambda: leader(environment), deadline=120)
    environment.api.delete("Pod", first["metadata"]["name"], env.NAMESPACE, grace_seconds=0)

    def look() -> Manifest:
        found = leader(environment)
        if found["metadata"]["uid"] == first["metadata"]["uid"]:
            raise NotYetError("it is still the old one")
        return found

    eventually("another leader", look, deadline=120)
    # And it acts: it sees an edit, which changes the generation, and says so.
    environment.api.patch("CephCluster", env.CLUSTER, env.NAMESPACE, {"spec": {"mgr": {"allowMultiplePerNode": True}}})
    env.wait_for_cluster(environment)
    env.apply_ceph_cluster(environment)
    env.wait_for_cluster(environment)
    env.wait_for_chart(environment)


def test_exactly_one_replica_says_that_it_leads(environment: Environment) -> None:
    def look() -> None:
        pods = env.running(environment.api.list("Pod", env.NAMESPACE, labels="app=rook-ceph-operator"))
        texts = [metrics(environment, pod) for pod in pods]
        leading = [bool(re.search(r"^leader_election_master_status\{.*\} 1(\.0)?$", t, re.MULTILINE)) for t in texts]
        if len(pods) != 2 or sum(leading) != 1:
            raise NotYetError(f"{sum(leading)} of {len(pods)} lead")

    eventually("one leader of two", look, deadline=120)


def test_metrics_have_the_names_of_controller_runtime(environment: Environment) -> None:
    text = metrics(environment, eventually("a leader", lambda: leader(environment), deadline=120))
    for name in (
        "controller_runtime_reconcile_total",
        "controller_runtime_reconcile_time_seconds_bucket",
        "workqueue_depth",
        "workqueue_adds_total",
        "workqueue_queue_duration_seconds_bucket",
        "rest_client_requests_total",
    ):
        assert re.search(rf"^{name}[{{ ]", text, re.MULTILINE), name


def test_the_operator_cannot_read_secrets_elsewhere(environment: Environment) -> None:
    account = f"system:serviceaccount:{env.NAMESPACE}:rook-ceph-system"

    def may(verb: str, resource: str, namespace: str) -> bool:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": account,
                "resourceAttributes": {"verb": verb, "resource": resource, "namespace": namespace},
            },
        }
        answer = environment.api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return b'"allowed":true' in answer

    assert may("get", "secrets", env.NAMESPACE)
    assert not may("get", "secrets", "kube-system")
    assert not may("list", "secrets", "")
    assert not may("create", "pods", "kube-system")


def test_no_secret_reaches_the_logs(environment: Environment) -> None:
    keys = re.findall(r"key\s*=\s*(\S+)", env.in_toolbox(environment, "ceph", "auth", "export"))
    assert keys
    pods = [
        pod
        for app in ("rook-ceph-operator", "rook-agent", "rook-mounter")
        for pod in environment.api.list("Pod", env.NAMESPACE, labels=f"app={app}")
    ]
    for pod in env.running(pods):
        for container in pod["spec"]["containers"]:
            text = environment.api.logs(pod["metadata"]["name"], env.NAMESPACE, container["name"])
            assert not [key for key in keys if key in text], f"a Ceph key is in the log of {pod['metadata']['name']}"
