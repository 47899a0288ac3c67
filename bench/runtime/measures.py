"""What is measured, each on a fresh process: start-up, sync, reconciles, writes, latency, recovery, rest.

A measure gives figures by name. Seconds to an event count from the process's start; CPU seconds and memory are the
process's own; latencies are milliseconds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import time
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from bench.runtime import samples
from bench.runtime.protocol import PeerError
from bench.runtime.report import percentile
from controller.runtime.kube import NAMESPACE, POD
from e2e.apiserver import ADMIN, ApiServer
from informers import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bench.runtime.load import Load
    from bench.runtime.programs import Runtime
    from bench.runtime.protocol import Peer

type Figures = dict[str, float]

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""Answers to the bench's own writes: without the object, to take as little of the machine as possible."""
WRITERS = 32
WORKERS = (1, 4, 16)
CHILDREN = 100
"""Objects of the namespace that a reconcile reads beside its own, if there are so many."""
SYNC_DEADLINE = 900.0
SEEN_DEADLINE = 15.0
"""Seconds without news after which what was not seen counts as missed."""
RECOVER_DEADLINE = 180.0
RECOVER_INTERVAL = 0.5
"""Seconds between changes after the API server has come back."""
RECOVER_SETTLE = 5.0
LOOK_SECONDS = 0.1
DATA_BYTES = 6 << 30
"""What etcd's data may grow to, and more."""
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["ResponseStarted", "ResponseComplete", "Panic"],
    "rules": [
        {"level": "Metadata", "verbs": ["list", "watch"], "resources": [{"group": "", "resources": ["pods"]}]},
        {"level": "None"},
    ],
}


@dataclass(frozen=True)
class Plan:
    """How much is measured. Times are seconds."""

    sizes: tuple[int, ...] = (10_000, 50_000)
    """Objects of each kind, for each of which sync is measured. All else is measured with the first."""
    rest_objects: int = 50_000
    patched: int = 2_000
    passes: int = 5
    rate: int = 200
    rate_seconds: float = 60.0
    rate_objects: int = 2_000
    burst: int = 5_000
    settle: float = 2.0
    rest_settle: float = 30.0
    rest: float = 600.0


FULL = Plan()
QUICK = replace(
    FULL,
    sizes=(300,),
    rest_objects=300,
    patched=100,
    passes=2,
    rate=50,
    rate_seconds=3.0,
    rate_objects=150,
    burst=200,
    settle=1.0,
    rest_settle=1.0,
    rest=5.0,
)


def resized(plan: Plan, sizes: tuple[int, ...]) -> Plan:
    """The plan with other numbers of objects."""
    return replace(plan, sizes=sizes, rest_objects=sizes[-1], patched=min(plan.patched, sizes[0]))


@dataclass
class Bench:
    """What the measures share: the server, its objects, and the numbers of the writes so far."""

    server: ApiServer
    load: Load
    plan: Plan
    sequence: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def peer(self, runtime: Runtime, resource: str, *options: str) -> Peer:
        """A program with a lease of its own, so that it need not wait until that of a killed one is over.

        What the one before it wrote is dropped from etcd's history first; see `server`.
        """
        self.server.compact()
        lease = f"bench-{uuid.uuid4().hex[:12]}"
        count = self.load.counts[resource]
        return runtime.peer(self.server.kubeconfig, resource, count, "--lease", lease, *options)

    @contextmanager
    def reconciling(self, runtime: Runtime, *options: str) -> Iterator[Peer]:
        """A program that has reconciled every Pod once and records what it reconciles."""
        with self.peer(runtime, "pods", "--record", *options) as peer:
            peer.expect("first", SYNC_DEADLINE)
            time.sleep(self.plan.settle)
            yield peer


def memory() -> Path | None:
    """Where files are kept in memory, if there is room for the server's: a disk's pauses would be taken for latency."""
    directory = Path("/dev/shm")  # noqa: S108  # a directory of its own is made in it
    return directory if directory.exists() and shutil.disk_usage(directory).free >= DATA_BYTES else None


def server(directory: Path) -> ApiServer:
    """An API server that notes which lists and watches of Pods were asked for.

    It leaves out what it does every five minutes by itself, for that would fall to some programs and not to others:
    it does not compact etcd, and does not compare its cache with etcd, for which it would list all objects of a kind.
    """
    policy = directory / "audit-policy.json"
    policy.write_text(json.dumps(AUDIT_POLICY))
    audit = [f"--audit-policy-file={policy}", f"--audit-log-path={directory / 'audit.log'}"]
    seldom = ["--etcd-compaction-interval=0", "--feature-gates=DetectCacheInconsistency=false"]
    return ApiServer(directory, flags=[*audit, *seldom])


def startup(bench: Bench, runtime: Runtime) -> Figures:
    """From the start of the process to a synced copy of nothing."""
    with bench.peer(runtime, "pods", "--cache-only") as peer:
        seconds, _ = peer.expect("synced", SYNC_DEADLINE)
        return {"startup_s": seconds, "startup_cpu_s": peer.cpu(), "startup_rss_mb": peer.rss()}


def sync(bench: Bench, runtime: Runtime, resource: str = "pods") -> Figures:
    """From the start of the process to a synced copy."""
    with bench.peer(runtime, resource, "--cache-only") as peer:
        seconds, _ = peer.expect("synced", SYNC_DEADLINE)
        cpu = peer.cpu()
        time.sleep(bench.plan.settle)
        return {"sync_s": seconds, "sync_cpu_s": cpu, "peak_rss_mb": peer.peak(), "steady_rss_mb": peer.rss()}


def sync_custom(bench: Bench, runtime: Runtime) -> Figures:
    """The same for custom resources, whose figures have names of their own."""
    return {f"custom_{name}": value for name, value in sync(bench, runtime, "widgets").items()}


def noop(bench: Bench, runtime: Runtime) -> Figures:
    """Reconciles that read the object and find nothing to do."""
    with bench.peer(runtime, "pods") as peer:
        first, _ = peer.expect("first", SYNC_DEADLINE)
        return {"first_pass_s": first} | (_passes(bench, peer, "noop", bench.plan.passes) if runtime.passes else {})


def children(bench: Bench, runtime: Runtime) -> Figures:
    """Reconciles that read some more objects of the namespace and find nothing to do."""
    if not runtime.lists:
        return {}
    number = min(CHILDREN, bench.load.counts["pods"] // samples.NAMESPACES)
    with bench.peer(runtime, "pods", "--children", str(number)) as peer:
        peer.expect("first", SYNC_DEADLINE)
        return _passes(bench, peer, "children", 1)


def _passes(bench: Bench, peer: Peer, name: str, passes: int) -> Figures:
    """Reconciles of all Pods, so many times."""
    time.sleep(bench.plan.settle)
    cpu, seconds = peer.cpu(), 0.0
    for _ in range(passes):
        peer.send("pass")
        seconds += peer.expect("pass", SYNC_DEADLINE)[1]["seconds"]
    done = passes * bench.load.counts["pods"]
    return {f"{name}_per_s": done / seconds, f"{name}_cpu_us": (peer.cpu() - cpu) / done * 1e6}


def patch(bench: Bench, runtime: Runtime) -> Figures:
    """Reconciles that write the object's status, by how many run at the same time."""
    figures: Figures = {}
    for workers in WORKERS if runtime.limits_workers else WORKERS[-1:]:
        token = uuid.uuid4().hex
        with bench.peer(runtime, "widgets", "--workers", str(workers), "--patch", token) as peer:
            _, said = peer.expect("patched", SYNC_DEADLINE)
            name = "patch_per_s" if workers == WORKERS[-1] else f"patch_{workers}_per_s"
            figures[name] = bench.load.counts["widgets"] / said["seconds"]
            if workers == WORKERS[-1]:
                figures["patch_cpu_s"] = peer.cpu()
    return figures


def latency(bench: Bench, runtime: Runtime) -> Figures:
    """From writes at a steady rate to their reconciles."""
    plan = bench.plan
    with bench.reconciling(runtime) as peer:
        count = int(plan.rate * plan.rate_seconds)
        numbers = [n % min(plan.rate_objects, bench.load.counts["pods"]) for n in range(count)]
        cpu = peer.cpu()
        sent = uvloop.run(_write(bench, numbers, plan.rate))
        seen = _seen(peer, sent)
        return latencies("latency", sent, seen) | {"latency_cpu_s": peer.cpu() - cpu}


def burst(bench: Bench, runtime: Runtime) -> Figures:
    """From writes as fast as the server takes them, each to another object, to their reconciles."""
    with bench.reconciling(runtime) as peer:
        sent = uvloop.run(_write(bench, range(min(bench.plan.burst, bench.load.counts["pods"])), None))
        return latencies("burst", sent, _seen(peer, sent))


def recover(bench: Bench, runtime: Runtime) -> Figures:
    """The API server is killed and started again; from when it is ready to the first reconcile of a change since then.

    Changes are made one after the other, each of another object, until one is reconciled. Those that are still not
    reconciled then are counted as missed: such a change is in a list that the program read, but was not acted upon.
    """
    log = bench.server.directory / "audit.log"
    with bench.reconciling(runtime) as peer:
        cpu = peer.cpu()
        uvloop.run(_touch(bench))
        bench.server.kill()
        read = log.stat().st_size
        bench.server.start()
        ready, ends = time.time_ns(), time.monotonic() + RECOVER_DEADLINE
        sent: dict[int, Sent] = {}
        seen: dict[int, int] = {}
        while not seen:
            if time.monotonic() > ends:
                raise PeerError(f"{runtime.name}: no change was reconciled within {RECOVER_DEADLINE:g} s")
            sent |= uvloop.run(_write(bench, [len(sent) % bench.load.counts["pods"]], None))
            seen = _seen(peer, sent, RECOVER_INTERVAL)
        seen |= _seen(peer, {number: at for number, at in sent.items() if number not in seen}, RECOVER_SETTLE)
        with log.open() as lines:
            lines.seek(read)
            requests = [json.loads(line) for line in lines]
        return {
            "recover_s": (min(seen.values()) - ready) / 1e9,
            "recover_missed": len(sent) - len(seen),
            "recover_lists": sum(reads_all(found["requestURI"]) for found in requests if _by_program(found)),
            "recover_cpu_s": peer.cpu() - cpu,
        }


def _by_program(request: dict[str, Any]) -> bool:
    """The API server reads Pods too, for itself."""
    return bool(request["user"]["username"] == ADMIN)


async def _touch(bench: Bench) -> None:
    """Write something that no program watches, as in any cluster something is written all the time."""
    async with Client.connect(kubeconfig=str(bench.server.kubeconfig), user_agent="bench") as client:
        body = {"metadata": {"annotations": {samples.SEQUENCE: str(next(bench.sequence))}}}
        await client.patch(NAMESPACE, "", "default", body, content_type="application/merge-patch+json")


def reads_all(uri: str) -> bool:
    """Whether a list or watch with this URI reads the collection anew."""
    return "watch=" not in uri or "sendInitialEvents=true" in uri


def rest(bench: Bench, runtimes: Sequence[Runtime]) -> dict[str, Figures]:
    """What each takes while nothing happens; all at the same time, since they have nothing to do."""
    with ExitStack() as stack:
        peers: dict[str, Peer] = {}
        for runtime in runtimes:
            peers[runtime.name] = stack.enter_context(bench.peer(runtime, "pods"))
            peers[runtime.name].expect("first", SYNC_DEADLINE)
        time.sleep(bench.plan.rest_settle)
        before = {name: peer.cpu() for name, peer in peers.items()}
        time.sleep(bench.plan.rest)
        return {
            name: {"rest_cpu_s": peer.cpu() - before[name], "rest_rss_mb": peer.rss()} for name, peer in peers.items()
        }


@dataclass(frozen=True, slots=True)
class Sent:
    """When a write was sent and when it returned, in Unix nanoseconds."""

    sent: int
    returned: int


def latencies(name: str, sent: Mapping[int, Sent], seen: Mapping[int, int]) -> Figures:
    """Percentiles of the time from a write to its reconcile, and how many writes no reconcile has seen.

    A reconcile can come before the answer to the write, so the time from the answer may be negative.

    Args:
        name: What the figures' names begin with.
        sent: By sequence number.
        seen: When the reconcile was, in Unix nanoseconds, by sequence number.
    """
    since_sent = sorted((at - sent[number].sent) / 1e6 for number, at in seen.items())
    since_returned = sorted((at - sent[number].returned) / 1e6 for number, at in seen.items())
    figures = {f"{name}_missed": float(len(sent) - len(seen))}
    if not seen:
        return figures
    for label, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
        figures[f"{name}_{label}_ms"] = percentile(since_sent, share)
        figures[f"{name}_return_{label}_ms"] = percentile(since_returned, share)
    return figures


async def _write(bench: Bench, numbers: Sequence[int], rate: float | None) -> dict[int, Sent]:
    """Write a sequence number to each of these Pods, `rate` a second, or (None) as fast as the server takes them."""
    done: dict[int, Sent] = {}
    slots = asyncio.Semaphore(WRITERS)

    async def write(client: Client, number: int, sequence: int) -> None:
        body = {"metadata": {"annotations": {samples.SEQUENCE: str(sequence)}}}
        path = POD.path(samples.namespace(number), samples.name(number))
        async with slots:
            sent = time.time_ns()
            await client.request("PATCH", path, body=body, content_type="application/merge-patch+json", accept=METADATA)
            done[sequence] = Sent(sent, time.time_ns())

    async with Client.connect(kubeconfig=str(bench.server.kubeconfig), user_agent="bench") as client:
        began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            for position, number in enumerate(numbers):
                if rate is not None:
                    await asyncio.sleep(began + position / rate - asyncio.get_running_loop().time())
                tasks.create_task(write(client, number, next(bench.sequence)))
    return done


def _seen(peer: Peer, sent: Mapping[int, Sent], deadline: float = SEEN_DEADLINE) -> dict[int, int]:
    """When the program first reconciled each of these sequence numbers; those that it did not in time are missing."""
    seen: dict[int, int] = {}
    news = time.monotonic()
    while len(seen) < len(sent) and time.monotonic() < news + deadline:
        peer.send("seen")
        _, said = peer.expect("seen", SYNC_DEADLINE)
        found: list[Any] = said["seen"] or []
        for number, at in found:
            if number in sent and number not in seen:
                seen[number] = at
                news = time.monotonic()
        time.sleep(LOOK_SECONDS)
    return seen


@dataclass(frozen=True)
class Stage:
    """A measure with the number of objects that it needs."""

    name: str
    pods: int
    widgets: int
    objects: int
    """As the results say it."""
    measure: Callable[[Bench, Sequence[Runtime]], dict[str, Figures]]
    """Figures by runtime."""
    together: bool = False
    """Whether all runtimes are measured at the same time."""


def _each(measure: Callable[[Bench, Runtime], Figures]) -> Callable[[Bench, Sequence[Runtime]], dict[str, Figures]]:
    return lambda bench, runtimes: {runtime.name: measure(bench, runtime) for runtime in runtimes}


def stages(plan: Plan) -> list[Stage]:
    """All measures, in the order in which the number of objects grows."""
    found = [
        Stage("startup", 0, 0, 0, _each(startup)),
        Stage("patch", 0, plan.patched, plan.patched, _each(patch)),
    ]
    for size in plan.sizes:
        found += [
            Stage("sync", size, found[-1].widgets, size, _each(sync)),
            Stage("sync-custom", size, size, size, _each(sync_custom)),
        ]
        if size == plan.sizes[0]:
            others = (noop, children, latency, burst, recover)
            found += [Stage(measure.__name__, size, size, size, _each(measure)) for measure in others]
    return [*found, Stage("rest", plan.rest_objects, plan.sizes[-1], plan.rest_objects, rest, together=True)]
