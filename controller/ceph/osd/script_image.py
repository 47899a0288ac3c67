"""How `script.py` gets into the pods that run it: an init container copies it out of the operator's image.

What runs there runs as root with the node's devices, so it comes from where only who builds images can write. An
operator of another image with the same script is no reason to restart an OSD: a Deployment keeps the image that it has,
until something else about it changes.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.runtime.kube import Deployment
    from informers import JsonObject

CONTAINER = "copy-script"
DIRECTORY = "/opt/rook"
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
    content = files("controller.ceph.osd").joinpath("script.py").read_bytes()
    return hashlib.sha256(MODULE.encode() + content).hexdigest()[:16]


def kept_image(found: Deployment | None, image: str) -> str:
    """The image to copy the script from: that of the Deployment where the script in it is ours, else `image`."""
    template = found.spec.template if found is not None else None
    if template is None or template.metadata.annotations.get(DIGEST) != digest():
        return image
    return next((c.image for c in template.spec.init_containers if c.name == CONTAINER), image)


def script_volume() -> JsonObject:
    """Where the script is copied to."""
    return {"name": "scripts", "emptyDir": {}}


def script_mount() -> JsonObject:
    """Where a container that runs the script sees it."""
    return {"name": "scripts", "mountPath": DIRECTORY, "readOnly": True}


def script_command(what: str) -> list[str]:
    """The command of a container that runs one of the script's functions."""
    return ["python3", "-I", f"{DIRECTORY}/{SCRIPT}", what]


def copy_container(image: str, resources: Mapping[str, object]) -> JsonObject:
    """The init container.

    Args:
        image: The operator's.
        resources: The field `resources` of the container that runs the script, as a mapping: it needs no more, and a
            quota may ask for some.
    """
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-I", "-m", MODULE, "install", f"{DIRECTORY}/{SCRIPT}"],
        "volumeMounts": [{"name": "scripts", "mountPath": DIRECTORY}],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **resources,
    }


def with_script(template: JsonObject, image: str, resources: Mapping[str, object]) -> JsonObject:
    """A pod template to whose containers the script is there; changes `template`."""
    meta, spec = template["metadata"], template["spec"]
    meta["annotations"] = {**meta.get("annotations", {}), DIGEST: digest()}
    spec["initContainers"] = [copy_container(image, resources), *spec.get("initContainers", ())]
    spec["volumes"] = [*spec["volumes"], script_volume()]
    return template
