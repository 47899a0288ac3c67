"""What a CephNVMeOFGateway's spec asks for, as gateways; and what of it cannot be, or means nothing. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CephNVMeOFGatewaySpec
from controller.apis.ceph.served import NVMEOF_GATEWAY
from controller.ceph.nvmeof.configuration import OURS, ports, settings
from controller.framework.honoured import unhonoured
from controller.framework.names import letters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.apis.ceph import CephNVMeOFGateway

APPLICATION = "rbd"
"""What the pool has to be for."""
LONGEST_NAME, MOST = 40, 100
"""Characters of a CephNVMeOFGateway's name, of which names and labels are made; and gateways that it may have."""
CONFIG_KEY = "config"
"""Under which a ConfigMap has the configuration; upstream's."""
DISCONNECT = "rook.io/disconnect-nvmeof-hosts"
"""The annotation that, with the value "true", lets a gateway go though hosts reach a subsystem by no other."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_GROUP = re.compile(r"[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?")
_SETTING = re.compile(r"[A-Za-z0-9_.-]+")
_PREFIX = "rook-ceph-nvmeof"


def gateway_letters(gateway: CephNVMeOFGateway) -> tuple[str, ...]:
    """The letters of the gateways that a CephNVMeOFGateway has."""
    return tuple(letters(number) for number in range(gateway.spec.instances))


def gateway_id(name: str, letter: str) -> str:
    """The id of a gateway in the mons' map, and the name of its Deployment; upstream's."""
    return f"{_PREFIX}-{name}-{letter}"


def letter_of(name: str, found: str) -> str:
    """The letter of a gateway by its id; empty: it is none of this CephNVMeOFGateway's."""
    letter = found.removeprefix(f"{_PREFIX}-{name}-")
    return letter if letter != found and re.fullmatch(r"[a-z]+", letter) else ""


def entity(name: str, letter: str) -> str:
    """The user within Ceph that a gateway is."""
    return f"client.nvmeof.{name}.{letter}"


def disconnects(annotations: Mapping[str, str]) -> bool:
    """Whether the annotations of a CephNVMeOFGateway consent that hosts lose their last gateway."""
    return annotations.get(DISCONNECT) == "true"


def problems(gateway: CephNVMeOFGateway, base: Mapping[str, Mapping[str, str]] | None = None) -> tuple[str, ...]:
    """Why the spec cannot be carried out, whatever the cluster has.

    Args:
        gateway: The CephNVMeOFGateway.
        base: The settings of the file that it names; None: it names none, or that is not known yet.
    """
    return tuple(_problems(gateway, base))


def _problems(gateway: CephNVMeOFGateway, base: Mapping[str, Mapping[str, str]] | None) -> Iterator[str]:
    name, spec = gateway.metadata.name, gateway.spec
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        yield (
            f"metadata.name is {name}: Services are named after it, so expected at most {LONGEST_NAME} lower-case "
            "letters, digits and hyphens"
        )
    if not 1 <= spec.instances <= MOST:
        yield f"spec.instances is {spec.instances}: expected 1 to {MOST}"
    if not _GROUP.fullmatch(spec.group):
        yield f"spec.group is {spec.group!r}: expected letters, digits, and hyphens, dots and underscores between them"
    yield from _of_settings(spec)
    yield from _of_ports(spec, base)


def _of_settings(spec: CephNVMeOFGatewaySpec) -> Iterator[str]:
    for section, values in spec.nvmeof_config.items():
        for name, value in values.items():
            at = f"spec.nvmeofConfig.{section}.{name}"
            if not _SETTING.fullmatch(section) or not _SETTING.fullmatch(name):
                yield f"{at}: expected letters, digits, underscores, hyphens and dots in the section and the name"
            elif "\n" in value or "\r" in value:
                yield f"{at} is {value!r}: expected one line"
    for field, section, port in (
        ("gatewayPort", "gateway", spec.ports.gateway_port),
        ("discoveryPort", "discovery", spec.ports.discovery_port),
    ):
        values = {name.lower(): value for name, value in spec.nvmeof_config.get(section, {}).items()}
        given = values.get("port")
        if port and given is not None and given != str(port):
            yield f"spec.nvmeofConfig.{section}.port is {given}, and spec.ports.{field} {port}: expected one of them"


def _of_ports(spec: CephNVMeOFGatewaySpec, base: Mapping[str, Mapping[str, str]] | None) -> Iterator[str]:
    named = ports(spec, settings(spec, base, ipv6=False)).named()
    for what, port in named.items():
        if not isinstance(port, int) or not 1 <= port <= 65535:
            yield f"the port of {what} is {port}: expected a number from 1 to 65535"
    taken: dict[int | str, str] = {}
    for what, port in named.items():
        if port in taken:
            yield f"the ports of {taken[port]} and {what} are both {port}: expected one for each"
        taken.setdefault(port, what)


def unserved(
    spec: Mapping[str, Any], typed: CephNVMeOFGatewaySpec, base: Mapping[str, Mapping[str, str]] | None = None
) -> tuple[str, ...]:
    """The paths of the spec that are set and not served: settings that are ours, and a port that gateways do not take.

    Args:
        spec: The spec, as the user wrote it.
        typed: The same.
        base: As for `problems`.
    """
    monitor = str(ports(typed, settings(typed, base, ipv6=False)).monitor)
    found = unhonoured(spec, NVMEOF_GATEWAY, CephNVMeOFGatewaySpec)
    kept = [path for path in found if path != "ports.monitorPort" or str(typed.ports.monitor_port) != monitor]
    for section, values in typed.nvmeof_config.items():
        for name, value in values.items():
            setting = (section, name.lower())
            if setting in OURS or (setting == ("monitor", "port") and value != monitor):
                kept.append(f"nvmeofConfig.{section}.{name}")
    return tuple(kept)
