"""The container images of the environment: pulled where a registry answers, built from Debian packages where not.

Each directory below `images/` is a recipe with a Containerfile. An image's tag holds a digest of all that it is made
of, so a reference is never stale: whoever has an image of that name has the right one, on the machine as on a node.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from e2e import binaries, host, jars
from e2e import cache as store
from e2e.progress import step

RECIPES_DIRECTORY = Path(__file__).parent / "images"
CHECKOUT = Path(__file__).parent.parent
REPOSITORY = "localhost/rook"
LABEL = "io.rook.e2e"
"""Every image built here carries it, with its recipe's name as value."""
BUILDS_AT_ONCE = 2
BUILD_SECONDS = 1800
READY_SECONDS = 30

PYTHON = "3.13"
"""The Python of Debian trixie, for which the operator's and the agent's packages are installed."""
SOURCE_PACKAGES = ("workqueue", "informers", "controller")

AGENTS = {"jolokia": "jolokia.jar", "jmx_prometheus_javaagent": "exporter.jar"}
"""What the operator's image calls the Java agents, by how the names of their jars begin."""

CEPH_IMAGE = "quay.io/ceph/ceph:v18.2.7"
"""The Ceph image used where a registry can be reached; elsewhere Debian's packages of the same version are."""
NEWEST_CEPH_IMAGE = "quay.io/ceph/ceph:v20.2.4"
"""The same for the newest release, to which the scenarios upgrade and on which they make a new cluster."""

APT_OPTIONS = {"sid": ('Acquire::Check-Valid-Until "false"',)}
"""By suite: sid's index expires within days, and a mirror may be behind."""

NODE_PROGRAMS = {
    "usr/bin": ("kubeadm", "kubectl", "kubelet"),
    "usr/local/bin": ("containerd", "containerd-shim-runc-v2", "crictl", "ctr"),
    "cni": ("bridge", "host-local", "loopback", "portmap", "ptp"),
}
KUBERNETES_IMAGES = ("etcd", "coredns", "pause", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""Those of kubeadm's images that hold nothing but programs; kube-proxy's also has a userland."""
KUBERNETES_PROGRAMS = (*KUBERNETES_IMAGES, "kube-proxy", "etcdctl", "podnet")


@dataclass(frozen=True)
class Image:
    """An image that the container engine has."""

    name: str
    reference: str
    id: str


@dataclass(frozen=True)
class Recipe:
    """How to get one image."""

    name: str
    version: str
    """What stands in the tag before the digest, for people to read."""
    base: str | None = None
    """The recipe of the image that it is built on."""
    upstream: Callable[[], str | None] = lambda: None
    """The reference that is pulled instead of building, where that is possible."""
    directory: str = ""
    """Its directory below `images/`; of the recipe's name when empty."""
    inputs: Callable[[], tuple[str | Path, ...]] = tuple
    """What goes into the image beside the recipe's own directory."""
    build: Callable[["Build"], None] = lambda build: build.containerfile()

    @property
    def files(self) -> Path:
        """Where its own files are; it may have none."""
        return RECIPES_DIRECTORY / (self.directory or self.name)


@dataclass(frozen=True)
class Build:
    """One build under way."""

    recipe: Recipe
    reference: str
    base: str | None
    context: Path
    """A directory with the recipe's files, for the build to add to."""

    def containerfile(self, *options: str, reference: str | None = None) -> None:
        """Build the context's Containerfile into an image of that reference (default: the recipe's)."""
        engine = host.engine()
        base = ["--build-arg", f"BASE={self.base}"] if self.base else []
        # The format that keeps an image's id through `save`; Docker knows no other.
        form = ["--format", "docker"] if engine.name == "podman" else []
        engine.run(
            *("build", "--network", "host", "--label", f"{LABEL}={self.recipe.name}", *form, *base, *options),
            *("--file", str(self.context / "Containerfile"), "--tag", reference or self.reference, str(self.context)),
            timeout=BUILD_SECONDS,
        )


def ensure(*names: str) -> dict[str, Image]:
    """Make the engine have the named images, and return them by name.

    The images that they stand on come first; what does not depend on each other is built side by side. Raises
    `ValueError` for a name without a recipe and `RuntimeError` when a build fails.
    """
    if unknown := set(names) - RECIPES.keys():
        raise ValueError(f"no recipe in {RECIPES_DIRECTORY} makes {', '.join(sorted(unknown))}")
    host.install()
    present: dict[str, Image] = {}
    with ThreadPoolExecutor(BUILDS_AT_ONCE) as pool:
        for wave in waves(names):
            present |= dict(zip(wave, pool.map(partial(_obtain, present=present), wave), strict=True))
    return {name: present[name] for name in names}


def waves(names: Iterable[str]) -> list[list[str]]:
    """The names and all that they stand on, in waves that each need only the ones before."""
    depths: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in depths:
            base = RECIPES[name].base
            depths[name] = depth(base) + 1 if base else 0
        return depths[name]

    for name in names:
        depth(name)
    levels = range(max(depths.values(), default=-1) + 1)
    return [sorted(name for name in depths if depths[name] == level) for level in levels]


def _obtain(name: str, present: dict[str, Image]) -> Image:
    recipe = RECIPES[name]
    with store.lock(f"image-{name}"):
        upstream = recipe.upstream()
        if upstream and host.has(upstream):
            return _inspect(name, upstream)
        base = present[recipe.base].reference if recipe.base else None
        reference = f"{REPOSITORY}/{name}:{recipe.version}-{key(recipe, base)}"
        # What was built is good: only what is not here at all is worth asking a registry for.
        if not host.has(reference):
            if upstream and host.pull(upstream):
                return _inspect(name, upstream)
            with step(f"build image {name}"):
                _build(recipe, reference, base)
            _prune(name)
        return _inspect(name, reference)


def key(recipe: Recipe, base: str | None) -> str:
    """What decides the content of an image: the recipe, what is added to it, and the image it is built on."""
    own: list[str | Path] = [recipe.files] if recipe.files.is_dir() else []
    return store.digest(recipe.version, base or "", *own, *recipe.inputs())


def _build(recipe: Recipe, reference: str, base: str | None) -> None:
    with scratch_directory(recipe.name) as context:
        if recipe.files.is_dir():
            shutil.copytree(recipe.files, context, dirs_exist_ok=True)
        recipe.build(Build(recipe, reference, base, context))


@contextmanager
def scratch_directory(name: str) -> Iterator[Path]:
    """A directory for the time of a build, below the cache: large files are hard-linked from there.

    Only one build of a name is under way at a time, so what is there already was left by one that was killed.
    """
    parent = store.root() / "scratch" / name
    shutil.rmtree(parent, ignore_errors=True)
    parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=parent) as directory:
        yield Path(directory)


def _inspect(name: str, reference: str) -> Image:
    output = host.engine().run("image", "inspect", "--format", "{{.Id}}", reference).stdout
    return Image(name, reference, output.strip().removeprefix("sha256:"))


def _prune(name: str) -> None:
    """Remove all but the newest images of a recipe; the engine refuses to remove those that are in use."""
    engine = host.engine()
    listed = engine.run("images", "--filter", f"label={LABEL}={name}", "--format", "{{.ID}}").stdout.split()
    for image in list(dict.fromkeys(listed))[store.KEYS_KEPT :]:
        engine.run("rmi", image, check=False)


def archive(image: Image) -> Path:
    """A tar archive of the image in the cache, as containerd can import it."""

    def save(directory: Path) -> None:
        with step(f"save image {image.name}"):
            host.engine().run("save", *_archive_format(), "--output", str(directory / "image.tar"), image.reference)

    return store.artifact(f"image-{image.name}", store.digest(image.reference, image.id), save) / "image.tar"


def _archive_format() -> list[str]:
    return ["--format", "docker-archive"] if host.engine().name == "podman" else []


def _link(source: Path, target: Path) -> None:
    """Give a file of the cache another name, without a copy where the file system allows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copy2(source, target)


def _debian(build: Build) -> None:
    """A minimal Debian of the recipe's suite, like the well-known slim images: no documentation, no translations."""
    rootfs = build.context / "rootfs.tar"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates"]
    command += [f"--aptopt={option}" for option in APT_OPTIONS.get(build.recipe.version, ())]
    excluded = ("doc", "groff", "info", "linda", "lintian", "locale", "man")
    command += [f"--dpkgopt=path-exclude=/usr/share/{directory}/*" for directory in excluded]
    command.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    result = subprocess.run(
        [*command, build.recipe.version, str(rootfs)], capture_output=True, text=True, timeout=BUILD_SECONDS
    )
    if result.returncode:
        raise RuntimeError(f"mmdebstrap {build.recipe.version} failed:\n{result.stderr.strip()[-4000:]}")
    host.engine().run("import", "--change", f"LABEL {LABEL}={build.recipe.name}", str(rootfs), build.reference)


def _minio(build: Build) -> None:
    """The object store that backups are tested against: its program, and nothing else."""
    _link(binaries.ensure("minio") / "minio", build.context / "minio")
    build.containerfile()


def _minio_inputs() -> tuple[str | Path, ...]:
    return tuple(binaries.key(recipe, "minio") for recipe in binaries.RECIPES if "minio" in recipe.programs)


def _python(build: Build, requirements: str) -> None:
    """The operator's or the agent's image: the pinned packages, then this checkout's own code."""
    packages = _site_packages(CHECKOUT / requirements)
    for file in store.files(packages):
        _link(file, build.context / "site-packages" / file.relative_to(packages))
    for package in SOURCE_PACKAGES:
        for file in store.files(CHECKOUT / package):
            target = build.context / "packages" / package / file.relative_to(CHECKOUT / package)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
    build.containerfile()


def _operator(build: Build) -> None:
    """The operator's image: also the Java agents that it gives to members of Cassandra clusters."""
    for jar in store.files(jars.ensure("agents")):
        _link(jar, build.context / "jars" / AGENTS[jar.name.partition("-")[0]])
    _python(build, requirements="requirements.txt")


def _python_inputs(requirements: str) -> tuple[str | Path, ...]:
    return (PYTHON, CHECKOUT / requirements, *(CHECKOUT / package for package in SOURCE_PACKAGES))


def _site_packages(requirements: Path) -> Path:
    """A directory with the pinned packages, wheels only, for the image's Python and not for this one."""

    def install(directory: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--require-hashes", "--no-deps"]
        command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"]
        result = subprocess.run(
            [*command, f"--target={directory}", f"--requirement={requirements}"], capture_output=True, text=True
        )
        if result.returncode:
            raise RuntimeError(f"the packages of {requirements} cannot be installed:\n{result.stderr.strip()[-4000:]}")
        shutil.rmtree(directory / "bin", ignore_errors=True)

    return store.artifact(f"site-packages-{requirements.stem}", store.digest(PYTHON, requirements), install)


def kubernetes_version() -> str:
    """The version, with a v, of the Kubernetes that is built here."""
    return f"v{binaries.module_version('kubernetes', 'k8s.io/kubernetes')}"


def _kind_node_image() -> str | None:
    """The node image that the pinned kind was released with, as its sources name it."""
    source = binaries.module_directory("kind", "sigs.k8s.io/kind") / "pkg/apis/config/defaults/image.go"
    for line in source.read_text().splitlines():
        if line.startswith("const Image = "):
            return line.split('"')[1]
    raise RuntimeError(f"{source} names no node image")


def _node_inputs() -> tuple[str | Path, ...]:
    programs = {*KUBERNETES_PROGRAMS, *(program for group in NODE_PROGRAMS.values() for program in group)}
    keys = [binaries.key(recipe, name) for recipe in binaries.RECIPES for name in recipe.programs if name in programs]
    return (*keys, binaries.module_version("kind", "sigs.k8s.io/kind"))


def _node(build: Build) -> None:
    """A node image in the way of kind's own, with the images that kubeadm wants in its containerd."""
    programs = binaries.ensure(*KUBERNETES_PROGRAMS, *(name for group in NODE_PROGRAMS.values() for name in group))
    for place, names in NODE_PROGRAMS.items():
        for name in names:
            _link(programs / name, build.context / place / name)
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
            _link(programs / name, context / name)
        inner = Build(build.recipe, build.reference, build.base, context)
        for name, reference in references.items():
            inner.containerfile("--target", name, reference=reference)
    engine = host.engine()
    many = ["--multi-image-archive"] if engine.name == "podman" else []
    engine.run("save", *_archive_format(), *many, "--output", str(bundle), *references.values())
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


def _cassandra(name: str) -> Recipe:
    """Cassandra in the layout of the well-known image, from the jars of that name."""

    def build(build: Build) -> None:
        found = jars.ensure(name)
        for jar in store.files(found):
            _link(jar, build.context / "lib" / jar.name)
        build.containerfile()

    version = jars.version(name, "cassandra-all")
    return Recipe(
        name,
        version,
        base="jre",
        directory="cassandra",
        upstream=lambda: f"docker.io/library/cassandra:{version}",
        inputs=lambda: (jars.RECIPES_DIRECTORY / name,),
        build=build,
    )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("debian", "trixie", upstream=lambda: "docker.io/library/debian:trixie-slim", build=_debian),
        # The last Debian whose systemd boots on cgroup v1.
        Recipe("node-debian", "bookworm", upstream=lambda: "docker.io/library/debian:bookworm-slim", build=_debian),
        Recipe(
            "node",
            kubernetes_version(),
            base="node-debian",
            upstream=_kind_node_image,
            inputs=_node_inputs,
            build=_node,
        ),
        Recipe("base", "trixie", base="debian"),
        Recipe("ceph", "v18.2", base="base", upstream=lambda: CEPH_IMAGE),
        Recipe("debian-sid", "sid", upstream=lambda: "docker.io/library/debian:sid-slim", build=_debian),
        Recipe("base-sid", "sid", base="debian-sid", directory="base"),
        Recipe(
            "ceph-20",
            "v20.2",
            base="base-sid",
            directory="ceph",
            upstream=lambda: NEWEST_CEPH_IMAGE,
            # Missing among the dependencies of Debian's package.
            build=lambda build: build.containerfile("--build-arg", "EXTRA=libqatzip3"),
        ),
        # The last Debian with the newest Java that Cassandra 4.1 runs on.
        Recipe("jre", "17", base="node-debian"),
        _cassandra("cassandra-41"),
        _cassandra("cassandra-50"),
        Recipe("postgres", "17", base="debian", upstream=lambda: "docker.io/library/postgres:17"),
        Recipe("minio", "2026", inputs=_minio_inputs, build=_minio),
        Recipe(
            "operator",
            "dev",
            base="base",
            inputs=lambda: (*_python_inputs("requirements.txt"), jars.RECIPES_DIRECTORY / "agents"),
            build=_operator,
        ),
        Recipe("agent-base", "trixie", base="base"),
        Recipe(
            "agent",
            "dev",
            base="agent-base",
            inputs=partial(_python_inputs, "requirements-agent.txt"),
            build=partial(_python, requirements="requirements-agent.txt"),
        ),
    )
}
"""How to get each image, by name."""
