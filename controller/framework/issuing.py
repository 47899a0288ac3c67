"""Makes authorities and certificates, and writes them to their Secrets: the actions of `framework.certificates`.

Keys are made here and written to Secrets only. No action, log, event or error contains them.
"""

from __future__ import annotations

import base64
import ipaddress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from controller.framework.aside import aside
from controller.framework.certificates import (
    SKEW,
    TRUSTED_SINCE,
    DropExpired,
    Issue,
    MakeAuthority,
    PrepareSuccessor,
    Succeed,
    Trust,
)
from controller.framework.tls import (
    CERTIFICATE,
    KEY,
    NEXT_CERTIFICATE,
    NEXT_KEY,
    TRUSTED,
    USAGES,
    CertificateError,
    data_of,
    has_ended,
    read_all,
    read_authority,
    read_pair,
)
from controller.runtime.kube import SECRET
from informers import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.framework.certificates import Authority, Request
    from controller.framework.plan import Handler
    from controller.runtime.apply import Applier
    from informers import Client, JsonObject

TYPE = "kubernetes.io/tls"

type Data = dict[str, bytes]
"""The content of a Secret."""


def make_authority(authority: Authority, now: float, *, trusted: bytes = b"") -> Data:
    """The content of the Secret of a new authority. `trusted`: other authorities to trust, as PEM."""
    certificate, key = _self_signed(authority, now)
    return {CERTIFICATE: certificate, KEY: key, TRUSTED: certificate + trusted}


def with_successor(data: Mapping[str, bytes], authority: Authority, now: float) -> Data:
    """The content of an authority's Secret with a new successor, which is trusted and does not sign yet."""
    certificate, key = _self_signed(authority, now)
    return {**data, NEXT_CERTIFICATE: certificate, NEXT_KEY: key, TRUSTED: data[TRUSTED] + certificate}


def succeeded(data: Mapping[str, bytes]) -> Data:
    """The content of an authority's Secret after its successor has taken over."""
    rest = {key: value for key, value in data.items() if key not in (NEXT_CERTIFICATE, NEXT_KEY)}
    return {**rest, CERTIFICATE: data[NEXT_CERTIFICATE], KEY: data[NEXT_KEY]}


def without_expired(data: Mapping[str, bytes], now: float) -> Data:
    """The content of an authority's Secret without expired authorities."""
    kept = [one.public_bytes(Encoding.PEM) for one in read_all(data[TRUSTED]) if not has_ended(one, now)]
    return {**data, TRUSTED: b"".join(kept)}


def issue(data: Mapping[str, bytes], request: Request, now: float) -> Data:
    """The content of the Secret of a new certificate.

    Args:
        data: The content of the authority's Secret.
        request: The wanted certificate.
        now: Seconds since the epoch.

    Raises:
        CertificateError: The authority cannot be read, or has expired.
    """
    signer = read_authority(data)
    if has_ended(signer.certificate, now):
        raise CertificateError("the authority has ended")
    signing_key = load_pem_private_key(data[KEY], password=None)
    if not isinstance(signing_key, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"{KEY} of the authority is no key of an elliptic curve")
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(_moment(now + request.lifetime), signer.certificate.not_valid_after_utc)
    own, above = key.public_key(), signer.certificate.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(request.common_name))
        .issuer_name(signer.certificate.subject)
        .public_key(own)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(now - SKEW))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([USAGES[usage] for usage in sorted(request.usages)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), critical=False)  # type: ignore[arg-type]
    )
    if request.names:
        names = x509.SubjectAlternativeName([_general_name(name) for name in request.names])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(signing_key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return {CERTIFICATE: certificate, KEY: _pem(key), TRUSTED: data[TRUSTED]}


def handlers(client: Client, applier: Applier, clock: Callable[[], float]) -> dict[type, Handler]:
    """The handlers of the actions of `framework.certificates`. `clock`: seconds since the epoch."""

    async def authority_data(authority: Authority) -> Data:
        found = await client.find(SECRET, authority.meta["namespace"], authority.secret)
        if found is None:
            raise CertificateError(f"Secret {authority.secret} is gone")
        return data_of(found)

    async def make(action: MakeAuthority) -> None:
        data = await aside(make_authority, action.authority, clock(), trusted=action.trusted)
        try:
            await client.create(SECRET, secret(action.authority.meta, data))
        except ApiError as error:
            if not error.is_already_exists:
                raise

    async def change(action: PrepareSuccessor | Succeed | DropExpired) -> None:
        authority = action.authority
        data = await authority_data(authority)
        match action:
            case PrepareSuccessor():
                data = await aside(with_successor, data, authority, clock())
            case Succeed():
                data = succeeded(data)
            case DropExpired():
                data = await aside(without_expired, data, clock())
        # Only the version that the plan is for: a change of another operator is neither undone nor made twice.
        meta = {**authority.meta, "resourceVersion": action.version}
        await client.replace(SECRET, secret(meta, data))

    async def issue_to(action: Issue) -> None:
        data = await aside(issue, await authority_data(action.authority), action.request, clock())
        await applier.apply(_noted(action.request, data, clock()))

    async def trust(action: Trust) -> None:
        request = action.request
        bundle = (await authority_data(action.authority))[TRUSTED]
        found = await client.get(SECRET, request.meta["namespace"], request.secret)
        data = data_of(found)
        read_pair(data)
        changed = {CERTIFICATE: data[CERTIFICATE], KEY: data[KEY], TRUSTED: bundle}
        await applier.apply(_noted(request, changed, clock()))

    return {
        MakeAuthority: make,
        PrepareSuccessor: change,
        Succeed: change,
        DropExpired: change,
        Issue: issue_to,
        Trust: trust,
    }


def secret(meta: JsonObject, data: Mapping[str, bytes]) -> JsonObject:
    """A Secret with this metadata and content."""
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": SECRET.kind, "type": TYPE, "metadata": meta, "data": encoded}


def _noted(request: Request, data: Mapping[str, bytes], now: float) -> JsonObject:
    """The Secret of a certificate, with the time from which it has its authorities."""
    since = {TRUSTED_SINCE: _moment(now).isoformat()}
    return secret({**request.meta, "annotations": {**request.meta.get("annotations", {}), **since}}, data)


def _self_signed(authority: Authority, now: float) -> tuple[bytes, bytes]:
    """A new authority's certificate and key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _name(authority.common_name)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(now - SKEW))
        .not_valid_after(_moment(now + authority.lifetime))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), _pem(key)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    """The key usage of an authority (`signs`), or of another certificate."""
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _moment(seconds: float) -> datetime:
    """A time in whole seconds, as certificates have them."""
    return datetime.fromtimestamp(int(seconds), UTC)
