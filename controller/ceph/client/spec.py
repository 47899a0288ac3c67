"""What a CephClient's spec asks for, in Ceph's terms; and what of it means nothing. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CephClientSpec
from controller.apis.ceph.served import CLIENT
from controller.framework.honoured import unhonoured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephClient

DAEMONS = ("mds", "mgr", "mon", "osd")
"""The daemons that capabilities are for."""
KEY_GENERATION = "KeyGeneration"
"""The policy by which a key is rotated when its generation is raised."""
FIRST_GENERATION = 1
"""Of the key that a user was made with."""

_RESERVED = re.compile(
    r"admin|admin-rotator|crash|ceph-exporter|rbd-mirror|rbd-mirror-peer|rgw.*|osd\.[0-9]*"
    r"|bootstrap-(mds|mgr|mon|osd|rbd|rbd-mirror|rgw)|csi-(cephfs|rbd)-(node|provisioner)(\.[0-9]+)?|nfs(-ganesha)?\..+"
)
"""Users of Ceph's daemons and of the operator, by their names without "client."."""


def entity(client: CephClient) -> str:
    """The user's name within Ceph."""
    return f"client.{client.metadata.name}"


def secret_name(client: CephClient) -> str:
    """The Secret with the user's key; upstream's name where the spec has none."""
    return client.spec.secret_name or f"rook-ceph-client-{client.metadata.name}"


def is_reserved(name: str) -> bool:
    """Whether a user of this name is one of Ceph's daemons or of the operator."""
    return _RESERVED.fullmatch(name) is not None


def problems(client: CephClient) -> tuple[str, ...]:
    """Why the spec cannot be carried out, in words."""
    name, caps = client.metadata.name, client.spec.caps
    found = []
    if is_reserved(name):
        found.append(f"metadata.name is {name}, a user of Ceph's or of the operator: expected another name")
    if not caps:
        found.append(f"caps is empty: expected what the user may do, by {', '.join(DAEMONS)}")
    for daemon, text in sorted(caps.items()):
        if daemon not in DAEMONS:
            found.append(f"caps has {daemon!r}: expected {', '.join(DAEMONS)}")
        elif not text.strip():
            found.append(f'caps.{daemon} is empty: expected a capability, such as "allow r", or that it is left out')
    return tuple(found)


def wanted_generation(spec: CephClientSpec) -> int:
    """The generation that the user's key is to have; `FIRST_GENERATION` where it is never rotated."""
    cephx = spec.security.cephx
    is_rotated = cephx.key_rotation_policy == KEY_GENERATION
    return max(cephx.key_generation, FIRST_GENERATION) if is_rotated else FIRST_GENERATION


def unserved(spec: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The paths of the spec, as the user wrote it, that are set and not served.

    Args:
        spec: The spec.
        name: The CephClient's name, which the user has: `name` may say the same.
    """
    found = unhonoured(spec, CLIENT, CephClientSpec)
    return tuple(path for path in found if path != "name" or spec["name"] != name)
