"""Pools that are for some nodes only: the parameter `topologyConstrainedPools` of Ceph's CSI driver. All of it pure.

The first pool whose segments a node all has is for that node (https://github.com/ceph/ceph-csi,
docs/design/proposals/topology-aware-provisioning.md). A node's segments are labels of it, `topology.<driver>/<domain>`,
which the kubelet sets by what the node's agent says.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from controller.ceph.access.rados_namespaces import NAME
from controller.ceph.csi.volumes import wrong
from controller.framework.placement import topology_label
from controller.framework.text import brief

if TYPE_CHECKING:
    from controller.runtime.kube import StorageClass
    from controller.volumes.places import Place

PARAMETER = "topologyConstrainedPools"

_DOMAIN = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
"""The name in a label's key, without what may stand before a slash; and a label's value."""

_FORM = '[{"poolName": "pool-a", "domainSegments": [{"domainLabel": "zone", "value": "a"}]}]'


class Segment(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A label that a node has to have: of its key what stands after the slash, and its value."""

    domain_label: str
    value: str


class ConstrainedPool(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A pool, and the labels that a node has to have to use it, all of them."""

    pool_name: str
    data_pool: str = ""
    domain_segments: tuple[Segment, ...] = ()

    @property
    def attributes(self) -> dict[str, str]:
        """What a volume in this pool has among its attributes."""
        data = {"dataPool": self.data_pool} if self.data_pool else {}
        return {"pool": self.pool_name, **data}

    def place(self, driver: str) -> Place:
        """From where volumes of a driver in this pool are reached."""
        return {topology_label(driver, segment.domain_label): segment.value for segment in self.domain_segments}


def constrained_pools(storage_class: StorageClass) -> tuple[ConstrainedPool, ...]:
    """The pools that a class lists for some nodes each; none: the class does not.

    Raises:
        ParameterError: They cannot be read, or one of them cannot be.
    """
    text = storage_class.parameters.get(PARAMETER, "")
    if not text:
        return ()
    try:
        pools = msgspec.json.decode(text, type=tuple[ConstrainedPool, ...])
    except msgspec.MsgspecError as error:
        raise wrong(storage_class, PARAMETER, brief(text), f"JSON such as {_FORM} ({error})") from None
    if not pools:
        raise wrong(storage_class, PARAMETER, text, f"a pool at least, as in {_FORM}")
    for number, pool in enumerate(pools):
        if problem := _problem(pool):
            what, found, expected = problem
            raise wrong(storage_class, f"{PARAMETER}[{number}].{what}", found, expected)
    return pools


def _problem(pool: ConstrainedPool) -> tuple[str, str, str] | None:
    """Which field of a pool is wrong, what it is, and what would be right; None: none."""
    for field, name in (("poolName", pool.pool_name), ("dataPool", pool.data_pool)):
        if not NAME.fullmatch(name) and (name or field == "poolName"):
            return field, name, "a name without spaces, commas, slashes and @"
    domains = [segment.domain_label for segment in pool.domain_segments]
    for number, segment in enumerate(pool.domain_segments):
        where = f"domainSegments[{number}]"
        if not _DOMAIN.fullmatch(segment.domain_label):
            right = segment.domain_label.rpartition("/")[2]
            expected = f"{right!r}, without what stands before the slash" if _DOMAIN.fullmatch(right) else "'zone'"
            return f"{where}.domainLabel", segment.domain_label, expected
        if not _DOMAIN.fullmatch(segment.value):
            return f"{where}.value", segment.value, "the value of a node's label"
        if domains.index(segment.domain_label) != number:
            return f"{where}.domainLabel", segment.domain_label, "each label once, as a node has one value of it"
    return None
