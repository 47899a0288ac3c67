"""Measures what the operator costs by the size of a cluster: `python -m bench.scale`.

Each size is measured in a process of its own. Results go to bench/results-scale.json, and as a table and a picture into
docs/performance.md.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.runtime import programs
from bench.scale.measure import Row

RESULTS = programs.CHECKOUT / "bench" / "results-scale.json"
PICTURE = programs.CHECKOUT / "docs" / "performance-scale.png"
PAGE = programs.CHECKOUT / "docs" / "performance.md"
BEGIN, END = "<!-- measured by `make bench-scale`: begin -->", "<!-- measured by `make bench-scale`: end -->"

SIZES = (100, 1000, 5000)
DEADLINE = 480.0
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
    rows: tuple[Row, ...]


def main() -> None:
    """Measures, and writes what was found for programs and for people."""
    parser = argparse.ArgumentParser(prog="bench.scale", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="OSDS", help="numbers of OSDs")
    parser.add_argument("--only-print", action="store_true", help="write no files")
    arguments = parser.parse_args()
    rows = tuple(measured(osds) for osds in arguments.sizes)
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    results = Results(at=datetime.now(UTC).strftime("%Y-%m-%d"), machine=machine, rows=rows)
    print(table(results))
    if arguments.only_print:
        return
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    command = [programs.PYTHON, "-m", "bench.scale.plot", str(RESULTS), str(PICTURE)]
    subprocess.run(command, check=True, cwd=programs.CHECKOUT, env=programs.environment())
    PAGE.write_text(with_table(PAGE.read_text(), results))


def measured(osds: int) -> Row:
    """What a process of its own measured of one size."""
    print(f"{osds} OSDs", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "bench.scale.measure", str(osds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=DEADLINE, cwd=programs.CHECKOUT)
    return msgspec.json.decode(done.stdout, type=Row)


def table(results: Results) -> str:
    """The results for people: a row for each measure, a column for each size."""
    head = ["", *(f"{row.osds:,} OSDs" for row in results.rows)]
    lines = [head, ["---"] * len(head)]
    for name, title in COLUMNS:
        lines.append([title, *(f"{getattr(row, name):g}" for row in results.rows)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def with_table(page: str, results: Results) -> str:
    """The page with the new table in place of the one that it has.

    Raises:
        ValueError: The page has no place for it.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has no place for the table: expected {BEGIN} and {END}")
    picture = f"![Cost by the number of OSDs]({Path(PICTURE).name})"
    said = f"Measured {results.at} on {results.machine}."
    return f"{before}{BEGIN}\n\n{said}\n\n{table(results)}\n\n{picture}\n\n{END}{after}"


if __name__ == "__main__":
    main()
