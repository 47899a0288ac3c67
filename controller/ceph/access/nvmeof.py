"""What mons know of NVMe-oF gateways, and what the gateways of one group keep in RADOS, read without their own tools.

Mons have a map of gateways by pool and group. A gateway starts only once it is in the map. One that is taken out of it
is DELETING for as long as namespaces of its ANA group are at no other. What a group shows is in the keys of object
`nvmeof.<group>.state` of the pool: `subsystem_<nqn>`, `namespace_<nqn>_<number>`, `host_<nqn>_<host's nqn>`. No name
has an underscore. Which hosts are connected, gateways alone know.

Source: ceph, src/mon/NVMeofGwMon.cc; ceph-nvmeof, control/state.py.
"""

from __future__ import annotations

import errno
import json
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from controller.ceph.access.objects import Used, keys, library
from controller.ceph.access.rados import CephError
from controller.ceph.access.threads import Lane
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

POOL = ".nvmeof"
"""The pool in which gateways keep what they show; upstream's."""
IMAGE_OPTION = "mgr/cephadm/container_image_nvmeof"
"""The setting in which Ceph itself names an image of gateways."""
AVAILABLE, UNAVAILABLE, DELETING = "AVAILABLE", "UNAVAILABLE", "DELETING"
"""States of a gateway; a fourth one is CREATED: it has nothing to show, or was not heard of yet."""

_ACTIVE = "ACTIVE"
_TIMEOUT = 30.0
"""Seconds that reading what a group shows takes at most."""


class Asked(Used, Protocol):
    """A cluster that answers commands, and whose librados can be used."""

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        """Asks the mons: see `controller.ceph.access.rados.Cluster.mon`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway in the mons' map.

    Attributes:
        ana_group: The ANA group that is its own.
        availability: How it is: see `AVAILABLE`.
        active: Whether paths to its own ANA group are active at it, and not at one that stands in for it.
        listeners: Where hosts can connect to it.
    """

    ana_group: int = 0
    availability: str = ""
    active: bool = False
    listeners: int = 0

    @property
    def leaving(self) -> bool:
        """Whether it was taken out of the map, and is in it only until others have its namespaces."""
        return self.availability == DELETING


@dataclass(frozen=True, slots=True, kw_only=True)
class Subsystem:
    """What hosts connect to.

    Attributes:
        images: The images that are its namespaces, as pool/image.
        hosts: The hosts that may connect; "*" stands for all.
    """

    images: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The gateways of a group, and what they show.

    Attributes:
        known: Whether the mons know of gateways at all; those of releases before Ceph 19 do not.
        gateways: The gateways by id.
        listening: By subsystem: the gateways that are available and at which hosts can connect to it; None: the mons
            cannot tell.
        subsystems: The subsystems by NQN.
    """

    known: bool = True
    gateways: Mapping[str, Gateway] = field(default_factory=dict)
    listening: Mapping[str, frozenset[str]] | None = field(default_factory=dict)
    subsystems: Mapping[str, Subsystem] = field(default_factory=dict)

    def lost_without(self, leaving: Collection[str]) -> dict[str, Subsystem]:
        """The subsystems that hosts could connect to and no longer can, once these gateways are gone."""
        staying = {name for name, found in self.gateways.items() if name not in leaving and not found.leaving}
        if not staying or self.listening is None:
            return dict(self.subsystems)
        lost = {nqn for nqn, at in self.listening.items() if not at.isdisjoint(leaving) and at.isdisjoint(staying)}
        return {nqn: self.subsystems.get(nqn, Subsystem()) for nqn in sorted(lost)}


async def read(ceph: Asked, group: str, *, pool: bool) -> Group:
    """The gateways of a group, and what they show.

    Args:
        ceph: The cluster.
        group: The group's name.
        pool: Whether there is a pool `POOL`; without it nothing is shown.

    Raises:
        CephError: The mons or the OSDs do not answer.
    """
    try:
        found = gateways(await ceph.mon("nvme-gw show", pool=POOL, group=group))
    except CephError as error:
        if error.errno != errno.EINVAL:
            raise
        return Group(known=False)
    shown: dict[str, Subsystem] = {}
    if pool:
        shown = subsystems(await ceph.use(partial(_state, group=group), lane=Lane.IMAGES, seconds=_TIMEOUT))
    return Group(gateways=found, listening=await _listening(ceph, group) if found else {}, subsystems=shown)


async def create(ceph: Asked, gateway: str, group: str) -> None:
    """Takes a gateway into the mons' map; one that is DELETING is in it for good again.

    Raises:
        CephError: The mons refuse it.
    """
    await ceph.mon("nvme-gw create", id=gateway, pool=POOL, group=group)


async def delete(ceph: Asked, gateway: str, group: str) -> None:
    """Takes a gateway that will never run again out of the mons' map; of one that is not in it, nothing is said.

    Raises:
        CephError: The mons refuse it.
    """
    await ceph.mon("nvme-gw delete", id=gateway, pool=POOL, group=group)


async def image(ceph: Asked) -> str:
    """The image of gateways that Ceph's own configuration names; empty: it names none, as its mgrs have no cephadm.

    Raises:
        CephError: The mons do not answer.
    """
    try:
        return str(await ceph.mon("config get", who="mgr", key=IMAGE_OPTION) or "")
    except CephError as error:
        if error.is_not_found:
            return ""
        raise


def gateways(answer: Mapping[str, Any]) -> dict[str, Gateway]:
    """The gateways in an answer to `nvme-gw show`, by id. Pure."""
    return {found["gw-id"]: _gateway(found) for found in answer.get("Created Gateways:") or ()}


def _gateway(found: Mapping[str, Any]) -> Gateway:
    number = int(found["anagrp-id"])
    states = (part.partition(":") for part in str(found.get("ana states", "")).split(","))
    by_group = {group.strip(): state.strip() for group, _, state in states}
    return Gateway(
        ana_group=number,
        availability=found["Availability"],
        active=by_group.get(str(number)) == _ACTIVE,
        listeners=int(found.get("num-listeners", 0)),
    )


def listening(answer: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """By subsystem, the gateways that listen for it, in an answer to `nvme-gw listeners`. Pure."""
    found = answer.get("Created listeners") or {}
    return {nqn: frozenset(each["gw_id"] for each in each_of) for nqn, each_of in found.items()}


def subsystems(state: Mapping[str, bytes]) -> dict[str, Subsystem]:
    """The subsystems in the keys of a group's object, by NQN. Pure.

    A namespace whose value is none, as of a later release of gateways, is named by its number.
    """
    parts = [(key.split("_"), value) for key, value in sorted(state.items())]
    images: dict[str, list[str]] = {}
    hosts: dict[str, list[str]] = {}
    for (kind, *names), value in parts:
        match kind, names:
            case "subsystem", [nqn]:
                images.setdefault(nqn, [])
            case "namespace", [nqn, number]:
                images.setdefault(nqn, []).append(_image(value) or f"namespace {number}")
            case "host", [nqn, host]:
                hosts.setdefault(nqn, []).append(host)
    return {nqn: Subsystem(images=tuple(found), hosts=tuple(hosts.get(nqn, ()))) for nqn, found in images.items()}


def _image(value: bytes) -> str:
    with suppress(ValueError, AttributeError):
        found = json.loads(value)
        if found.get("rbd_image_name"):
            return f"{found.get('rbd_pool_name', '')}/{found['rbd_image_name']}"
    return ""


def told(shown: Mapping[str, Subsystem], most: int) -> tuple[str, ...]:
    """Subsystems in words, each with its images and hosts, `most` of those. Pure."""
    return tuple(f"{nqn} ({_contents(found, most)})" for nqn, found in shown.items())


def _contents(found: Subsystem, most: int) -> str:
    images = some(found.images, most) or "no namespaces"
    hosts = some(["any host" if host == "*" else host for host in found.hosts], most) or "no host"
    return f"{images}; for {hosts}"


async def _listening(ceph: Asked, group: str) -> dict[str, frozenset[str]] | None:
    try:
        return listening(await ceph.mon("nvme-gw listeners", pool=POOL, group=group))
    except CephError as error:
        if error.errno != errno.EINVAL:
            raise
        return None


def _state(handle: Any, group: str) -> dict[str, bytes]:
    with handle.open_ioctx(POOL) as ioctx:
        try:
            return keys(ioctx, f"nvmeof.{group}.state")
        except library().ObjectNotFound:
            return {}
