"""What a recipe of a container image is, what decides an image's content, and how one is built.

Each directory below `images/` is a recipe with a Containerfile.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e import cache as store
from e2e import host

RECIPES_DIRECTORY = Path(__file__).parent / "images"
LABEL = "io.rook.e2e"
"""Every image built here carries it, with its recipe's name as value."""
BUILD_SECONDS = 1800


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


def key(recipe: Recipe, base: str | None) -> str:
    """What decides the content of an image: the recipe, what is added to it, and the image it is built on."""
    own: list[str | Path] = [recipe.files] if recipe.files.is_dir() else []
    return store.digest(recipe.version, base or "", *own, *recipe.inputs())


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


def link(source: Path, target: Path) -> None:
    """Give a file of the cache another name, without a copy where the file system allows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copy2(source, target)


def archive_format() -> list[str]:
    """Options of the engine's `save` for an archive that containerd can import."""
    return ["--format", "docker-archive"] if host.engine().name == "podman" else []
