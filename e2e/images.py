"""The container images of the environment: pulled where a registry answers, built from Debian packages where not.

Each directory below `images/` is a recipe with a Containerfile. An image's tag holds a digest of all that it is made
of, so a reference is never stale: whoever has an image of that name has the right one, on the machine as on a node.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from controller.agent.node import generate
from e2e import binaries, host, jars, node_image, previous
from e2e import cache as store
from e2e.image_recipe import (
    BUILD_SECONDS,
    LABEL,
    RECIPES_DIRECTORY,
    Build,
    Image,
    Recipe,
    archive_format,
    key,
    link,
    scratch_directory,
)
from e2e.progress import step

CHECKOUT = Path(__file__).parent.parent
REPOSITORY = "localhost/rook"
BUILDS_AT_ONCE = 2

PYTHON = "3.13"
"""The Python of Debian trixie, for which the operator's and the agent's packages are installed."""
JRE_PYTHON = "3.11"
"""The Python of Debian bookworm, on which Cassandra's images stand."""
SOURCE_PACKAGES = ("workqueue", "informers", "controller")

AGENTS = {"jolokia": "jolokia.jar", "jmx_prometheus_javaagent": "exporter.jar"}
"""What the operator's image calls the Java agents, by how the names of their jars begin."""

CEPH_IMAGE = "quay.io/ceph/ceph:v18.2.7"
"""The Ceph image used where a registry can be reached; elsewhere Debian's packages of the same version are."""
NEWEST_CEPH_IMAGE = "quay.io/ceph/ceph:v20.2.4"
"""The same for the newest release, to which the scenarios upgrade and on which they make a new cluster."""

BESIDE_CEPH = ("cephfs-mirror", "nfs-ganesha", "nfs-ganesha-ceph", "nfs-ganesha-rados-grace")
"""What upstream's image has beside Ceph's own daemons: the file system's mirror, and the NFS server."""

APT_OPTIONS = {"sid": ('Acquire::Check-Valid-Until "false"',)}
"""By suite: sid's index expires within days, and a mirror may be behind."""


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


def _build(recipe: Recipe, reference: str, base: str | None) -> None:
    with scratch_directory(recipe.name) as context:
        if recipe.files.is_dir():
            shutil.copytree(recipe.files, context, dirs_exist_ok=True)
        recipe.build(Build(recipe, reference, base, context))


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
            host.engine().run("save", *archive_format(), "--output", str(directory / "image.tar"), image.reference)

    return store.artifact(f"image-{image.name}", store.digest(image.reference, image.id), save) / "image.tar"


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


def _program(name: str) -> Recipe:
    """One Go program, and nothing else."""

    def build(build: Build) -> None:
        link(binaries.ensure(name) / name, build.context / name)
        build.containerfile()

    def inputs() -> tuple[str | Path, ...]:
        return tuple(binaries.key(recipe, name) for recipe in binaries.RECIPES if name in recipe.programs)

    return Recipe(name, "2026", inputs=inputs, build=build)


def _checkout() -> Path:
    """This checkout, with the agent's gRPC stubs: they are not in the repository, and made where they are missing."""
    with store.lock("stubs"):
        if not generate.are_there():
            generate.generate()
    return CHECKOUT


def _python(build: Build, *, requirements: str, tree: Callable[[], Path]) -> None:
    """The operator's or the agent's image: the pinned packages, then the own code of a source tree."""
    sources = tree()
    packages = _site_packages(Path(requirements).stem, sources / requirements, PYTHON)
    for file in store.files(packages):
        link(file, build.context / "site-packages" / file.relative_to(packages))
    for package in SOURCE_PACKAGES:
        for file in store.files(sources / package):
            target = build.context / "packages" / package / file.relative_to(sources / package)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
    build.containerfile()


def _operator(name: str, tree: Callable[[], Path]) -> Recipe:
    """The operator's image: also the Java agents that it gives to members of Cassandra clusters."""

    def build(build: Build) -> None:
        for jar in store.files(jars.ensure("agents")):
            link(jar, build.context / "jars" / AGENTS[jar.name.partition("-")[0]])
        _python(build, requirements="requirements.txt", tree=tree)

    def inputs() -> tuple[str | Path, ...]:
        return (*_python_inputs("requirements.txt", tree()), jars.RECIPES_DIRECTORY / "agents")

    return Recipe(name, "dev", base="base", directory="operator", inputs=inputs, build=build)


def _agent(name: str, tree: Callable[[], Path]) -> Recipe:
    """The agent's image."""
    return Recipe(
        name,
        "dev",
        base="agent-base",
        directory="agent",
        inputs=lambda: _python_inputs("requirements-agent.txt", tree()),
        build=partial(_python, requirements="requirements-agent.txt", tree=tree),
    )


def _python_inputs(requirements: str, sources: Path) -> tuple[str | Path, ...]:
    return (PYTHON, sources / requirements, *(sources / package for package in SOURCE_PACKAGES))


def _site_packages(name: str, requirements: Path, python: str) -> Path:
    """A directory with the pinned packages, wheels only, for the image's Python and not for this one."""

    def install(directory: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--require-hashes", "--no-deps"]
        command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
        result = subprocess.run(
            [*command, f"--target={directory}", f"--requirement={requirements}"], capture_output=True, text=True
        )
        if result.returncode:
            raise RuntimeError(f"the packages of {requirements} cannot be installed:\n{result.stderr.strip()[-4000:]}")
        shutil.rmtree(directory / "bin", ignore_errors=True)

    return store.artifact(f"site-packages-{name}", store.digest(python, requirements), install)


def _conformance(target: str) -> Recipe:
    """An image of pods of Kubernetes' storage suite: what its own are called is told by `e2e/conformance.py`."""

    def build(build: Build) -> None:
        link(binaries.ensure("agnhost") / "agnhost", build.context / "agnhost")
        build.containerfile("--target", target)

    def inputs() -> tuple[str | Path, ...]:
        return tuple(binaries.key(recipe, "agnhost") for recipe in binaries.RECIPES if "agnhost" in recipe.programs)

    return Recipe(f"conformance-{target}", "trixie", base="debian", directory="conformance", inputs=inputs, build=build)


def _cassandra(name: str) -> Recipe:
    """Cassandra in the layout of the well-known image, from the jars of that name, with cqlsh."""

    def build(build: Build) -> None:
        found = jars.ensure(name)
        for jar in store.files(found):
            link(jar, build.context / "lib" / jar.name)
        packages = _site_packages("cqlsh", build.recipe.files / "requirements.txt", JRE_PYTHON)
        for file in store.files(packages):
            link(file, build.context / "packages" / file.relative_to(packages))
        build.containerfile()

    version = jars.version(name, "cassandra-all")
    return Recipe(
        name,
        version,
        base="jre",
        directory="cassandra",
        upstream=lambda: f"docker.io/library/cassandra:{version}",
        inputs=lambda: (JRE_PYTHON, jars.RECIPES_DIRECTORY / name),
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
            node_image.kubernetes_version(),
            base="node-debian",
            upstream=node_image.upstream,
            inputs=node_image.inputs,
            build=node_image.build,
        ),
        Recipe("base", "trixie", base="debian"),
        Recipe(
            "ceph",
            "v18.2",
            base="base",
            upstream=lambda: CEPH_IMAGE,
            build=lambda build: build.containerfile("--build-arg", f"EXTRA={' '.join(BESIDE_CEPH)}"),
        ),
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
        _program("minio"),
        _program("snapshot-controller"),
        _conformance("shell"),
        _conformance("agnhost"),
        _operator("operator", _checkout),
        Recipe("agent-base", "trixie", base="base"),
        _agent("agent", _checkout),
        _operator("operator-previous", previous.tree),
        _agent("agent-previous", previous.tree),
    )
}
"""How to get each image, by name."""
