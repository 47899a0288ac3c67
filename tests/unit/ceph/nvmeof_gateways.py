"""CephNVMeOFGateways and what there is of their gateways, as tests describe it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph import CephNVMeOFGateway
from controller.ceph.access.nvmeof import Gateway, Group, Subsystem
from controller.ceph.access.users import given
from controller.ceph.nvmeof.objects import CAPS, Gateways, context, daemon_of, keyring_name, labels
from controller.ceph.nvmeof.observe import GatewayObservation, PoolState
from controller.ceph.nvmeof.spec import gateway_id
from controller.ceph.pods import Release
from controller.ceph.releases import CephVersion
from tests.unit.ceph.cases import a_pod, deployment_view, live_object, live_objects
from tests.unit.ceph.filesystems import cluster

if TYPE_CHECKING:
    from controller.ceph.nvmeof.configuration import Settings
    from controller.ceph.pods import Context
    from informers import JsonObject

NOW = "2027-01-15T08:00:00Z"
NAME, GROUP, IMAGE = "my-gw", "group-a", "nvmeof:1.5"
PLAIN: JsonObject = {"group": GROUP, "instances": 2}
SURE = {"rook.io/force-deletion": "true"}
DISCONNECT = {"rook.io/disconnect-nvmeof-hosts": "true"}
TENTACLE = Release("ceph:v20", CephVersion(20, 2, 4))
NEWER = Release("ceph:v20.2.5", CephVersion(20, 2, 5))
READY: dict[str, Any] = {
    "pool": PoolState(applications=frozenset({"rbd"})),
    "image": IMAGE,
    "group_name": GROUP,
}
"""Attributes of an observation of a cluster that is prepared for gateways, and has none."""
NQN = "nqn.2016-06.io.spdk:cnode1"
SHOWN = {NQN: Subsystem(images=("replicapool/disk",), hosts=("*",))}


def a_gateway(
    spec: JsonObject | None = None,
    *,
    instances: int = 2,
    deleting: bool = False,
    annotations: dict[str, str] | None = None,
    status: JsonObject | None = None,
) -> CephNVMeOFGateway:
    """A CephNVMeOFGateway `rook-ceph/my-gw` with this spec over a plain one."""
    meta: JsonObject = {"name": NAME, "namespace": "rook-ceph", "uid": "g1", "generation": 2}
    meta["annotations"] = annotations or {}
    if deleting:
        meta["deletionTimestamp"] = NOW
    obj = {"metadata": meta, "spec": {**PLAIN, "instances": instances, **(spec or {})}, "status": status or {}}
    return msgspec.convert(obj, CephNVMeOFGateway)


def a_context(gateway: CephNVMeOFGateway, release: Release = TENTACLE) -> Context:
    """What gateways are given of their cluster."""
    return context(gateway, cluster(), release)


def made(gateway: CephNVMeOFGateway, release: Release = TENTACLE, base: Settings | None = None) -> Gateways:
    """The objects of the gateways."""
    return Gateways(gateway, a_context(gateway, release), group=GROUP, image=gateway.spec.image or IMAGE, base=base)


def in_map(letters: str, **states: str) -> dict[str, Gateway]:
    """Gateways that show something and have their own ANA group, but for those whose state is given."""
    found = {}
    for number, letter in enumerate(letters, 1):
        state = states.get(letter, "AVAILABLE")
        active = state == "AVAILABLE"
        availability = "AVAILABLE" if state == "STANDBY" else state
        found[gateway_id(NAME, letter)] = Gateway(
            ana_group=number, availability=availability, active=active, listeners=int(active)
        )
    return found


def at(*letters: str) -> dict[str, frozenset[str]]:
    """Listeners for the one subsystem that there is."""
    return {NQN: frozenset(gateway_id(NAME, letter) for letter in letters)}


def keyring(gateway: CephNVMeOFGateway, letter: str) -> JsonObject:
    """The Secret with a gateway's key."""
    meta = {
        "name": keyring_name(NAME, letter),
        "namespace": "rook-ceph",
        "uid": f"uid-{letter}",
        "annotations": given(CAPS),
        "labels": labels(a_context(gateway), letter),
    }
    return {"kind": "Secret", "metadata": meta}


def nothing(**fields: Any) -> GatewayObservation:
    """A cluster that answers and is prepared, where no gateway has been made yet."""
    return replace(GatewayObservation(context=a_context(a_gateway()), **READY), **fields)


def running(
    gateway: CephNVMeOFGateway,
    letters: str = "ab",
    *,
    group: Group | None = None,
    down: str = "",
    release: Release = TENTACLE,
    wanted: Release = TENTACLE,
    **fields: Any,
) -> GatewayObservation:
    """What there is of gateways that run as this CephNVMeOFGateway has them.

    Args:
        gateway: The CephNVMeOFGateway that they were made for.
        letters: Their letters.
        group: What the mons know; by default all of them, each of which listens for the one subsystem.
        down: Those of them that do not run.
        release: The release of the cluster that they were made in.
        wanted: The one that it has now.
        fields: Other attributes of the observation.
    """
    objects = made(gateway, release)
    deployments = {letter: objects.deployment(letter) for letter in letters}
    live = live_objects(
        *deployments.values(),
        *(objects.service(letter) for letter in letters),
        *(objects.config_map(letter) for letter in letters),
        *objects.budget(),
    )
    for letter in letters:
        live["Secret", keyring_name(NAME, letter)] = keyring(gateway, letter)
    everything = Group(gateways=in_map(letters), listening=at(*letters), subsystems=SHOWN)
    seen = GatewayObservation(
        context=a_context(gateway, wanted),
        **READY,
        group=everything if group is None else group,
        deployments={
            letter: deployment_view(live_object(obj), rolled_out=letter not in down)
            for letter, obj in deployments.items()
        },
        pods={letter: (a_pod(daemon_of(NAME, letter)),) for letter in letters},
        live=live,
    )
    return replace(seen, **fields)
