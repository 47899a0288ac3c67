"""The command line of the environment: `python -m e2e COMMAND`."""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

from e2e import binaries, cluster, host, images
from e2e import cache as store
from e2e.progress import say, step

IN_WORKERS = ("ceph", "operator", "agent", "postgres")
"""The images that the demo and the end-to-end tests run in the cluster."""
DISK_BYTES = 30 << 30
"""Free space below which building and running everything gets tight."""


def main() -> int:
    """Parse the command line and do what it asks; the process's exit code."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.run(arguments))
    except (RuntimeError, ValueError, subprocess.SubprocessError) as error:
        say(f"error: {error}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m e2e", description="A kind cluster with raw disks, and the programs and images it is made of."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    doctor = commands.add_parser("doctor", help="install what this machine lacks and say what was found")
    doctor.set_defaults(run=_doctor)

    programs = commands.add_parser("binaries", help="build Go programs and print the directory they are in")
    every = [name for recipe in binaries.RECIPES if recipe.usual for name in recipe.programs]
    more = [name for recipe in binaries.RECIPES if not recipe.usual for name in recipe.programs]
    said = f"default: all of {', '.join(every)}; others are {', '.join(more)}"
    programs.add_argument("names", nargs="*", metavar="NAME", help=said)
    programs.set_defaults(run=lambda arguments: _binaries(arguments.names or every))

    pictures = commands.add_parser("images", help="pull or build container images and print their references")
    usual = ("node", *IN_WORKERS)
    pictures.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(images.RECIPES)}")
    pictures.set_defaults(run=lambda arguments: _images(arguments.names or usual))

    up = commands.add_parser("up", help="make the cluster, or use the one that is there, and load the images into it")
    up.add_argument("--name", default=cluster.NAME, help="the cluster's name (default: %(default)s)")
    up.add_argument("--workers", type=int, default=cluster.WORKERS, help="worker nodes (default: %(default)s)")
    up.set_defaults(run=_up)

    down = commands.add_parser("down", help="remove the cluster, its network, loop devices and disks")
    down.add_argument("--name", default=cluster.NAME, help="the cluster's name (default: %(default)s)")
    down.set_defaults(run=_down)

    for program in ("kubectl", "helm"):
        client = commands.add_parser(program, help=f"run {program} against the cluster", add_help=False)
        client.add_argument("arguments", nargs=argparse.REMAINDER)
        client.set_defaults(run=lambda arguments, program=program: _client(program, arguments.arguments))

    kept = commands.add_parser("cache", help="what the cache holds")
    actions = kept.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("ls", help="list the artifacts").set_defaults(run=_cache_ls)
    prune = actions.add_parser("prune", help="remove all but the last used artifacts of each name")
    prune.add_argument("--keep", type=int, default=1, help="how many of each name to keep (default: %(default)s)")
    prune.set_defaults(run=_cache_prune)
    return parser


def _doctor(_: argparse.Namespace) -> int:
    blocking = []
    if os.geteuid() != 0:
        blocking.append("not root: loop devices and privileged nodes need it")
    if shutil.which("go") is None:
        blocking.append("go is not on PATH: kind, kubectl and helm are built with it")
    if blocking:
        for reason in blocking:
            print(f"missing     {reason}")
        return 1
    host.install()
    engine = host.engine()
    settings = engine.environment.get("CONTAINERS_CONF", "its own")
    root = store.root()
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    print(f"engine      {engine.name}, settings: {settings}")
    print(f"cgroups     {'v2' if host.unified_cgroups() else 'v1 or hybrid'}")
    print(f"registries  {'answer' if host.can_pull(images.CEPH_IMAGE) else 'out of reach: images are built here'}")
    print(f"cache       {root}, {store.size(root) / 1e9:.1f} GB")
    print(f"disk        {free / 1e9:.0f} GB free{'' if free >= DISK_BYTES else ', which is little'}")
    found = cluster.read()
    print(f"cluster     {'none' if found is None else f'{found.name}, kubeconfig {found.kubeconfig}'}")
    return 0


def _binaries(names: Sequence[str]) -> int:
    print(binaries.ensure(*names))
    return 0


def _images(names: Sequence[str]) -> int:
    for image in images.ensure(*names).values():
        print(f"{image.name:12} {image.reference}")
    return 0


def _up(arguments: argparse.Namespace) -> int:
    with step("have programs and images"):
        binaries.ensure("kind", "kubectl", "helm")
        found = images.ensure("node", *IN_WORKERS)
    made = cluster.up(arguments.name, workers=arguments.workers, loaded=[found[name] for name in IN_WORKERS])
    for node in made.workers:
        say(f"    raw disks of {node}: {', '.join(made.devices(node))}")
    print(made.kubeconfig)
    return 0


def _down(arguments: argparse.Namespace) -> int:
    cluster.down(arguments.name)
    return 0


def _client(program: str, arguments: Sequence[str]) -> int:
    found = cluster.read()
    if found is None:
        raise RuntimeError("there is no cluster; `python -m e2e up` makes one")
    return subprocess.run(cluster.client_command(program, found, arguments)).returncode


def _cache_ls(_: argparse.Namespace) -> int:
    for entry in store.entries():
        hours = (time.time() - entry.last_used) / 3600
        print(f"{store.size(entry.path) / 1e6:8.0f} MB  {hours:6.1f} h ago  {entry.name}/{entry.key}")
    return 0


def _cache_prune(arguments: argparse.Namespace) -> int:
    for entry in store.prune(keep=arguments.keep):
        print(f"removed {entry.name}/{entry.key}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
