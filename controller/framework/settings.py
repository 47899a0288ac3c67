"""What the operator is told at its start, by arguments or environment; the same for every storage system."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The namespaces whose storage clusters are served.

    Attributes:
        named: Those that the operator was told by name: CSI drivers are named after them.
        everywhere: Whether all others are served too, whose volumes have the driver of the operator's own namespace.
        found: Those of the others that have something to serve.
        refused: Those of them in which the operator has no rights: what is there is not known.
    """

    named: tuple[str, ...] = ()
    everywhere: bool = False
    found: tuple[str, ...] = ()
    refused: frozenset[str] = frozenset()

    @property
    def watched(self) -> tuple[str, ...]:
        """The namespaces whose objects are watched."""
        return *self.named, *self.found

    def __contains__(self, namespace: str) -> bool:
        """Whether a namespace is served."""
        return namespace in self.named or (self.everywhere and namespace not in self.refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the operator.

    Attributes:
        operator_namespace: Where the operator and its agents run.
        served: The namespaces that are served; None: those that the caches are of.
        operator_image: The image that the operator runs in, from which it hands out scripts; empty: not known.
        allow_loop_devices: Whether loop devices may become OSDs where a spec names them.
        ceph_timeout: Seconds that a command to a Ceph cluster may take.
        workers: Objects of one kind reconciled at the same time.
        obc_config_fields: The keys of additionalConfig that ObjectBucketClaims may have.
        obc_provisioner_prefix: What the provisioner of their StorageClasses may begin with, beside namespaces.
    """

    operator_namespace: str
    served: Served | None = None
    operator_image: str = ""
    allow_loop_devices: bool = False
    ceph_timeout: float = 15.0
    workers: int = 4
    obc_config_fields: frozenset[str] = frozenset({"maxObjects", "maxSize"})
    obc_provisioner_prefix: str = ""
