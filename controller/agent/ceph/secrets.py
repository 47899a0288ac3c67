"""The Ceph user of a volume, from the Secret that the kubelet hands over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from controller.agent.ceph.credentials import Credentials
from controller.agent.node.calls import CsiError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def credentials_of(secrets: Mapping[str, str], accepted: Sequence[tuple[str, str]]) -> Credentials:
    """The Ceph user of the node-stage Secret.

    Args:
        secrets: What the Secret has.
        accepted: Its keys for a user and that user's key; the first pair that is there counts.

    Raises:
        CsiError: No pair is there.
    """
    for user, key in accepted:
        if secrets.get(user) and secrets.get(key):
            return Credentials(user=secrets[user].removeprefix("client."), key=secrets[key])
    missing = next(name for name in accepted[0] if not secrets.get(name))
    raise CsiError(
        grpc.StatusCode.INVALID_ARGUMENT,
        f"the Secret of StorageClass parameter csi.storage.k8s.io/node-stage-secret-name has no {missing}: "
        f"expected {', or '.join(f'{user} and {key}' for user, key in accepted)}",
    )
