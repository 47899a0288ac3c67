"""An upgrade of the operator itself by Helm, from the release before, while volumes are in use: nothing that holds data
restarts that need not.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping

import pytest

from e2e import cluster, images, pods, postgres, previous
from e2e import environment as env
from e2e.conftest import CHART_VALUES
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually
from e2e.leader import leader, looks, metrics
from e2e.rbd import image_of, rbd

DAEMONS = ("rook-ceph-mon", "rook-ceph-mgr", "rook-ceph-osd")
MOUNTER = "app=rook-mounter"
CHART_BEFORE = "charts/rook"


@pytest.fixture
def before(environment: Environment) -> Iterator[Environment]:
    """The release before runs: its chart, operator, agents and mounters. After it, it is this one again, as for all."""
    if not previous.has_history():
        pytest.skip(f"{previous.CHECKOUT} has no history, and so no release before this one to upgrade from")
    built = images.ensure("operator-previous", "agent-previous")
    state = cluster.read()
    assert state is not None
    cluster.load(state, built.values())
    references = {name: image.reference for name, image in built.items()}
    older = dataclasses.replace(environment, images={**environment.images, **references})
    try:
        chart = previous.tree() / CHART_BEFORE
        env.install_chart(older, chart=chart, operator="operator-previous", agent="agent-previous")
        replace_mounters(older)
        settle(older)
        yield older
    finally:
        env.install_chart(environment, **CHART_VALUES)
        replace_mounters(environment)
        env.wait_for_chart(environment)
        env.wait_for_cluster(environment)


def replace_mounters(environment: Environment) -> None:
    """Have the mounters restart, which only a person does; no volume may be in use."""

    def unused() -> None:
        if attached := environment.api.list("VolumeAttachment"):
            raise NotYetError(f"{len(attached)} volumes to be detached")

    eventually("no volume to be in use", unused, deadline=60)
    found = environment.api.list("Pod", env.NAMESPACE, labels=MOUNTER)
    for pod in found:
        environment.api.delete("Pod", pod["metadata"]["name"], env.NAMESPACE)
    for pod in found:
        env.gone(environment, "Pod", pod["metadata"]["name"], env.NAMESPACE)

    def replaced() -> None:
        daemons = environment.api.get("DaemonSet", "rook-mounter", env.NAMESPACE)
        status, wanted = daemons["status"], len(environment.workers)
        counts = [status.get(field, 0) for field in ("updatedNumberScheduled", "numberReady")]
        if status.get("observedGeneration") != daemons["metadata"]["generation"] or counts != [wanted, wanted]:
            raise NotYetError(f"{counts} of {wanted} are of the newest template, and ready")

    eventually("the mounters", replaced, deadline=60)


def settle(environment: Environment) -> None:
    """Wait until the chart's pods are those of the release, and its leader has looked and has nothing left to do."""
    env.wait_for_chart(environment)
    deployment = environment.api.get("Deployment", "rook-ceph-operator", env.NAMESPACE)
    wanted = [container["image"] for container in deployment["spec"]["template"]["spec"]["containers"]]

    def look() -> None:
        pod = leader(environment)
        runs = [container["image"] for container in pod["spec"]["containers"]]
        if runs != wanted:
            raise NotYetError(f"the leader runs {', '.join(runs)}")
        if not looks(metrics(environment, pod), "cephcluster"):
            raise NotYetError("the leader to look at the cluster")
        found = environment.api.get("CephCluster", env.CLUSTER, env.NAMESPACE)
        if found["status"].get("plan", {}).get("steps"):
            raise NotYetError(env.progress(found))

    eventually("the operator to have nothing left to do", look, deadline=120)
    env.wait_for_cluster(environment)


def templates(environment: Environment) -> dict[str, str]:
    """The pod template of each Ceph daemon."""
    found = environment.api.list("Deployment", env.NAMESPACE)
    daemons = [deployment for deployment in found if deployment["metadata"]["labels"].get("app") in DAEMONS]
    return {d["metadata"]["name"]: json.dumps(d["spec"]["template"], sort_keys=True) for d in daemons}


def running_pods(environment: Environment) -> dict[str, tuple[str, int]]:
    """Uid and restarts of the pod of each Ceph daemon, and of each mounter, by the name of its Deployment or node."""
    found = {}
    for pod in environment.api.list("Pod", env.NAMESPACE):
        meta, app = pod["metadata"], pod["metadata"].get("labels", {}).get("app")
        restarts = sum(status["restartCount"] for status in pod["status"].get("containerStatuses", []))
        if app in DAEMONS:
            found[meta["name"].rsplit("-", 2)[0]] = (meta["uid"], restarts)
        elif app == "rook-mounter":
            found[f"mounter of {pod['spec']['nodeName']}"] = (meta["uid"], restarts)
    return found


def not_to_restart(older: Mapping[str, str], newer: Mapping[str, str]) -> set[str]:
    """Daemons whose template an upgrade has left as it was."""
    return {name for name, template in older.items() if newer.get(name) == template}


def clients(environment: Environment, image: str) -> set[str]:
    """Who has an image open, by address and number: one that opens it anew is another."""
    return {watcher["address"] for watcher in rbd(environment, "status", f"{env.POOL}/{image}")["watchers"]}


def test_the_operator_is_upgraded_under_a_database(
    environment: Environment, before: Environment, namespace: str
) -> None:
    database = postgres.deploy(environment, namespace)
    postgres.write_rows(environment, namespace)
    (claim,) = environment.api.list("PersistentVolumeClaim", namespace)
    volume = pods.volume_of(environment, namespace, claim["metadata"]["name"])
    opened = clients(environment, image_of(volume))
    older, running = templates(environment), running_pods(environment)
    assert opened
    assert len(older) == 7

    with postgres.commits_meanwhile(environment, namespace):
        env.install_chart(environment)
        settle(environment)

    kept = not_to_restart(older, templates(environment))
    kept |= {name for name in running if name not in older}  # the mounters
    now = running_pods(environment)
    restarted = sorted(name for name in kept if now.get(name) != running[name])
    assert not restarted, "restarted, though nothing of theirs has changed"
    assert clients(environment, image_of(volume)) >= opened, "the volume was mapped anew"
    after = environment.api.get("Pod", postgres.POD, namespace)
    assert after["metadata"]["uid"] == database["metadata"]["uid"]

    # A mounter of the release before serves this release's agent.
    node = after["spec"]["nodeName"]
    pods.claim(environment, namespace, "new")
    pods.pod(environment, namespace, "new", "new", node=node)
    pods.wait(environment, namespace, "new")
    assert pods.shell(environment, namespace, "new", f"echo yes > {pods.PATH}/file; cat {pods.PATH}/file") == "yes"
