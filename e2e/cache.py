"""What was built once and can be used again: directories outside the checkout, keyed by what they were built from.

An artifact is a directory `<root>/artifacts/<name>/<key>`. The key is a digest of everything that decides its content
(recipe files, versions, flags), so an artifact is never stale and never changes once it is there: it is built in a
temporary directory and renamed into place. A lock between processes keeps two callers from building the same thing.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KEYS_KEPT = 3
"""How many keys of one name outlive a prune: this checkout's, another checkout's, and the one before."""


@dataclass(frozen=True)
class Entry:
    """One artifact in the cache."""

    name: str
    key: str
    path: Path
    last_used: float
    """Seconds since the epoch."""


def root() -> Path:
    """The cache's directory: `$ROOK_CACHE`, else `~/.cache/rook`."""
    return Path(os.environ.get("ROOK_CACHE") or Path.home() / ".cache" / "rook")


def digest(*parts: str | bytes | Path) -> str:
    """A key of 16 hex digits for the given parts.

    A string or bytes count as they are, a file by its content and executable bit, a directory by the relative names
    and contents of all files in it, whatever its own name is. Python's bytecode directories do not count.
    """
    total = hashlib.sha256()
    for part in parts:
        for chunk in _chunks(part):
            total.update(len(chunk).to_bytes(8))
            total.update(chunk)
    return total.hexdigest()[:16]


def _chunks(part: str | bytes | Path) -> Iterator[bytes]:
    match part:
        case str():
            yield part.encode()
        case bytes():
            yield part
        case Path() if part.is_dir():
            for file in files(part):
                yield str(file.relative_to(part)).encode()
                yield from _chunks(file)
        case Path():
            yield b"x" if os.access(part, os.X_OK) else b"-"
            yield hashlib.sha256(part.read_bytes()).digest()


def files(directory: Path) -> list[Path]:
    """All files below a directory in a stable order, without Python's bytecode."""
    return sorted(
        path
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.relative_to(directory).parts
    )


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the cache's lock of that name, waiting for another process that holds it. It is not re-entrant."""
    directory = root() / "locks"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / name).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def artifact(name: str, key: str, build: Callable[[Path], None]) -> Path:
    """The directory of the artifact, built by `build(directory)` unless it is there.

    Whatever `build` raises comes through, and leaves nothing behind in the cache.
    """
    path = location(name, key)
    if not path.is_dir():
        with lock(f"artifact-{name}"):
            if not path.is_dir():
                _publish(path, build)
                prune([name])
    os.utime(path)
    return path


def location(name: str, key: str) -> Path:
    """Where the artifact is, or will be once it is built."""
    return root() / "artifacts" / name / key


def _publish(path: Path, build: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for abandoned in path.parent.glob(".building-*"):
        shutil.rmtree(abandoned)
    temporary = Path(tempfile.mkdtemp(prefix=".building-", dir=path.parent))
    try:
        build(temporary)
        temporary.chmod(0o755)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def entries() -> list[Entry]:
    """Every artifact in the cache, by name, the last used one first."""
    found = [
        Entry(path.parent.name, path.name, path, path.stat().st_mtime)
        for path in (root() / "artifacts").glob("*/*")
        if path.is_dir() and not path.name.startswith(".")
    ]
    return sorted(found, key=lambda entry: (entry.name, -entry.last_used))


def surplus(found: Iterable[Entry], keep: int = KEYS_KEPT) -> list[Entry]:
    """The entries beyond the `keep` last used ones of each name."""
    kept: dict[str, int] = {}
    result = []
    for entry in sorted(found, key=lambda entry: -entry.last_used):
        kept[entry.name] = kept.get(entry.name, 0) + 1
        if kept[entry.name] > keep:
            result.append(entry)
    return result


def prune(names: Iterable[str] | None = None, keep: int = KEYS_KEPT) -> list[Entry]:
    """Remove the surplus artifacts of these names (default: of all) and return what was removed."""
    wanted = None if names is None else set(names)
    removed = surplus((entry for entry in entries() if wanted is None or entry.name in wanted), keep)
    for entry in removed:
        shutil.rmtree(entry.path, ignore_errors=True)
    return removed


def size(path: Path) -> int:
    """The bytes that a directory takes on disk; sparse files count for what they really hold."""
    return sum(file.lstat().st_blocks * 512 for file in path.rglob("*"))
