"""Credentials that are read again while the process runs, so that tokens and CA files can rotate without a restart.

`Credentials` reads the configuration again after a minute, as client-go does with service account tokens. It reads it
at once when the server refuses the credentials, or a TLS connection fails. New TLS settings apply to new connections
only; open connections stay as they are.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import structlog

from informers.configuration import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from informers.configuration import Configuration, Source

REFRESH_AFTER: Final = 60.0
"""Seconds after which the configuration is read again."""

READ_DEADLINE: Final = 30.0
"""Seconds that reading may take, a credential plugin's run included."""

PATIENCE: Final = 1.0
"""Seconds that a request waits while credentials are read again; after that it uses the present ones."""

_log = structlog.get_logger("informers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The address of the server, and the identity to use there.

    Attributes:
        host: Base URL without a trailing slash.
        authorization: Value of the Authorization header; None if a client certificate authenticates the client.
        tls: Trust and client certificate; None for plain HTTP.
        server_name: Name to expect in the server's certificate, if it differs from the host's.
        proxy: URL of a proxy.
    """

    host: str
    authorization: str | None = field(repr=False)
    tls: ssl.SSLContext | None
    server_name: str | None
    proxy: str | None


class Credentials:
    """Reads a `Source` when it is due, and keeps the result.

    Attributes:
        reads: Number of reads, by "success" and "error".
    """

    def __init__(self, source: Source, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.reads: Counter[str] = Counter()
        self._source = source
        self._clock = clock
        self._lock = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None
        self._access: Access | None = None
        self._due = 0.0
        self._tls: ssl.SSLContext | None = None
        self._tls_made_of: object = None

    async def current(self) -> Access:
        """The access, at most a minute old unless reading it again takes long or fails.

        Raises:
            ConfigurationError: The first read failed.
        """
        if self._access is None:
            async with self._lock:
                if self._access is None:
                    await self._read(refused=False)
        elif self._clock() >= self._due:
            # A separate task has its own deadline, not that of the first request that needed the credentials.
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read_again())
            done, _ = await asyncio.wait([self._reading], timeout=PATIENCE)
            for reading in done:
                reading.result()  # raises errors that `_read` does not handle
        assert self._access is not None  # noqa: S101  # _read has set it or raised
        return self._access

    async def close(self) -> None:
        """Cancels a read that is under way."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    def doubt(self) -> None:
        """Makes the next request read the configuration again, because no TLS connection could be made."""
        self._due = self._clock()

    async def renewed(self, refused: Access) -> Access:
        """The access to use after the server refused one with 401; the same one if there is no other."""
        async with self._lock:
            if self._access is refused:
                await self._read(refused=True)
            assert self._access is not None  # noqa: S101
            return self._access

    async def _read_again(self) -> None:
        async with self._lock:
            if self._clock() >= self._due:
                await self._read(refused=False)

    async def _read(self, *, refused: bool) -> None:
        try:
            configuration = await self._ask_source(refused=refused)
            self._access = Access(
                host=configuration.host.rstrip("/"),
                authorization=(configuration.api_key.get("BearerToken") or "").strip() or None,
                tls=self._context(configuration) if configuration.host.startswith("https:") else None,
                server_name=configuration.tls_server_name,
                proxy=configuration.proxy or environment_proxy(configuration.host),
            )
        except ConfigurationError as error:
            self.reads["error"] += 1
            if self._access is None:
                raise
            _log.warning("credentials could not be read again, the old ones stay in use", error=str(error))
        else:
            self.reads["success"] += 1
        self._due = self._clock() + REFRESH_AFTER

    async def _ask_source(self, *, refused: bool) -> Configuration:
        try:
            async with asyncio.timeout(READ_DEADLINE):
                return await self._source(refused)
        except TimeoutError as error:
            message = (
                f"credentials: not read within {READ_DEADLINE:.0f} s; does a credential plugin wait for an answer?"
            )
            raise ConfigurationError(message) from error

    def _context(self, configuration: Configuration) -> ssl.SSLContext:
        """The TLS settings: the same object while the files are the same, because connections are reused by it."""
        files = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
        try:
            made_of = (configuration.verify_ssl, *((file, _identity(file)) for file in files))
        except OSError as error:
            raise ConfigurationError(f"TLS files: {error}") from error
        if self._tls is None or made_of != self._tls_made_of:
            self._tls = tls_context(*files, verify=configuration.verify_ssl)
            self._tls_made_of = made_of
        return self._tls


def tls_context(ca: str | None, certificate: str | None, key: str | None, *, verify: bool = True) -> ssl.SSLContext:
    """TLS settings for the API server.

    Args:
        ca: PEM file of the CAs to trust; None: those of the system.
        certificate: PEM file of a client certificate.
        key: PEM file of its key.
        verify: False trusts any server (kubeconfig's `insecure-skip-tls-verify`).

    Raises:
        ConfigurationError: A file cannot be read, or its content is not what it should be.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
        # Python 3.13 requires extensions (key usage, authority key id) that cluster CAs of kubeadm, openssl or
        # cert-manager lack, and that Go's and Rust's clients do not require. The trusted CAs stay the same.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"TLS files (CA {ca}, certificate {certificate}, key {key}): {error}") from error
    return context


def environment_proxy(host: str) -> str | None:
    """The proxy that the environment sets for this URL (HTTPS_PROXY, NO_PROXY and so on), as Go's clients read it.

    NO_PROXY may contain networks: a pod reaches the API server at an address such as 10.96.0.1, which an administrator
    excludes by a NO_PROXY of 10.96.0.0/12. A loopback address never has a proxy.
    """
    url = urlsplit(host)
    proxies = getproxies()
    proxy = proxies.get(url.scheme)
    if not proxy or not url.hostname or url.hostname == "localhost" or proxy_bypass(url.hostname):
        return None
    try:
        address = ipaddress.ip_address(url.hostname)
    except ValueError:
        return proxy
    if address.is_loopback:
        return None
    for entry in proxies.get("no", "").split(","):
        try:
            if address in ipaddress.ip_network(entry.strip(), strict=False):
                return None
        except ValueError:  # a name
            continue
    return proxy


def _identity(file: str | None) -> object:
    """A value that changes when the file is replaced or written."""
    if not file:
        return None
    stat = os.stat(file)  # noqa: PTH116  # a plain call: paths come as strings from the loader
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
