"""Modules of the mgr: which are on, and how one is switched (https://docs.ceph.com/en/latest/mgr/administrator/)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.access.rados import Cluster
    from controller.framework.plan import Handler


@dataclass(frozen=True, slots=True)
class EnableModule:
    """Switch a mgr module on. The mgr starts anew."""

    module: str


@dataclass(frozen=True, slots=True)
class DisableModule:
    """Switch a mgr module off. The mgr starts anew."""

    module: str


def always_on(dump: Mapping[str, Any]) -> frozenset[str]:
    """The modules that cannot be switched, in an answer to `mgr dump`."""
    return frozenset(module for modules in (dump.get("always_on_modules") or {}).values() for module in modules)


def switched_on(dump: Mapping[str, Any]) -> frozenset[str]:
    """The modules that somebody switched on, in an answer to `mgr dump`."""
    return frozenset(dump.get("modules") or ())


def handlers(ceph: Cluster) -> dict[type, Handler]:
    """How modules are switched in a cluster that answers."""

    async def enable_module(action: EnableModule) -> None:
        await ceph.mon("mgr module enable", module=action.module)

    async def disable_module(action: DisableModule) -> None:
        await ceph.mon("mgr module disable", module=action.module)

    return {EnableModule: enable_module, DisableModule: disable_module}
