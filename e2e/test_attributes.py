"""VolumeAttributesClasses: what limits an image follows the class of its volume, while a pod uses it."""

from collections.abc import Iterator
from functools import partial

import pytest

from e2e import environment as env
from e2e import pods
from e2e.api import Manifest, load
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually
from e2e.rbd import image_of, rbd

pytestmark = pytest.mark.meanwhile


@pytest.fixture
def attributes_classes(environment: Environment, namespace: str) -> Iterator[dict[str, str]]:
    """VolumeAttributesClasses like the example's, by short names: their names. No volume can have the third."""
    parameters = {"gold": {"maxWriteIops": "5000"}, "silver": {"maxWriteBps": str(1 << 20)}, "bogus": {"wheels": "4"}}
    (manifest, *_) = load(env.EXAMPLES / "volumeattributesclass.yaml")
    names = {short: f"{short}-{namespace}" for short in parameters}
    for short, name in names.items():
        environment.api.apply({**manifest, "metadata": {"name": name}, "parameters": parameters[short]})
    yield names
    for name in names.values():
        environment.api.delete("VolumeAttributesClass", name)  # it goes with the last volume that has it


def test_limits_follow_the_class_of_a_volume(
    environment: Environment, namespace: str, attributes_classes: dict[str, str]
) -> None:
    gold, silver, bogus = (attributes_classes[short] for short in ("gold", "silver", "bogus"))
    pods.claim(environment, namespace, "one", size="128Mi", attributes=gold)
    pods.pod(environment, namespace, "writer", "one")
    pods.wait(environment, namespace, "writer")
    volume = pods.volume_of(environment, namespace, "one")
    assert limits(environment, volume) == {"rbd_qos_write_iops_limit": "5000"}

    choose(environment, namespace, silver)
    eventually("the limits to change", partial(has_class, environment, namespace, silver), deadline=60)
    assert limits(environment, volume) == {"rbd_qos_write_bps_limit": str(1 << 20)}
    name = volume["metadata"]["name"]
    assert environment.api.get("PersistentVolume", name)["spec"]["volumeAttributesClassName"] == silver
    node = environment.api.get("Pod", "writer", namespace)["spec"]["nodeName"]
    if environment.api.get("NodeReport", node, env.NAMESPACE)["mapper"]["name"] == "userspace":
        write = "dd if=/dev/zero of=/data/f bs=1M count=8 oflag=direct conv=fsync status=none"
        timed = f"begun=$(date +%s); {write}; echo $(( $(date +%s) - begun ))"
        seconds = int(pods.shell(environment, namespace, "writer", timed))
        assert seconds >= 4, "8 MiB at 1 MiB/s: a client that has the image open follows"

    choose(environment, namespace, bogus)
    eventually("the class to be refused", partial(is_refused, environment, namespace, bogus), deadline=60)
    assert limits(environment, volume) == {"rbd_qos_write_bps_limit": str(1 << 20)}
    choose(environment, namespace, gold)
    eventually("the first class again", partial(has_class, environment, namespace, gold), deadline=60)
    assert limits(environment, volume) == {"rbd_qos_write_iops_limit": "5000"}


def choose(environment: Environment, namespace: str, attributes: str) -> None:
    """Give claim "one" another VolumeAttributesClass."""
    change = {"spec": {"volumeAttributesClassName": attributes}}
    environment.api.patch("PersistentVolumeClaim", "one", namespace, change)


def has_class(environment: Environment, namespace: str, attributes: str) -> None:
    """Raises `NotYetError` until the class of claim "one" is in force, and nothing is under way."""
    status = environment.api.get("PersistentVolumeClaim", "one", namespace)["status"]
    if status.get("currentVolumeAttributesClassName") != attributes or "modifyVolumeStatus" in status:
        raise NotYetError(str(status))


def is_refused(environment: Environment, namespace: str, attributes: str) -> None:
    """Raises `NotYetError` until it is said why claim "one" cannot have that class."""
    status = environment.api.get("PersistentVolumeClaim", "one", namespace)["status"]
    wanted = {"targetVolumeAttributesClassName": attributes, "status": "Infeasible"}
    told = [c.get("message", "") for c in status.get("conditions", []) if c["type"] == "ModifyVolumeError"]
    if status.get("modifyVolumeStatus") != wanted or "parameter 'wheels' is not known" not in "".join(told):
        raise NotYetError(str(status))


def limits(environment: Environment, volume: Manifest) -> dict[str, str]:
    """What limits the image of a volume has of its own."""
    found = rbd(environment, "config", "image", "ls", f"{env.POOL}/{image_of(volume)}")
    own = {option["name"]: option["value"] for option in found if option["source"] == "image"}
    return {name: value for name, value in own.items() if name.startswith("rbd_qos_")}
