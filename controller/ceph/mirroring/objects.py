"""The Secrets with the tokens of this cluster, and the users that other clusters come with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access.identity import secret
from controller.ceph.mirroring.tokens import TOKEN_KEY
from controller.ceph.pods import cluster_labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.framework.workload import Owner
    from informers import JsonObject

APP = "rook-ceph-rbd-mirror"
"""The label `app` of what mirrors images."""
PEER_USER = "client.rbd-mirror-peer"
"""The user that other clusters come with; librbd's name."""
PEER_CAPS: Mapping[str, str] = {"mon": "profile rbd-mirror-peer", "osd": "profile rbd"}
"""What it may do; librbd's."""
TOKEN_OF_POOL, TOKEN_OF_FILESYSTEM = "pool-peer-token-", "fs-peer-token-"
"""How the names of Secrets with tokens begin; upstream's."""


APP_OF_FILES = "rook-ceph-fs-mirror"
"""The label `app` of what mirrors files."""


def peer_user(filesystem: str) -> str:
    """The user that other clusters come with to a file system; each has one of its own, as each may be another's."""
    return f"client.mirror-{filesystem}"


def peer_caps(filesystem: str) -> Mapping[str, str]:
    """What that user may do: what `ceph fs authorize <filesystem> <user> / rwps` gives."""
    return {
        "mon": f"allow r fsname={filesystem}",
        "mds": f"allow rwps fsname={filesystem}",
        "osd": f"allow rw tag cephfs data={filesystem}",
    }


def filesystem_token(owner: Owner, token: str) -> JsonObject:
    """The Secret with the token by which other clusters mirror their files into a file system."""
    meta = owner.metadata(f"{TOKEN_OF_FILESYSTEM}{owner.name}", cluster_labels(owner, APP_OF_FILES))
    return secret(meta, {TOKEN_KEY: token, "fs": owner.name})


def pool_token(owner: Owner, token: str) -> JsonObject:
    """The Secret with the token by which other clusters mirror a pool."""
    meta = owner.metadata(f"{TOKEN_OF_POOL}{owner.name}", cluster_labels(owner, APP))
    return secret(meta, {TOKEN_KEY: token, "pool": owner.name})
