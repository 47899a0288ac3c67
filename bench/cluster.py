"""Measures the demo's cluster: seconds to Ready, how long users wait for volumes, and what the operator costs at rest.

It begins with a new kind cluster, so that no step finds its work done, and with the images on the nodes; with
`--only latencies`, on the cluster that is there. Results go to bench/cluster.json, and as tables into
docs/performance.md.
"""

import argparse
import json
import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import latencies
from bench.latencies import Latency
from e2e import cluster, pods, postgres
from e2e import environment as env
from e2e.api import condition
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually
from e2e.progress import say
from e2e.timetable import Timetable

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "bench" / "cluster.json"
PAGE = REPOSITORY / "docs" / "performance.md"
BEGIN, END = "<!-- measured by `make bench-cluster`: begin -->", "<!-- measured: end -->"
BEGIN_LATENCIES, END_LATENCIES = (
    "<!-- latencies, measured by `make bench-cluster`: begin -->",
    "<!-- latencies, measured by `make bench-cluster`: end -->",
)

DEMO, LATENCIES = "demo", "latencies"
CLAIMS = 5
SETTLE_SECONDS = 60.0
"""Longest wait until the operator has nothing left to do, before it is measured at rest."""
REST_SECONDS = 300.0
LOOK_SECONDS = 0.1


@dataclass
class Rest:
    """What one replica did and took while nothing happened, over `REST_SECONDS`."""

    role: str
    writes: int
    """Requests other than GET, without lease renewals."""
    reads: int
    """GETs, among them each watch that was opened anew."""
    renewals: int
    cpu_percent: float
    """Of one core."""
    rss_mib: float


@dataclass
class Results:
    """All that one run measured. Times are seconds."""

    at: str
    machine: str
    ready: list[tuple[str, float]] = field(default_factory=list)
    """From the CephCluster's apply to each milestone."""
    claims: list[list[tuple[str, float]]] = field(default_factory=list)
    """For each claim, from the claim's and pod's apply to each milestone."""
    rest: list[Rest] = field(default_factory=list)
    latencies_at: str = ""
    latencies_machine: str = ""
    latencies: list[Latency] = field(default_factory=list)
    """What users wait for, one request after the other."""


def milestones(looks: dict[str, Callable[[], bool]], began: float, deadline: float) -> list[tuple[str, float]]:
    """Seconds since `began` at which each look first said yes, in the order in which they did."""
    waiting = dict(looks)
    reached: list[tuple[str, float]] = []
    while waiting:
        for name, look in list(waiting.items()):
            if look():
                reached.append((name, time.monotonic() - began))
                say(f"    {reached[-1][1]:6.1f} s  {name}")
                del waiting[name]
        if time.monotonic() - began > deadline:
            raise TimeoutError(f"after {deadline:g} s still not: {', '.join(waiting)}")
        time.sleep(LOOK_SECONDS)
    return reached


def measure_ready(environment: Environment) -> list[tuple[str, float]]:
    """From the apply of the CephCluster to Ready."""

    def daemons(kind: str, count: int) -> Callable[[], bool]:
        return lambda: len(env.ready_daemons(environment, kind)) >= count

    def prepared() -> bool:
        jobs = environment.api.list("Job", env.NAMESPACE, labels="app=rook-ceph-osd-prepare")
        return sum(bool(job.get("status", {}).get("succeeded")) for job in jobs) >= len(environment.workers)

    def is_ready() -> bool:
        found = environment.api.get("CephCluster", env.CLUSTER, env.NAMESPACE)
        return bool(condition(found, "Ready").get("status") == "True")

    began = time.monotonic()
    env.apply_ceph_cluster(environment)
    looks = {f"mon {n} ready": daemons("mon", n) for n in (1, 2, 3)}
    looks |= {"mgr ready": daemons("mgr", 1), "devices prepared": prepared}
    looks |= {f"OSD {n} ready": daemons("osd", n) for n in (1, 2, 3)}
    return milestones(looks | {"CephCluster Ready": is_ready}, began, env.READY_SECONDS)


def measure_claim(environment: Environment, namespace: str, name: str) -> list[tuple[str, float]]:
    """From a claim and a pod that wants it to the pod running."""

    def bound() -> bool:
        status = environment.api.get("PersistentVolumeClaim", name, namespace).get("status", {})
        return bool(status.get("phase") == "Bound")

    def attached() -> bool:
        volume = environment.api.get("PersistentVolumeClaim", name, namespace)["spec"].get("volumeName")
        return any(
            a["spec"]["source"].get("persistentVolumeName") == volume and a.get("status", {}).get("attached")
            for a in environment.api.list("VolumeAttachment")
        )

    def started() -> bool:
        return bool(env.running([environment.api.get("Pod", name, namespace)]))

    began = time.monotonic()
    pods.claim(environment, namespace, name)
    pods.pod(environment, namespace, name, name)
    reached = milestones({"claim bound": bound, "volume attached": attached, "pod running": started}, began, 120)
    pods.delete(environment, namespace, name)
    environment.api.delete("PersistentVolumeClaim", name, namespace)
    return reached


def measure_rest(environment: Environment) -> list[Rest]:
    """What both replicas do and take while nothing happens."""
    found = env.running(environment.api.list("Pod", env.NAMESPACE, labels="app=rook-ceph-operator"))
    names = [pod["metadata"]["name"] for pod in found]
    wait_until_settled(environment, names)
    before = {name: scrape(environment, name) for name in names}
    began = time.monotonic()
    renewals, renewed = 0, ""
    while time.monotonic() - began < REST_SECONDS:
        seen = environment.api.get("Lease", "rook-ceph-operator", env.NAMESPACE)["spec"]["renewTime"]
        renewals, renewed = renewals + (seen != renewed != ""), seen
        time.sleep(0.5)
    seconds = time.monotonic() - began
    rest = []
    for name in names:
        first, last = before[name], scrape(environment, name)
        leads = total(last, "leader_election_master_status") == 1
        change = {m: total(last, REQUESTS, m) - total(first, REQUESTS, m) for m in METHODS}
        cpu = total(last, "process_cpu_seconds_total") - total(first, "process_cpu_seconds_total")
        rest.append(
            Rest(
                role="leader" if leads else "standby",
                writes=int(sum(change[m] for m in METHODS if m != "GET")) - (renewals if leads else 0),
                reads=int(change["GET"]),
                renewals=renewals if leads else 0,
                cpu_percent=100 * cpu / seconds,
                rss_mib=total(last, "process_resident_memory_bytes") / (1 << 20),
            )
        )
    return sorted(rest, key=lambda r: r.role)


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REQUESTS = "rest_client_requests_total"


def wait_until_settled(environment: Environment, names: list[str]) -> None:
    """Wait until a few seconds have gone by without a reconcile."""
    counts: dict[str, float] = {}

    def look() -> None:
        time.sleep(5)  # the window over which nothing may happen
        now = {name: total(scrape(environment, name), "controller_runtime_reconcile_total") for name in names}
        unchanged = now == counts
        counts.update(now)
        if not unchanged:
            raise NotYetError(f"{sum(now.values()):g} reconciles so far")

    eventually("the operator to come to rest", look, deadline=SETTLE_SECONDS)


def scrape(environment: Environment, pod: str) -> str:
    """A replica's metrics, as text."""
    path = f"/api/v1/namespaces/{env.NAMESPACE}/pods/{pod}:9090/proxy/metrics"
    return environment.api.request("GET", path).decode()


def total(text: str, metric: str, method: str = "") -> float:
    """The sum over all labels of a metric, or over those of one method."""
    wanted = rf'(?:\{{[^}}]*method="{method}"[^}}]*\}})' if method else r"(?:\{[^}]*\})?"
    return sum(float(value) for value in re.findall(rf"^{metric}{wanted} (\S+)$", text, re.MULTILINE))


def table(results: Results) -> str:
    """The results as Markdown."""
    lines = [f"Measured {results.at} on {results.machine}.", "", "| From `kubectl apply` of the CephCluster to | s |"]
    lines += ["| --- | --- |", *(f"| {name} | {seconds:.1f} |" for name, seconds in results.ready)]
    lines += ["", f"| From a claim and its pod to ({len(results.claims)} runs) | median s | min | max |"]
    lines += ["| --- | --- | --- | --- |"]
    for name, _ in results.claims[0]:
        took = [dict(run)[name] for run in results.claims]
        lines.append(f"| {name} | {statistics.median(took):.1f} | {min(took):.1f} | {max(took):.1f} |")
    minutes = REST_SECONDS / 60
    lines += ["", f"| At rest, over {minutes:g} minutes | writes/min | reads/min | renewals/min | CPU % | RSS MiB |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {r.role} | {r.writes / minutes:.1f} | {r.reads / minutes:.1f} | {r.renewals / minutes:.1f} "
        f"| {r.cpu_percent:.2f} | {r.rss_mib:.0f} |"
        for r in results.rest
    ]
    return "\n".join(lines)


def write(results: Results) -> None:
    """Keep the results for programs and for people. What was not measured stays as it was."""
    RESULTS.write_text(json.dumps(asdict(results), indent=2) + "\n")
    page = PAGE.read_text()
    if results.ready:
        page = replaced(page, BEGIN, END, table(results))
    if results.latencies:
        said = f"Measured {results.latencies_at} on {results.latencies_machine}."
        page = replaced(page, BEGIN_LATENCIES, END_LATENCIES, f"{said}\n\n{latencies.table(results.latencies)}")
    PAGE.write_text(page)


def replaced(page: str, begin: str, end: str, content: str) -> str:
    """The page with other content between the two marks."""
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


def read() -> Results:
    """The last results; nothing where there are none."""
    if not RESULTS.exists():
        return Results(at="", machine="")
    return msgspec.json.decode(RESULTS.read_bytes(), type=Results)


def machine() -> str:
    """The machine in a few words."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    cores = len(re.findall(r"^processor\s*:", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    return ", ".join(
        [
            f"{cores} cores ({cpu.group(1) if cpu else platform.machine()})",
            f"{int(memory.group(1)) >> 20} GiB" if memory else "",
            f"Linux {platform.release()}",
        ]
    )


def measure_demo(results: Results, timetable: Timetable) -> Environment:
    """Measures a new cluster, from nothing to rest."""
    results.at, results.machine = datetime.now(UTC).strftime("%Y-%m-%d"), machine()
    cluster.down()
    environment = env.prepare(timetable, more_images=MORE_IMAGES)
    with timetable.step("operator and agents"):
        env.install_chart(environment)
        env.wait_for_chart(environment)
    with timetable.step("time to Ready"):
        results.ready = measure_ready(environment)
    with timetable.step("pool and StorageClass"):
        env.create_pool(environment)
    with timetable.step("claims"):
        environment.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}})
        results.claims = [measure_claim(environment, "bench", f"claim-{n}") for n in range(CLAIMS)]
        postgres.remove(environment, "bench")
    with timetable.step("operator at rest"):
        results.rest = measure_rest(environment)
    return environment


def measure_latencies(results: Results, environment: Environment, systems: Sequence[str], timetable: Timetable) -> None:
    """Measures how long users wait. Systems that are not named keep the figures that they have."""
    results.latencies_at, results.latencies_machine = datetime.now(UTC).strftime("%Y-%m-%d"), machine()
    with timetable.step("latencies"):
        chosen = [system for system in latencies.SYSTEMS if system.name in systems]
        kept = [latency for latency in results.latencies if latency.system not in systems]
        results.latencies = kept + latencies.measure(environment, chosen)


MORE_IMAGES = ("snapshot-controller",)


def main() -> None:
    """Measure all of it, or a part."""
    parser = argparse.ArgumentParser(
        prog="make bench-cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=(DEMO, LATENCIES), help="this part; the other figures stay as they are")
    names = [system.name for system in latencies.SYSTEMS]
    parser.add_argument(
        "--systems", nargs="+", choices=names, default=names, help="volumes whose latencies are measured"
    )
    arguments = parser.parse_args()
    results, timetable = read(), Timetable()
    if arguments.only != LATENCIES:
        environment = measure_demo(results, timetable)
        write(results)
        print(table(results))
    else:
        if (found := cluster.read()) is not None and found.quick:
            parser.error("the cluster that is there has quicker kubelets than users have; `make demo-down` removes it")
        environment = env.prepare(timetable, more_images=MORE_IMAGES)
        env.bring_up(environment, timetable)
    if arguments.only != DEMO:
        measure_latencies(results, environment, arguments.systems, timetable)
        write(results)
        print(latencies.table(results.latencies))


if __name__ == "__main__":
    main()
