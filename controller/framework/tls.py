"""What is in a Secret of type `kubernetes.io/tls`: a certificate with its key, and the authorities to trust.

What is read here is shown to nobody but as names and times: an error says which key of a Secret is wrong, and quotes
nothing of it.
"""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from informers import JsonObject

TRUSTED, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"
"""Keys of a Secret: the authorities to trust, one after the other; the certificate; its private key."""
NEXT_CERTIFICATE, NEXT_KEY = "next.crt", "next.key"
"""Keys of an authority's Secret while it has a successor that does not sign yet."""

SERVER, CLIENT = "server", "client"
"""What a certificate may be shown as."""
USAGES: Mapping[str, x509.ObjectIdentifier] = {
    SERVER: ExtendedKeyUsageOID.SERVER_AUTH,
    CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH,
}


class CertificateError(ValueError):
    """A Secret does not hold what it should, in words that show no key."""


@dataclass(frozen=True, slots=True)
class Signer:
    """An authority as its Secret has it, without keys.

    Attributes:
        certificate: The one that signs.
        trusted: Those that are trusted, it among them.
        bundle: The same as PEM.
        successor: The one that is to sign next.
    """

    certificate: x509.Certificate
    trusted: tuple[x509.Certificate, ...]
    bundle: bytes = field(repr=False)
    successor: x509.Certificate | None = None


def data_of(secret: JsonObject) -> dict[str, bytes]:
    """The content of a Secret."""
    return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}


def renewal(certificate: x509.Certificate) -> float:
    """When a certificate is renewed, or an authority succeeded: seconds since the epoch."""
    begin, end = times(certificate)
    return begin + (end - begin) * 2 / 3


def read_authority(data: Mapping[str, bytes]) -> Signer:
    """The authority that a Secret holds.

    Raises:
        CertificateError: It holds none, or one with a key that is not its own.
    """
    certificate = read_pair(data)
    successor = None
    if NEXT_CERTIFICATE in data or NEXT_KEY in data:
        successor = read_pair({CERTIFICATE: data.get(NEXT_CERTIFICATE, b""), KEY: data.get(NEXT_KEY, b"")})
    trusted = read_all(data.get(TRUSTED, b""))
    if certificate not in trusted:
        raise CertificateError(f"{TRUSTED} lacks the authority in {CERTIFICATE}")
    return Signer(certificate, trusted, data[TRUSTED], successor)


def read_pair(data: Mapping[str, bytes]) -> x509.Certificate:
    """The certificate that a Secret holds, with its key.

    Raises:
        CertificateError: One of the two is missing or cannot be read, or they do not belong together.
    """
    try:
        certificate = x509.load_pem_x509_certificate(data.get(CERTIFICATE, b""))
        public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ValueError:
        raise CertificateError(f"{CERTIFICATE} is not a certificate as PEM") from None
    try:
        key = load_pem_private_key(data.get(KEY, b""), password=None)
    except (ValueError, TypeError):
        # Without its cause, which may quote what could not be read.
        raise CertificateError(f"{KEY} is not a private key as PEM without a password") from None
    if key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public:
        raise CertificateError(f"{KEY} is not the key of {CERTIFICATE}")
    return certificate


def read_all(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates in a text.

    Raises:
        CertificateError: One cannot be read, or there is none.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except ValueError:
        raise CertificateError(f"{TRUSTED} has no certificates as PEM, or one that cannot be read") from None


def has_ended(certificate: x509.Certificate, now: float) -> bool:
    """Whether a certificate is not valid any more."""
    return times(certificate)[1] <= now


def times(certificate: x509.Certificate) -> tuple[float, float]:
    """From when until when a certificate is valid: seconds since the epoch."""
    return certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()


def is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether an authority made a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def common_name(certificate: x509.Certificate) -> str:
    """Whose a certificate is."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def names(certificate: x509.Certificate) -> set[str]:
    """The DNS names and IP addresses that a certificate is valid for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = found.get_values_for_type(x509.IPAddress)
    return {*found.get_values_for_type(x509.DNSName), *(str(address) for address in addresses)}


def spelled(name: str) -> str:
    """A name as it is read from a certificate."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def usages(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    """What a certificate may be shown as, as in `USAGES`."""
    try:
        return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return set()
