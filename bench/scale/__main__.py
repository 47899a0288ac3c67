"""Measures what the operator costs by the size of a cluster, and by the number of claims: `python -m bench.scale`.

Each size is measured in a process of its own. Results go to bench/results-scale.json, and as tables and a picture into
docs/performance.md.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.runtime import programs
from bench.scale.measure import Row
from bench.scale.volumes import VolumeRow

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = programs.CHECKOUT / "bench" / "results-scale.json"
PICTURE = programs.CHECKOUT / "docs" / "performance-scale.png"
PAGE = programs.CHECKOUT / "docs" / "performance.md"
BEGIN, END = "<!-- measured by `make bench-scale`: begin -->", "<!-- measured by `make bench-scale`: end -->"
BEGIN_VOLUMES, END_VOLUMES = (
    "<!-- volumes, measured by `make bench-scale`: begin -->",
    "<!-- volumes, measured by `make bench-scale`: end -->",
)

SIZES = (100, 1000, 5000)
CLAIMS = (250, 500, 1000, 2000)
PARTS = ("osds", "volumes")
DEADLINE = 900.0
"""Seconds for one size."""

COLUMNS: tuple[tuple[str, str], ...] = (
    ("look_cpu", "a look at rest, CPU s"),
    ("look_stretch", "longest stretch, ms"),
    ("event_cpu", "one pod event, CPU s"),
    ("event_stretch", "longest stretch, ms"),
    ("event_commands", "commands to Ceph"),
    ("image_cpu", "an image change, CPU s"),
    ("image_stretch", "longest stretch, ms"),
    ("rss", "memory, MiB"),
    ("status", "status, KiB"),
    ("commands", "commands/min at rest"),
    ("rest_cpu", "CPU s/min at rest"),
)


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What one run measured, and where."""

    at: str
    machine: str
    rows: tuple[Row, ...] = ()
    volumes_at: str = ""
    volumes_machine: str = ""
    volumes: tuple[VolumeRow, ...] = ()


def main() -> None:
    """Measures, and writes what was found for programs and for people."""
    parser = argparse.ArgumentParser(prog="bench.scale", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="OSDS", help="numbers of OSDs")
    parser.add_argument(
        "--claims", type=int, nargs="+", default=CLAIMS, metavar="N", help="numbers of claims of a sort"
    )
    parser.add_argument("--only", choices=PARTS, help="measure this alone; the other figures stay as they are")
    parser.add_argument("--only-print", action="store_true", help="write no files")
    arguments = parser.parse_args()
    parts = (arguments.only,) if arguments.only else PARTS
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    results = msgspec.json.decode(RESULTS.read_bytes(), type=Results)
    if "osds" in parts:
        rows = tuple(measured("measure", f"{osds} OSDs", osds, Row) for osds in arguments.sizes)
        results = msgspec.structs.replace(results, at=today, machine=machine, rows=rows)
        print(table(results))
    if "volumes" in parts:
        volumes = tuple(measured("volumes", f"{n} claims of a sort", n, VolumeRow) for n in arguments.claims)
        results = msgspec.structs.replace(results, volumes_at=today, volumes_machine=machine, volumes=volumes)
        print(volume_table(results))
    if arguments.only_print:
        return
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    if "osds" in parts:
        command = [programs.PYTHON, "-m", "bench.scale.plot", str(RESULTS), str(PICTURE)]
        subprocess.run(command, check=True, cwd=programs.CHECKOUT, env=programs.environment())
    PAGE.write_text(with_tables(PAGE.read_text(), results))


def measured[T](module: str, what: str, size: int, row: type[T]) -> T:
    """What a process of its own measured of one size."""
    print(what, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"bench.scale.{module}", str(size)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=DEADLINE, cwd=programs.CHECKOUT)
    return msgspec.json.decode(done.stdout, type=row)


def table(results: Results) -> str:
    """The results for people: a row for each measure, a column for each size."""
    head = ["", *(f"{row.osds:,} OSDs" for row in results.rows)]
    lines = [head, ["---"] * len(head)]
    for name, title in COLUMNS:
        lines.append([title, *(f"{getattr(row, name):g}" for row in results.rows)])
    return _markdown(lines)


def volume_table(results: Results) -> str:
    """What claims cost, for people: a row for each sort, and a column of CPU for each number."""
    numbers = [f"{row.claims:,}" for row in results.volumes]
    most = numbers[-1]
    lines = [
        ["CPU ms for each, by their number", *numbers, f"longest stretch of {most}, ms", "calls to Ceph", "writes"]
    ]
    lines.append(["---"] * len(lines[0]))
    for costs in zip(*(row.costs for row in results.volumes), strict=True):
        last = costs[-1]
        figures = (f"{figure:g}" for figure in (last.stretch, last.calls, last.writes))
        lines.append([last.name, *(f"{cost.cpu:.1f}" for cost in costs), *figures])
    return _markdown(lines)


def with_tables(page: str, results: Results) -> str:
    """The page with the new tables in place of those that it has.

    Raises:
        ValueError: The page has no place for them.
    """
    picture = f"![Cost by the number of OSDs]({Path(PICTURE).name})"
    said = f"Measured {results.at} on {results.machine}."
    page = _replaced(page, BEGIN, END, f"{said}\n\n{table(results)}\n\n{picture}")
    if not results.volumes:
        return page
    said = f"Measured {results.volumes_at} on {results.volumes_machine}."
    return _replaced(page, BEGIN_VOLUMES, END_VOLUMES, f"{said}\n\n{volume_table(results)}")


def _replaced(page: str, begin: str, end: str, content: str) -> str:
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{PAGE} has no place for the table: expected {begin} and {end}")
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    main()
