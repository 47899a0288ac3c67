"""Reading metrics, and the page that results are written into."""

from pathlib import Path

import pytest

from bench import cluster
from bench.latencies import Latency

METRICS = """\
# HELP rest_client_requests_total Number of HTTP requests
rest_client_requests_total{code="200",method="GET",host="x"} 7.0
rest_client_requests_total{code="404",method="GET",host="x"} 1.0
rest_client_requests_total{code="200",method="PATCH",host="x"} 2.0
rest_client_requests_total_created{code="200"} 99.0
process_resident_memory_bytes 5.24288e+07
"""


@pytest.mark.parametrize(
    ("metric", "method", "expected"),
    [
        ("rest_client_requests_total", "GET", 8),
        ("rest_client_requests_total", "PATCH", 2),
        ("rest_client_requests_total", "PUT", 0),
        ("rest_client_requests_total", "", 10),
        ("process_resident_memory_bytes", "", 50 << 20),
    ],
)
def test_total(metric: str, method: str, expected: float) -> None:
    assert cluster.total(METRICS, metric, method) == expected


def test_results_replace_the_last_ones_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{cluster.BEGIN}\nold\n{cluster.END}\nafter\n")
    monkeypatch.setattr(cluster, "PAGE", page)
    monkeypatch.setattr(cluster, "RESULTS", tmp_path / "cluster.json")
    results = cluster.Results(at="2026-01-01", machine="a machine", ready=[("CephCluster Ready", 60.0)])
    results.claims = [[("pod running", seconds)] for seconds in (3.0, 9.0, 5.0)]
    results.rest = [cluster.Rest("leader", writes=0, reads=10, renewals=150, cpu_percent=0.5, rss_mib=80)]
    cluster.write(results)
    written = page.read_text()
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert "old" not in written
    assert "| CephCluster Ready | 60.0 |" in written
    assert "| pod running | 5.0 | 3.0 | 9.0 |" in written
    assert "| leader | 0.0 | 2.0 | 30.0 | 0.50 | 80 |" in written


def test_latencies_alone_leave_the_other_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"{cluster.BEGIN}\nkept\n{cluster.END}\n{cluster.BEGIN_LATENCIES}\nold\n{cluster.END_LATENCIES}\n")
    monkeypatch.setattr(cluster, "PAGE", page)
    monkeypatch.setattr(cluster, "RESULTS", tmp_path / "cluster.json")
    results = cluster.read()
    assert results.ready == []
    results.latencies_at, results.latencies = "2026-01-01", [Latency("RBD", "claim to bound", [0.5] * 50)]
    cluster.write(results)
    assert "kept" in page.read_text()
    assert "old" not in page.read_text()
    assert "| claim to bound | 0.50 | 0.50 | - | - |" in page.read_text()
    assert cluster.read() == results
