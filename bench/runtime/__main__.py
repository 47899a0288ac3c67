"""`python -m bench.runtime`: measure this project's runtime and its peers, side by side. `--help` says the choices."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cluster import machine
from bench.runtime import measures, programs
from bench.runtime.load import Load
from bench.runtime.protocol import PeerError
from bench.runtime.report import LOAD, MAIN, from_json, merge, places, record, table, to_json
from e2e.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.runtime.measures import Bench, Figures, Stage
    from bench.runtime.programs import Runtime
    from bench.runtime.report import Record

RESULTS = programs.CHECKOUT / "bench" / "results.json"
PICTURE = programs.CHECKOUT / "docs" / "performance-runtime.png"
PAGE = programs.CHECKOUT / "docs" / "performance-runtime.md"
README = programs.CHECKOUT / "README.md"
BEGIN, END = "<!-- measured by `make bench`: begin -->", "<!-- measured: end -->"

type Values = dict[tuple[str, str, int], list[float]]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m bench.runtime",
        description="Measures this project's controller runtime and its peers on one API server. All of it takes about"
        " three hours on a machine that does nothing else; results replace those of the same measures.",
    )
    stages = list(dict.fromkeys(stage.name for stage in measures.stages(measures.FULL)))
    names = [runtime.name for runtime in programs.RUNTIMES]
    made.add_argument("--quick", action="store_true", help="few objects, one run: shows that it works; writes nothing")
    made.add_argument("--only", nargs="+", choices=stages, default=stages, metavar="MEASURE", help=", ".join(stages))
    made.add_argument("--runtimes", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    made.add_argument("--runs", type=int, help="runs of each measure (default: 5; with --quick: 1)")
    made.add_argument("--sizes", type=int, nargs="+", help="objects of each kind (default: 10000 50000; --quick: 300)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 1 if a program failed in one of its measures."""
    arguments = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and what was started ends with it
    runtimes = available([runtime for runtime in programs.RUNTIMES if runtime.name in arguments.runtimes])
    plan = measures.QUICK if arguments.quick else measures.FULL
    if arguments.sizes:
        plan = measures.resized(plan, tuple(sorted(arguments.sizes)))
    versions = {runtime.name: runtime.version() for runtime in runtimes}
    at = datetime.now(UTC).strftime("%Y-%m-%d")
    where = f"{machine()}{LOAD}{os.getloadavg()[0]:.1f} when it began"
    records: list[Record] = []
    failures: list[str] = []
    for values in run(plan, set(arguments.only), runtimes, arguments.runs or (1 if arguments.quick else 5), failures):
        new = [
            record(name, measure, objects, found, version=versions[name], at=at, machine=where)
            for (name, measure, objects), found in values.items()
        ]
        records += new
        if not arguments.quick:
            publish(new)
    names = [runtime.name for runtime in runtimes]
    print(f"\n{at}, {where}\n{', '.join(f'{name} {version}' for name, version in versions.items())}\n")
    print(table(records, names))
    for failure in failures:
        say(f"failed: {failure}")
    return 1 if failures else 0


def available(wanted: list[Runtime]) -> list[Runtime]:
    """Those that can be built here, built."""
    found = []
    for runtime in wanted:
        if runtime.needs and shutil.which(runtime.needs) is None:
            say(f"    {runtime.name} is left out: {runtime.needs} is not on PATH")
            continue
        runtime.command()
        found.append(runtime)
    programs.packages()
    programs.compile_python()
    return found


def run(
    plan: measures.Plan, only: set[str], runtimes: list[Runtime], runs: int, failures: list[str]
) -> Iterator[Values]:
    """The values of all runs, one measure after the other. What failed is added to `failures`."""
    with (
        tempfile.TemporaryDirectory(prefix="rook-bench-", dir=measures.memory()) as scratch,
        measures.server(Path(scratch)) as server,
    ):
        bench = measures.Bench(server, Load(server), plan)
        asyncio.run(bench.load.prepare())
        for stage in measures.stages(plan):
            if stage.name not in only:
                continue
            asyncio.run(bench.load.grow("pods", stage.pods))
            asyncio.run(bench.load.grow("widgets", stage.widgets))
            values: Values = defaultdict(list)
            for number in range(runs):
                say(f"==> {stage.name}, {stage.objects:,} objects, run {number + 1} of {runs}")
                for name, figures in one_run(bench, stage, turns(stage, runtimes, number), failures).items():
                    say(f"    {name}: " + ", ".join(f"{key} {value:.4g}" for key, value in figures.items()))
                    for measure, value in figures.items():
                        values[name, measure, stage.objects].append(value)
            yield values


def turns(stage: Stage, runtimes: Sequence[Runtime], number: int) -> list[Runtime]:
    """The runtimes for which a measure makes sense, in the order of one of its runs.

    They take turns, so that they share luck, and each run begins with another of them.
    """
    measured = [runtime for runtime in runtimes if not runtime.measures or stage.name in runtime.measures]
    first = number % max(1, len(measured))
    return [*measured[first:], *measured[:first]]


def one_run(bench: Bench, stage: Stage, runtimes: list[Runtime], failures: list[str]) -> dict[str, Figures]:
    """One run of a measure: figures by runtime."""
    found: dict[str, Figures] = {}
    for group in [runtimes] if stage.together else [[runtime] for runtime in runtimes]:
        try:
            found |= stage.measure(bench, group)
        except PeerError as error:
            failures.append(f"{stage.name}: {error}")
            say(f"    {failures[-1]}")
    return found


def publish(new: list[Record]) -> None:
    """Write the results for programs and for people: the new ones, and what others there are already."""
    old = from_json(RESULTS.read_text()) if RESULTS.exists() else []
    names = [runtime.name for runtime in programs.RUNTIMES]
    records = merge(old, new, names)
    RESULTS.write_text(to_json(records))
    versions = {name: sorted({found.version for found in records if found.runtime == name}) for name in names}
    said = ", ".join(f"{name} {' and '.join(found)}" for name, found in versions.items() if found)
    when = ", ".join(sorted({found.at for found in records}))
    machines = places(records)
    where = "; ".join(f"({number}) {place}" for number, place in enumerate(machines, 1))
    if len(machines) == 1:
        where = machines[0]
    insert(PAGE, f"Measured {when} on {where}: {said}. Median (least to most) of the runs.\n\n{table(records, names)}")
    main = [found for found in records if found.measure in MAIN and not found.runtime.startswith("bytes-")]
    insert(README, f"{table(main, names, spread=False)}\n\nMedians, measured {when} on {where}.")
    draw()


def insert(page: Path, text: str) -> None:
    """Put what was measured in its place on a page."""
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def draw() -> None:
    """Make the picture of the results."""
    command = [programs.PYTHON, "-m", "bench.runtime.plot", str(RESULTS), str(PICTURE)]
    subprocess.run(command, check=True, cwd=programs.CHECKOUT, env=programs.environment())


if __name__ == "__main__":
    sys.exit(main())
