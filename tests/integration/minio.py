"""A real S3: a Minio process with one drive, which tests may stop, start again, and look into."""

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError

from controller.cassandra.backup.bucket import ACCESS_KEY, SECRET_KEY, Bucket, Location
from e2e import binaries
from e2e.certificates import make_certificates

USER, PASSWORD = "backup-tests", "of-the-integration-tests"
BUCKET = "backups"
START_SECONDS = 60.0


class Minio:
    """One server. Its bucket is a directory of its drive.

    Args:
        directory: For its drive, its certificates, and the credentials as a Secret's volume has them.
        tls: Whether it speaks TLS, with a certificate of an authority of its own.
        host: The address where it listens.
    """

    def __init__(self, directory: Path, *, tls: bool = False, host: str = "127.0.0.1") -> None:
        self.directory, self._tls, self._host = directory, tls, host
        self.credentials = directory / "credentials"
        self.credentials.mkdir(parents=True)
        self.set_credentials(USER, PASSWORD)
        (directory / "drive" / BUCKET).mkdir(parents=True)
        self._certificates = directory / "certificates"
        self._certificates.mkdir()
        if tls:
            make_certificates(self._certificates)
            for made, wanted in {"server.crt": "public.crt", "server.key": "private.key"}.items():
                shutil.copy(self._certificates / made, self._certificates / wanted)
        with socket.socket() as free:
            free.bind((host, 0))
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"{'https' if self._tls else 'http'}://{self._host}:{self._port}"

    def location(self, prefix: str = "", *, bucket: str = BUCKET, trust: bool = True) -> Location:
        """Where the bucket is."""
        ca = str(self._certificates / "ca.crt") if self._tls and trust else ""
        return Location(bucket=bucket, prefix=prefix, endpoint=self.endpoint, ca=ca)

    def bucket(self, prefix: str = "") -> Bucket:
        """The bucket, by our own client."""
        return Bucket(self.location(prefix), self.credentials)

    def set_credentials(self, user: str, password: str) -> None:
        """What clients log in with from now on."""
        (self.credentials / ACCESS_KEY).write_text(user)
        (self.credentials / SECRET_KEY).write_text(f"{password}\n")

    def start(self) -> None:
        """Start it, and wait until it serves."""
        program = binaries.ensure("minio") / "minio"
        options = ["--quiet", f"--address={self._host}:{self._port}", f"--certs-dir={self._certificates}"]
        environment = {
            **os.environ,
            "MINIO_ROOT_USER": USER,
            "MINIO_ROOT_PASSWORD": PASSWORD,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "HOME": str(self.directory),
        }
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "server", *options, self.directory / "drive"], env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, (self.directory / "log").read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """End it at once; its drive stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def damage(self, key: str) -> None:
        """Turn a bit of an object's content, behind its back, so that it still serves it."""
        (part,) = (self.directory / "drive" / BUCKET / key).rglob("*")
        content = bytearray(part.read_bytes())
        content[-1] ^= 1
        part.write_bytes(bytes(content))

    def _answers(self) -> bool:
        with suppress(URLError, OSError), socket.create_connection((self._host, self._port), timeout=1):
            if self._tls:
                return True
            with urllib.request.urlopen(f"{self.endpoint}/minio/health/live", timeout=1):  # noqa: S310  # our own
                return True
        return False


@contextmanager
def serving(directory: Path, *, tls: bool = False, host: str = "127.0.0.1") -> Iterator[Minio]:
    """A server for the time of a test."""
    server = Minio(directory, tls=tls, host=host)
    try:
        server.start()
        yield server
    finally:
        server.stop()
