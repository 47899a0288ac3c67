"""The image of the cluster's nodes, where none can be pulled: kind's own from its sources, with what kubeadm wants."""

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from e2e import binaries, host
from e2e.image_recipe import Build, archive_format, link, scratch_directory

READY_SECONDS = 30

NODE_PROGRAMS = {
    "usr/bin": ("kubeadm", "kubectl", "kubelet"),
    "usr/local/bin": ("containerd", "containerd-shim-runc-v2", "crictl", "ctr"),
    "cni": ("bridge", "host-local", "loopback", "portmap", "ptp"),
}
KUBERNETES_IMAGES = ("etcd", "coredns", "pause", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""Those of kubeadm's images that hold nothing but programs; kube-proxy's also has a userland."""
KUBERNETES_PROGRAMS = (*KUBERNETES_IMAGES, "kube-proxy", "etcdctl", "podnet")


def kubernetes_version() -> str:
    """The version, with a v, of the Kubernetes that is built here."""
    return f"v{binaries.module_version('kubernetes', 'k8s.io/kubernetes')}"


def upstream() -> str | None:
    """The node image that the pinned kind was released with, as its sources name it."""
    source = binaries.module_directory("kind", "sigs.k8s.io/kind") / "pkg/apis/config/defaults/image.go"
    for line in source.read_text().splitlines():
        if line.startswith("const Image = "):
            return line.split('"')[1]
    raise RuntimeError(f"{source} names no node image")


def inputs() -> tuple[str | Path, ...]:
    """What goes into it beside the recipe's own directory."""
    programs = {*KUBERNETES_PROGRAMS, *(program for group in NODE_PROGRAMS.values() for program in group)}
    keys = [binaries.key(recipe, name) for recipe in binaries.RECIPES for name in recipe.programs if name in programs]
    return (*keys, binaries.module_version("kind", "sigs.k8s.io/kind"))


def build(build: Build) -> None:
    """A node image in the way of kind's own, with the images that kubeadm wants in its containerd."""
    programs = binaries.ensure(*KUBERNETES_PROGRAMS, *(name for group in NODE_PROGRAMS.values() for name in group))
    for place, names in NODE_PROGRAMS.items():
        for name in names:
            link(programs / name, build.context / place / name)
    _stage_kind_files(build.context / "kind")
    references = _kubeadm_images(programs)
    with scratch_directory("images") as directory:
        bundle = directory / "images.tar"
        _kubernetes_images(build, programs, references, bundle)
        _preload(programs, bundle, build.context / "containerd")
    build.containerfile(
        *("--build-arg", f"KUBERNETES_VERSION={kubernetes_version()}"),
        *("--build-arg", f"PAUSE_IMAGE={references['pause']}"),
    )


def _stage_kind_files(target: Path) -> None:
    """kind's own files for its nodes, from its sources, with the modes that its Dockerfile gives them."""
    shutil.copytree(binaries.module_directory("kind", "sigs.k8s.io/kind") / "images/base/files", target)
    for path in [target, *target.rglob("*")]:
        executable = path.is_dir() or path.parent.name == "bin"
        path.chmod(0o755 if executable else 0o644)


def _kubeadm_images(programs: Path) -> dict[str, str]:
    """The references of the images that kubeadm wants, by the last part of their names."""
    command = [str(programs / "kubeadm"), "config", "images", "list", "--kubernetes-version", kubernetes_version()]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return {reference.rpartition("/")[2].partition(":")[0]: reference for reference in listed}


def _kubernetes_images(build: Build, programs: Path, references: dict[str, str], bundle: Path) -> None:
    """Build the images that kubeadm wants, under its names, and save them into one archive."""
    with scratch_directory("kubernetes") as context:
        shutil.copy2(build.context / "kubernetes.Containerfile", context / "Containerfile")
        for name in KUBERNETES_PROGRAMS:
            link(programs / name, context / name)
        inner = Build(build.recipe, build.reference, build.base, context)
        for name, reference in references.items():
            inner.containerfile("--target", name, reference=reference)
    engine = host.engine()
    many = ["--multi-image-archive"] if engine.name == "podman" else []
    engine.run("save", *archive_format(), *many, "--output", str(bundle), *references.values())
    engine.run("rmi", *references.values())


def _preload(programs: Path, bundle: Path, target: Path) -> None:
    """Import an archive of images into a containerd directory, as a node's containerd finds it when it first starts.

    The images are pinned, so that a kubelet short of disk space leaves them alone.
    """
    with scratch_directory("containerd") as directory:
        socket = directory / "containerd.sock"
        configuration = directory / "config.toml"
        configuration.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        command: list[str | Path] = [programs / "containerd", "--config", configuration, "--root", target]
        command += ["--state", directory / "state", "--address", socket]
        with (directory / "log").open("w") as log:
            daemon = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            control: list[str | Path] = [programs / "ctr", "--address", socket, "--namespace", "k8s.io"]
            _wait_for_containerd([*control, "version"], directory / "log")
            options = ["--all-platforms", "--no-unpack", "--local", "--label", "io.cri-containerd.pinned=pinned"]
            subprocess.run([*control, "images", "import", *options, bundle], check=True, capture_output=True)
        finally:
            daemon.terminate()
            daemon.wait(READY_SECONDS)


def _wait_for_containerd(probe: Sequence[str | Path], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while subprocess.run(probe, capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise RuntimeError(f"containerd did not answer within {READY_SECONDS} s:\n{log.read_text()[-4000:]}")
        time.sleep(0.2)
