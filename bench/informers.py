"""Measures what the informers do with one object, without a server: `python -m bench.informers`.

Microseconds to split, identify and strip an event, and to read an object in several ways; and, in a process of its own,
the CPU time and memory that a cache of many Pods takes to fill and to hold. The results go as a table into
docs/runtime.md.
"""

import asyncio
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import orjson
import uvloop

from controller.runtime.kube import POD, Pod
from informers import InformerFactory, JsonObject, wire
from informers.decode import decoder

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "runtime.md"
BEGIN, END = "<!-- measured by `python -m bench.informers`: begin -->", "<!-- measured: end -->"

PODS = 10_000
NAMESPACES = 20
CHUNK = 1 << 18
"""Bytes that come at once when a server sends as fast as it can."""
REPEATS = 15


class Metadata(msgspec.Struct, frozen=True):
    """What a reconciler reads of any object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class Spec(msgspec.Struct, frozen=True, rename="camel"):
    """Where a pod runs."""

    node_name: str = ""


class Status(msgspec.Struct, frozen=True):
    """How a pod is."""

    phase: str = ""


class NarrowPod(msgspec.Struct, frozen=True):
    """A view of the few fields that one controller needs."""

    metadata: Metadata = Metadata()
    spec: Spec = Spec()
    status: Status = Status()


def managed_fields(manager: str, depth: int) -> JsonObject:
    """A managedFields entry of about 1.7 KB."""
    leaf: JsonObject = {f"f:field{number}": {} for number in range(depth)}
    fields = {"f:metadata": {"f:labels": leaf}, "f:spec": {f'k:{{"name":"{n}"}}': leaf for n in range(4)}}
    return {"manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields}


def pod(number: int) -> JsonObject:
    """A Pod like those of an OSD, as the API server sends it."""
    name = f"rook-ceph-osd-{number}-7c9f6b5d4-x2x9q"
    time_ = "2026-11-24T10:00:00Z"
    container = {
        "name": "osd",
        "image": "quay.io/ceph/ceph:v18.2.7",
        "command": ["ceph-osd"],
        "args": ["--foreground", "--id", str(number), "--cluster", "ceph", "--setuser", "ceph"],
        "env": [{"name": f"VARIABLE_{n}", "value": f"value of {n}"} for n in range(8)],
        "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "4Gi"}},
        "volumeMounts": [{"name": f"volume-{n}", "mountPath": f"/var/lib/{n}"} for n in range(6)],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    labels = {"app": "rook-ceph-osd", "osd": str(number), "rook_cluster": "rook-ceph", "ceph_daemon_type": "osd"}
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name[:-6], "uid": f"uid-of-owner-{number}"}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "generateName": name[:-5],
            "namespace": f"rook-ceph-{number % NAMESPACES}",
            "uid": f"11111111-2222-3333-4444-{number:012}",
            "resourceVersion": str(1000 + number),
            "creationTimestamp": time_,
            "labels": labels,
            "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
            "managedFields": [managed_fields("kube-controller-manager", 21), managed_fields("kubelet", 21)],
        },
        "spec": {
            "volumes": [{"name": f"volume-{n}", "hostPath": {"path": f"/var/{n}", "type": ""}} for n in range(6)],
            "containers": [container],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "nodeSelector": {"kubernetes.io/hostname": "worker-1"},
            "serviceAccountName": "rook-ceph-osd",
            "nodeName": "worker-1",
            "tolerations": [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}],
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": time_}
                for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
            ],
            "hostIP": "172.18.0.3",
            "podIP": "10.244.1.5",
            "startTime": time_,
            "containerStatuses": [
                {
                    "name": "osd",
                    "state": {"running": {"startedAt": time_}},
                    "lastState": {},
                    "ready": True,
                    "restartCount": 0,
                    "image": "quay.io/ceph/ceph:v18.2.7",
                    "imageID": "quay.io/ceph/ceph@sha256:" + "ab" * 32,
                    "started": True,
                }
            ],
        },
    }


def event(kind: str, obj: JsonObject) -> bytes:
    """An event as it stands in a watch."""
    return orjson.dumps({"type": kind, "object": obj}) + b"\n"


def events(pods: int) -> Iterator[bytes]:
    """The events of a streaming list."""
    for number in range(pods):
        yield event("ADDED", pod(number))
    end = {"resourceVersion": str(1000 + pods), "annotations": {wire.INITIAL_EVENTS_END: "true"}}
    yield event("BOOKMARK", {"kind": "Pod", "apiVersion": "v1", "metadata": end})


def microseconds(act: Callable[[], object]) -> float:
    """How long it takes, the best of several tries: the others were disturbed."""
    times: list[float] = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        for _ in range(200):
            act()
        times.append((time.perf_counter() - started) / 200)
    return min(times) * 1e6


def steps() -> dict[str, float]:
    """Microseconds, and sizes in bytes, for one Pod."""
    sent = event("ADDED", pod(7))
    (line,) = wire.Splitter().feed(sent)
    found = wire.event(line)
    assert isinstance(found, wire.Upsert)
    kept = found.object.data
    burst = sent * 50
    narrow, shared, whole = decoder(NarrowPod), decoder(Pod), decoder(dict)
    return {
        "bytes of an event": len(sent),
        "bytes that are kept": len(kept),
        "split, µs": microseconds(lambda: wire.Splitter().feed(burst)) / 50,
        "identify and strip, µs": microseconds(lambda: wire.event(line)),
        "read a view of 6 fields, µs": microseconds(lambda: narrow(kept)),
        "read the controllers' Pod view, µs": microseconds(lambda: shared(kept)),
        "read the whole object, µs": microseconds(lambda: whole(kept)),
    }


class _Replay:
    """A server that sends what a file has, and then nothing."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")

    async def request(self, *_: object, **__: object) -> bytes:
        raise NotImplementedError

    @asynccontextmanager
    async def stream(
        self, path: str, *, params: Mapping[str, str], accept: str, idle: float
    ) -> AsyncIterator["_Replay"]:
        yield self

    async def read(self) -> bytes:
        data = self._file.read(CHUNK)
        if not data:
            await asyncio.sleep(3600)
        return data


async def fill(path: Path) -> dict[str, float]:
    """CPU seconds and megabytes of a cache that is filled from a file."""
    before = peak_megabytes()
    factory = InformerFactory(_Replay(path))
    informer = factory.informer(POD, NarrowPod, cluster_wide=True)
    informer.add_handler(lambda delta: None)
    started = time.process_time()
    running = asyncio.create_task(factory.run())
    await informer.wait_synced()
    seconds = time.process_time() - started
    running.cancel()
    assert len(informer) == PODS
    return {
        f"fill a cache of {PODS:,} Pods, CPU s": seconds,
        "the same for one, µs": seconds / PODS * 1e6,
        "memory for it, MB": peak_megabytes() - before,
    }


def peak_megabytes() -> float:
    """Of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def measured() -> dict[str, float]:
    """Both, the second in a new process."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "stream")
        with path.open("wb") as file:
            for chunk in events(PODS):
                file.write(chunk)
        command = [sys.executable, "-m", "bench.informers", str(path)]
        best: dict[str, float] = {}
        for _ in range(3):
            done = subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY)
            found: dict[str, float] = json.loads(done.stdout)
            best = {name: min(value, best.get(name, value)) for name, value in found.items()}
    return steps() | best


def number(name: str, value: float) -> str:
    """As the table shows it."""
    return f"{value:,.0f}" if "bytes" in name else f"{value:.2f}" if name.endswith(" s") else f"{value:.1f}"


def table(results: dict[str, float]) -> str:
    """The results as Markdown."""
    lines = ["| One Pod | |", "| --- | ---: |"]
    lines += [f"| {name} | {number(name, value)} |" for name, value in results.items()]
    when = datetime.now(UTC).date()
    machine = f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}"
    lines += ["", f"{when}, {machine}; each the best of several tries."]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the table into the page."""
    if len(sys.argv) > 1:
        print(json.dumps(uvloop.run(fill(Path(sys.argv[1])))))
        return
    found = table(measured())
    print(found)
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{found}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
