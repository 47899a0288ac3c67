"""The Java programs that the environment needs, as Maven has them.

Each directory below `jars/` is a recipe: a Maven project whose dependencies, and all that these need, are wanted, and
the SHA-256 of every jar of them. They come through whatever repository the machine is set up for.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from e2e import cache as store
from e2e import host
from e2e.progress import step

RECIPES_DIRECTORY = Path(__file__).parent / "jars"
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
SUMS = "SHA256SUMS"
FETCH_SECONDS = 900
_ELSEWHERE = re.compile(r"-(osx|windows)-[^-]+\.jar$|-linux-riscv64\.jar$")
"""Jars with native code for systems that no image of ours is for."""


def ensure(name: str) -> Path:
    """A directory with the jars of a recipe.

    Raises:
        RuntimeError: They cannot be had, or one is not what the recipe says.
    """
    recipe = RECIPES_DIRECTORY / name
    return store.artifact(f"jars-{name}", store.digest(recipe, PLUGIN), lambda directory: _fetch(recipe, directory))


def version(name: str, artifact: str) -> str:
    """The version of an artifact that a recipe's project asks for."""
    found = re.search(
        rf"<artifactId>{re.escape(artifact)}</artifactId>\s*<version>([^<]+)<",
        (RECIPES_DIRECTORY / name / "pom.xml").read_text(),
    )
    if found is None:
        raise ValueError(f"{name}/pom.xml does not ask for {artifact}")
    return found.group(1)


def _fetch(recipe: Path, directory: Path) -> None:
    host.install("maven")
    with tempfile.TemporaryDirectory(prefix="rook-jars-") as scratch, step(f"fetch the jars of {recipe.name}"):
        command = ["mvn", "--quiet", "--batch-mode", f"--file={recipe / 'pom.xml'}", PLUGIN]
        command += [f"-DoutputDirectory={scratch}"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS)
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{(result.stdout + result.stderr).strip()[-4000:]}")
        for jar in Path(scratch).glob("*.jar"):
            if not _ELSEWHERE.search(jar.name):
                shutil.move(jar, directory / jar.name)
    check(recipe, directory)


def check(recipe: Path, directory: Path) -> None:
    """Raises `RuntimeError` unless the directory holds exactly the jars that the recipe lists."""
    lines = [line.split() for line in (recipe / SUMS).read_text().splitlines()]
    wanted = {name: digest for digest, name in lines}
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in directory.glob("*.jar")}
    if wrong := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        raise RuntimeError(f"not as {recipe.name}/{SUMS} has them: {', '.join(wrong)}")
