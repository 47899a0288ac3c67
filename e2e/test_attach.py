"""A volume is on one node at a time, and a client that is cut off is fenced before another gets it."""

from e2e import environment as env
from e2e import host, pods
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually
from e2e.rbd import image_of, rbd


def test_a_claim_on_a_second_node_waits_until_the_first_lets_go(environment: Environment, namespace: str) -> None:
    first, second = environment.workers[:2]
    pods.claim(environment, namespace, "one")
    pods.pod(environment, namespace, "holder", "one", node=first)
    pods.wait(environment, namespace, "holder")
    pods.shell(environment, namespace, "holder", "echo from the holder > /data/said; sync")
    pods.pod(environment, namespace, "waiter", "one", node=second)

    def refused() -> None:
        events = environment.api.list("Event", namespace, fields="involvedObject.name=waiter,type=Warning")
        if not any(event["reason"] == "FailedAttachVolume" for event in events):
            raise NotYetError("no event says that the volume cannot be attached")

    eventually("the second pod to be refused", refused, deadline=120)
    assert not env.running([environment.api.get("Pod", "waiter", namespace)])
    assert env.running([environment.api.get("Pod", "holder", namespace)])
    pods.delete(environment, namespace, "holder")
    pods.wait(environment, namespace, "waiter", deadline=150)
    assert pods.shell(environment, namespace, "waiter", "cat /data/said") == "from the holder"


def test_the_attacher_itself_refuses_a_second_node(environment: Environment, namespace: str) -> None:
    first, second = environment.workers[:2]
    pods.claim(environment, namespace, "one")
    pods.pod(environment, namespace, "holder", "one", node=first)
    pods.wait(environment, namespace, "holder")
    volume = pods.volume_of(environment, namespace, "one")
    forced = f"e2e-forced-{namespace}"
    environment.api.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttachment",
            "metadata": {"name": forced},
            "spec": {
                "attacher": volume["spec"]["csi"]["driver"],
                "nodeName": second,
                "source": {"persistentVolumeName": volume["metadata"]["name"]},
            },
        }
    )
    try:

        def look() -> str:
            status = environment.api.get("VolumeAttachment", forced).get("status", {})
            assert not status.get("attached"), f"attached to {second} while {first} has it"
            if "attachError" not in status:
                raise NotYetError("no attachError")
            return str(status["attachError"]["message"])

        message = eventually("the refusal", look, deadline=120)
        assert first in message, message
    finally:
        environment.api.delete("VolumeAttachment", forced)
        env.gone(environment, "VolumeAttachment", forced)


def test_a_client_that_was_cut_off_is_fenced(environment: Environment, namespace: str) -> None:
    """Ceph has forgotten that it has the image open, but it owns the lock: once back, it would go on writing."""
    node = environment.workers[0]
    pods.claim(environment, namespace, "one")
    pods.pod(environment, namespace, "holder", "one", node=node)
    pods.wait(environment, namespace, "holder")
    pods.shell(environment, namespace, "holder", "echo so that it owns the lock > /data/said; sync")
    volume = pods.volume_of(environment, namespace, "one")
    image = image_of(volume)
    (lock,) = rbd(environment, "lock", "ls", f"{env.POOL}/{image}")
    process = f"qemu-storage-daemon.*{image}"
    host.run_on(node, "pkill", "-STOP", "-f", process)
    try:
        eventually("Ceph to forget the client", lambda: no_watchers(environment, image), deadline=90)
        taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoSchedule"}
        environment.api.patch("Node", node, "", {"spec": {"taints": [taint]}})
        for attachment in environment.api.list("VolumeAttachment"):
            if attachment["spec"]["source"]["persistentVolumeName"] == volume["metadata"]["name"]:
                environment.api.delete("VolumeAttachment", attachment["metadata"]["name"])
                env.gone(environment, "VolumeAttachment", attachment["metadata"]["name"])
        assert lock["address"] in env.ceph(environment, "osd", "dump")["blocklist"]
    finally:
        environment.api.patch("Node", node, "", {"spec": {"taints": None}})
        host.run_on(node, "pkill", "-CONT", "-f", process)
    pods.delete(environment, namespace, "holder")


def test_a_client_that_lives_is_fenced_by_what_its_agent_reports(environment: Environment, namespace: str) -> None:
    """Its address may be translated on the way to Ceph, and be no node's."""
    node = environment.workers[0]
    pods.claim(environment, namespace, "one")
    pods.pod(environment, namespace, "holder", "one", node=node)
    pods.wait(environment, namespace, "holder")
    volume = pods.volume_of(environment, namespace, "one")
    handle = volume["spec"]["csi"]["volumeHandle"]
    (watcher,) = rbd(environment, "status", f"{env.POOL}/{image_of(volume)}")["watchers"]
    report = environment.api.get("NodeReport", node, env.NAMESPACE)
    (client,) = [client for client in report["clients"] if client["volumeHandle"] == handle]
    assert client["address"] == watcher["address"]
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoSchedule"}
    environment.api.patch("Node", node, "", {"spec": {"taints": [taint]}})
    try:
        for attachment in environment.api.list("VolumeAttachment"):
            if attachment["spec"]["source"]["persistentVolumeName"] == volume["metadata"]["name"]:
                environment.api.delete("VolumeAttachment", attachment["metadata"]["name"])
                env.gone(environment, "VolumeAttachment", attachment["metadata"]["name"])
        assert client["address"] in env.ceph(environment, "osd", "dump")["blocklist"]
    finally:
        environment.api.patch("Node", node, "", {"spec": {"taints": None}})
    pods.delete(environment, namespace, "holder")


def no_watchers(environment: Environment, image: str) -> None:
    """Raises `NotYetError` while a client has the image open."""
    watchers = rbd(environment, "status", f"{env.POOL}/{image}")["watchers"]
    if watchers:
        raise NotYetError(f"{watchers[0]['address']} has it open")
