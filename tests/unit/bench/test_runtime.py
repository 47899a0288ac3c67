"""The runtime bench's figures: percentiles, records, the table, JSON, /proc, and what it makes of its samples."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from bench.runtime import __main__ as command
from bench.runtime import measures, programs, protocol, report, samples
from bench.runtime.measures import Sent
from bench.runtime.report import Record

STAT = "4711 (kube (x) y) S 1 4711 4711 0 -1 4194560 1 0 0 0 250 50 7 9 20 0 12 0 100 1 2 3"
STATUS = "Name:\tbench\nVmPeak:\t  999 kB\nVmHWM:\t   2000 kB\nVmRSS:\t   1000 kB\n"


def a_record(
    runtime: str = "ours",
    measure: str = "sync_s",
    objects: int = 10,
    median: float = 2.0,
    machine: str = "a machine",
) -> Record:
    return Record(runtime, measure, objects, median, median / 2, median * 2, 3, "1.0", "2026-01-01", machine)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1000), (0.0, 1), (0.0001, 1)]
)
def test_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert report.percentile(range(1, 1001), share) == expected


def test_percentile_of_one() -> None:
    assert report.percentile([7.0], 0.999) == 7.0


def test_record_has_median_and_spread() -> None:
    found = report.record("ours", "sync_s", 10, [3.0, 1.0, 2.123456], version="1", at="today", machine="here")
    assert (found.median, found.min, found.max, found.runs) == (2.1235, 1.0, 3.0, 3)


def test_json_is_read_back_and_is_a_list_of_what_was_asked_for() -> None:
    records = [a_record(), a_record(runtime="kopf", median=3.5)]
    text = report.to_json(records)
    assert report.from_json(text) == records
    assert text.startswith("[\n")
    assert '"runtime": "kopf", "measure": "sync_s", "objects": 10, "median": 3.5, "min": 1.75, "max": 7.0' in text


def test_each_run_begins_with_another_of_the_runtimes_that_are_measured() -> None:
    runtimes = [found for found in programs.RUNTIMES if found.name in {"ours", "kube-rs", "bytes-json"}]
    sync, noop = (next(s for s in measures.stages(measures.QUICK) if s.name == name) for name in ("sync", "noop"))
    orders = [[found.name for found in command.turns(sync, runtimes, number)] for number in range(4)]
    assert [order[0] for order in orders] == ["ours", "kube-rs", "bytes-json", "ours"]
    assert {frozenset(order) for order in orders} == {frozenset({"ours", "kube-rs", "bytes-json"})}
    assert [[found.name for found in command.turns(noop, runtimes, number)] for number in (0, 1)] == [
        ["ours", "kube-rs"],
        ["kube-rs", "ours"],
    ]
    assert command.turns(noop, [found for found in runtimes if found.name == "bytes-json"], 1) == []


def test_new_records_replace_those_of_the_same_measure_alone() -> None:
    old = [a_record(), a_record(objects=50), a_record(runtime="kopf")]
    new = [a_record(median=9.0)]
    merged = report.merge(old, new, ["ours", "kopf"])
    assert [(found.key, found.median) for found in merged] == [
        (("ours", "sync_s", 10), 9.0),
        (("kopf", "sync_s", 10), 2.0),
        (("ours", "sync_s", 50), 2.0),
    ]


def test_table_has_a_row_for_each_measure_and_size_in_order_and_a_column_for_each_runtime() -> None:
    records = [
        replace(a_record(measure="rest_cpu_s"), min=2.0, max=2.0),
        a_record(objects=50_000, median=1234.5),
        a_record(),
        a_record(runtime="kopf", median=0.12345),
    ]
    assert report.table(records, ["kopf", "ours", "kube-rs"]).splitlines() == [
        "| Measure | objects | kopf | ours |",
        "| --- | ---: | ---: | ---: |",
        "| sync of Pods, s | 10 | 0.123 (0.0617 to 0.247) | 2 (1 to 4) |",
        "| sync of Pods, s | 50,000 | - | 1,234 (617 to 2,469) |",
        "| at rest, CPU s | 10 | - | 2 |",
    ]


def test_latencies_are_milliseconds_from_sending_and_from_the_answer() -> None:
    sent = {number: Sent(number * 10**9, number * 10**9 + 4_000_000) for number in range(1, 101)}
    seen = {number: at.sent + 3_000_000 for number, at in sent.items() if number != 50}
    figures = measures.latencies("latency", sent, seen)
    assert figures["latency_p50_ms"] == pytest.approx(3)
    assert figures["latency_return_p999_ms"] == pytest.approx(-1)
    assert figures["latency_missed"] == 1
    assert set(figures) <= set(report.TITLES)
    assert set(measures.latencies("burst", sent, seen)) <= set(report.TITLES)


def test_writes_of_which_none_was_seen_have_no_latency() -> None:
    assert measures.latencies("burst", {1: Sent(1, 2)}, {}) == {"burst_missed": 1}


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/api/v1/pods?resourceVersion=0", True),
        ("/api/v1/pods?watch=true&sendInitialEvents=true&resourceVersion=7", True),
        ("/api/v1/pods?watch=true&resourceVersion=7&sendInitialEvents=false", False),
        ("/api/v1/pods?allowWatchBookmarks=True&watch=True", False),
    ],
)
def test_which_requests_read_all_anew(uri: str, expected: bool) -> None:
    assert measures.reads_all(uri) is expected


def test_processor_time_of_a_process_whose_name_has_spaces_and_brackets() -> None:
    assert protocol.cpu_seconds(STAT) == pytest.approx(300 / protocol.TICKS_PER_SECOND)


def test_memory_of_a_process() -> None:
    assert protocol.memory(STATUS, "VmRSS") == pytest.approx(1.024)
    assert protocol.memory(STATUS, "VmHWM") == pytest.approx(2.048)
    with pytest.raises(ValueError, match="no VmSwap"):
        protocol.memory(STATUS, "VmSwap")


@pytest.mark.parametrize("text", [samples.name, samples.namespace, samples.index, samples.node, samples.address])
def test_texts_of_two_objects_differ_in_content_alone(text: object) -> None:
    assert callable(text)
    assert len({len(text(number)) for number in range(0, 50_000, 7)}) == 1


def test_names_are_unique() -> None:
    assert len({(samples.namespace(n), samples.name(n)) for n in range(50_000)}) == 50_000


def test_stages_never_need_fewer_objects_than_those_before() -> None:
    stages = measures.stages(measures.FULL)
    for earlier, later in pairwise(stages):
        assert earlier.pods <= later.pods
        assert earlier.widgets <= later.widgets
    assert {stage.name for stage in stages} == {
        *("startup", "patch", "sync", "sync-custom", "noop", "children", "latency", "burst", "recover", "rest")
    }


def test_what_is_compared_is_of_one_machine() -> None:
    old = [a_record(machine="slow, load 1.0"), a_record(runtime="kopf", machine="slow, load 0.1")]
    other = a_record(measure="noop_per_s", machine="slow, load 0.2")
    new = a_record(machine="fast, load 0.3")
    merged = report.merge([*old, other], [new], ["ours", "kopf"])
    assert merged == [new, other]
    assert report.table(merged, ["ours", "kopf"]).splitlines() == [
        "| Measure | objects | ours | machine |",
        "| --- | ---: | ---: | ---: |",
        "| sync of Pods, s | 10 | 2 (1 to 4) | 1 |",
        "| no-op reconciles per s | 10 | 2 (1 to 4) | 2 |",
    ]
    assert report.places(merged) == ["fast", "slow"]
    same = a_record(machine="slow, load 3.0", median=3.0)
    assert report.merge(old, [same], ["ours", "kopf"]) == [same, old[1]]


def test_crates_are_pinned_without_their_registry_and_get_it_back() -> None:
    fresh = '[[package]]\nname = "a"\nversion = "2"\nsource = "registry+somewhere"\nchecksum = "22"\n'
    pinned = '[[package]]\nname = "a"\nversion = "1"\nchecksum = "11"\n\n[[package]]\nname = "us"\nversion = "0"\n'
    assert programs.with_source(fresh, pinned) == (
        '[[package]]\nname = "a"\nversion = "1"\nsource = "registry+somewhere"\nchecksum = "11"\n\n'
        '[[package]]\nname = "us"\nversion = "0"\n'
    )


def test_every_runtime_has_a_pinned_version() -> None:
    versions = {runtime.name: runtime.version() for runtime in programs.RUNTIMES}
    assert all(versions.values())
    assert versions["controller-runtime"] == versions["controller-runtime-unstructured"]
    assert versions["kube-rs"].count(".") == versions["kopf"].count(".") == 2


def test_results_of_a_part_join_those_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, readme, results = tmp_path / "page.md", tmp_path / "readme.md", tmp_path / "results.json"
    for file in (page, readme):
        file.write_text(f"before\n{command.BEGIN}\nold\n{command.END}\nafter\n")
    results.write_text(report.to_json([a_record(median=8.0), a_record(runtime="kopf")]))
    drawn: list[list[str]] = []
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setattr(command, "README", readme)
    monkeypatch.setattr(command, "RESULTS", results)
    monkeypatch.setattr(command, "draw", lambda: drawn.append([]))
    command.publish([a_record(median=2.0)])
    for file, row in ((page, "| 2 (1 to 4) | 2 (1 to 4) |"), (readme, "| 2 | 2 |")):
        written = file.read_text()
        assert written.startswith("before\n")
        assert written.endswith("\nafter\n")
        assert "old" not in written
        assert f"| sync of Pods, s | 10 {row}" in written
    assert [found.median for found in report.from_json(results.read_text())] == [2.0, 2.0]
    assert len(drawn) == 1
