"""What a CephCluster's spec says of health: how daemons are probed, and what of Ceph's warnings is muted."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.storage import AnyObject
from controller.apis.meta import Nullable, Rule, Schema, SpecStruct


class HealthCheckSpec(SpecStruct, frozen=True, kw_only=True):
    """How often one aspect of health is looked at."""

    disabled: bool = False
    """Do not look."""
    interval: str = ""
    """Time between two looks, such as 60s."""
    timeout: str = ""
    """How long a failure may last before it is acted on, such as 600s."""


class DaemonHealthSpec(SpecStruct, frozen=True, kw_only=True):
    """Health checks of the operator."""

    mon: Nullable[HealthCheckSpec] = HealthCheckSpec()
    """Quorum: every 45s; a mon that is out for 600s is replaced, with timeout 0 never."""
    osd: Nullable[HealthCheckSpec] = HealthCheckSpec()
    """OSDs: every 60s."""
    status: Nullable[HealthCheckSpec] = HealthCheckSpec()
    """The cluster's health in its status: every 60s."""


class ProbeSpec(SpecStruct, frozen=True, kw_only=True):
    """A probe of one kind of daemon."""

    disabled: bool = False
    """Do without it."""
    probe: AnyObject | None = None
    """Fields of a Kubernetes probe that take the place of the operator's."""


class MuteSpec(SpecStruct, frozen=True, kw_only=True):
    """What becomes of a health warning."""

    policy: Annotated[str, Schema(required=True, enum=("mute", "unmute"))] = ""
    """Whether it counts."""


class CephClusterHealthCheckSpec(SpecStruct, frozen=True, kw_only=True):
    """Health checks of the operator and the kubelet."""

    daemon_health: Nullable[DaemonHealthSpec] = DaemonHealthSpec()
    """Health checks of the operator."""
    liveness_probe: dict[str, ProbeSpec] = field(default_factory=dict)
    """Liveness probes for each of mon, mgr and osd."""
    startup_probe: dict[str, ProbeSpec] = field(default_factory=dict)
    """Startup probes for each of mon, mgr and osd."""
    mute_health_warning: Annotated[
        dict[str, MuteSpec],
        Schema(
            max_properties=10,
            rules=(
                Rule(
                    "self.all(k, k.matches('^[A-Z]+(_[A-Z]+)+$'))",
                    "keys of healthCheck.muteHealthWarning must be Ceph's health codes, such as MON_CLOCK_SKEW",
                ),
            ),
        ),
    ] = field(default_factory=dict)
    """Health codes of Ceph that are muted or no longer muted."""
