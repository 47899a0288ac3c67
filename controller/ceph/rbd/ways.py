"""How nodes reach a cluster: where its mons are, and the protocol that kernels have to speak. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from controller.ceph.access.mons import requires_msgr2
from controller.volumes.backend import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephCluster

_ADDRESS = re.compile(r"[0-9A-Fa-f.:\[\]]+:[0-9]+")
"""What can be handed to the kernel, which is told the mons in one line of text."""


def ms_mode(cluster: CephCluster) -> str:
    """How the kernel's client has to speak to a cluster: its option `ms_mode`; empty: as it does by itself.

    https://docs.ceph.com/en/latest/man/8/rbd/#kernel-rbd-krbd-options. A kernel compresses nothing.
    """
    if cluster.spec.network.connections.encryption.enabled:
        return "secure"
    return "prefer-crc" if requires_msgr2(cluster.spec.network) else ""


def mon_addresses(monmap: Mapping[str, Any], *, msgr2: bool) -> list[str]:
    """An "address:port" for each mon of `mon dump`: of the first protocol if it has one, which every client speaks.

    A client finds out the rest from the mons. With `msgr2`: of the second.
    """
    addresses = []
    for mon in monmap["mons"]:
        by_protocol = {a["type"]: a["addr"] for a in mon["public_addrs"]["addrvec"]}
        order = ("v2", "v1", "any") if msgr2 else ("v1", "v2", "any")
        address = next(by_protocol[protocol] for protocol in order if protocol in by_protocol)
        if not _ADDRESS.fullmatch(address):
            raise BackendError(f"a mon's address is {address!r}: expected an IP address and a port")
        addresses.append(address)
    return addresses
