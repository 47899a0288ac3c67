"""Certificates of a storage system: which Secret must be made or renewed, why, and when to look again. Pure.

A system has its own certificate authority. Each certificate is in a Secret of type `kubernetes.io/tls`, with the
trusted authorities as `ca.crt`. `controller.framework.issuing` makes them. Contract:

- A certificate is renewed when two thirds of its lifetime have passed, when its request changed, when it cannot be
  read, and when its authority no longer signs.
- An authority gets a successor when two thirds of its lifetime have passed. The successor is trusted first. It signs
  only after each certificate's Secret has had it among the trusted ones for `spread` seconds, so that every peer of a
  certificate that it signs trusts it already. The old authority is trusted until it expires.
- An authority whose Secret cannot be read is left alone until a person decides: no client would trust a new one.
- An authority whose Secret is gone is made again. The authorities of existing certificates stay trusted.
- Plans contain no keys, and a step's text contains only names and times of a Secret's content.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from controller.framework import tls
from controller.framework.plan import Plan, Step
from controller.framework.status import timestamp
from controller.framework.text import some
from controller.framework.tls import SERVER, TRUSTED, USAGES, CertificateError, Signer, data_of, has_ended, renewal
from controller.runtime.kube import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from controller.framework.children import Live
    from informers import JsonObject

TRUSTED_SINCE = "rook.io/trusted-since"
"""Annotation of a certificate's Secret: the time from which it has had its present authorities, RFC 3339."""

DAY = 86400.0
MAX_NAMED = 3
"""Most names of a certificate that a step's text has."""
SKEW = 300.0
"""Seconds by which clocks may differ: a certificate becomes valid that long before it is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """The certificate authority of a system.

    Attributes:
        meta: The metadata of its Secret.
        common_name: Its name, in at most 64 characters.
        lifetime: Seconds for which it is valid.
        spread: Seconds until every user of its Secret, or of a Secret with its certificate, uses a change: kubelets
            bring it to pods, and daemons read it again. Less than a third of the lifetime.
    """

    meta: JsonObject = field(repr=False)
    common_name: str
    lifetime: float = 5 * 365 * DAY
    spread: float = DAY

    @property
    def secret(self) -> str:
        """The name of its Secret."""
        return str(self.meta["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A requested certificate.

    Attributes:
        meta: The metadata of its Secret.
        common_name: Its subject, in at most 64 characters.
        names: DNS names and IP addresses for which it is valid.
        usages: Its usages: `SERVER`, `CLIENT`, or both.
        lifetime: Seconds for which it is valid; less if its authority expires before.
    """

    meta: JsonObject = field(repr=False)
    common_name: str
    names: tuple[str, ...] = ()
    usages: frozenset[str] = frozenset({SERVER})
    lifetime: float = 90 * DAY

    @property
    def secret(self) -> str:
        """The name of its Secret."""
        return str(self.meta["name"])


@dataclass(frozen=True, slots=True)
class MakeAuthority:
    """Make an authority if there is none. `trusted`: other authorities to trust, as PEM."""

    authority: Authority
    trusted: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class PrepareSuccessor:
    """Make the authority's successor, and trust it. `version`: only this version of the Secret is changed."""

    authority: Authority
    version: str


@dataclass(frozen=True, slots=True)
class Succeed:
    """Let the successor sign. The old authority stays trusted."""

    authority: Authority
    version: str


@dataclass(frozen=True, slots=True)
class DropExpired:
    """Remove expired authorities from the trusted ones."""

    authority: Authority
    version: str


@dataclass(frozen=True, slots=True)
class Issue:
    """Make a key and a certificate, and replace the present ones."""

    authority: Authority
    request: Request


@dataclass(frozen=True, slots=True)
class Trust:
    """Write the trusted authorities to the Secret of a certificate. The certificate stays."""

    authority: Authority
    request: Request


def analyze(authority: Authority, requests: Sequence[Request], live: Live, now: float, *, hold: str = "") -> Plan:
    """The plan for an authority and its certificates. Pure; takes a millisecond for a dozen certificates.

    Args:
        authority: The authority.
        requests: The wanted certificates. Other certificates are left alone.
        live: The objects of the namespace.
        now: Seconds since the epoch.
        hold: What else has to happen before a successor signs; empty: nothing.
    """
    found = live.get((SECRET.kind, authority.secret))
    if found is None:
        made = f"Secret {authority.secret} to be made"
        make = MakeAuthority(authority, _remembered(requests, live, now))
        steps = [Step(subject=_subject(authority), action=make, reason=f"Secret {authority.secret} does not exist")]
        return Plan(steps=(*steps, *(_wait(authority, request, made) for request in requests)))
    try:
        signer = tls.read_authority(data_of(found))
    except CertificateError as error:
        waits_for = f"it to be restored, or deleted: a new one is made then, which clients do not trust yet; {error}"
        reason = f"Secret {authority.secret} cannot be read"
        return Plan(steps=(Step(subject=_subject(authority), reason=reason, waits_for=waits_for),))
    secrets = {request.secret: live.get((SECRET.kind, request.secret)) for request in requests}
    ready = _ready(authority, signer, secrets.values())
    steps = list(_succession(authority, signer, ready, found["metadata"].get("resourceVersion", ""), now, hold))
    again = [_next_look(signer, ready, now)]
    succession = "its authority, which has ended, to be succeeded" if has_ended(signer.certificate, now) else ""
    for request in requests:
        secret = secrets[request.secret]
        why, until = _shortfall(request, None if secret is None else data_of(secret), signer, now)
        if why:
            issue = Issue(authority, request)
            steps.append(Step(subject=_named(request), action=issue, reason=why, waits_for=succession))
        elif secret is not None and _trusted_since(secret, signer) == math.inf:
            reason = "the authorities that are trusted have changed"
            steps.append(Step(subject=_named(request), action=Trust(authority, request), reason=reason))
        again.append(until)
    return Plan(steps=tuple(steps), look_again=max(min(again) - now, 1.0))


def _succession(
    authority: Authority, signer: Signer, ready: float, version: str, now: float, hold: str
) -> Iterator[Step]:
    subject, ended = _subject(authority), has_ended(signer.certificate, now)
    until = timestamp(tls.times(signer.certificate)[1])
    if signer.successor is not None:
        waits_for = hold
        if now < ready:
            at = f", at {timestamp(ready)}" if ready < math.inf else ""
            waits_for = f"all who show certificates to trust its successor{at}"
        reason = f"it ends at {until}"
        yield Step(
            subject=subject, action=Succeed(authority, version), reason=reason, waits_for="" if ended else waits_for
        )
    elif ended or now >= renewal(signer.certificate):
        yield Step(subject=subject, action=PrepareSuccessor(authority, version), reason=f"it ends at {until}")
    elif any(has_ended(one, now) for one in signer.trusted):
        drop = DropExpired(authority, version)
        yield Step(subject=subject, action=drop, reason="one that is trusted beside it has ended")


def _next_look(signer: Signer, ready: float, now: float) -> float:
    """The time of the next step for an authority if no event arrives."""
    ends = [tls.times(one)[1] for one in signer.trusted]
    moments = [*ends, ready if signer.successor is not None else renewal(signer.certificate)]
    return min((moment for moment in moments if moment > now), default=now)


def _ready(authority: Authority, signer: Signer, secrets: Iterable[JsonObject | None]) -> float:
    """The time from which every user of a certificate trusts the successor; infinity while a Secret lacks it."""
    if signer.successor is None:
        return math.inf
    made = tls.times(signer.successor)[0] + SKEW
    return max([made, *(_trusted_since(secret, signer) for secret in secrets)]) + authority.spread


def _trusted_since(secret: JsonObject | None, signer: Signer) -> float:
    """The time from which a Secret has had the trusted authorities; infinity if it lacks them, or does not say."""
    if secret is None or data_of(secret).get(TRUSTED) != signer.bundle:
        return math.inf
    noted = secret["metadata"].get("annotations", {}).get(TRUSTED_SINCE, "")
    try:
        return datetime.fromisoformat(noted).timestamp()
    except ValueError:
        return math.inf


def _shortfall(request: Request, data: Mapping[str, bytes] | None, signer: Signer, now: float) -> tuple[str, float]:
    """Why a certificate must be made (empty: it is as wanted), and until when that holds."""
    if data is None:
        return f"Secret {request.secret} does not exist", now
    try:
        certificate = tls.read_pair(data)
    except CertificateError as error:
        return f"Secret {request.secret} cannot be read: {error}", now
    if not tls.is_signed_by(certificate, signer.certificate):
        return "its authority signs no more", now
    if (subject := tls.common_name(certificate)) != request.common_name:
        return f"it is {subject}'s, not {request.common_name}'s", now
    if (has := tls.names(certificate)) != (wanted := {tls.spelled(name) for name in request.names}):
        added, gone = some(sorted(wanted - has), MAX_NAMED), some(sorted(has - wanted), MAX_NAMED)
        changes = [f"lacks {added}" if added else "", f"has {gone}, which is not wanted" if gone else ""]
        return f"it {' and '.join(filter(None, changes))}", now
    if tls.usages(certificate) != {USAGES[usage] for usage in request.usages}:
        return f"it is not one of a {' and '.join(sorted(request.usages))}", now
    if now >= (due := renewal(certificate)):
        return f"it ends at {timestamp(tls.times(certificate)[1])}", now
    return "", due


def _remembered(requests: Sequence[Request], live: Live, now: float) -> bytes:
    """The known authorities of the present certificates that have not expired, as PEM."""
    found: dict[bytes, None] = {}
    for request in requests:
        secret = live.get((SECRET.kind, request.secret))
        try:
            known = tls.read_all(data_of(secret).get(TRUSTED, b"")) if secret is not None else ()
        except CertificateError:
            continue
        found |= dict.fromkeys(one.public_bytes(Encoding.PEM) for one in known if not has_ended(one, now))
    return b"".join(found)


def _wait(authority: Authority, request: Request, waits_for: str) -> Step:
    return Step(
        subject=_named(request), action=Issue(authority, request), reason="its authority is new", waits_for=waits_for
    )


def _subject(authority: Authority) -> str:
    return f"certificate authority {authority.secret}"


def _named(request: Request) -> str:
    return f"certificate {request.secret}"
