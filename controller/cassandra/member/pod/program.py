"""The pod's main process: it starts Cassandra when that does no harm, watches it, and goes with it.

Where Cassandra must not be started, it says why, and looks at the record again until it may. So nothing restarts in a
loop, and whoever asks is told.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import subprocess
import time
from typing import TYPE_CHECKING, Any

from .files import CONFIG, MARK, RECORDS, RUN, VOLUME, Certificates, certificates, log, read_json, write
from .jolokia import ANSWER_SECONDS, POLL_SECONDS, STORAGE, Jobs, Jolokia
from .start import (
    LeftError,
    RefusedError,
    configuration,
    environment,
    has_data,
    judge,
    prepare,
    require,
    trouble,
    write_certificates,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from informers import JsonObject

STALE_SECONDS = 15.0
"""A member that has not said for so long that it serves does not count as serving."""
HANG_SECONDS = 900.0
"""A Java machine that does not answer for so long does not come back."""
NETWORK = "org.apache.cassandra.net:type="
ASKED = ("OperationMode", "LocalHostId", "ClusterName", "GossipRunning", "NativeTransportRunning", "Joined")


class Program:
    """The state of the pod: what is reported, and what probes ask for."""

    def __init__(self) -> None:
        self.password = secrets.token_urlsafe(24)
        self.jolokia = Jolokia(self.password)
        self.jobs = Jobs(self.jolokia)
        self.phase, self.message = "Waiting", "the operator has not yet said how it is to be started"
        self.process: subprocess.Popen[bytes] | None = None
        self.stopping = False
        self._answered = self._served = 0.0
        self._seeds: list[str] = []
        self._certificates = Certificates()

    def report(self) -> JsonObject:
        """What the operator is told."""
        volume = os.statvfs(str(VOLUME))
        return {
            "phase": self.phase,
            "message": self.message,
            "hostId": (read_json(MARK) or {}).get("hostId", ""),
            # What is reserved for root is neither free nor used, as `df` counts it.
            "volumeSize": (volume.f_blocks - volume.f_bfree + volume.f_bavail) * volume.f_frsize,
            "volumeFree": volume.f_bavail * volume.f_frsize,
            "volumeTrouble": trouble(volume),
            "certificates": self._certificates.fingerprint,
        }

    def snapshots(self) -> dict[str, list[str]]:
        """The keyspaces of each snapshot on the volume, by tag."""
        found: dict[str, set[str]] = {}
        for path in VOLUME.glob("data/*/*/snapshots/*"):
            found.setdefault(path.name, set()).add(path.parts[-4])
        return {tag: sorted(keyspaces) for tag, keyspaces in found.items()}

    def is_alive(self) -> bool:
        """Whether a restart would not help. Long work and long waits are no reason for one."""
        return self.process is None or time.monotonic() - self._answered < HANG_SECONDS

    def is_ready(self) -> bool:
        """Whether it serves clients by its own word."""
        return not self.stopping and time.monotonic() - self._served < STALE_SECONDS

    def run(self) -> int:
        """Starts Cassandra when that does no harm, and goes with it. Returns the exit status."""
        command = self._decide()
        while command is None:
            if self.stopping:
                return 0
            time.sleep(1)
            command = self._decide()
        log("start " + " ".join(part for part in command if not part.startswith("--add")))
        self._answered = time.monotonic()
        self.process = subprocess.Popen(command, env=environment(), cwd=str(RUN))  # noqa: S603  # the operator's
        self.phase, self.message = "Running", ""
        if self.stopping:  # told while it was started
            self.process.terminate()
        while True:
            try:
                status = self.process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                self.look()
                continue
            broken = trouble(os.statvfs(str(VOLUME)))
            if status <= 0 or broken:  # otherwise its own last line says why, and is shown to people
                log(f"Cassandra ended with status {status}{broken and f': {broken}'}")
            return 128 - status if status < 0 else status

    def stop(self, *_: object) -> None:
        """Ends Cassandra in good order: it hands over what is in memory to the disk."""
        self.stopping = True
        if self.process is not None:
            self.process.terminate()

    def _decide(self) -> list[str] | None:
        """The command; None while Cassandra is not to be started."""
        record = read_json(RECORDS / f"{os.environ['ROOK_MEMBER']}.json")
        if record is None:
            return None
        try:
            name = (read_json(CONFIG / "cassandra.yaml") or {}).get("cluster_name", "")
            seeds, replace = judge(record, read_json(MARK) or {}, has_data(), name)
            require(os.statvfs(str(VOLUME)))
            found = certificates()
            command = prepare(record, seeds, replace, self.password, found)
        except (RefusedError, LeftError) as refusal:
            phase, message = ("Left" if isinstance(refusal, LeftError) else "Refused"), str(refusal)
            if (self.phase, self.message) != (phase, message):
                log(message)
            self.phase, self.message = phase, message
            return None
        self._seeds, self._certificates = seeds, found
        return command

    def look(self) -> None:
        """Asks Cassandra how it is, and carries over what changed meanwhile."""
        try:
            values = self._values()
            self._answered = time.monotonic()
            if values.get("GossipRunning") and values.get("NativeTransportRunning") and values.get("Joined"):
                self._served = time.monotonic()
            self._mark(values)
            self._carry_over(values)
        except (OSError, ValueError, RuntimeError, http.client.HTTPException):
            return  # not yet, or not now

    def _values(self) -> JsonObject:
        requests = [{"type": "read", "mbean": STORAGE, "attribute": name} for name in (*ASKED, "BootstrapState")]
        return {
            answer["request"]["attribute"]: answer["value"]
            for answer in self.jolokia.ask(*requests)
            if answer.get("status") == 200
        }

    def _mark(self, values: Mapping[str, Any]) -> None:
        """Writes on the volume whose data it has, as soon as they have a place in the ring."""
        mode = values.get("OperationMode")
        left = mode == "DECOMMISSIONED" or values.get("BootstrapState") == "DECOMMISSIONED"
        # 4.1 does not tell how far it is with joining, but is normal only when it has joined.
        joined = values.get("Joined") and values.get("BootstrapState", "COMPLETED") == "COMPLETED" and mode == "NORMAL"
        if not (left or joined) or not values.get("LocalHostId"):
            return
        mark = {"clusterName": values["ClusterName"], "hostId": values["LocalHostId"], "left": left}
        if read_json(MARK) != mark:
            log(f"the volume is marked: {mark}")
            write(MARK, json.dumps(mark))

    def _carry_over(self, values: Mapping[str, Any]) -> None:
        """Seeds and certificates are changed without a restart."""
        record = read_json(RECORDS / f"{os.environ['ROOK_MEMBER']}.json")
        seeds = list(record["seeds"]) if record else []
        if values.get("OperationMode") == "NORMAL" and seeds and seeds != self._seeds and record is not None:
            write(RUN / "conf/cassandra.yaml", json.dumps(configuration(record, seeds), indent=1))
            self.jolokia.execute(
                "reloadSeeds()", mbean="org.apache.cassandra.net:type=Gossiper", timeout=ANSWER_SECONDS
            )
            log(f"seeds: {', '.join(seeds)}")
            self._seeds = seeds
        found = certificates()
        if found != self._certificates and values.get("OperationMode") == "NORMAL":
            write_certificates(found)
            mbean = f"{NETWORK}MessagingService"
            try:
                self.jolokia.execute("reloadSslCertificates()", mbean=mbean, timeout=ANSWER_SECONDS)
            except RuntimeError as error:
                log(f"certificates: Cassandra does not take them: {error}")
                raise
            log("certificates: read anew")
            self._certificates = found
