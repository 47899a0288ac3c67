"""Who runs the Jobs of Operations in a world: each ends after a while as it is told to, and leaves its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from controller.cassandra.backup.options import HOPELESS, Options
from controller.runtime.kube import JOB, POD
from tests.unit.cassandra.world import NAMESPACE

if TYPE_CHECKING:
    from controller.testkit import ApiServer

SEALED = '{"bytes": 7, "files": 3, "release": "5.0.3", "keyspaces": ["shop"]}'


@dataclass
class Jobs:
    """The Jobs of the API server, and what becomes of them.

    Attributes:
        failing: How often Jobs of a command fail before they succeed; `HOPELESS` times is for good.
        stuck: Commands whose Jobs never end.
        pods: What is said of the pods of Jobs that do not end, by command; of others there is no pod.
        began: The command and options of each Job, in the order in which they were made.
        most: Most Jobs that there ever were at once.
    """

    server: ApiServer
    failing: dict[str, int] = field(default_factory=dict)
    stuck: set[str] = field(default_factory=set)
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    began: list[tuple[str, Options]] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    most: int = 0

    def commands(self) -> list[str]:
        """What was done, in order."""
        return [command for command, _ in self.began]

    def running(self) -> list[dict[str, Any]]:
        """The Jobs that have not ended."""
        return [job for job in self.server.list(JOB, NAMESPACE) if not (job.get("status") or {}).get("conditions")]

    def tick(self) -> None:
        """A second."""
        running = self.running()
        self.most = max(self.most, len(running))
        for job in running:
            uid = job["metadata"]["uid"]
            command, options = arguments(job)
            if uid not in self.seen:
                self.began.append((command, options))
                if command in self.pods:
                    self._pod(job, self.pods[command])
            self.seen[uid] = self.seen.get(uid, 0) + 1
            if self.seen[uid] > 2 and command not in self.stuck:
                self._end(job, command)

    def _end(self, job: dict[str, Any], command: str) -> None:
        left = self.failing.get(command, 0)
        if left:
            self.failing[command] = left - 1
        code = 0 if not left else HOPELESS if left > 100 else 1
        message = SEALED if not left else "there is no bucket backups"
        name = job["metadata"]["name"]
        terminated = {"exitCode": code, "message": message}
        status = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{"name": "backup", "state": {"terminated": terminated}}],
        }
        self._pod(job, status)
        condition = {"type": "Failed" if code else "Complete", "status": "True"}
        if code:
            condition["reason"] = "PodFailurePolicy" if code == HOPELESS else "BackoffLimitExceeded"
        self.server.patch(JOB, NAMESPACE, name, {"status": {"conditions": [condition]}}, subresource="status")

    def _pod(self, job: dict[str, Any], status: dict[str, Any]) -> None:
        """Makes a Job's pod, or says how it is."""
        name, uid = job["metadata"]["name"], job["metadata"]["uid"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}
        labels = job["spec"]["template"]["metadata"]["labels"]
        meta = {"name": f"{name}-x", "namespace": NAMESPACE, "labels": labels, "ownerReferences": [owner]}
        if self.server.find(POD, NAMESPACE, f"{name}-x") is None:
            self.server.create(POD, {"metadata": meta, "spec": {"nodeName": "n1"}})
        self.server.patch(POD, NAMESPACE, f"{name}-x", {"status": status}, subresource="status")


def arguments(job: dict[str, Any]) -> tuple[str, Options]:
    """What a Job's program is told."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    *_, command, options = container["command"]
    return command, msgspec.json.decode(options, type=Options)
