"""The certificates of a Cassandra cluster: who has which, who uses them, and what the status tells of them. Pure.

A cluster has an authority of its own, and a certificate for the members of each rack, which they show to each other, to
clients and to the operator. It is valid for the names and addresses by which all of these reach members. The program in
a member's pod hands a new one to Cassandra without a restart, and tells which one it has handed over last.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from controller.apis.meta import Condition
from controller.cassandra.cluster.spec import wanted_racks
from controller.cassandra.member import encryption
from controller.cassandra.member.encryption import encryption_of
from controller.cassandra.pods import (
    CLUSTER_LABEL,
    RACK_LABEL,
    authority_name,
    labels,
    owner,
    rack_name,
    tls_secret,
)
from controller.framework import certificates, tls
from controller.framework.certificates import DAY, Authority, Request, Succeed
from controller.framework.children import delete, ensure
from controller.framework.plan import StepState
from controller.framework.status import timestamp
from controller.framework.text import MOST, cut, some
from controller.framework.timers import elapsed
from controller.framework.tls import CERTIFICATE, CLIENT, SERVER, TRUSTED, CertificateError, data_of, read_pair
from controller.runtime.kube import CONFIG_MAP, SECRET, STATEFULSET

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.apis.cassandra import CassandraCluster
    from controller.cassandra.cluster.observe import Observation
    from controller.cassandra.member.encryption import Encryption
    from controller.framework.plan import Outcome, Step
    from informers import JsonObject

LABEL = "cassandra.rook.io/certificates"
"""On the Secrets and the ConfigMap of this module."""
SPREAD = 7 * DAY
"""Seconds in which clients have to read the ConfigMap with the authorities again."""
CONDITION, FAILED = "CertificatesCurrent", "CertificateRenewalFailed"
"""The condition's type, and its reason where a person has to look."""
STALE = "CertificateStale"
"""Topic of timers: since when a member has not taken over its rack's certificate."""
PATIENCE = 900.0
"""Seconds in which a member has to take over a certificate: a kubelet takes two minutes at most to bring it."""
MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class Certificates:
    """The certificates of a cluster.

    Attributes:
        requests: Those that are wanted, by rack; not of racks of which a member has no address yet.
        lacking: The racks that have none that fits.
    """

    requests: Mapping[str, Request]
    lacking: tuple[str, ...]

    @property
    def hold(self) -> str:
        """What members that need certificates wait for; empty: nothing."""
        return f"certificates of {some(self.lacking, MAX_NAMED)}" if self.lacking else ""


def present(cluster: CassandraCluster, seen: Observation) -> tuple[Encryption, ...]:
    """The encryption of all pods that there are, and of those that StatefulSets may make at any time.

    A StatefulSet without replicas, such as that of a rack that was removed, makes none before it has a new template.
    """
    sets = [seen.live[key] for key in seen.live if key[0] == STATEFULSET.kind]
    named = [obj for obj in sets if _labels(obj).get(CLUSTER_LABEL) == cluster.metadata.name]
    ours = [obj for obj in named if obj["spec"].get("replicas", 1)]
    annotated = [
        *(pod.metadata.annotations for pod in seen.pods.values()),
        *(obj["spec"]["template"]["metadata"].get("annotations") or {} for obj in ours),
    ]
    return tuple(encryption_of(found) for found in annotated)


def in_use(cluster: CassandraCluster, seen: Observation) -> bool:
    """Whether anybody needs certificates, or will."""
    goal = encryption.wanted(cluster.spec.encryption)
    recorded = seen.roster.encryption if seen.roster is not None else goal
    return goal.is_on or recorded.is_on or any(one.is_on for one in present(cluster, seen))


def certificates_of(cluster: CassandraCluster, seen: Observation) -> Certificates:
    """The certificates that are wanted, and which racks lack theirs."""
    wanted: dict[str, Request] = {}
    lacking = []
    for rack, members in sorted(_members(cluster, seen).items()):
        if members and all(seen.addresses.get(member) for member in members):
            wanted[rack] = _request(cluster, rack, {member: seen.addresses[member] for member in members})
        if members and not (rack in wanted and _fits(wanted[rack], seen)):
            lacking.append(f"rack {rack}")
    return Certificates(wanted, tuple(lacking))


def analyze(cluster: CassandraCluster, seen: Observation, wanted: Certificates) -> Iterator[Step]:
    """The steps after which the members' certificates are as wanted, and nothing is there that nobody uses."""
    kept = {authority_name(cluster)}
    if in_use(cluster, seen):
        made = authority(cluster)
        hold = some([f"{name} to trust it" for name in _behind(cluster, seen)], MAX_NAMED)
        plan = certificates.analyze(made, tuple(wanted.requests.values()), seen.live, seen.scene.now, hold=hold)
        # Until all trust a successor nothing is to be done; the condition tells of it.
        yield from (step for step in plan.steps if not (isinstance(step.action, Succeed) and step.waits_for))
        if seen.trusted:
            yield from ensure(seen.live, trusted_config_map(cluster, seen.trusted), subject="certificates")
        kept |= {tls_secret(cluster, rack) for rack, members in _members(cluster, seen).items() if members}
        kept |= {tls_secret(cluster, pod.metadata.labels.get(RACK_LABEL, "")) for pod in seen.pods.values()}
    else:
        kept = set()
    resources = {resource.kind: resource for resource in (SECRET, CONFIG_MAP)}
    for kind, name in seen.live:
        if kind in resources and name not in kept and _is_ours(obj := seen.live[kind, name], cluster):
            yield delete(resources[kind], obj, subject=f"{kind} {name}", reason="no member needs it")


def authority(cluster: CassandraCluster) -> Authority:
    """The cluster's own certificate authority. It stays with the volumes when the Cluster goes: clients trust it."""
    meta = owner(cluster).metadata(authority_name(cluster), {**labels(cluster), LABEL: "true"}, owned=False)
    return Authority(meta=meta, common_name=cluster.metadata.name[:64], spread=SPREAD)


def trusted_config_map(cluster: CassandraCluster, trusted: str) -> JsonObject:
    """What clients trust: the authorities as PEM, and no key."""
    return {
        "apiVersion": "v1",
        "kind": CONFIG_MAP.kind,
        "metadata": owner(cluster).metadata(authority_name(cluster), {**labels(cluster), LABEL: "true"}),
        "data": {TRUSTED: trusted},
    }


def fingerprint(data: Mapping[str, bytes]) -> str:
    """Tells a certificate with its authorities from others, as the program in a pod does."""
    return sha256(b"\0".join((data.get(CERTIFICATE, b""), data.get(TRUSTED, b"")))).hexdigest()[:16]


def stale(cluster: CassandraCluster, seen: Observation) -> set[str]:
    """The members that say that they have another certificate than their rack's, or do not trust the same."""
    found = set()
    for name, expected in _expected(cluster, seen).items():
        look = seen.scene.of(name).look
        if look is not None and look.report.certificates not in ("", expected):
            found.add(name)
    return found


def condition(cluster: CassandraCluster, seen: Observation, outcome: Outcome, now: float) -> Condition | None:
    """What the status tells of certificates; None where nobody needs any."""
    if not in_use(cluster, seen):
        return None
    problem = _problem(cluster, seen, outcome, now)
    if problem:
        return Condition(type=CONDITION, status="False", reason=FAILED, message=cut(problem, 2 * MOST))
    lacking = certificates_of(cluster, seen).lacking
    if lacking or not seen.trusted:
        message = f"{some(lacking, MAX_NAMED) or 'the authority'} has none yet"
        return Condition(type=CONDITION, status="False", reason="BeingMade", message=message)
    return Condition(type=CONDITION, status="True", reason="Current", message=_ends(cluster, seen))


def _problem(cluster: CassandraCluster, seen: Observation, outcome: Outcome, now: float) -> str:
    """Why a person has to look, in words; empty: nobody has to."""
    for result in outcome.results:
        subject = result.step.subject.startswith(("certificate ", "certificate authority "))
        if subject and (result.state is StepState.FAILED or (result.step.waits_for and result.step.action is None)):
            return (
                f"{result.step.subject}: {result.error or f'{result.step.reason}; waits for {result.step.waits_for}'}"
            )
    late = [name for name, for_ in elapsed(cluster.status.timers, STALE, now).items() if for_ >= PATIENCE]
    late = sorted(stale(cluster, seen) & set(late))
    if late:
        minutes = int(PATIENCE // 60)
        return f"{some(late, MAX_NAMED)} did not take over a new certificate within {minutes} minutes: see its log"
    return ""


def _ends(cluster: CassandraCluster, seen: Observation) -> str:
    """When certificates end and are renewed, in words. It changes only when one is made."""
    found = []
    for rack, members in _members(cluster, seen).items():
        secret = seen.live.get((SECRET.kind, tls_secret(cluster, rack))) if members else None
        if secret is not None:
            certificate = read_pair(data_of(secret))
            found.append((tls.times(certificate)[1], tls.renewal(certificate), rack))
    if not found:
        return "no member has one yet"
    end, renewal, rack = min(found)
    return f"the first to end is that of rack {rack}, at {timestamp(end)}; it is renewed at {timestamp(renewal)}"


def _members(cluster: CassandraCluster, seen: Observation) -> dict[str, set[str]]:
    """The members that are there or wanted, by rack."""
    wanted = wanted_racks(cluster, seen.roster)
    found = {rack: {f"{rack_name(cluster, rack)}-{n}" for n in range(count)} for rack, count in wanted.items()}
    for name, seat in (seen.roster.seats if seen.roster is not None else {}).items():
        found.setdefault(seat.rack, set()).add(name)
    return found


def _request(cluster: CassandraCluster, rack: str, addresses: Mapping[str, str]) -> Request:
    namespace, name = cluster.metadata.namespace, cluster.metadata.name
    domain = f"{namespace}.svc"
    names = [f"*.{name}-members.{domain}"]
    for service in (f"{name}-client", f"{name}-members"):
        names += [service, f"{service}.{namespace}", f"{service}.{domain}", f"{service}.{domain}.cluster.local"]
    for member, address in sorted(addresses.items()):
        names += [f"{member}.{domain}", address]
    meta = owner(cluster).metadata(tls_secret(cluster, rack), {**labels(cluster, rack), LABEL: "true"})
    return Request(
        meta=meta, common_name=f"rack {rack}", names=tuple(dict.fromkeys(names)), usages=frozenset({SERVER, CLIENT})
    )


def _fits(request: Request, seen: Observation) -> bool:
    """Whether a rack has a certificate for all its members' names."""
    secret = seen.live.get((SECRET.kind, request.secret))
    if secret is None:
        return False
    try:
        found = tls.names(read_pair(data_of(secret)))
    except CertificateError:
        return False
    return found >= {tls.spelled(name) for name in request.names}


def _expected(cluster: CassandraCluster, seen: Observation) -> dict[str, str]:
    """The fingerprint of the certificate that each member with certificates is to have."""
    prints: dict[str, str] = {}
    found = {}
    for name, pod in seen.pods.items():
        rack = pod.metadata.labels.get(RACK_LABEL, "")
        secret = seen.live.get((SECRET.kind, tls_secret(cluster, rack))) if rack not in prints else None
        if secret is not None:
            prints[rack] = fingerprint(data_of(secret))
        if rack in prints and encryption_of(pod.metadata.annotations).is_on:
            found[name] = prints[rack]
    return found


def _behind(cluster: CassandraCluster, seen: Observation) -> list[str]:
    """The members that do not say that they trust what they are to trust."""
    return [
        name
        for name, expected in sorted(_expected(cluster, seen).items())
        if (look := seen.scene.of(name).look) is None or look.report.certificates != expected
    ]


def _is_ours(obj: JsonObject, cluster: CassandraCluster) -> bool:
    return LABEL in _labels(obj) and _labels(obj).get(CLUSTER_LABEL) == cluster.metadata.name


def _labels(obj: JsonObject) -> Mapping[str, str]:
    found: Mapping[str, str] = obj["metadata"].get("labels") or {}
    return found
