"""Cassandra's JMX through Jolokia's agent, and what it was told to do that takes its time."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from typing import TYPE_CHECKING, Any

from .files import log
from .start import JOLOKIA_PORT

if TYPE_CHECKING:
    from informers import JsonObject

STORAGE = "org.apache.cassandra.db:type=StorageService"
ANSWER_SECONDS = 20.0
POLL_SECONDS = 2.0
MOST_BYTES = 32 << 20
MOST_JOBS = 64
MOST_RUNNING = 8


class Jolokia:
    """Cassandra's JMX, within the pod."""

    def __init__(self, password: str) -> None:
        self._credentials = "Basic " + base64.b64encode(f"rook:{password}".encode()).decode()

    def post(self, body: bytes, timeout: float | None) -> bytes:
        """The answer to a request or a list of them. Raises `OSError` or `http.client.HTTPException`."""
        connection = http.client.HTTPConnection("127.0.0.1", JOLOKIA_PORT, timeout=timeout)
        try:
            headers = {"Authorization": self._credentials, "Content-Type": "application/json"}
            connection.request("POST", "/jolokia/", body, headers)
            response = connection.getresponse()
            answer = response.read(MOST_BYTES + 1)
            if response.status != 200 or len(answer) > MOST_BYTES:
                raise OSError(f"status {response.status}, {len(answer)} bytes")
            return answer
        finally:
            connection.close()

    def ask(self, *requests: JsonObject, timeout: float | None = ANSWER_SECONDS) -> list[JsonObject]:
        """The answers to several requests."""
        found: list[JsonObject] = json.loads(self.post(json.dumps(requests).encode(), timeout))
        return found

    def execute(self, operation: str, *arguments: Any, mbean: str = STORAGE, timeout: float | None = None) -> Any:
        """What an operation returns. Raises `RuntimeError` with Cassandra's own words where it fails."""
        request = {"type": "exec", "mbean": mbean, "operation": operation, "arguments": list(arguments)}
        (answer,) = self.ask(request, timeout=timeout)
        if answer.get("status") != 200:
            raise RuntimeError(error_of(answer))
        return answer.get("value")


def error_of(answer: JsonObject) -> str:
    """What Jolokia says of an operation that failed, without the names of classes around it."""
    text = str(answer.get("error", "no reason was given"))
    return text.rpartition("Exception : ")[2][:1000] or text[:1000]


def judged(value: Any) -> str:
    """What to say of an operation that returned. Raises `RuntimeError` where it says that it gave up."""
    if value is None or value is True or (value == 0 and value is not False):
        return ""
    raise RuntimeError(f"Cassandra gave it up: {value}")


class Jobs:
    """What the member was told to do, and what became of it."""

    def __init__(self, jolokia: Jolokia) -> None:
        self._jolokia = jolokia
        self._jobs: dict[str, JsonObject] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> JsonObject | None:
        """How a job is."""
        with self._lock:
            found = self._jobs.get(name)
            return dict(found) if found else None

    def start(self, name: str, order: JsonObject) -> JsonObject | None:
        """Starts a job, unless it is known; returns how it is. None: too many are under way."""
        with self._lock:
            if name not in self._jobs:
                if sum(job["ended"] is None for job in self._jobs.values()) >= MOST_RUNNING:
                    return None
                while len(self._jobs) >= MOST_JOBS:
                    del self._jobs[next(key for key, job in self._jobs.items() if job["ended"] is not None)]
                self._jobs[name] = {
                    "id": name,
                    "state": "Running",
                    "message": "",
                    "started": time.time(),
                    "ended": None,
                }
                threading.Thread(target=self._work, args=(name, order), daemon=True).start()
            return dict(self._jobs[name])

    def _work(self, name: str, order: JsonObject) -> None:
        log(f"job {name}: {order['operation']} {order['arguments']}")
        try:
            value = self._jolokia.execute(order["operation"], *order["arguments"], mbean=order.get("mbean", STORAGE))
            message = self._follow(name, order["follow"], value) if order.get("follow") else judged(value)
            state = "Succeeded"
        except RuntimeError as error:
            state, message = "Failed", str(error)
        except (OSError, ValueError, http.client.HTTPException) as error:
            state, message = "Failed", f"Cassandra went away while it was under way: {error}"
        log(f"job {name}: {state} {message}")
        with self._lock:
            self._jobs[name].update({"state": state, "message": message, "ended": time.time()})

    def _follow(self, name: str, operation: str, number: Any) -> str:
        """Waits for a repair, which Cassandra only begins when it is told to; 0 means that there is nothing to do."""
        while number:
            status, *messages = self._jolokia.execute(operation, number, timeout=ANSWER_SECONDS) or ["IN_PROGRESS"]
            message = str(messages[-1])[:1000] if messages else ""
            if status == "FAILED":
                raise RuntimeError(message)
            if status == "COMPLETED":
                return message
            with self._lock:
                self._jobs[name]["message"] = message
            time.sleep(POLL_SECONDS)
        return "nothing to repair"
