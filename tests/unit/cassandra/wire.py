"""What a member speaks by its own configuration, and the certificates that it shows: as Cassandra reads them.

https://github.com/apache/cassandra/blob/cassandra-5.0/conf/cassandra.yaml: server_encryption_options,
client_encryption_options.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography.x509 import load_pem_x509_certificate

from controller.cassandra.cluster.certificates import fingerprint
from controller.framework import tls

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAIN, TLS = "plain", "TLS"


@dataclass(frozen=True)
class Wire:
    """How a process speaks.

    Attributes:
        begins: How it begins a connection to another member.
        accepts: How others may begin one.
        clients: How clients may.
        has_certificates: Whether its pod has any: the operator reaches its program by TLS then.
    """

    begins: str = PLAIN
    accepts: frozenset[str] = frozenset({PLAIN})
    clients: frozenset[str] = frozenset({PLAIN})
    has_certificates: bool = False

    def hears(self, other: Wire) -> bool:
        """Whether the two can connect to each other, whoever begins."""
        return other.begins in self.accepts and self.begins in other.accepts


def wire(configuration: str, *, has_certificates: bool) -> Wire:
    """How a process speaks that is started with this cassandra.yaml."""
    found: dict[str, Any] = json.loads(configuration)
    server, client = found.get("server_encryption_options", {}), found.get("client_encryption_options", {})
    by_tls = server.get("internode_encryption", "none") == "all"
    optional = server.get("optional", not by_tls and "keystore" in server)
    accepts = {PLAIN, TLS} if optional else {TLS} if by_tls else {PLAIN}
    clients = {PLAIN, TLS} if client.get("optional") else {TLS} if client.get("enabled") else {PLAIN}
    return Wire(TLS if by_tls else PLAIN, frozenset(accepts), frozenset(clients), has_certificates)


@dataclass
class Shown:
    """The certificates that a process has."""

    data: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.data) if self.data else ""

    def is_accepted(self, trusted: str, name: str) -> bool:
        """Whether who trusts these authorities believes that it speaks with `name`."""
        certificate, key = self.data[tls.CERTIFICATE], self.data[tls.KEY]
        return is_signed(certificate, trusted.encode()) and name in names(certificate, key)

    def trusts(self, other: Shown) -> bool:
        """Whether it believes that another is a member."""
        return is_signed(other.data[tls.CERTIFICATE], self.data[tls.TRUSTED])


@cache
def names(certificate: bytes, key: bytes) -> frozenset[str]:
    """Whose a certificate is that comes with its key."""
    return frozenset(tls.names(tls.read_pair({tls.CERTIFICATE: certificate, tls.KEY: key})))


@cache
def is_signed(certificate: bytes, authorities: bytes) -> bool:
    """Whether one of these authorities has made a certificate."""
    shown = load_pem_x509_certificate(certificate)
    return any(tls.is_signed_by(shown, one) for one in tls.read_all(authorities))
