"""What is seen of a cluster's OSDs, and how it falls short of what is wanted: what all else here decides by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.rook.node_report import BlockDevice
    from controller.ceph.osd.act import DeployOsd
    from controller.ceph.osd.objects import Osd
    from controller.ceph.osd.prepare_job import Prepared, Refusal
    from controller.ceph.osd.verdicts import DeviceVerdict
    from controller.framework import jobs
    from controller.framework.children import Live
    from controller.runtime.kube import Deployment, Node, Pod


MAX_NAMED = 10
"""OSDs that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OsdState:
    """An OSD in the cluster's map."""

    osd_id: int
    uuid: str
    up: bool
    is_in: bool
    device_class: str = ""
    new: bool = False
    """Whether it never ran: it was only registered, or its number is kept for another disk."""
    place: Mapping[str, str] = field(default_factory=dict)
    """Where it is in CRUSH, below the root; empty where it is nowhere yet."""

    def needs_class(self, wanted: str) -> bool:
        """Whether it has another device class than the spec gives it, or has lost its own; empty: any is right.

        One that has not started yet may have none. One that is up has one, unless the operator died while it changed
        it: then no rule that asks for a class finds the OSD.
        """
        return bool(wanted) and self.device_class != wanted and (bool(self.device_class) or self.up)


@dataclass(frozen=True, slots=True, kw_only=True)
class OsdObservation:
    """What `analyze` decides by.

    Attributes:
        now: Seconds since the epoch.
        nodes: Every node.
        reports: What agents reported, by node.
        live: The objects of the cluster's namespace.
        deployments: The OSDs' Deployments by OSD number.
        pods: The OSDs' pods by OSD number.
        preparing: The Jobs that prepare devices, by name.
        prepared: What they made or found.
        refused: What they did not use.
        states: The cluster's OSDs by number; None while the cluster does not answer.
        stores: OSDs by backend.
        releases: OSDs by the release that they ran when they started last, whether they are up or not.
        required: The release that OSDs must have at least to join the cluster.
        ever: Whether the cluster ever had an OSD, by its map.
        stoppable: OSDs that may be restarted now: the next batch, as far as the cluster can do without it for a moment.
        unstoppable: Why it cannot do without the others, in Ceph's words.
        removable: OSDs that are out and down, and whose data is safe elsewhere.
        failure_domain: The lowest level of CRUSH over which pools spread data; empty while there is no pool.
        noout: Units of CRUSH whose OSDs are not counted out.
        allow_loop_devices: Whether loop devices may be used when they are named.
        script_image: The operator's image, from which new pods get their script; empty: not known.
        reserved: Devices that other clusters prepare, by what they are known by, and for whom.
        assessed: What `assess` made of it.
    """

    now: float
    nodes: tuple[Node, ...] = ()
    reports: Mapping[str, tuple[BlockDevice, ...]] = field(default_factory=dict)
    live: Live = field(default_factory=dict)
    deployments: Mapping[int, Deployment] = field(default_factory=dict)
    pods: Mapping[int, tuple[Pod, ...]] = field(default_factory=dict)
    preparing: Mapping[str, jobs.Run] = field(default_factory=dict)
    prepared: tuple[Prepared, ...] = ()
    refused: tuple[Refusal, ...] = ()
    states: Mapping[int, OsdState] | None = None
    stores: Mapping[str, int] = field(default_factory=dict)
    releases: Mapping[str, int] = field(default_factory=dict)
    required: str = ""
    ever: bool = True
    stoppable: frozenset[int] = frozenset()
    unstoppable: str = ""
    removable: frozenset[int] = frozenset()
    failure_domain: str = ""
    noout: frozenset[str] = frozenset()
    allow_loop_devices: bool = False
    script_image: str = ""
    reserved: Mapping[str, str] = field(default_factory=dict)
    assessed: Assessment = field(default_factory=lambda: Assessment())

    @property
    def registered(self) -> frozenset[str] | None:
        """UUIDs of the cluster's OSDs; None while it does not answer, or cannot know."""
        if self.states is None or not self.ever:
            return None
        return frozenset(state.uuid for state in self.states.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """How what is seen falls short of what is wanted; worked out once a look.

    Attributes:
        verdicts: On every device of every node.
        osds: The cluster's OSDs, by number.
        changes: For each OSD whose Deployment is missing or not as it should be, that Deployment and the difference.
        returning: OSDs that were (re)started and are not back yet.
    """

    verdicts: tuple[DeviceVerdict, ...] = ()
    osds: tuple[Osd, ...] = ()
    changes: Mapping[int, DeployOsd] = field(default_factory=dict)
    returning: frozenset[int] = frozenset()
