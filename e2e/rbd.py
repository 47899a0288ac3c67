"""What Ceph itself says of RBD images, asked from the toolbox pod."""

import json
from typing import Any

from e2e import environment as env
from e2e.api import Manifest
from e2e.environment import Environment


def images(environment: Environment) -> list[str]:
    """The images in the examples' pool."""
    found: list[str] = rbd(environment, "ls", env.POOL)
    return found


def rbd(environment: Environment, *command: str) -> Any:
    """The JSON answer of an `rbd` command, asked from the toolbox pod."""
    return json.loads(env.in_toolbox(environment, "rbd", *command, "--format", "json"))


def image_of(volume: Manifest) -> str:
    """The image of a PersistentVolume that was provisioned."""
    name: str = volume["spec"]["csi"]["volumeAttributes"]["imageName"]
    return name
