"""A world for Cassandra clusters: StatefulSets that make pods, volumes, addresses, and what goes wrong."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from controller.apis.cassandra.cluster import CASSANDRA_4
from controller.cassandra.access.answers import Job, JobState, Mode, Phase
from controller.framework import tls
from controller.runtime.kube import CONFIG_MAP, POD, PVC, SECRET, SERVICE, STATEFULSET
from tests.unit.cassandra.clock import seconds
from tests.unit.cassandra.daemons import Daemons, Process, Volume
from tests.unit.cassandra.wire import Wire, wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.cassandra.access.answers import Command
    from informers import JsonObject, Resource

    class Server(Protocol):
        """As much of an API server as a world needs."""

        def list(self, resource: Resource, namespace: str = "") -> list[JsonObject]: ...
        def find(self, resource: Resource, namespace: str, name: str) -> JsonObject | None: ...
        def create(self, resource: Resource, obj: JsonObject) -> JsonObject: ...
        def patch(
            self, resource: Resource, namespace: str, name: str, patch: JsonObject, *, subresource: str = ""
        ) -> JsonObject: ...
        def delete(self, resource: Resource, namespace: str, name: str, *, grace: int | None = None) -> JsonObject: ...


NAMESPACE = "db"
RENEWED = 0.05
"""How likely it is that a change of a Secret has come to a pod after a second."""


class World(Daemons):
    """Everything but the operator.

    Args:
        server: The API server.
        clock: Seconds since the epoch.
        seed: Of all that happens by chance.
        copies: Of the user's keyspace.
    """

    def __init__(self, server: Server, *, seed: int = 0, copies: int = 2, clock: Callable[[], float] = seconds) -> None:
        super().__init__(seed=seed, copies=copies, clock=clock)
        self.server = server
        self.volumes: dict[str, Volume] = {}
        """By the uid of their claims."""
        self.roles = {"cassandra": "cassandra"}
        self.blocked: set[str] = set()
        """Pods that the scheduler has no node for."""
        self.told: list[tuple[str, Command]] = []
        self.starts: list[tuple[str, str]] = []
        """Pods that were started, and their versions."""
        self.unwilling: set[str] = set()
        """They take over no new certificates."""
        self.most_down = 0
        """Members of the ring that were down at once, since all were up."""
        self._count = 0

    # What the rest of Kubernetes does.

    def tick(self) -> None:
        """A second of the world."""
        for service in self.server.list(SERVICE, NAMESPACE):
            if "clusterIP" not in service["spec"]:
                self._count += 1
                address = f"10.1.{self._count // 250}.{self._count % 250 + 1}"
                self._patch(SERVICE, service["metadata"]["name"], {"spec": {"clusterIP": address}})
        for pod in self.server.list(POD, NAMESPACE):
            if "deletionTimestamp" in pod["metadata"]:
                self.restart(pod["metadata"]["name"])
        for workload in self.server.list(STATEFULSET, NAMESPACE):
            self._stateful_set(workload)
        self._bind()
        uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self.server.list(POD, NAMESPACE)}
        self.processes = {name: p for name, p in self.processes.items() if uids.get(name) == p.uid}
        for process in list(self.processes.values()):
            if process.name not in self.frozen:
                self._run(process)
            if process.name not in self.frozen | self.unwilling and self.chance.random() < RENEWED:
                self._certify(process)
        self.gossip()
        for process in self.processes.values():
            self._show(process)
        self.check()
        self.most_down = max(self.most_down, len(self.down))

    @property
    def down(self) -> list[str]:
        """The host IDs of the ring's members that do not serve."""
        return [host_id for host_id in self.ring if self.up(host_id) is None]

    def restart(self, name: str) -> None:
        """The operator restarts a member."""
        process = self.processes.get(name)
        if process is not None and self.up(process.volume.host_id) is process and self.down:
            self.blame(f"{name} is restarted while {self.down} are down")
        self.kill(name)

    def _run(self, process: Process) -> None:
        waits = process.phase is not Phase.RUNNING
        if not self.run(process, self._record(process.name) if waits else None):
            self.kill(process.name)

    def _wire(self, pod: str, template: dict[str, Any]) -> Wire:
        """How the process of a pod speaks that is made from this template."""
        name = template["metadata"].get("annotations", {}).get("cassandra.rook.io/configuration", "")
        config = self.server.find(CONFIG_MAP, NAMESPACE, name)
        if config is None:
            return Wire()
        secrets = [v["secret"]["secretName"] for v in template["spec"]["volumes"] if v["name"] == "tls"]
        if secrets and self.server.find(SECRET, NAMESPACE, secrets[0]) is None:
            self.blame(f"{pod} is made before there is Secret {secrets[0]}")
        return wire(config["data"]["cassandra.yaml"], has_certificates=bool(secrets))

    def _certify(self, process: Process) -> None:
        """The kubelet brings what is in the Secret by now, and the program hands it to Cassandra."""
        found = self.server.find(SECRET, NAMESPACE, f"{process.name.rpartition('-')[0]}-tls")
        if process.wire.has_certificates and found is not None:
            process.shown.data = tls.data_of(found)
        if process.wire.has_certificates and tls.has_ended(tls.read_pair(process.shown.data), self.clock()):
            self.blame(f"{process.name} shows a certificate that has ended")

    def _record(self, name: str) -> dict[str, Any] | None:
        for found in self.server.list(CONFIG_MAP, NAMESPACE):
            if f"{name}.json" in found.get("data", {}):
                record: dict[str, Any] = json.loads(found["data"][f"{name}.json"])
                return record
        return None

    def _bind(self) -> None:
        """Volumes have what their claims ask for."""
        for claim in self.server.list(PVC, NAMESPACE):
            wanted = {"phase": "Bound", "capacity": (claim["spec"].get("resources") or {}).get("requests", {})}
            if claim.get("status") != wanted:
                self.server.patch(PVC, NAMESPACE, claim["metadata"]["name"], {"status": wanted}, subresource="status")

    def _stateful_set(self, workload: dict[str, Any]) -> None:
        name, spec = workload["metadata"]["name"], workload["spec"]
        for ordinal in range(spec["replicas"]):
            pod, (template,) = f"{name}-{ordinal}", spec["volumeClaimTemplates"]
            claim = f"{template['metadata']['name']}-{pod}"
            found = self.server.find(PVC, NAMESPACE, claim)
            if self.server.find(POD, NAMESPACE, pod) is None:
                if found is None:
                    meta = {"name": claim, "namespace": NAMESPACE, "labels": template["metadata"]["labels"]}
                    claim_spec = {**template["spec"], "storageClassName": "fast"}
                    found = self.server.create(PVC, {"metadata": meta, "spec": claim_spec})
                self._start(pod, workload, found["metadata"]["uid"])
            if spec.get("podManagementPolicy") != "Parallel" and not self._is_ready(pod):
                break
        running = {pod["metadata"]["name"] for pod in self.server.list(POD, NAMESPACE)}
        for ordinal in range(spec["replicas"], 50):
            if f"{name}-{ordinal}" in running:
                if f"{name}-{ordinal}" in self.processes:
                    self.stop(self.processes[f"{name}-{ordinal}"])
                self.kill(f"{name}-{ordinal}")

    def _is_ready(self, pod: str) -> bool:
        return pod in self.processes and self.processes[pod].serves

    def _start(self, pod: str, workload: dict[str, Any], claim: str) -> None:
        template = workload["spec"]["template"]
        self._count += 1
        meta = {**template["metadata"], "name": pod, "namespace": NAMESPACE}
        own = workload["metadata"]
        reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": own["name"], "uid": own["uid"]}
        meta["ownerReferences"] = [{**reference, "controller": True}]
        made = self.server.create(POD, {"metadata": meta, "spec": {}})
        if pod in self.blocked:
            return
        ip = f"10.0.{self._count // 250}.{self._count % 250 + 1}"
        version = meta["labels"]["cassandra.rook.io/version"]
        volume = self.volumes.setdefault(claim, Volume())
        self.starts.append((pod, version))
        storage = meta.get("annotations", {}).get("cassandra.rook.io/storage-mode", CASSANDRA_4)
        process = Process(pod, made["metadata"]["uid"], ip, volume, version, storage, wire=self._wire(pod, template))
        self.processes[pod] = process
        self._certify(process)

    def _show(self, process: Process) -> None:
        status = {
            "podIP": process.ip,
            "conditions": [{"type": "Ready", "status": str(process.serves)}],
            "containerStatuses": [{"name": "cassandra", "ready": process.serves, "state": {"running": {}}}],
        }
        found = self.server.find(POD, NAMESPACE, process.name)
        if found is not None and found.get("status") != status:
            self.server.patch(POD, NAMESPACE, process.name, {"status": status}, subresource="status")

    def _patch(self, resource: Any, name: str, patch: dict[str, Any]) -> None:
        self.server.patch(resource, NAMESPACE, name, patch)

    @property
    def started(self) -> dict[str, int]:
        """How often each pod was started."""
        return dict(Counter(name for name, _ in self.starts))

    # What goes wrong.

    def kill(self, name: str) -> None:
        """A pod ends; its StatefulSet makes another."""
        self.processes.pop(name, None)
        if self.server.find(POD, NAMESPACE, name) is not None:
            self.server.delete(POD, NAMESPACE, name, grace=0)

    def decommission(self, name: str) -> None:
        """Somebody has a member leave, by hand."""
        process = self.processes[name]
        process.jobs["decommission-by-hand"] = Job("decommission-by-hand", JobState.RUNNING, started=self.clock())
        process.mode, process.busy = Mode.LEAVING, 1
        self.hear(process)

    def lose_node(self, name: str) -> None:
        """A pod ends, and its volume is on a node that is gone: none runs before it has another volume."""
        self.blocked.add(name)
        self.lose(name)

    def lose(self, name: str) -> None:
        """A pod ends, and its volume is lost with all that was on it."""
        process = self.processes.get(name)
        if process is not None:
            uid = next(uid for uid, volume in self.volumes.items() if volume is process.volume)
            self.volumes[uid] = Volume()
            self.holders.pop(process.volume.host_id, None)
        self.kill(name)
