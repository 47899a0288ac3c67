"""The agent of one node: device discovery and the CSI node service, configured by environment variables.

NODE_NAME and POD_NAMESPACE are required. ROOK_CSI_DRIVERS names the CSI drivers, separated by commas; without it, the
agent only reports devices. docs/volumes.md lists the rest.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import structlog
from prometheus_client import CollectorRegistry, Gauge

from controller.agent.cephfs.driver import SUFFIX as CEPHFS_SUFFIX
from controller.agent.cephfs.driver import cephfs_of
from controller.agent.cephfs.protocol import SOCKET as CEPHFS_SOCKET
from controller.agent.devices.discovery import Discovery
from controller.agent.devices.report import Reporter
from controller.agent.nfs.driver import SUFFIX as NFS_SUFFIX
from controller.agent.nfs.driver import nfs_of
from controller.agent.node.block import BlockDriver
from controller.agent.node.calls import Interceptor, Operations
from controller.agent.node.clients import Clients
from controller.agent.node.identity import IdentityService, installed_version
from controller.agent.node.leftovers import let_go_of_leftovers
from controller.agent.node.problems import Problems
from controller.agent.node.renewal import keep_told
from controller.agent.node.server import serve_driver
from controller.agent.node.service import NodeService
from controller.agent.node.topology import Topology
from controller.agent.node.trims import Trims, trim_as_asked
from controller.agent.rbd.devices import SUFFIX as RBD_SUFFIX
from controller.agent.rbd.devices import devices_of
from controller.agent.rbd.mounter import RUNTIME_DIRECTORY
from controller.agent.rbd.protocol import SOCKET
from controller.agent.system.command import run
from controller.framework.duration import DurationError, parse_duration
from controller.framework.program import PROGRAM
from controller.runtime.log import configure_logging
from controller.runtime.probes import OK, Probes
from informers import Client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from controller.agent.node.driver import Driver
    from controller.agent.node.registration import RegistrationService

_log = structlog.get_logger(__name__)

SUFFIXES = (RBD_SUFFIX, CEPHFS_SUFFIX, NFS_SUFFIX)
"""What the names of CSI drivers end in, by kind."""

_LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The agent's settings.

    Attributes:
        node: The node's name.
        namespace: Where the node's report goes.
        drivers: Names of the CSI drivers.
        kubelet: The kubelet's directory.
        state: A directory that outlives the agent.
        mounter: The mounter's socket.
        cephfs_mounter: The socket of the mounter of file systems.
        host_mounts: The mount table of the host.
        metrics: Host and port for metrics and probes.
        interval: Seconds between two looks for device changes that the kernel did not announce.
        max_volumes: How many volumes the scheduler may send to the node, 0 for any number; None: as many as the node
            has threads for.
        controller_service: Whether the operator offers controller services of the drivers.
        domains: The node's labels that tell places apart.
        log_level: The lowest level that is logged.
    """

    node: str
    namespace: str
    drivers: tuple[str, ...] = ()
    kubelet: Path = Path("/var/lib/kubelet")
    state: Path = Path("/var/lib/rook/agent")
    mounter: Path = Path(SOCKET)
    cephfs_mounter: Path = Path(CEPHFS_SOCKET)
    host_mounts: Path = Path("/host/proc/1/mountinfo")
    metrics: tuple[str, int] = ("127.0.0.1", 9810)
    interval: float = 60.0
    max_volumes: int | None = None
    controller_service: bool = False
    domains: tuple[str, ...] = ()
    log_level: str = "info"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Reads the settings.

        Raises:
            ValueError: A variable is missing or wrong; the message names it.
        """
        for name in ("NODE_NAME", "POD_NAMESPACE"):
            if not environment.get(name):
                raise ValueError(f"environment variable {name} is not set: expected it from the pod's own fields")
        host, _, port = environment.get("ROOK_AGENT_METRICS_ADDRESS", "127.0.0.1:9810").rpartition(":")
        if not port.isdigit():
            raise ValueError("environment variable ROOK_AGENT_METRICS_ADDRESS is not host:port")
        most = environment.get("ROOK_MAX_VOLUMES_PER_NODE", "")
        if most and not most.isdecimal():
            raise ValueError(
                f"environment variable ROOK_MAX_VOLUMES_PER_NODE is {most!r}: expected a number, or nothing"
            )
        offered = environment.get("ROOK_CSI_CONTROLLER_SERVICE") or "false"
        if offered not in ("true", "false"):
            raise ValueError(f"environment variable ROOK_CSI_CONTROLLER_SERVICE is {offered!r}: expected true or false")
        drivers = tuple(filter(None, environment.get("ROOK_CSI_DRIVERS", "").replace(" ", "").split(",")))
        for name in drivers:
            if not name.endswith(SUFFIXES):
                raise ValueError(
                    f"environment variable ROOK_CSI_DRIVERS has {name!r}: expected names that end in "
                    f"{' or '.join(SUFFIXES)}"
                )
        domains = tuple(filter(None, environment.get("ROOK_TOPOLOGY_LABELS", "").replace(" ", "").split(",")))
        if len({label.rpartition("/")[2] for label in domains}) < len(domains):
            raise ValueError(
                f"environment variable ROOK_TOPOLOGY_LABELS is {','.join(domains)!r}: expected labels that differ in "
                "what stands after the slash"
            )
        level = environment.get("ROOK_LOG_LEVEL", "info").lower()
        if level not in _LEVELS:
            raise ValueError(f"environment variable ROOK_LOG_LEVEL is {level!r}: expected one of {', '.join(_LEVELS)}")
        try:
            interval = parse_duration(environment.get("ROOK_DISCOVER_DEVICES_INTERVAL", "60s"))
        except DurationError as error:
            raise ValueError(f"environment variable ROOK_DISCOVER_DEVICES_INTERVAL: {error}") from None
        if not interval:
            raise ValueError("environment variable ROOK_DISCOVER_DEVICES_INTERVAL is zero: expected more")
        return cls(
            node=environment["NODE_NAME"],
            namespace=environment["POD_NAMESPACE"],
            drivers=drivers,
            kubelet=Path(environment.get("KUBELET_DIR", "/var/lib/kubelet")),
            metrics=(host.strip("[]"), int(port)),
            interval=interval,
            max_volumes=int(most) if most else None,
            controller_service=offered == "true",
            domains=domains,
            log_level=level,
        )


async def run_agent(settings: Settings) -> None:
    """Runs the agent until it is told to end."""
    registry = CollectorRegistry()
    rbd = await devices_of(settings.node, settings.state, settings.mounter, registry, settings.max_volumes)
    discovery = Discovery(run, hidden=RUNTIME_DIRECTORY, host_mounts=settings.host_mounts)
    registrations: dict[str, RegistrationService] = {}
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client.connect(user_agent="rook-agent"))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)  # once the servers have stopped
        reporter = Reporter(
            client=client,
            namespace=settings.namespace,
            node=settings.node,
            discovery=discovery,
            mapper=rbd.mapper,
            clients=lambda: clients.listed(),
            problems=lambda: problems.listed(),
            trimmed=lambda: trims.listed(),
            interval=settings.interval,
        )
        clients = Clients(settings.state / "clients", reporter.write)
        await anyio.to_thread.run_sync(clients.load)
        problems = Problems(reporter.write)
        services: dict[str, NodeService] = {}
        trims = Trims(services, reporter.write)
        _describe(registry, reporter, problems)
        probes = Probes(
            registry,
            live=lambda: dict.fromkeys(settings.drivers, OK) or {"agent": OK},
            ready=lambda: _ready(registrations, reporter),
            debug={},
        )
        await stack.enter_async_context(probes.serve(settings.metrics, None))
        tasks.start_soon(reporter.run)
        operations = Operations(tasks)
        interceptor = Interceptor(registry)
        topology = Topology(client, settings.node, settings.domains)
        served: list[tuple[Collection[str], NodeService]] = []
        told: list[tuple[str, NodeService, Callable[[], Awaitable[None]]]] = []
        cephfs = await cephfs_of(settings.node, settings.state, settings.cephfs_mounter, clients, settings.max_volumes)
        nfs = await nfs_of(settings.node, settings.state, clients, settings.max_volumes)
        drivers: tuple[Driver, ...] = (BlockDriver(settings.node, rbd, clients, settings.state), cephfs, nfs)
        for driver in drivers:
            names = [name for name in settings.drivers if name.endswith(driver.suffix)]
            for name in names:
                service = NodeService(settings.node, name, driver, operations, topology, problems)
                identity = IdentityService(
                    name,
                    installed_version(),
                    driver.usable,
                    controller=settings.controller_service,
                    places=bool(settings.domains),
                )
                found = await stack.enter_async_context(
                    serve_driver(settings.kubelet, name, identity, service, interceptor)
                )
                registrations[name] = found.registration
                services[name] = service
                told.append((name, service, found.renew))
            if names:  # one for all of a kind: they share their volumes
                served.append((names, service))
        if served:
            tasks.start_soon(let_go_of_leftovers, client, settings.node, served)
            tasks.start_soon(keep_told, told)
            tasks.start_soon(trim_as_asked, client, settings.namespace, settings.node, trims)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            _log.info("started", node=settings.node, drivers=list(settings.drivers))
            async for _ in signals:
                break
            _log.info("told to end")
            # What writes to a device is not cut off; the kubelet's grace is the deadline.
            await operations.drained()


def _ready(registrations: Mapping[str, RegistrationService], reporter: Reporter) -> Mapping[str, str]:
    states = {"report": OK if reporter.reported else "not written yet"}
    return states | {driver: registration.problem or OK for driver, registration in registrations.items()}


def _describe(registry: CollectorRegistry, reporter: Reporter, problems: Problems) -> None:
    devices = Gauge("rook_agent_devices", "Block devices found on the node.", registry=registry)
    devices.set_function(lambda: len(reporter.devices or ()))
    failing = Gauge("rook_agent_volumes_abnormal", "Volumes of pods on which I/O fails.", registry=registry)
    failing.set_function(lambda: len(problems.listed()))
    scan = Gauge("rook_agent_scan_seconds", "Time that the last look at all devices took.", registry=registry)
    scan.set_function(lambda: reporter.scan_seconds)


def main() -> None:
    """The command `rook-agent`."""
    try:
        settings = Settings.from_environment(os.environ)
    except ValueError as error:
        sys.exit(f"rook-agent: {error}")
    level: Any = settings.log_level
    configure_logging(level=level, secrets=PROGRAM.secrets)
    anyio.run(run_agent, settings)


if __name__ == "__main__":
    main()
