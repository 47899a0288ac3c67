"""How `script.py` gets into the pods that run it, as root with the node's devices: as `framework.install` has it.

An operator of another image with the same script is no reason to restart an OSD: a Deployment keeps the image that it
has, until something else about it changes.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from controller.framework import install
from controller.framework.install import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.runtime.kube import Deployment
    from informers import JsonObject

CONTAINER = "copy-script"
VOLUME = "scripts"
SCRIPT = "osd_script.py"
"""What the copy is called."""
MODULE = "controller.ceph.osd.script"
"""The script in the operator's image."""
DIGEST = "rook.io/osd-script"
"""Annotation of a pod: which script it runs."""

USER = 2016
"""As which the container runs; the operator's own."""


@cache
def digest() -> str:
    """Tells the script of this operator, and where its image has it, from those of another."""
    return install.digest(MODULE, [files("controller.ceph.osd").joinpath("script.py")])


def kept_image(found: Deployment | None, image: str) -> str:
    """The image to copy the script from: that of the Deployment where the script in it is ours, else `image`."""
    template = found.spec.template if found is not None else None
    if template is None or template.metadata.annotations.get(DIGEST) != digest():
        return image
    return next((c.image for c in template.spec.init_containers if c.name == CONTAINER), image)


def script_volume() -> JsonObject:
    """Where the script is copied to."""
    return {"name": VOLUME, "emptyDir": {}}


def script_mount() -> JsonObject:
    """Where a container that runs the script sees it."""
    return {"name": VOLUME, "mountPath": DIRECTORY, "readOnly": True}


def script_command(what: str) -> list[str]:
    """The command of a container that runs one of the script's functions."""
    return ["python3", "-I", f"{DIRECTORY}/{SCRIPT}", what]


def with_script(template: JsonObject, image: str, resources: Mapping[str, object]) -> JsonObject:
    """A pod template whose containers have the script; changes `template`.

    Args:
        template: The pod template.
        image: The operator's, or that of an operator with the same script.
        resources: The field `resources` of the container that runs the script, as a mapping.
    """
    meta, spec = template["metadata"], template["spec"]
    command = ["python3", "-I", "-m", MODULE, "install", f"{DIRECTORY}/{SCRIPT}"]
    copy = install.install_container(CONTAINER, image, command, resources, volume=VOLUME, user=USER)
    meta["annotations"] = {**meta.get("annotations", {}), DIGEST: digest()}
    spec["initContainers"] = [copy, *spec.get("initContainers", ())]
    spec["volumes"] = [*spec["volumes"], script_volume()]
    return template
