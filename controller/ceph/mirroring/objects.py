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


def pool_token(owner: Owner, token: str) -> JsonObject:
    """The Secret with the token by which other clusters mirror a pool."""
    meta = owner.metadata(f"{TOKEN_OF_POOL}{owner.name}", cluster_labels(owner, APP))
    return secret(meta, {TOKEN_KEY: token, "pool": owner.name})
