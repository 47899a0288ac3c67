"""Metrics: that all of them are documented, and what those of caches and credentials show."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric

from controller.runtime import Controller, LeaderElection, Manager, Program, Request, Result
from controller.runtime.kube import POD, Pod
from controller.runtime.metrics import RuntimeCollector
from controller.testkit import now
from informers import Client, ConfigurationError
from informers.configuration import kubeconfig
from informers.entry import Change, Entry
from informers.http import HttpTransport

DOCS = Path(__file__).parents[3] / "docs/runtime.md"


class Nothing:
    async def reconcile(self, request: Request) -> Result:
        return Result()


@pytest.fixture
def manager(tmp_path: Path) -> Manager:
    def client() -> Client:
        return Client(HttpTransport(kubeconfig(str(tmp_path / "missing")), user_agent="test"))

    election = LeaderElection(namespace="ns", name="lease")
    made = Manager(
        client(),
        program=Program("rook"),
        namespaces=("a", "b"),
        identity="test",
        leader_election=election,
        lease_client=client(),
    )
    made.add(Controller("pools", Nothing()))
    return made


def collected(manager: Manager) -> dict[str, Metric]:
    return {metric.name: metric for metric in RuntimeCollector(manager).collect()}


def samples(metric: Metric, **labels: str) -> list[float]:
    return [sample.value for sample in metric.samples if labels.items() <= sample.labels.items()]


def documented() -> Iterator[tuple[str, set[str]]]:
    """The rows of the table: a metric and its labels."""
    section = DOCS.read_text(encoding="utf-8").partition("### Metrics")[2].partition("\n#")[0]
    for row in re.finditer(r"^\| `([a-z_]+)` \| ([^|]*) \| [^|]* \|$", section, re.MULTILINE):
        yield row[1], set(re.findall(r"`([a-z_]+)`", row[2]))


async def test_the_documentation_has_every_metric_with_its_labels(manager: Manager) -> None:
    there = {
        metric.name + ("_total" if metric.type == "counter" else ""): {
            label for sample in metric.samples for label in sample.labels if label != "le"
        }
        for metric in collected(manager).values()
    }
    table = dict(documented())
    assert table.keys() == there.keys()
    # What nothing has come for yet has no series, and so no labels to compare.
    assert {name: table[name] for name, labels in there.items() if labels} == {
        name: labels for name, labels in there.items() if labels
    }


async def test_caches_show_how_far_they_are(manager: Manager) -> None:
    manager.informers.informer(POD, Pod)
    cache, watchers = next(found for found in manager.informers.caches() if found[0].resource == POD)
    cache.scopes["a"].version, cache.scopes["b"].version = 90, 70
    selected = manager.informers.informer(POD, Pod, label_selector="app=osd", namespaces=("a",)).cache
    selected.scopes["a"].version = 40
    for watcher, seconds in zip(watchers, (3.0, 50.0), strict=True):
        watcher.stats.last_event = now() - seconds

    found = collected(manager)

    assert samples(found["informer_store_resource_version"], version="v1", resource="pods") == [40]
    assert samples(found["informer_queued_items"], resource="pods") == [0]
    age = found["rook_informer_last_event_age_seconds"]
    assert samples(age, resource="pods") == [pytest.approx(50.0, abs=1.0)]
    assert samples(age, resource="leases.coordination.k8s.io") == []

    queued: list[list[float]] = []

    def look(_change: Change) -> None:
        queued.append(samples(collected(manager)["informer_queued_items"], resource="pods"))

    for number in range(3):
        cache.put("a", f"pod-{number}", Entry(100 + number, b"{}"))
    cache.add_listener(look)
    assert queued[0] == [2]  # while it is told of the first


async def test_credentials_that_cannot_be_read_are_counted(manager: Manager) -> None:
    with pytest.raises(ConfigurationError):
        await manager.client.__aenter__()

    reads = collected(manager)["rook_client_credential_reads"]
    assert (samples(reads, result="error"), samples(reads, result="success")) == ([1], [0])
