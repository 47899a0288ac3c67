"""A Ceph cluster: what it consists of, what its status says, and that it survives edits, faults and meddling."""

from collections.abc import Callable

import pytest

from e2e import environment as env
from e2e.api import ApiError, Manifest, condition
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

type Edit = Callable[[Manifest], None]


def cluster(environment: Environment) -> Manifest:
    return environment.api.get("CephCluster", env.CLUSTER, env.NAMESPACE)


def quorum(environment: Environment) -> set[str]:
    """The mons in quorum, as Ceph says."""
    return set(env.ceph(environment, "quorum_status")["quorum_names"])


def mon_deployments(environment: Environment) -> list[Manifest]:
    return environment.api.list("Deployment", env.NAMESPACE, labels="app=rook-ceph-mon")


def test_three_mons_one_mgr_and_three_osds(environment: Environment) -> None:
    def look() -> None:
        # A mgr whose modules have changed starts itself anew.
        if env.ceph(environment, "status")["mgrmap"]["available"] is not True:
            raise NotYetError("the mgr to be available")

    eventually("the mgr", look, deadline=60)
    status = env.ceph(environment, "status")
    assert len(status["quorum_names"]) == 3
    assert status["osdmap"]["num_up_osds"] == status["osdmap"]["num_in_osds"] == 3
    hosts = {n["name"]: n for n in env.ceph(environment, "osd", "tree")["nodes"] if n["type"] == "host"}
    assert sorted(hosts) == environment.workers
    assert all(len(host["children"]) == 1 for host in hosts.values())


def test_status_says_what_ceph_says(environment: Environment) -> None:
    found = cluster(environment)
    status = found["status"]
    assert status["phase"] == "Ready"
    assert condition(found, "Ready")["status"] == "True"
    assert condition(found, "Ready")["observedGeneration"] == found["metadata"]["generation"]
    assert status["ceph"]["fsid"] == env.ceph(environment, "fsid")["fsid"]
    assert status["version"]["version"].startswith("18.2.")
    assert status["version"]["image"] == environment.images["ceph"]

    def look() -> None:
        health = env.ceph(environment, "health")["status"]
        shown = cluster(environment)["status"]["ceph"]["health"]
        if shown != health:
            raise NotYetError(f"status says {shown}, Ceph says {health}")

    eventually("the health in status", look, deadline=90)


def test_every_device_of_every_node_has_a_verdict_with_a_reason(environment: Environment) -> None:
    verdicts = {(v["node"], v["device"].removeprefix("/dev/")): v for v in cluster(environment)["status"]["devices"]}
    for node, devices in environment.devices.items():
        chosen, *others = (device.removeprefix("/dev/") for device in devices)
        assert verdicts[node, chosen]["verdict"] == "InUse"
        for other in others:
            assert verdicts[node, other]["verdict"] == "Rejected"
            assert verdicts[node, other]["reason"]


def test_a_deleted_mon_pod_comes_back_into_quorum(environment: Environment) -> None:
    pods = environment.api.list("Pod", env.NAMESPACE, labels="app=rook-ceph-mon")
    victim = env.running(pods)[0]
    name = victim["metadata"]["labels"]["mon"]
    environment.api.delete("Pod", victim["metadata"]["name"], env.NAMESPACE)

    def look() -> None:
        again = environment.api.list("Pod", env.NAMESPACE, labels=f"app=rook-ceph-mon,mon={name}")
        if not [p for p in env.running(again) if p["metadata"]["uid"] != victim["metadata"]["uid"]]:
            raise NotYetError("a new pod to be ready")
        if name not in quorum(environment):
            raise NotYetError("it to be in quorum")

    eventually(f"mon {name}", look, deadline=120)


def test_meddling_with_a_daemon_is_reverted(environment: Environment) -> None:
    name = mon_deployments(environment)[0]["metadata"]["name"]
    environment.api.patch("Deployment", name, env.NAMESPACE, {"spec": {"replicas": 0}})

    def look() -> None:
        found = environment.api.get("Deployment", name, env.NAMESPACE)
        if found["spec"]["replicas"] != 1 or not env.rolled_out(found, 1):
            raise NotYetError(f"{found['spec']['replicas']} replicas wanted, {env.ready(found)} ready")

    eventually(f"{name} to be put back", look, deadline=120)
    env.wait_for_cluster(environment)


def test_a_mon_that_somebody_works_on_is_left_alone(environment: Environment) -> None:
    name, label = mon_deployments(environment)[0]["metadata"]["name"], "ceph.rook.io/do-not-reconcile"
    environment.api.patch("Deployment", name, env.NAMESPACE, {"metadata": {"labels": {label: "true"}}})
    environment.api.patch("Deployment", name, env.NAMESPACE, {"spec": {"replicas": 0}})

    def look() -> None:
        steps = cluster(environment)["status"].get("plan", {}).get("steps", [])
        if not [
            s for s in steps if s.get("waitsFor", "").startswith(f"label {label} to be taken off Deployment {name}")
        ]:
            raise NotYetError("the plan to name the label")

    try:
        eventually(f"{name} to be left alone", look, deadline=60)
        found = environment.api.get("Deployment", name, env.NAMESPACE)
        assert found["spec"]["replicas"] == 0
        assert found["metadata"]["labels"][label] == "true"
    finally:
        environment.api.patch("Deployment", name, env.NAMESPACE, {"metadata": {"labels": {label: None}}})
    env.wait_for_cluster(environment)
    assert environment.api.get("Deployment", name, env.NAMESPACE)["spec"]["replicas"] == 1


def test_a_mon_whose_store_is_damaged_is_replaced_where_only_its_node_is_left(
    environment: Environment, edit_cluster: Edit
) -> None:
    pod = env.running(environment.api.list("Pod", env.NAMESPACE, labels="app=rook-ceph-mon"))[0]
    victim = pod["metadata"]["labels"]["mon"]
    damage = "echo nonsense > /var/lib/ceph/mon/data/store.db/CURRENT"
    edit_cluster({"spec": {"healthCheck": {"daemonHealth": {"mon": {"timeout": "15s"}}}}})

    def look() -> None:
        present = quorum(environment)
        if victim in present or len(present) != 3:
            raise NotYetError(f"quorum of {', '.join(sorted(present))}, without {victim}")

    try:
        environment.execute(pod["metadata"]["name"], "sh", "-c", damage, namespace=env.NAMESPACE, container="mon")
        environment.api.delete("Pod", pod["metadata"]["name"], env.NAMESPACE)
        eventually(f"another mon for mon {victim}", look, deadline=140)
    finally:
        edit_cluster({"spec": {"healthCheck": {"daemonHealth": {"mon": {"timeout": None}}}}})
    env.wait_for_cluster(environment)
    nodes = {p["spec"]["nodeName"] for p in environment.api.list("Pod", env.NAMESPACE, labels="app=rook-ceph-mon")}
    assert pod["spec"]["nodeName"] in nodes, "there is no other node that has no mon"


def test_an_edit_with_which_no_mon_starts_costs_one_mon_and_not_the_quorum(
    environment: Environment, edit_cluster: Edit
) -> None:
    """As an image that does not start. There is no free node: who does not come back makes room for a successor."""
    before = {d["metadata"]["labels"]["mon"] for d in mon_deployments(environment)}
    met = set(before)
    edit_cluster({"spec": {"healthCheck": {"daemonHealth": {"mon": {"timeout": "15s"}}}}})
    edit_cluster({"spec": {"priorityClassNames": {"mon": "no-such-class"}}})

    def look() -> None:
        present = quorum(environment)  # raises, and so fails the test, when there is none
        assert len(present & before) >= 2, f"quorum of {', '.join(sorted(present))}"
        met.update(d["metadata"]["labels"]["mon"] for d in mon_deployments(environment))
        if len(met - before) < 2:
            raise NotYetError(f"two successors, one after the other: {', '.join(sorted(met - before)) or 'none'}")

    try:
        eventually("successors that do not start either", look, deadline=140)
    finally:
        edit_cluster({"spec": {"priorityClassNames": {"mon": None}}})
        env.wait_for_cluster(environment)
        edit_cluster({"spec": {"healthCheck": {"daemonHealth": {"mon": {"timeout": None}}}}})
    env.wait_for_cluster(environment)
    assert len(quorum(environment) & before) == 2


def test_a_deleted_service_of_a_mon_comes_back_with_its_address(environment: Environment) -> None:
    name = mon_deployments(environment)[0]["metadata"]["name"]
    address = environment.api.get("Service", name, env.NAMESPACE)["spec"]["clusterIP"]
    environment.api.delete("Service", name, env.NAMESPACE)

    def look() -> None:
        found = environment.api.find("Service", name, env.NAMESPACE)
        if found is None:
            raise NotYetError("it to be created")
        assert found["spec"]["clusterIP"] == address, "the mon's identity is its address, and that has changed"

    eventually(f"Service {name}", look, deadline=120)
    env.wait_for_cluster(environment)


def test_plan_mode_shows_the_plan_and_does_nothing(environment: Environment, edit_cluster: Edit) -> None:
    before = {d["metadata"]["uid"]: d["metadata"]["generation"] for d in mon_deployments(environment)}
    edit_cluster({"metadata": {"annotations": {"rook.io/mode": "plan"}}})
    edit_cluster({"spec": {"mon": {"count": 5, "allowMultiplePerNode": True}}})

    def look() -> Manifest:
        found = cluster(environment)
        plan: Manifest = found["status"].get("plan", {})
        if plan.get("mode") != "plan" or plan.get("observedGeneration") != found["metadata"]["generation"]:
            raise NotYetError(f"mode {plan.get('mode')}, generation {plan.get('observedGeneration')}")
        return plan

    plan = eventually("the plan in status", look, deadline=120)
    assert any("mon" in step["subject"] for step in plan["steps"]), plan["steps"]
    assert all(step["reason"] for step in plan["steps"])
    assert {d["metadata"]["uid"]: d["metadata"]["generation"] for d in mon_deployments(environment)} == before


def test_mons_are_added_and_removed_without_losing_quorum(environment: Environment, edit_cluster: Edit) -> None:
    for count in (5, 3):
        edit_cluster({"spec": {"mon": {"count": count, "allowMultiplePerNode": True}}})

        def look(wanted: int = count) -> None:
            present = quorum(environment)  # raises, and so fails the test, when there is none
            deployed = {d["metadata"]["labels"]["mon"] for d in mon_deployments(environment)}
            if len(present) != wanted or present != deployed:
                raise NotYetError(f"quorum of {', '.join(sorted(present))}; deployed {', '.join(sorted(deployed))}")

        eventually(f"{count} mons in quorum", look, deadline=140)
    endpoints = environment.api.get("ConfigMap", "rook-ceph-mon-endpoints", env.NAMESPACE)["data"]["data"]
    assert {entry.split("=")[0] for entry in endpoints.split(",")} == quorum(environment)


def test_a_field_that_is_not_served_is_named(environment: Environment, edit_cluster: Edit) -> None:
    edit_cluster({"spec": {"security": {"kms": {"tokenSecretName": "token"}}}})

    def look() -> None:
        state = condition(cluster(environment), "FieldsHonoured")
        if state.get("status") != "False" or "security" not in state.get("message", ""):
            raise NotYetError(f"condition FieldsHonoured is {state.get('status')}: {state.get('message')}")

    eventually("spec.security to be named", look, deadline=120)


def test_an_invalid_edit_is_refused_by_the_api_server(environment: Environment) -> None:
    with pytest.raises(ApiError, match=r"spec\.mon\.count"):
        environment.api.patch("CephCluster", env.CLUSTER, env.NAMESPACE, {"spec": {"mon": {"count": 10}}})
