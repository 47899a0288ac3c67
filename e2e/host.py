"""The machine under the environment: what has to be installed on it, and which container engine runs on it.

Where Docker answers, it is used as it is. Elsewhere it is podman, which on a machine with cgroup v1 or with lowered
limits needs settings of its own: they are written into the cache and named by an environment variable, so nothing
outside of the cache is changed.
"""

import os
import resource
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from e2e import cache as store
from e2e.progress import say, step

PACKAGES = {
    "podman": "podman",
    "runc": "runc",
    "/usr/lib/podman/netavark": "netavark",
    "/usr/lib/podman/aardvark-dns": "aardvark-dns",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mvn": "maven",
}
"""A program, or a file, and the Debian package that brings it. Docker's users need only what is not podman's."""
PODMAN_PACKAGES = frozenset({"podman", "runc", "netavark", "aardvark-dns", "iptables"})

PROBE_SECONDS = 20
"""How long a registry may take to answer before it counts as out of reach."""
PULL_SECONDS = 1200
APT_LOCK_SECONDS = 300
"""How long another apt on this machine is waited for."""
INOTIFY_INSTANCES = 512
"""How many each user should be allowed: every node's systemd, kubelet and container runtime use some."""

_CAP_SYS_RESOURCE = 24


@dataclass(frozen=True)
class Engine:
    """A container engine that works on this machine."""

    name: str
    """`docker` or `podman`, which is also the name of its command."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What its command needs in its environment, beside the caller's own."""

    def environ(self) -> dict[str, str]:
        """The environment for the engine's command, and for kind when it drives this engine."""
        return {**os.environ, **self.environment, "KIND_EXPERIMENTAL_PROVIDER": self.name}

    def run(
        self, *arguments: str, check: bool = True, timeout: float | None = None, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the engine's command and return what it said.

        Raises `RuntimeError` with its stderr when it fails and `check` is set, and `subprocess.TimeoutExpired` after
        `timeout` seconds.
        """
        result = subprocess.run(
            [self.name, *arguments],
            env=self.environ(),
            capture_output=True,
            text=True,
            timeout=timeout,
            input=stdin,
        )
        if check and result.returncode:
            shown = " ".join([self.name, *arguments[:6]])
            raise RuntimeError(f"{shown} failed with {result.returncode}:\n{result.stderr.strip()[-4000:]}")
        return result


def install(*packages: str) -> list[str]:
    """Install through apt the Debian packages that the environment needs and this machine lacks; return their names.

    With names, only these of `PACKAGES` are looked at. Raises `RuntimeError` when something is missing and cannot be
    installed here.
    """
    wanted = [name for name in missing(docker_answers()) if not packages or name in packages]
    if not wanted:
        return []
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RuntimeError(f"missing on this machine, and only root on Debian can install it: {', '.join(wanted)}")
    with store.lock("apt"), step(f"install {', '.join(wanted)}"):
        _apt("update")
        _apt("install", "--yes", "--no-install-recommends", *wanted)
    return wanted


def _apt(*arguments: str) -> None:
    command = ["apt-get", "--option", f"DPkg::Lock::Timeout={APT_LOCK_SECONDS}", *arguments]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr.strip()[-2000:]}")


def missing(with_docker: bool) -> list[str]:
    """The Debian packages that this machine lacks, given whether Docker does the containers."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [
        package
        for program, package in PACKAGES.items()
        if not (with_docker and package in PODMAN_PACKAGES) and shutil.which(program, path=path) is None
    ]


@cache
def docker_answers() -> bool:
    """Whether a Docker daemon answers here."""
    if shutil.which("docker") is None:
        return False
    try:
        result = subprocess.run(["docker", "info"], capture_output=True, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0


@cache
def engine() -> Engine:
    """The container engine of this machine: Docker if its daemon answers, else podman."""
    if docker_answers():
        return Engine("docker")
    if shutil.which("podman") is None:
        raise RuntimeError("neither a Docker daemon nor podman is here; `python -m e2e doctor` installs podman")
    settings = podman_settings()
    if settings is None:
        return Engine("podman")
    path = store.root() / "containers.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(settings)
    return Engine("podman", {"CONTAINERS_CONF": str(path)})


def unified_cgroups() -> bool:
    """Whether this machine has cgroup v2 and nothing else."""
    return Path("/sys/fs/cgroup/cgroup.controllers").exists()


def podman_settings() -> str | None:
    """The settings that podman needs on this machine, or None where its own defaults do."""
    unified = unified_cgroups()
    status = Path("/proc/self/status").read_text()
    bounding = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd")), 16)
    if unified and bounding >> _CAP_SYS_RESOURCE & 1:
        return None
    # Podman lowers its own limit of processes to this before it starts a container.
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    return render_settings(
        cgroup_v1=not unified,
        files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        processes=most if processes < 0 else min(most, processes),
    )


def render_settings(*, cgroup_v1: bool, files: int, processes: int) -> str:
    """A containers.conf for a machine with these hard limits of open files and processes (-1: no limit).

    A container asks for limits of its own, which nobody without CAP_SYS_RESOURCE may raise above the hard ones.
    """
    limits = {"nofile": files, "nproc": processes}
    ulimits = ", ".join(f'"{name}={value}:{value}"' for name, value in limits.items() if value >= 0)
    lines = ["[containers]", f"default_ulimits = [{ulimits}]", "[engine]"]
    if cgroup_v1:
        # crun refuses hybrid hierarchies, and there is no systemd session to manage the groups.
        lines += ['runtime = "runc"', 'cgroup_manager = "cgroupfs"']
    if not Path("/run/systemd/journal/socket").exists():
        lines += ['events_logger = "file"']
    return "\n".join(lines) + "\n"


@cache
def can_pull(reference: str) -> bool:
    """Whether the registry of that image answers and has it."""
    try:
        answers = engine().run("manifest", "inspect", reference, check=False, timeout=PROBE_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        answers = False
    if not answers:
        say(f"    {reference} cannot be pulled here")
    return answers


def has(reference: str) -> bool:
    """Whether the engine has an image of that reference."""
    return engine().run("image", "inspect", reference, check=False).returncode == 0


def pull(reference: str) -> bool:
    """Pull an image from its registry, if that answers and has it; else return False."""
    if not can_pull(reference):
        return False
    with step(f"pull {reference}"):
        engine().run("pull", reference, timeout=PULL_SECONDS)
    return True


def raise_inotify_limit() -> None:
    """Allow as many inotify instances as several nodes on one machine need; many machines allow 128."""
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    if int(limit.read_text()) < INOTIFY_INSTANCES:
        limit.write_text(str(INOTIFY_INSTANCES))


def run_on(node: str, *command: str) -> str:
    """What a command on a node of the cluster wrote to stdout. Raises `RuntimeError` when it fails."""
    return engine().run("exec", node, *command).stdout
