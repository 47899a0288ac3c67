"""What there is of a cluster's mgrs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.ceph.access import modules
from controller.ceph.mgr.objects import APP
from controller.framework.monitoring import Monitored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.part import Ground
    from controller.framework.children import Live
    from controller.framework.monitoring import Monitors
    from controller.runtime.kube import Deployment, Pod


@dataclass(frozen=True, slots=True)
class MgrState:
    """What the mons say of the mgrs: the active one, those that stand by, and modules that are on.

    `always_on`: modules of the running release that cannot be switched.
    """

    active: str = ""
    standbys: frozenset[str] = frozenset()
    available: bool = False
    modules: frozenset[str] = frozenset()
    always_on: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> MgrState:
        """From the answer to `mgr dump`."""
        return cls(
            active=answer.get("active_name", ""),
            standbys=frozenset(s["name"] for s in answer.get("standbys", ())),
            available=bool(answer.get("available")),
            modules=modules.switched_on(answer),
            always_on=modules.always_on(answer),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MgrObservation:
    """What `analyze` decides by.

    Attributes:
        state: What the mons say of the mgrs; None when they do not answer.
        deployments: The mgrs' Deployments by id.
        pods: The mgrs' pods by id.
        live: The objects of the cluster's namespace.
        monitors: Whether there can be ServiceMonitors, and which of the mgrs' there are.
    """

    state: MgrState | None = None
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    pods: Mapping[str, tuple[Pod, ...]] = field(default_factory=dict)
    live: Live = field(default_factory=dict)
    monitors: Monitored = field(default_factory=Monitored)


async def observe(ground: Ground, monitors: Monitors) -> MgrObservation:
    """What there is of a cluster's mgrs."""
    namespace, monitoring = ground.cluster.metadata.namespace, ground.cluster.spec.monitoring
    return MgrObservation(
        state=MgrState.parse(ground.mgr) if ground.mgr is not None else None,
        deployments=ground.daemons(APP),
        pods=ground.pods_of(APP),
        live=ground.live,
        monitors=await monitors.observe(namespace, f"app={APP}", wanted=monitoring.enabled),
    )
