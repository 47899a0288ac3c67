"""The picture of the results: `python -m bench.runtime.plot RESULTS PNG`, with the packages of the bench."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from bench.runtime.report import MAIN, TITLES, Record, from_json, number, places

COLUMNS = 3
OURS, OTHERS = "#1b7f79", "#b8c4cc"


def draw(records: list[Record], file: Path) -> None:
    """A panel for each of the main measures, by the largest number of objects, with the spread of the runs."""
    mpl.use("agg")
    shown = [name for name in MAIN if any(found.measure == name for found in records)]
    rows = -(-len(shown) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(13, 2.7 * rows), squeeze=False, layout="constrained")
    for panel in axes.flat[len(shown) :]:
        panel.set_visible(False)
    for panel, measure in zip(axes.flat, shown, strict=False):
        objects = max(found.objects for found in records if found.measure == measure)
        bars = [found for found in records if (found.measure, found.objects) == (measure, objects)]
        bars.reverse()
        names, medians = [bar.runtime.replace("-unst", "\nunst") for bar in bars], [bar.median for bar in bars]
        spread = [[bar.median - bar.min for bar in bars], [bar.max - bar.median for bar in bars]]
        colours = [OURS if bar.runtime == "ours" else OTHERS for bar in bars]
        panel.barh(names, medians, xerr=spread, color=colours, ecolor="#555555", capsize=2)
        for position, bar in enumerate(bars):
            panel.annotate(f" {number(bar.median)}", (bar.max, position), va="center", size=8)
        panel.set_title(f"{TITLES[measure]} ({objects:,} objects)", size=9)
        panel.tick_params(labelsize=8)
        panel.locator_params(axis="x", nbins=5)
        panel.set_xlim(right=1.2 * max(bar.max for bar in bars) or 1)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{max(found.at for found in records)}, {'; '.join(places(records))}", size=9)
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    draw(from_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
