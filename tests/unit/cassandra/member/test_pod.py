"""The program in the pod: it runs where nothing of ours is, and carries the operator's words to Cassandra."""

import ast
import base64
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from controller.cassandra.member import containers
from controller.cassandra.member.pod import __main__ as main
from controller.cassandra.member.pod import jolokia, program, server
from controller.cassandra.member.pod.jolokia import Jobs, Jolokia
from controller.cassandra.member.pod.start import trouble

PASSWORD = "secret"
SOURCES = sorted((Path(containers.__file__).parent / "pod").glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_it_runs_on_the_python_of_the_well_known_image(source: Path) -> None:
    ast.parse(source.read_text(), feature_version=(3, 8))


def test_it_imports_nothing_but_the_standard_library_and_itself() -> None:
    for source in SOURCES:
        for node in ast.parse(source.read_text()).body:  # not what is only read by type checkers
            if isinstance(node, ast.Import):
                assert all(name.name.partition(".")[0] in sys.stdlib_module_names for name in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert node.module is not None
                assert node.module.partition(".")[0] in sys.stdlib_module_names


def test_it_may_be_brought_to_the_pod_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, source = tmp_path / "rook", tmp_path / "jars"
    target.mkdir()
    source.mkdir()
    for name in ("jolokia", "exporter"):
        (source / f"{name}.jar").write_text(name)
    monkeypatch.setattr(main, "PROGRAM", target)
    monkeypatch.setattr(main, "JARS", source)
    for _ in range(2):
        assert main.install() == 0
    assert {path.name for path in target.iterdir()} == {"rook_member", "jolokia.jar", "exporter.jar"}
    assert {path.name for path in (target / "rook_member").iterdir()} == {path.name for path in SOURCES}


class Cassandra(BaseHTTPRequestHandler):
    """Answers as Jolokia does."""

    values: dict[str, Any]
    executed: list[tuple[str, list[Any]]]
    hold: threading.Event

    def do_POST(self) -> None:
        requests = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps([self.answer(request) for request in requests]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["type"] == "exec":
            self.executed.append((request["operation"], request["arguments"]))
            if request["operation"].startswith("decommission"):
                self.hold.wait(10)
            value = self.values[request["operation"]]
            if isinstance(value, list) and value and isinstance(value[0], list):
                value = value.pop(0) if len(value) > 1 else value[0]
            if isinstance(value, Exception):
                return {"status": 500, "error": f"java.lang.IllegalStateException : {value}", "request": request}
            return {"status": 200, "value": value, "request": request}
        if request["attribute"] not in self.values:
            return {"status": 404, "error": "no such attribute", "request": request}
        return {"status": 200, "value": self.values[request["attribute"]], "request": request}

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cassandra(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Cassandra]]:
    Cassandra.values, Cassandra.executed, Cassandra.hold = {}, [], threading.Event()
    Cassandra.hold.set()
    with ThreadingHTTPServer(("127.0.0.1", 0), Cassandra) as http:
        monkeypatch.setattr(jolokia, "JOLOKIA_PORT", http.server_port)
        monkeypatch.setattr(jolokia, "POLL_SECONDS", 0.01)
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield Cassandra
        http.shutdown()


def ended(jobs: Jobs, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while (job := jobs.get(name)) is None or job["ended"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return job


def order(operation: str, *arguments: object, **more: object) -> dict[str, Any]:
    return {"operation": operation, "arguments": list(arguments), **more}


def test_a_job_is_done_once_however_often_it_is_asked_for(cassandra: type[Cassandra]) -> None:
    cassandra.values["drain()"] = None
    jobs = Jobs(Jolokia("secret"))
    jobs.start("a", order("drain()"))
    jobs.start("a", order("drain()"))
    assert ended(jobs, "a")["state"] == "Succeeded"
    assert (jobs.start("a", order("drain()")) or {})["state"] == "Succeeded"
    assert cassandra.executed == [("drain()", [])]
    assert jobs.get("b") is None


@pytest.mark.parametrize(
    ("value", "state", "message"),
    [
        (0, "Succeeded", ""),
        (True, "Succeeded", ""),
        (1, "Failed", "Cassandra gave it up: 1"),
        (False, "Failed", "Cassandra gave it up: False"),
        (RuntimeError("Not enough live nodes"), "Failed", "Not enough live nodes"),
    ],
)
def test_what_becomes_of_a_job(cassandra: type[Cassandra], value: object, state: str, message: str) -> None:
    cassandra.values["x()"] = value
    jobs = Jobs(Jolokia("secret"))
    jobs.start("a", order("x()"))
    job = ended(jobs, "a")
    assert (job["state"], job["message"]) == (state, message)


def test_a_repair_is_followed_to_its_end(cassandra: type[Cassandra]) -> None:
    cassandra.values |= {"repairAsync()": 7, "status(int)": [["IN_PROGRESS", "1 of 2"], ["COMPLETED", "all is well"]]}
    jobs = Jobs(Jolokia("secret"))
    jobs.start("a", order("repairAsync()", "app", follow="status(int)"))
    job = ended(jobs, "a")
    assert (job["state"], job["message"]) == ("Succeeded", "all is well")
    cassandra.values["status(int)"] = [["FAILED", "a member is down"]]
    jobs.start("b", order("repairAsync()", "app", follow="status(int)"))
    assert (ended(jobs, "b")["state"], ended(jobs, "b")["message"]) == ("Failed", "a member is down")


def test_jobs_are_bounded(cassandra: type[Cassandra]) -> None:
    cassandra.values["decommission()"] = None
    cassandra.hold.clear()
    jobs = Jobs(Jolokia("secret"))
    for number in range(jolokia.MOST_RUNNING):
        assert jobs.start(f"running-{number}", order("decommission()")) is not None
    assert jobs.start("one-more", order("decommission()")) is None
    cassandra.hold.set()
    for number in range(jolokia.MOST_RUNNING):
        ended(jobs, f"running-{number}")
    for number in range(jolokia.MOST_JOBS):
        jobs.start(f"later-{number}", order("decommission()"))
        ended(jobs, f"later-{number}")
    assert jobs.get("running-0") is None, "what ended first is forgotten first"
    assert jobs.get(f"later-{jolokia.MOST_JOBS - 1}") is not None


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cassandra: type[Cassandra]) -> program.Program:
    for name in ("config", "members", "admin", "run", "volume"):
        (tmp_path / name).mkdir()
    (tmp_path / "admin/username").write_text("operator\n")
    (tmp_path / "admin/password").write_text("secret\n")
    (tmp_path / "config/cassandra.yaml").write_text('{"cluster_name": "c"}')
    monkeypatch.setenv("ROOK_POD_IP", "127.0.0.1")
    monkeypatch.setenv("ROOK_MEMBER", "c-0")
    places = {"CONFIG": "config", "RECORDS": "members", "ADMIN": "admin", "RUN": "run", "VOLUME": "volume"}
    for module in (program, server):
        for name, place in places.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, tmp_path / place)
    monkeypatch.setattr("controller.cassandra.member.pod.start.CONFIG", tmp_path / "config")
    monkeypatch.setattr(program, "MARK", tmp_path / "volume/rook.json")
    monkeypatch.setattr("controller.cassandra.member.pod.files.TLS", tmp_path / "tls")
    return program.Program()


NORMAL = {
    "OperationMode": "NORMAL",
    "LocalHostId": "h1",
    "ClusterName": "c",
    "GossipRunning": True,
    "NativeTransportRunning": True,
    "Joined": True,
    "BootstrapState": "COMPLETED",
}


OLD = {name: value for name, value in NORMAL.items() if name != "BootstrapState"}
"""Cassandra 4.1."""


@pytest.mark.parametrize(
    ("values", "ready"),
    [
        (NORMAL, True),
        ({**NORMAL, "OperationMode": "DECOMMISSION_FAILED"}, True),
        ({**NORMAL, "NativeTransportRunning": False}, False),
        ({**NORMAL, "GossipRunning": False}, False),
        ({**NORMAL, "OperationMode": "JOINING", "Joined": False}, False),
    ],
)
def test_it_is_ready_when_cassandra_serves_whatever_its_mode(
    pod: program.Program, cassandra: type[Cassandra], values: dict[str, Any], ready: bool
) -> None:
    cassandra.values = values
    assert not pod.is_ready()
    pod.look()
    assert pod.is_ready() is ready
    assert pod.is_alive()
    pod.stopping = True
    assert not pod.is_ready()


@pytest.mark.parametrize(
    ("values", "mark"),
    [
        (NORMAL, {"clusterName": "c", "hostId": "h1", "left": False}),
        (
            {k: v for k, v in NORMAL.items() if k != "BootstrapState"},
            {"clusterName": "c", "hostId": "h1", "left": False},
        ),
        ({**NORMAL, "BootstrapState": "IN_PROGRESS"}, None),
        ({**NORMAL, "OperationMode": "JOINING", "Joined": False}, None),
        ({**NORMAL, "OperationMode": "LEAVING"}, None),
        ({**NORMAL, "OperationMode": "DECOMMISSIONED"}, {"clusterName": "c", "hostId": "h1", "left": True}),
    ],
)
def test_the_volume_is_marked_when_its_data_have_a_place_and_when_they_gave_it_up(
    pod: program.Program,
    cassandra: type[Cassandra],
    tmp_path: Path,
    values: dict[str, Any],
    mark: dict[str, Any] | None,
) -> None:
    cassandra.values = values
    pod.look()
    written = tmp_path / "volume/rook.json"
    found = json.loads(written.read_text()) if written.exists() else None
    assert found == mark


def test_seeds_are_carried_over_to_a_running_member(
    pod: program.Program, cassandra: type[Cassandra], tmp_path: Path
) -> None:
    cassandra.values = {**NORMAL, "reloadSeeds()": ["10.0.0.2"]}
    record = {"address": "10.0.0.1", "seeds": ["10.0.0.2"], "copies": 3}
    (tmp_path / "members/c-0.json").write_text(json.dumps(record))
    pod.look()
    pod.look()
    assert cassandra.executed == [("reloadSeeds()", [])]
    written = json.loads((tmp_path / "run/conf/cassandra.yaml").read_text())
    assert written["seed_provider"][0]["parameters"] == [{"seeds": "10.0.0.2"}]
    assert written["cluster_name"] == "c"


def test_seeds_that_cassandra_does_not_take_now_are_carried_over_later(
    pod: program.Program, cassandra: type[Cassandra], tmp_path: Path
) -> None:
    cassandra.values = {**NORMAL, "reloadSeeds()": RuntimeError("not now")}
    record = {"address": "10.0.0.1", "seeds": ["10.0.0.2"], "copies": 3}
    (tmp_path / "members/c-0.json").write_text(json.dumps(record))
    pod.look()
    cassandra.values = {**NORMAL, "reloadSeeds()": ["10.0.0.2"]}
    pod.look()
    pod.look()
    assert cassandra.executed == [("reloadSeeds()", [])] * 2
    assert pod.is_ready()


@pytest.fixture
def admin(pod: program.Program, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(server.Handler, "program", pod, raising=False)
    with server.Server(0, server.Admin) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def ask(url: str, password: str = PASSWORD, *, method: str = "GET", body: bytes | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(url, method=method, data=body)  # noqa: S310  # to 127.0.0.1
    request.add_header("Authorization", "Basic " + base64.b64encode(f"operator:{password}".encode()).decode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_only_who_has_the_password_is_let_in(admin: str, cassandra: type[Cassandra]) -> None:
    assert ask(f"{admin}/report", "wrong")[0] == 401
    assert ask(f"{admin}/jolokia", "wrong", method="POST", body=b"[]")[0] == 401
    assert ask(f"{admin}/jobs/a", "wrong", method="PUT", body=b"{}")[0] == 401
    assert cassandra.executed == []
    status, report = ask(f"{admin}/report")
    assert (status, report["phase"], report["volumeSize"] > 0) == (200, "Waiting", True)


def test_what_is_reserved_for_root_is_no_part_of_the_volume(admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = os.statvfs("/")
    volume = os.statvfs_result((4096, 4096, 1000, 500, 400, *tuple(known)[5:]))
    monkeypatch.setattr("controller.cassandra.member.pod.program.os.statvfs", lambda _: volume)
    _, report = ask(f"{admin}/report")
    assert (report["volumeSize"], report["volumeFree"]) == (900 * 4096, 400 * 4096)


def test_cassandra_is_not_started_before_the_volume_has_room(
    pod: program.Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end at once, again and again."""
    record = {"address": "10.0.0.1", "seeds": ["10.0.0.1"], "copies": 3, "founder": True}
    (tmp_path / "members/c-0.json").write_text(json.dumps(record))
    known, looks = tuple(os.statvfs("/")), iter((0, 0, 1 << 20))
    free = [0]

    def statvfs(_: object) -> os.statvfs_result:
        return os.statvfs_result((4096, 4096, 1 << 20, free[0], free[0], *known[5:8], 0, 255))

    def wait(_: float) -> None:
        """Time passes, and room is made."""
        if pod.process is None:
            assert (pod.phase, pod.message) == ("Refused", trouble(statvfs("")))
            free[0] = next(looks)

    monkeypatch.setattr("controller.cassandra.member.pod.program.os.statvfs", statvfs)
    monkeypatch.setattr("controller.cassandra.member.pod.program.time.sleep", wait)
    monkeypatch.setattr(program, "prepare", lambda *_: ["/bin/sh", "-c", "exit 7"])
    assert pod.run() == 7
    assert next(looks, None) is None


def test_a_cassandra_that_ended_for_want_of_room_is_told_with_the_last_line(
    pod: program.Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own last lines are a stack of calls; the last line of all is what the operator shows."""
    known = tuple(os.statvfs("/"))
    found = iter([1 << 20, 3])
    monkeypatch.setattr(program, "judge", lambda *_: ([], ""))
    monkeypatch.setattr(program, "prepare", lambda *_: ["/bin/sh", "-c", "exit 100"])
    monkeypatch.setattr(
        "controller.cassandra.member.pod.program.os.statvfs",
        lambda _: os.statvfs_result((4096, 4096, 1 << 20, free := next(found), free, *known[5:8], 0, 255)),
    )
    (tmp_path / "members/c-0.json").write_text("{}")
    assert pod.run() == 100
    last = capsys.readouterr().err.splitlines()[-1]
    assert (
        last
        == "rook: Cassandra ended with status 100: the volume is full: 0 MiB of it are free, and Cassandra needs 50 MiB"
    )


def test_nothing_is_begun_where_cassandra_does_not_run(admin: str, cassandra: type[Cassandra]) -> None:
    status, answer = ask(f"{admin}/jobs/a", method="PUT", body=json.dumps(order("drain()")).encode())
    assert (status, "does not run" in answer["error"]) == (409, True)
    assert ask(f"{admin}/jobs/a") == (404, None)


def test_snapshots_are_what_the_volume_has(admin: str, tmp_path: Path) -> None:
    for path in ("app/rows-1/snapshots/a", "app/more-2/snapshots/a", "system/local-3/snapshots/a", "app/rows-1/x"):
        (tmp_path / "volume/data" / path).mkdir(parents=True)
    assert ask(f"{admin}/snapshots") == (200, {"a": ["app", "system"]})
