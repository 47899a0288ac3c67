"""What becomes of the figures of several runs: records, and the table of them that a person reads."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


LOAD = ", load "
"""Between the machine and its load in a record."""


@dataclass(frozen=True)
class Record:
    """One measure of one runtime over several runs. Names end with the unit: s, mb, us, ms, per_s."""

    runtime: str
    measure: str
    objects: int
    median: float
    min: float
    max: float
    runs: int
    version: str
    """Of the runtime."""
    at: str
    """The day."""
    machine: str

    @property
    def key(self) -> tuple[str, str, int]:
        """What a newer record replaces."""
        return self.runtime, self.measure, self.objects

    @property
    def row(self) -> tuple[str, int]:
        """What is compared with it."""
        return self.measure, self.objects

    @property
    def place(self) -> str:
        """The machine without its load, which differs from part to part."""
        return self.machine.partition(LOAD)[0]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values do not exceed. There must be one at least."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def record(
    runtime: str, measure: str, objects: int, values: Sequence[float], *, version: str, at: str, machine: str
) -> Record:
    """The record of one measure's values, one for each run."""
    middle, low, high = (round(value, 4) for value in (statistics.median(values), min(values), max(values)))
    return Record(runtime, measure, objects, middle, low, high, len(values), version, at, machine)


def merge(old: Iterable[Record], new: Iterable[Record], runtimes: Sequence[str]) -> list[Record]:
    """All records, of the same measure the new one, in the order of the table.

    What is compared must be of one machine: a new record takes the place of all of its row from other machines.
    """
    order, new = list(TITLES), list(new)
    places = {found.row: found.place for found in new}
    kept = [found for found in old if places.get(found.row, found.place) == found.place]
    return sorted(
        {found.key: found for found in (*kept, *new)}.values(),
        key=lambda found: (order.index(found.measure), found.objects, runtimes.index(found.runtime)),
    )


def to_json(records: Iterable[Record]) -> str:
    """Records as JSON, one to a line."""
    return "[\n" + ",\n".join(f"  {json.dumps(asdict(found))}" for found in records) + "\n]\n"


def from_json(text: str) -> list[Record]:
    """The records in such JSON."""
    return [Record(**found) for found in json.loads(text)]


TITLES = {
    "startup_s": "start-up, s",
    "startup_cpu_s": "start-up, CPU s",
    "startup_rss_mb": "start-up, MB",
    "sync_s": "sync of Pods, s",
    "sync_cpu_s": "sync of Pods, CPU s",
    "peak_rss_mb": "Pods, peak MB",
    "steady_rss_mb": "Pods, steady MB",
    "custom_sync_s": "sync of custom resources, s",
    "custom_sync_cpu_s": "sync of custom resources, CPU s",
    "custom_peak_rss_mb": "custom resources, peak MB",
    "custom_steady_rss_mb": "custom resources, steady MB",
    "first_pass_s": "start to all reconciled, s",
    "noop_per_s": "no-op reconciles per s",
    "noop_cpu_us": "no-op reconcile, CPU µs",
    "children_per_s": "reconciles that read 100 objects per s",
    "children_cpu_us": "reconcile that reads 100 objects, CPU µs",
    "patch_1_per_s": "status writes per s, 1 worker",
    "patch_4_per_s": "status writes per s, 4 workers",
    "patch_per_s": "status writes per s, 16 workers",
    "patch_cpu_s": "status writes by 16 workers, CPU s",
    "latency_p50_ms": "latency at a steady rate, p50 ms",
    "latency_p99_ms": "latency at a steady rate, p99 ms",
    "latency_p999_ms": "latency at a steady rate, p99.9 ms",
    "latency_return_p50_ms": "… after the write returned, p50 ms",
    "latency_return_p99_ms": "… after the write returned, p99 ms",
    "latency_return_p999_ms": "… after the write returned, p99.9 ms",
    "latency_missed": "… writes that no reconcile saw",
    "latency_cpu_s": "… CPU s",
    "burst_p50_ms": "latency in a burst, p50 ms",
    "burst_p99_ms": "latency in a burst, p99 ms",
    "burst_p999_ms": "latency in a burst, p99.9 ms",
    "burst_return_p50_ms": "… after the write returned, p50 ms",
    "burst_return_p99_ms": "… after the write returned, p99 ms",
    "burst_return_p999_ms": "… after the write returned, p99.9 ms",
    "burst_missed": "… writes that no reconcile saw",
    "recover_s": "API server ready again to first reconcile, s",
    "recover_missed": "… earlier changes that were never reconciled",
    "recover_lists": "… times that all was read anew",
    "recover_cpu_s": "… CPU s",
    "rest_cpu_s": "at rest, CPU s",
    "rest_rss_mb": "at rest, MB",
}
"""What the table says for each measure, in its order."""


MAIN = (
    "sync_s",
    "sync_cpu_s",
    "peak_rss_mb",
    "custom_sync_s",
    "noop_per_s",
    "children_per_s",
    "patch_per_s",
    "latency_p50_ms",
    "latency_p99_ms",
    "burst_p99_ms",
    "recover_s",
    "rest_cpu_s",
)
"""The measures that tell most."""


def places(records: Iterable[Record]) -> list[str]:
    """The machines that records are of, in the order of their numbers in the table."""
    return sorted({found.place for found in records})


def table(records: Iterable[Record], runtimes: Sequence[str], *, spread: bool = True) -> str:
    """Records as Markdown: a row for each measure and number of objects, a column for each runtime.

    With several machines there is one more column: the machine's number among `places`.

    Args:
        records: What to show.
        runtimes: In the order of the columns; those without a record are left out.
        spread: Whether to show the least and the most beside the median.
    """
    by_key = {found.key: found for found in records}
    present = [name for name in runtimes if any(runtime == name for runtime, _, _ in by_key)]
    machines = places(by_key.values())
    numbers = {found.row: machines.index(found.place) + 1 for found in by_key.values()}
    rows = sorted(numbers, key=lambda row: (list(TITLES).index(row[0]), row[1]))
    columns = [*present, *(["machine"] if len(machines) > 1 else [])]
    lines = ["| Measure | objects | " + " | ".join(columns) + " |", "| --- | ---: |" + " ---: |" * len(columns)]
    for measure, objects in rows:
        cells = [_cell(by_key.get((runtime, measure, objects)), spread=spread) for runtime in present]
        if len(machines) > 1:
            cells.append(str(numbers[measure, objects]))
        lines.append(f"| {TITLES[measure]} | {objects:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(found: Record | None, *, spread: bool) -> str:
    if found is None:
        return "-"
    if found.min == found.max or not spread:
        return number(found.median)
    return f"{number(found.median)} ({number(found.min)} to {number(found.max)})"


def number(value: float) -> str:
    """Three significant digits, and whole numbers from 100 on."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
