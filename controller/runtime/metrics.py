"""Metrics: what the parts of the runtime have counted, under the names that dashboards and alerts know.

Nothing is counted here. Queues, controllers, clients and informers count in plain integers, and a collector reads them
when Prometheus asks. Names, labels and buckets are controller-runtime's and client-go's; the others begin with the
program's name.
Every series is there from the start with 0, so that `rate()` sees the first change.

Source: https://book.kubebuilder.io/reference/metrics-reference
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from informers.transport import REQUEST_BUCKETS, SIZE_BUCKETS
from workqueue import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from controller.runtime.apply import ApplyStats
    from controller.runtime.consistency import ConsistencyStats
    from controller.runtime.controller import Controller
    from controller.runtime.events import EventStats
    from controller.runtime.leader import Elector
    from controller.runtime.program import Program
    from informers import Client, InformerFactory

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Source(Protocol):
    """What is measured: the parts of a manager."""

    @property
    def program(self) -> Program:
        """What the program is called."""
        ...

    @property
    def controllers(self) -> Sequence[Controller]:
        """The controllers, whose queues are measured too."""
        ...

    @property
    def elector(self) -> Elector | None:
        """The leader election, if there is one."""
        ...

    @property
    def clients(self) -> Sequence[Client]:
        """The clients; requests of all are added up."""
        ...

    @property
    def informers(self) -> InformerFactory:
        """The caches."""
        ...

    @property
    def apply_stats(self) -> ApplyStats:
        """Server-side apply."""
        ...

    @property
    def event_stats(self) -> EventStats:
        """The event recorder."""
        ...

    @property
    def consistency_stats(self) -> ConsistencyStats:
        """Waits for the caches."""
        ...

    @property
    def loop_lag(self) -> float:
        """The longest delay of the event loop in the last seconds, in seconds."""
        ...


def new_registry(source: Source) -> CollectorRegistry:
    """A registry with the metrics of `source`, of the process, and of Python."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RuntimeCollector(source))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class RuntimeCollector(Collector):
    """Reads what `source`'s parts have counted."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are now."""
        source = self._source
        yield from _queues(source.controllers)
        yield from _controllers(source.controllers)
        yield from _clients(source.clients, source.program.prefix)
        if source.elector is not None:
            yield from _election(source.elector)
        yield _histogram(
            "controller_runtime_client_consistency_wait_duration_seconds",
            "Seconds from the end of reconciles until the caches had seen what they wrote, if not at once",
            ("operation", "result"),
            {("reconcile", "success"): source.consistency_stats.waits},
        )
        yield from _caches(source.informers, source.program)
        yield from _own(source)


def _queues(controllers: Sequence[Controller]) -> Iterator[Metric]:
    labels = ("name", "controller")
    depth = GaugeMetricFamily("workqueue_depth", "Current depth of workqueue by priority", labels=(*labels, "priority"))
    adds = CounterMetricFamily("workqueue_adds_total", "Total number of adds handled by workqueue", labels=labels)
    retries = CounterMetricFamily("workqueue_retries_total", "Total number of retries in workqueue", labels=labels)
    unfinished = GaugeMetricFamily(
        "workqueue_unfinished_work_seconds",
        "Seconds of work that is in progress and not yet observed by work_duration, summed",
        labels=labels,
    )
    longest = GaugeMetricFamily(
        "workqueue_longest_running_processor_seconds",
        "Seconds that the longest running processor has been running",
        labels=labels,
    )
    for controller in controllers:
        queue, names = controller.queue, (controller.name, controller.name)
        for priority, count in ({0: 0} | queue.depths()).items():
            depth.add_metric((*names, str(priority)), count)
        adds.add_metric(names, queue.stats.adds)
        retries.add_metric(names, queue.stats.retries)
        running = queue.processing().values()
        unfinished.add_metric(names, sum(running))
        longest.add_metric(names, max(running, default=0.0))
    yield from (depth, adds, retries, unfinished, longest)
    yield _histogram(
        "workqueue_queue_duration_seconds",
        "Seconds that an item stays in workqueue before being requested",
        labels,
        {(c.name, c.name): c.queue.stats.queue_duration for c in controllers},
    )
    yield _histogram(
        "workqueue_work_duration_seconds",
        "Seconds that processing an item from workqueue takes",
        labels,
        {(c.name, c.name): c.queue.stats.work_duration for c in controllers},
    )


def _controllers(controllers: Sequence[Controller]) -> Iterator[Metric]:
    prefix = "controller_runtime"
    total = CounterMetricFamily(
        f"{prefix}_reconcile_total", "Total number of reconciliations per controller", labels=("controller", "result")
    )
    for c in controllers:
        total.add_metric((c.name, "success"), c.stats.success)
        total.add_metric((c.name, "error"), c.stats.error)
        total.add_metric((c.name, "requeue"), c.stats.stale)
        total.add_metric((c.name, "requeue_after"), c.stats.requeue_after)
    yield total
    for name, help_, counts in (
        ("reconcile_errors", "Total number of reconciliation errors", {c.name: c.stats.error for c in controllers}),
        ("terminal_reconcile_errors", "Errors that are not retried", {c.name: c.stats.terminal for c in controllers}),
        ("reconcile_panics", "Errors of the program itself", {c.name: c.stats.panics for c in controllers}),
        ("reconcile_timeouts", "Reconciliations cut off", {c.name: c.stats.timeouts for c in controllers}),
    ):
        yield _counter(f"{prefix}_{name}_total", help_, ("controller",), {(k,): v for k, v in counts.items()})
    for name, help_, values in (
        ("max_concurrent_reconciles", "Number of workers", {c.name: c.workers for c in controllers}),
        ("active_workers", "Number of workers that reconcile now", {c.name: c.stats.active for c in controllers}),
    ):
        yield _gauge(f"{prefix}_{name}", help_, ("controller",), {(k,): v for k, v in values.items()})
    yield _histogram(
        f"{prefix}_reconcile_time_seconds",
        "Seconds per reconciliation",
        ("controller",),
        {(c.name,): c.stats.reconcile_time for c in controllers},
    )


def _clients(clients: Sequence[Client], prefix: str) -> Iterator[Metric]:
    host = next((urlsplit(client.host).netloc for client in clients if client.host), "")
    requests: dict[tuple[str, ...], float] = {("200", method, host): 0 for method in METHODS}
    retries: dict[tuple[str, ...], float] = {("429", method, host): 0 for method in METHODS}
    for client in clients:
        for (code, method), count in client.stats.requests.items():
            requests[code, method, host] = requests.get((code, method, host), 0) + count
        for (code, method), count in client.stats.retries.items():
            retries[code, method, host] = retries.get((code, method, host), 0) + count
    yield _counter(
        "rest_client_requests_total",
        "Number of HTTP requests, partitioned by status code, method, and host",
        ("code", "method", "host"),
        requests,
    )
    yield _counter(
        "rest_client_request_retries_total",
        "Number of request retries, partitioned by status code, verb, and host",
        ("code", "verb", "host"),
        retries,
    )
    for name, help_, buckets, parts in (
        (
            "request_duration_seconds",
            "Request latency in seconds",
            REQUEST_BUCKETS,
            [c.stats.durations for c in clients],
        ),
        ("request_size_bytes", "Request size in bytes", SIZE_BUCKETS, [c.stats.request_sizes for c in clients]),
        ("response_size_bytes", "Response size in bytes", SIZE_BUCKETS, [c.stats.response_sizes for c in clients]),
    ):
        totals: dict[tuple[str, ...], Histogram] = {(method, host): Histogram(buckets) for method in METHODS}
        for part in parts:
            for method, histogram in part.items():
                _add(totals.setdefault((method, host), Histogram(buckets)), histogram)
        yield _histogram(f"rest_client_{name}", f"{help_}, by verb and host", ("verb", "host"), totals)
    reads: dict[tuple[str, ...], float] = {
        (result,): sum(c.transport.credential_reads.get(result, 0) for c in clients) for result in ("success", "error")
    }
    received, sent = (sum(c.stats.received for c in clients), sum(c.stats.sent for c in clients))
    help_ = "Reads of configuration and credentials"
    yield _counter(f"{prefix}_client_credential_reads_total", help_, ("result",), reads)
    yield _counter(f"{prefix}_client_received_bytes_total", "Bytes read", (), {(): received})
    yield _counter(f"{prefix}_client_sent_bytes_total", "Bytes of bodies sent", (), {(): sent})


def _election(elector: Elector) -> Iterator[Metric]:
    name = (elector.election.name,)
    yield _gauge(
        "leader_election_master_status",
        "Whether this process holds the lease: 1 the leader, 0 a standby",
        ("name",),
        {name: int(elector.leading)},
    )
    yield _counter(
        "leader_election_slowpath_total",
        "Renewals that had to read the lease first",
        ("name",),
        {name: elector.slow_path},
    )


def _caches(factory: InformerFactory, program: Program) -> Iterator[Metric]:
    yield from _followed(factory, program)
    labels = ("resource",)
    gauges: dict[str, dict[tuple[str, ...], float]] = {"objects": {}, "bytes": {}, "synced": {}, "troubled": {}}
    of_cache = ("events", "lists", "tombstones", "write_throughs", "handler_errors", "undecodable")
    names = (*of_cache, "watches", "troubles", "stalls")
    counters: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in names}
    for cache, watchers in factory.caches():
        key = (str(cache.resource),)
        for name, value in (
            ("objects", len(cache)),
            ("bytes", cache.size()),
            ("troubled", int(bool(cache.trouble))),
        ):
            gauges[name][key] = gauges[name].get(key, 0) + value
        gauges["synced"][key] = min(gauges["synced"].get(key, 1), int(cache.synced))
        for name in names:
            parts = [cache.stats] if hasattr(cache.stats, name) else [watcher.stats for watcher in watchers]
            counters[name][key] = counters[name].get(key, 0) + sum(getattr(part, name) for part in parts)
    for name, values in gauges.items():
        yield _gauge(f"{program.prefix}_informer_{name}", _INFORMER_HELP[name], labels, values)
    for name, values in counters.items():
        yield _counter(f"{program.prefix}_informer_{name}_total", _INFORMER_HELP[name], labels, values)


def _followed(factory: InformerFactory, program: Program) -> Iterator[Metric]:
    """How far caches have followed the API server; of several of one resource the one that is furthest behind."""
    labels = ("name", "group", "version", "resource")
    queued: dict[tuple[str, ...], float] = {}
    versions: dict[tuple[str, ...], float] = {}
    ages: dict[tuple[str, ...], float] = {}
    for cache, watchers in factory.caches():
        resource = cache.resource
        key = (program.name, resource.group, resource.version, resource.plural)
        queued[key] = max(queued.get(key, 0), cache.listeners.undelivered)
        versions[key] = min(versions.get(key, math.inf), cache.version)
        for age in (watcher.last_event_age for watcher in watchers):
            if age is not None:
                ages[str(resource),] = max(ages.get((str(resource),), 0.0), age)
    yield _gauge("informer_queued_items", "Changes that were not delivered to handlers yet", labels, queued)
    yield _gauge("informer_store_resource_version", "Resource version up to which the cache is", labels, versions)
    yield _gauge(
        f"{program.prefix}_informer_last_event_age_seconds",
        "Seconds since anything came from the API server, bookmarks included",
        ("resource",),
        ages,
    )


_INFORMER_HELP = {
    "objects": "Objects in the cache",
    "bytes": "Bytes of JSON in the cache",
    "synced": "Whether the first list is in",
    "troubled": "Whether the cache cannot be filled or followed now",
    "events": "Changes that the server sent",
    "lists": "Lists that were completed",
    "tombstones": "Deletions that only a list found",
    "write_throughs": "Own writes shown before the watch showed them",
    "handler_errors": "Handlers that raised",
    "undecodable": "Objects left out of reads since they cannot be read",
    "watches": "Watches that were opened",
    "troubles": "Interruptions of watches",
    "stalls": "Watches that were given up since nothing came",
}


def _own(source: Source) -> Iterator[Metric]:
    events, apply, prefix = source.event_stats, source.apply_stats, source.program.prefix
    yield _counter(
        f"{prefix}_events_dropped_total",
        "Occurrences that no Event tells of",
        ("reason",),
        {
            ("buffer_full",): events.dropped_buffer_full,
            ("rate_limited",): events.dropped_rate_limited,
            ("failed",): events.dropped_failed,
        },
    )
    yield _counter(f"{prefix}_events_written_total", "Writes of Events", (), {(): events.written})
    yield _counter(
        f"{prefix}_apply_total",
        "Applies, and those that were not needed since nothing differed",
        ("result",),
        {("applied",): apply.applied, ("skipped",): apply.skipped, ("pruned",): apply.pruned},
    )
    lag: dict[tuple[str, ...], float] = {(): source.loop_lag}
    yield _gauge(f"{prefix}_event_loop_lag_seconds", "Longest recent delay of the event loop", (), lag)


def _counter(name: str, help_: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = CounterMetricFamily(name, help_, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def _gauge(name: str, help_: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def _histogram(name: str, help_: str, labels: Sequence[str], values: Mapping[tuple[str, ...], Histogram]) -> Metric:
    family = HistogramMetricFamily(name, help_, labels=labels)
    for label_values, histogram in values.items():
        family.add_metric(label_values, buckets=histogram.cumulative(), sum_value=histogram.total)
    return family


def _add(total: Histogram, part: Histogram) -> None:
    total.counts = [a + b for a, b in zip(total.counts, part.counts, strict=True)]
    total.total += part.total
