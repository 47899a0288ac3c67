"""The configuration of gateways, `nvmeof.conf`: defaults or a user's file, what the spec says, and what is ours. Pure.

Values are upstream's where upstream has them. `gateway.encryption_key` is not set: no field brings such a key into a
pod. What is between two pairs of @ is put in later: the address when a pod starts, everything else here.
"""

from __future__ import annotations

from configparser import Error, RawConfigParser
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

from controller.ceph.access.nvmeof import POOL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephNVMeOFGatewaySpec

CONF_DIR = "/etc/ceph"
POD_IP = "@@POD_IP@@"
"""Stands for the address of a pod, which is known when it starts."""

type Settings = dict[str, dict[str, str]]
"""Values by section and name."""

DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "gateway": {
        "addr": POD_IP,
        "enable_auth": "False",
        "state_update_notify": "True",
        "state_update_timeout_in_msec": "2000",
        "state_update_interval_sec": "5",
        "enable_spdk_discovery_controller": "False",
        "rebalance_period_sec": "7",
        "max_gws_in_grp": "16",
        "max_ns_to_change_lb_grp": "8",
        "verify_listener_ip": "False",
        "enable_monitor_client": "True",
    },
    "discovery": {"addr": "0.0.0.0"},  # noqa: S104  # of the pod
    "ceph": {"config_file": f"{CONF_DIR}/ceph.conf"},
    "mtls": {
        "server_key": "./server.key",
        "client_key": "./client.key",
        "server_cert": "./server.crt",
        "client_cert": "./client.crt",
    },
    "spdk": {
        "bdevs_per_cluster": "32",
        "mem_size": "4096",
        "tgt_path": "/usr/local/bin/nvmf_tgt",
        "timeout": "60.0",
        "rpc_socket": "/var/tmp/spdk.sock",  # noqa: S108  # in the pod
    },
}
"""What there is where the user gives no file. `spdk.mem_size` is in MiB: without it, memory is of huge pages."""

GATEWAY_PORT, DISCOVERY_PORT, IO_PORT = 5500, 8009, 4420
OURS = (("gateway", "name"), ("gateway", "group"), ("ceph", "pool"), ("ceph", "id"))
"""Settings that are the operator's to say: by them mons, keys and gateways know each other."""
PLACEHOLDERS = {"@@POD_NAME@@": ("gateway", "name"), "@@ANA_GROUP@@": ("gateway", "group")}
"""What a user's file may have in place of a setting of `OURS`; upstream's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where gateways listen; a text where a setting is no number."""

    io: int | str
    gateway: int | str
    monitor: int | str
    discovery: int | str

    def named(self) -> dict[str, int | str]:
        """The ports by their names in a Service."""
        return {"io": self.io, "gateway": self.gateway, "monitor": self.monitor, "discovery": self.discovery}


def parse(text: str) -> Settings:
    """The settings in a file.

    Raises:
        ValueError: It is no such file.
    """
    parser = RawConfigParser(default_section="", interpolation=None)
    try:
        parser.read_string(text)
    except Error as error:
        raise ValueError(" ".join(str(error).split())) from None
    return {section: dict(parser.items(section)) for section in parser.sections()}


def settings(spec: CephNVMeOFGatewaySpec, base: Mapping[str, Mapping[str, str]] | None, *, ipv6: bool) -> Settings:
    """What all gateways have: a file or defaults, over these the ports that are set, over these the user's settings.

    Args:
        spec: What the user wants.
        base: The settings of the user's file; None: the defaults.
        ipv6: Whether pods have addresses of IPv6 alone.
    """
    found = {section: dict(values) for section, values in (DEFAULTS if base is None else base).items()}
    if base is None and any(name.startswith("hugepages-") for name in (spec.resources.get("limits") or {})):
        del found["spdk"]["mem_size"]
    if base is None and ipv6:
        found["discovery"]["addr"] = "::"
    for section, port in (("gateway", spec.ports.gateway_port), ("discovery", spec.ports.discovery_port)):
        if port:
            found.setdefault(section, {})["port"] = str(port)
    for section, values in spec.nvmeof_config.items():
        found.setdefault(section, {}).update({name.lower(): value for name, value in values.items()})
    found.setdefault("gateway", {}).setdefault("port", str(GATEWAY_PORT))
    found.setdefault("discovery", {}).setdefault("port", str(DISCOVERY_PORT))
    monitor = ports(spec, found).monitor
    found["monitor"] = {**found.get("monitor", {}), "port": str(monitor)}
    return found


def ports(spec: CephNVMeOFGatewaySpec, found: Mapping[str, Mapping[str, str]]) -> Ports:
    """Where gateways with these settings listen."""
    gateway = _port(found["gateway"]["port"])
    monitor = gateway - 1 if isinstance(gateway, int) else gateway
    discovery = _port(found["discovery"]["port"])
    return Ports(io=spec.ports.io_port or IO_PORT, gateway=gateway, monitor=monitor, discovery=discovery)


def _port(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


def render(found: Mapping[str, Mapping[str, str]], *, gateway: str, group: str, user: str) -> str:
    """The file of one gateway.

    Args:
        found: The settings that all gateways have.
        gateway: Its id.
        group: Its group.
        user: The user within Ceph that it is, without "client.".
    """
    ours = {("gateway", "name"): gateway, ("gateway", "group"): group, ("ceph", "pool"): POOL, ("ceph", "id"): user}
    merged = {section: {name: _put_in(value, ours) for name, value in of.items()} for section, of in found.items()}
    for (section, name), value in ours.items():
        merged.setdefault(section, {})[name] = value
    parser = RawConfigParser(default_section="", interpolation=None)
    parser.read_dict({section: dict(sorted(of.items())) for section, of in sorted(merged.items())})
    text = StringIO()
    parser.write(text)
    return text.getvalue()


def _put_in(value: str, ours: Mapping[tuple[str, str], str]) -> str:
    for placeholder, setting in PLACEHOLDERS.items():
        value = value.replace(placeholder, ours[setting])
    return value
