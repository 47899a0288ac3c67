"""The picture of the results: `python -m bench.scale.plot RESULTS PNG`, with the packages of the bench."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

PANELS: tuple[tuple[str, tuple[tuple[str, str], ...], float], ...] = (
    ("CPU seconds", (("look_cpu", "look at rest"), ("event_cpu", "pod event"), ("image_cpu", "image change")), 1.0),
    (
        "longest stretch, ms",
        (("look_stretch", "look at rest"), ("event_stretch", "pod event"), ("image_stretch", "image change")),
        50.0,
    ),
    ("memory, MiB", (("rss", "operator"),), 450.0),
    ("status, KiB", (("status", "CephCluster"),), 256.0),
)
"""Title, the measures in it, and what is not to be exceeded at 5,000 OSDs."""


def draw(results: dict[str, Any], file: Path) -> None:
    """A panel for each group of measures, by the number of OSDs."""
    mpl.use("agg")
    figure, axes = plt.subplots(1, len(PANELS), figsize=(13, 3), layout="constrained")
    rows = results["rows"]
    sizes = [row["osds"] for row in rows]
    for panel, (title, measures, most) in zip(axes, PANELS, strict=True):
        for name, label in measures:
            panel.plot(sizes, [row[name] for row in rows], marker="o", label=label)
        panel.axhline(most, color="#999999", linestyle=":", linewidth=1)
        panel.set_title(title, size=9)
        panel.set_xlabel("OSDs", size=8)
        panel.set_ylim(bottom=0)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(fontsize=7, frameon=False)
    figure.suptitle(f"{results['at']}, {results['machine']}", size=9)
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
