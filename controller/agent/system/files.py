"""Small files: those of the kernel, and those that must outlive this process or not be there at all."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def file_name(volume: str) -> str:
    """A file name for a volume id: these are up to 128 bytes of any kind, and a socket's path is at most 107."""
    return hashlib.sha256(volume.encode()).hexdigest()[:32]


def read_attribute(path: Path) -> str:
    """What the kernel says of something in a file of sysfs; empty where it does not. Blocking."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def write_durably(path: Path, content: bytes) -> None:
    """Replaces a file in one step that outlives a crash of the machine. Makes its directory too. Blocking."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
