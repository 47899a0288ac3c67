"""Programs of ours in pods of other images: an init container copies them out of the operator's image.

Only those who build images can write to the place that the program comes from. The other image needs only Python.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from controller.framework.workload import no_rights

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from importlib.resources.abc import Traversable

    from informers import JsonObject

DIRECTORY = "/opt/rook"
"""Where the program is in the pod."""


def digest(module: str, files: Iterable[Traversable]) -> str:
    """Tells a program of this operator, and where its image has it, from those of others.

    Args:
        module: What the init container runs to install it.
        files: The program's.
    """
    found = hashlib.sha256(module.encode() + b"\0")
    for file in sorted(files, key=lambda file: file.name):
        found.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def install_container(
    name: str,
    image: str,
    command: Sequence[str],
    resources: Mapping[str, object],
    *,
    volume: str,
    user: int | None = None,
) -> JsonObject:
    """The init container. It has no rights.

    Args:
        name: The container's.
        image: The operator's.
        command: What it runs, to install the program below `DIRECTORY`.
        resources: The field `resources` of the container that runs the program, as a mapping: this one needs no more,
            and a quota may ask for some.
        volume: The name of the volume that the two share.
        user: As which it runs; None: as the pod's security context says, which then also has its seccomp profile.
    """
    own = {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": user, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "volumeMounts": [{"name": volume, "mountPath": DIRECTORY}],
        "securityContext": {**no_rights(), **(own if user is not None else {})},
        **resources,
    }
