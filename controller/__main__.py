"""The operator: `python -m controller`. Each argument can come from the environment, by upstream's name for it."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import structlog

from controller.apis.registry import KINDS
from controller.cassandra import system as cassandra
from controller.ceph import system as ceph
from controller.framework import reports
from controller.framework.namespaces import Account, Everywhere, Unserved
from controller.framework.program import PROGRAM
from controller.framework.settings import Served, Settings
from controller.runtime import LeaderElection, configure_logging, resource_of, run
from controller.runtime.main import MISCONFIGURED
from controller.volumes import system as volumes
from informers import Client, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from controller.runtime import Manager
    from controller.runtime.probes import Address
    from controller.volumes.system import VolumeControllers

log = structlog.get_logger(__name__)

LEASE = "rook-ceph-operator"
OTHER_NAMESPACES = -1
"""Not an exit code: the operator stopped in order, to begin anew with other namespaces."""
GC_THRESHOLDS = 10_000, 2, 1000
"""For `gc.set_threshold`. A look at a big cluster makes and drops objects by the ten thousand.

By default that causes several collections of everything, each of which holds up the event loop; what is in cycles is
little, and can wait. Those of what is new are many and short.
"""

SYSTEMS: tuple[Callable[[Manager, Settings], None], ...] = (reports.register, cassandra.register)
"""What this operator serves: each registers its controllers."""

HOMES = tuple(resource_of(kind) for kind in (*ceph.HOMES, *cassandra.HOMES))
"""The kinds of which one object makes its namespace one to be served, where all are."""

OTHERS = tuple(resource_of(kind) for kind in KINDS if kind.group in {home.group for home in HOMES})
"""The kinds of the same groups: a namespace with one of them stays served."""

VOLUME_SYSTEMS: tuple[Callable[[Manager, Settings, VolumeControllers], None], ...] = (ceph.register,)
"""Those that serve volumes, too, for all of which there is one set of controllers."""


def parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """The command line, with defaults from `environment`."""
    made = argparse.ArgumentParser(
        prog="rook-operator",
        description="Runs storage systems on Kubernetes: serves Ceph's kinds, and Cassandra's.",
        epilog="Each argument can be given by the environment variable in brackets instead.",
    )

    def add(flag: str, variable: str, default: str, text: str, **more: Any) -> None:
        value = environment.get(variable) or default
        made.add_argument(flag, default=value, help=f"{text} [{variable}; now {value or 'not set'}]", **more)

    add(
        "--watch-namespaces",
        "ROOK_WATCH_NAMESPACES",
        environment.get("POD_NAMESPACE", ""),
        'namespaces to serve, with commas between them; "*": all that have storage clusters, too',
    )
    add("--operator-namespace", "POD_NAMESPACE", "rook-ceph", "namespace of the operator and its agents")
    add("--operator-image", "ROOK_OPERATOR_IMAGE", "", "image of the operator, from which OSDs get their script")
    add(
        "--image-pull-secrets",
        "ROOK_IMAGE_PULL_SECRETS",
        "",
        "Secrets of the ServiceAccounts that are made in namespaces which are not named, with commas between",
        type=names,
    )
    add("--identity", "POD_NAME", socket.gethostname(), "name of this replica")
    add("--log-level", "ROOK_LOG_LEVEL", "info", "debug, info, warning or error", type=str.lower)
    add("--log-format", "ROOK_LOG_FORMAT", "json", "json or console", choices=("json", "console"))
    add("--metrics-address", "ROOK_METRICS_ADDRESS", "0.0.0.0:9090", "address of metrics and probes", type=address)
    add("--leader-election", "ROOK_LEADER_ELECTION", "true", "false: act without holding the Lease", type=boolean)
    add("--kubeconfig", "KUBECONFIG", "", "configuration of the API server's client; not set: the pod's own")
    add("--context", "ROOK_KUBE_CONTEXT", "", "context of the kubeconfig")
    add("--workers", "ROOK_RECONCILE_CONCURRENT_CLUSTERS", "4", "clusters reconciled at the same time", type=int)
    add(
        "--allow-loop-devices",
        "ROOK_CEPH_ALLOW_LOOP_DEVICES",
        "false",
        "true: loop devices may become OSDs where a CephCluster names them",
        type=boolean,
    )
    add(
        "--ceph-timeout",
        "ROOK_CEPH_COMMANDS_TIMEOUT_SECONDS",
        "15",
        "seconds that a command to a Ceph cluster may take",
        type=float,
    )
    add(
        "--obc-config-fields",
        "ROOK_OBC_ALLOW_ADDITIONAL_CONFIG_FIELDS",
        "maxObjects,maxSize",
        "keys of additionalConfig that ObjectBucketClaims may have, with commas between them",
        type=names,
    )
    add(
        "--obc-provisioner-prefix",
        "ROOK_OBC_PROVISIONER_NAME_PREFIX",
        "",
        "what the provisioner of their StorageClasses may begin with, beside namespaces",
    )
    add(
        "--csi-controllers",
        "ROOK_CSI_CONTROLLERS",
        "",
        "CSI drivers to offer a controller service of, driver=unix:///path with commas between; Kubernetes needs none",
        type=sockets,
    )
    return made


def boolean(text: str) -> bool:
    """A flag's value.

    Raises:
        argparse.ArgumentTypeError: It is neither true nor false.
    """
    if text.lower() in ("true", "1", "yes"):
        return True
    if text.lower() in ("false", "0", "no"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def address(text: str) -> Address:
    """Host and port.

    Raises:
        argparse.ArgumentTypeError: It is no such pair.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise argparse.ArgumentTypeError(f'{text!r} is not an address: expected "0.0.0.0:9090"')
    return host.strip("[]"), int(port)


def sockets(text: str) -> Mapping[str, Path]:
    """The sockets of controller services, by CSI driver.

    Raises:
        argparse.ArgumentTypeError: The text has another form.
    """
    found: dict[str, Path] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        driver, _, endpoint = part.partition("=")
        path = endpoint.removeprefix("unix://")
        if not driver or path == endpoint or not path.startswith("/"):
            raise argparse.ArgumentTypeError(f"{part!r} is no driver with a socket: expected driver=unix:///path")
        if driver in found:
            raise argparse.ArgumentTypeError(f"{driver} is there twice: expected one socket for each CSI driver")
        found[driver] = Path(path)
    return found


def names(text: str) -> frozenset[str]:
    """Names with commas between them."""
    return frozenset(filter(None, (name.strip() for name in text.split(","))))


def namespaces(text: str, home: str) -> Served:
    """The namespaces to serve, without those that are yet to be found.

    Args:
        text: Names with commas between them, of which "*" means all that have something to serve.
        home: The operator's own, which is served where all are, and where none is named.
    """
    given = dict.fromkeys(name.strip() for name in text.split(",") if name.strip())
    everywhere = given.pop("*", 0) is None
    if everywhere or not given:
        given[home] = None
    return Served(named=tuple(given), everywhere=everywhere)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the process's exit code."""
    arguments = parser(os.environ).parse_args(argv)
    home = arguments.operator_namespace
    served = namespaces(arguments.watch_namespaces, home)
    gc.set_threshold(*GC_THRESHOLDS)
    if not served.everywhere:
        return serve(arguments, served, None)
    configure_logging(level=arguments.log_level, format=arguments.log_format, secrets=PROGRAM.secrets)
    every = Everywhere(
        Account(home),
        served.named,
        HOMES,
        OTHERS,
        pods=ceph.ACCOUNTS,
        pull_secrets=sorted(arguments.image_pull_secrets),
    )
    while True:
        try:
            found = asyncio.run(find(every, arguments))
        except ConfigurationError as error:
            sys.stderr.write(f"{PROGRAM.user_agent}: {error}\n")
            return MISCONFIGURED
        if found is None:
            return 0
        code = serve(arguments, found, every)
        if code != OTHER_NAMESPACES:
            return code


async def find(every: Everywhere, arguments: argparse.Namespace) -> Served | None:
    """The namespaces to serve; None if the process was told to stop meanwhile.

    Raises:
        ConfigurationError: There is no API server to ask.
    """
    found: Served | None = None

    async def obey() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
            async for _ in received:
                tasks.cancel_scope.cancel()

    async with client_of(arguments) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(obey)
        found = await every.find(client)
        tasks.cancel_scope.cancel()
    return found


def client_of(arguments: argparse.Namespace) -> AbstractAsyncContextManager[Client]:
    """A client whose writes do not wait for this process to lead."""
    kubeconfig, context = arguments.kubeconfig or None, arguments.context or None
    return Client.connect(kubeconfig=kubeconfig, context=context, user_agent=PROGRAM.user_agent)


def serve(arguments: argparse.Namespace, served: Served, every: Everywhere | None) -> int:
    """Runs the operator for these namespaces; returns the process's exit code, or `OTHER_NAMESPACES`.

    Args:
        arguments: Of the command line.
        served: The namespaces.
        every: Tells when there are others; None: never.
    """
    settings = Settings(
        operator_namespace=arguments.operator_namespace,
        served=served,
        operator_image=arguments.operator_image,
        allow_loop_devices=arguments.allow_loop_devices,
        ceph_timeout=arguments.ceph_timeout,
        workers=arguments.workers,
        obc_config_fields=arguments.obc_config_fields,
        obc_provisioner_prefix=arguments.obc_provisioner_prefix,
    )
    outdated: list[Manager] = []

    def register(manager: Manager) -> None:
        for system in SYSTEMS:
            system(manager, settings)
        serving = volumes.register(manager, settings.operator_namespace)
        for volume_system in VOLUME_SYSTEMS:
            volume_system(manager, settings, serving)
        if arguments.csi_controllers:
            from controller.csi import system as csi  # gRPC takes memory, and most operators need none

            csi.register(manager, serving, settings.operator_namespace, arguments.csi_controllers)
        unserved = Unserved(HOMES, served, settings.operator_namespace)
        manager.add_runnable(lambda: unserved.run(manager))
        if every is not None:
            manager.add_runnable(lambda: follow(manager, every), needs_leader=False)
        log.info("Serving", namespaces=list(served.watched), everywhere=served.everywhere)

    async def follow(manager: Manager, every: Everywhere) -> None:
        async with client_of(arguments) as client:
            await every.follow(manager, served, client)
        outdated.append(manager)
        manager.stop()

    election = LeaderElection(namespace=settings.operator_namespace, name=LEASE)
    code = run(
        PROGRAM,
        register,
        kubeconfig=arguments.kubeconfig or None,
        context=arguments.context or None,
        log_level=arguments.log_level,
        log_format=arguments.log_format,
        namespaces=served.watched,
        identity=arguments.identity,
        leader_election=election if arguments.leader_election else None,
        metrics_address=arguments.metrics_address,
    )
    # A signal ends the process, also one that came while the manager was stopping.
    anew = any(not manager.signalled for manager in outdated)
    return OTHER_NAMESPACES if anew and code == 0 else code


if __name__ == "__main__":
    sys.exit(main())
