"""A real etcd and a real kube-apiserver as child processes, to be killed, restarted and compacted by tests.

Nothing else of Kubernetes runs: no controllers, no scheduler, no kubelet. Pods stay pending, nothing collects garbage,
and the namespace "default" is the only one of use until a test makes another.
"""

import contextlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from e2e import binaries
from e2e.certificates import make_certificates

ADMIN = "admin"
ADMIN_TOKEN = "admin-of-the-integration-tests"  # noqa: S105  # of servers that live as long as a test
USER_TOKEN = "user-of-the-integration-tests"  # noqa: S105
"""Of user "user", who has no rights until a test gives him some."""
START_DEADLINE = 60.0
"""Seconds in which a process must be ready."""


class ApiServer:
    """One etcd and one kube-apiserver on free ports of 127.0.0.1. Enter it as a context to start them.

    All methods block: call those that start or stop something from async tests by `asyncio.to_thread`.

    Args:
        directory: Empty; for data, certificates and logs.
        flags: Further flags of kube-apiserver.

    Attributes:
        url: The server's base URL, the same after a restart.
        kubeconfig: A kubeconfig file of an administrator.
        ca: PEM file of the CA that signed the server's certificate.
    """

    def __init__(self, directory: Path, *, flags: Sequence[str] = ()) -> None:
        self.directory = directory
        self.port, self._etcd_port, self._peer_port = _free_ports(3)
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca = directory / "ca.crt"
        self.kubeconfig = directory / "kubeconfig"
        self._flags = flags
        self._binaries = binaries.ensure("etcd", "kube-apiserver")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._compacted = 0

    def __enter__(self) -> Self:
        make_certificates(self.directory)
        (self.directory / "tokens.csv").write_text(
            f'{ADMIN_TOKEN},{ADMIN},{ADMIN},"system:masters"\n{USER_TOKEN},user,user\n'
        )
        self.write_kubeconfig(self.kubeconfig)
        try:
            self._start_etcd()
            self.start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def start(self) -> None:
        """Start the API server and wait until it is ready."""
        self._spawn(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            "--tls-cert-file=server.crt",
            "--tls-private-key-file=server.key",
            "--client-ca-file=ca.crt",
            "--token-auth-file=tokens.csv",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=server.crt",
            "--service-account-signing-key-file=server.key",
            "--service-cluster-ip-range=10.0.0.0/24",
            # Its controller is not here, so that pods of no service account could not be created.
            "--disable-admission-plugins=ServiceAccount",
            *self._flags,
        )
        self._wait_ready("kube-apiserver", f"{self.url}/readyz")

    def kill(self) -> None:
        """Kill the API server at once, as a crash would."""
        self._end("kube-apiserver", signal.SIGKILL)

    def stop(self) -> None:
        """Stop the API server in good order: it ends its watches."""
        self._end("kube-apiserver", signal.SIGTERM)

    def restart(self) -> None:
        """Kill the API server and start it anew on the same data. Its watch cache begins at the present."""
        self.kill()
        self.start()

    def compact(self) -> int:
        """Drop etcd's history up to now, and return the revision: no watch can begin before it."""
        revision = int(self._etcd("range", {"key": b64encode(b"\0").decode()})["header"]["revision"])
        if revision > self._compacted:  # etcd refuses to do it twice
            self._etcd("compaction", {"revision": revision, "physical": True})
            self._compacted = revision
        return revision

    def stored(self, key: str) -> bytes:
        """The value of a key in etcd. Raises `KeyError` if there is none."""
        found = self._etcd("range", {"key": b64encode(key.encode()).decode()}).get("kvs")
        if not found:
            raise KeyError(key)
        return b64decode(found[0]["value"])

    def put(self, values: Mapping[str, bytes]) -> None:
        """Put up to 128 values into etcd, past the API server, all in one transaction."""
        puts = [
            {"requestPut": {"key": b64encode(key.encode()).decode(), "value": b64encode(value).decode()}}
            for key, value in values.items()
        ]
        self._etcd("txn", {"success": puts})

    def write_kubeconfig(self, path: Path, *, url: str | None = None, user: dict[str, str] | None = None) -> Path:
        """Write a kubeconfig file.

        Args:
            path: Where to.
            url: The server's URL, if it is reached by another than its own.
            user: The user's section; the administrator's token if it is not given.
        """
        cluster = {"server": url or self.url, "certificate-authority": str(self.ca)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user or {"token": ADMIN_TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        path.write_text(json.dumps(config))
        return path

    def _start_etcd(self) -> None:
        url, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        self._spawn(
            "etcd",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )
        self._wait_ready("etcd", f"{url}/health")

    def _etcd(self, call: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._etcd_port}/v3/kv/{call}", data=json.dumps(body).encode()
        )
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
            return answer

    def _spawn(self, name: str, *arguments: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [self._binaries / name, *arguments], cwd=self.directory, stdout=log, stderr=log, start_new_session=True
            )

    def _wait_ready(self, name: str, url: str) -> None:
        context = ssl.create_default_context(cafile=self.ca)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})  # noqa: S310
        deadline = time.monotonic() + START_DEADLINE
        while True:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(request, timeout=5, context=context),  # noqa: S310
            ):
                return
            log = self.directory / f"{name}.log"
            if self._processes[name].poll() is not None:
                raise RuntimeError(f"{name} ended:\n{log.read_text()[-4000:]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} was not ready within {START_DEADLINE:.0f} s:\n{log.read_text()[-4000:]}")
            time.sleep(0.05)

    def _end(self, name: str, by: signal.Signals) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        process.send_signal(by)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _stop(self) -> None:
        for name in reversed(list(self._processes)):
            self._end(name, signal.SIGKILL)
        shutil.rmtree(self.directory / "etcd", ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in sockets]
    finally:
        for found in sockets:
            found.close()
