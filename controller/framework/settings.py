"""What the operator is told at its start, by arguments or environment; the same for every storage system."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the operator.

    Attributes:
        operator_namespace: Where the operator and its agents run.
        operator_image: The image that the operator runs in, from which it hands out scripts; empty: not known.
        allow_loop_devices: Whether loop devices may become OSDs where a spec names them.
        ceph_timeout: Seconds that a command to a Ceph cluster may take.
        workers: Objects of one kind reconciled at the same time.
        obc_config_fields: The keys of additionalConfig that ObjectBucketClaims may have.
        obc_provisioner_prefix: What the provisioner of their StorageClasses may begin with, beside namespaces.
    """

    operator_namespace: str
    operator_image: str = ""
    allow_loop_devices: bool = False
    ceph_timeout: float = 15.0
    workers: int = 4
    obc_config_fields: frozenset[str] = frozenset({"maxObjects", "maxSize"})
    obc_provisioner_prefix: str = ""
