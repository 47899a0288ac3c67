"""Certificates: when they are made and renewed, and that nobody is refused while authorities succeed each other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.framework.certificates import (
    DAY,
    TRUSTED_SINCE,
    Authority,
    DropExpired,
    Issue,
    MakeAuthority,
    PrepareSuccessor,
    Request,
    Succeed,
    Trust,
    analyze,
)
from controller.framework.issuing import handlers, issue, make_authority, secret, succeeded, with_successor
from controller.framework.tls import (
    CERTIFICATE,
    CLIENT,
    KEY,
    NEXT_KEY,
    SERVER,
    TRUSTED,
    CertificateError,
    data_of,
    has_ended,
    is_signed_by,
    read_all,
    read_pair,
)
from controller.runtime.kube import SECRET
from controller.testkit import ApiServer, new_manager
from informers import ApiError

if TYPE_CHECKING:
    from controller.framework.plan import Plan
    from informers import JsonObject

NOW = 1_800_000_000.0


def meta(name: str) -> JsonObject:
    return {"name": name, "namespace": "ns", "labels": {"app": "x"}}


CA = Authority(meta=meta("x-ca"), common_name="x", lifetime=300 * DAY, spread=DAY)
MEMBER = Request(meta=meta("x-tls"), common_name="member", names=("a.ns.svc", "10.0.0.1"), lifetime=30 * DAY)


def live(**secrets: dict[str, bytes]) -> dict[tuple[str, str], JsonObject]:
    """Secrets as they are there; those of certificates have had their authorities for long."""
    found = {}
    for name, data in secrets.items():
        obj = secret(meta(name.replace("_", "-")), data)
        noted = {TRUSTED_SINCE: "2020-01-01T00:00:00+00:00"}
        obj["metadata"] = {**obj["metadata"], "resourceVersion": "7", "annotations": noted}
        found["Secret", obj["metadata"]["name"]] = obj
    return found


def told(plan: Plan) -> list[tuple[str, str]]:
    return [
        (step.title, step.reason if not step.waits_for else f"{step.reason} <- {step.waits_for}") for step in plan.steps
    ]


MADE = make_authority(CA, NOW)
ISSUED = issue(MADE, MEMBER, NOW)


class TestPlan:
    def test_the_authority_comes_first(self) -> None:
        assert told(analyze(CA, [MEMBER], {}, NOW)) == [
            ("MakeAuthority", "Secret x-ca does not exist"),
            ("Issue", "its authority is new <- Secret x-ca to be made"),
        ]

    def test_at_rest_there_is_nothing_to_do_until_two_thirds_of_a_life(self) -> None:
        plan = analyze(CA, [MEMBER], live(x_ca=MADE, x_tls=ISSUED), NOW)
        assert plan.steps == ()
        assert plan.look_again == pytest.approx(20 * DAY, abs=600)

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"common_name": "other"}, "it is member's, not other's"),
            ({"names": ("a.ns.svc", "10.0.0.1", "b.ns.svc")}, "it lacks b.ns.svc"),
            ({"names": ("a.ns.svc",)}, "it has 10.0.0.1, which is not wanted"),
            ({"names": ("a.ns.svc", "::1")}, "it lacks ::1 and has 10.0.0.1, which is not wanted"),
            ({"usages": frozenset({SERVER, CLIENT})}, "it is not one of a client and server"),
        ],
    )
    def test_a_certificate_for_something_else_is_made_anew(self, changes: dict[str, Any], reason: str) -> None:
        plan = analyze(CA, [replace(MEMBER, **changes)], live(x_ca=MADE, x_tls=ISSUED), NOW)
        assert told(plan) == [("Issue", reason)]

    def test_an_address_is_the_same_however_it_is_spelled(self) -> None:
        wanted = replace(MEMBER, names=("FD00::0001".lower(),))
        found = live(x_ca=MADE, x_tls=issue(MADE, wanted, NOW))
        assert analyze(CA, [replace(MEMBER, names=("fd00::1",))], found, NOW).steps == ()

    def test_a_certificate_is_renewed_before_it_ends(self) -> None:
        found = live(x_ca=MADE, x_tls=ISSUED)
        assert analyze(CA, [MEMBER], found, NOW + 19 * DAY).steps == ()
        assert told(analyze(CA, [MEMBER], found, NOW + 21 * DAY)) == [("Issue", "it ends at 2027-02-14T08:00:00Z")]

    @pytest.mark.parametrize(
        ("broken", "reason"),
        [
            ({CERTIFICATE: b"x"}, "tls.crt is not a certificate as PEM"),
            ({KEY: b"hunter2"}, "tls.key is not a private key as PEM without a password"),
            ({KEY: MADE[KEY]}, "tls.key is not the key of tls.crt"),
        ],
    )
    def test_what_cannot_be_read_is_made_anew(self, broken: dict[str, bytes], reason: str) -> None:
        plan = analyze(CA, [MEMBER], live(x_ca=MADE, x_tls=ISSUED | broken), NOW)
        assert told(plan) == [("Issue", f"Secret x-tls cannot be read: {reason}")]

    @pytest.mark.parametrize(
        "broken", [{KEY: b"hunter2"}, {TRUSTED: b""}, {TRUSTED: make_authority(CA, NOW)[TRUSTED]}, {NEXT_KEY: b"x"}]
    )
    def test_an_authority_that_cannot_be_read_is_left_to_a_person(self, broken: dict[str, bytes]) -> None:
        plan = analyze(CA, [MEMBER], live(x_ca=MADE | broken, x_tls=ISSUED), NOW)
        (step,) = plan.steps
        assert (step.action, step.reason) == (None, "Secret x-ca cannot be read")
        assert "it to be restored, or deleted" in step.waits_for
        assert "hunter2" not in step.waits_for

    def test_a_certificate_of_another_authority_is_made_anew(self) -> None:
        plan = analyze(CA, [MEMBER], live(x_ca=make_authority(CA, NOW), x_tls=ISSUED), NOW)
        assert told(plan) == [("Issue", "its authority signs no more")]

    def test_an_authority_that_is_lost_is_still_trusted(self) -> None:
        (make, *_) = analyze(CA, [MEMBER], live(x_tls=ISSUED), NOW).steps
        assert isinstance(make.action, MakeAuthority)
        anew = make_authority(CA, NOW, trusted=make.action.trusted)
        assert read_all(anew[TRUSTED])[1:] == read_all(MADE[TRUSTED])

    def test_no_key_is_in_what_a_plan_shows(self) -> None:
        found = live(x_ca=with_successor(MADE, CA, NOW), x_tls=ISSUED)
        steps = [*analyze(CA, [MEMBER], found, NOW).steps, *analyze(CA, [MEMBER], {}, NOW).steps]
        assert "PRIVATE" not in repr(steps)
        assert "BEGIN" not in repr(steps)


class TestSuccession:
    later = NOW + 201 * DAY
    prepared = with_successor(MADE, CA, NOW + 201 * DAY)

    def member(self, authority: dict[str, bytes]) -> dict[str, bytes]:
        return issue(authority, MEMBER, self.later)

    def test_its_successor_is_made_when_two_thirds_of_its_life_are_over(self) -> None:
        found = live(x_ca=MADE, x_tls=self.member(MADE))
        assert analyze(CA, [MEMBER], found, NOW + 199 * DAY).steps == ()
        (step,) = analyze(CA, [MEMBER], found, self.later).steps
        assert (step.action, step.reason) == (PrepareSuccessor(CA, "7"), "it ends at 2027-11-11T08:00:00Z")

    def test_the_successor_is_brought_to_all_before_it_signs(self) -> None:
        found = live(x_ca=self.prepared, x_tls=self.member(MADE))
        far = self.later + 50 * DAY
        steps = analyze(CA, [replace(MEMBER, lifetime=300 * DAY)], found, far).steps
        assert told(analyze(CA, [MEMBER], found, self.later)) == [
            (
                "Succeed",
                "it ends at 2027-11-11T08:00:00Z <- all who show certificates to trust its successor",
            ),
            ("Trust", "the authorities that are trusted have changed"),
        ]
        assert steps[0].waits_for, "also after a long time in which no operator was there"

    def test_it_signs_when_all_have_had_it_for_a_while(self) -> None:
        found = live(x_ca=self.prepared, x_tls=self.member(self.prepared))
        since = "2027-08-05T08:00:00+00:00"
        found["Secret", "x-tls"]["metadata"]["annotations"][TRUSTED_SINCE] = since
        plan = analyze(CA, [MEMBER], found, self.later)
        (step,) = plan.steps
        assert step.waits_for == "all who show certificates to trust its successor, at 2027-08-06T08:00:00Z"
        assert plan.look_again is not None
        ready = self.later + plan.look_again
        (step,) = analyze(CA, [MEMBER], found, ready).steps
        assert (step.action, step.waits_for) == (Succeed(CA, "7"), "")
        (step,) = analyze(CA, [MEMBER], found, ready, hold="members to be back").steps
        assert step.waits_for == "members to be back"

    def test_one_that_has_ended_is_succeeded_at_once(self) -> None:
        found = live(x_ca=self.prepared, x_tls=self.member(MADE))
        first, second = analyze(CA, [MEMBER], found, NOW + 301 * DAY, hold="members to be back").steps
        assert (first.action, first.waits_for) == (Succeed(CA, "7"), "")
        assert (second.title, second.waits_for) == ("Issue", "its authority, which has ended, to be succeeded")

    def test_certificates_are_made_anew_by_the_successor(self) -> None:
        found = live(x_ca=succeeded(self.prepared), x_tls=self.member(self.prepared))
        assert told(analyze(CA, [MEMBER], found, self.later)) == [("Issue", "its authority signs no more")]

    def test_one_that_has_ended_is_trusted_no_more(self) -> None:
        by = succeeded(self.prepared)
        after = NOW + 301 * DAY
        found = live(x_ca=by, x_tls=issue(by, MEMBER, after))
        (step,) = analyze(CA, [MEMBER], found, after).steps
        assert step.action == DropExpired(CA, "7")


class TestCertificates:
    def test_what_is_issued(self) -> None:
        certificate = read_pair(ISSUED)
        certificate.verify_directly_issued_by(read_pair(MADE))
        extensions = certificate.extensions
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
        assert b"BEGIN PRIVATE KEY" in ISSUED[KEY], "PKCS 8, which Java reads too"

    def test_none_outlives_its_authority(self) -> None:
        certificate = read_pair(issue(MADE, replace(MEMBER, lifetime=900 * DAY), NOW))
        assert certificate.not_valid_after_utc == read_pair(MADE).not_valid_after_utc

    def test_an_authority_signs_no_authorities(self) -> None:
        constraints = read_pair(MADE).extensions.get_extension_for_class(x509.BasicConstraints).value
        assert (constraints.ca, constraints.path_length) == (True, 0)


class TestHandlers:
    """Against an API server."""

    def setup_method(self) -> None:
        self.server = ApiServer(namespaces=("ns",))
        self.now = NOW
        manager = new_manager(self.server)
        self.ways = handlers(manager.client, manager.applier, lambda: self.now)

    def seen(self) -> dict[tuple[str, str], JsonObject]:
        return {("Secret", s["metadata"]["name"]): s for s in self.server.list(SECRET, "ns")}

    async def settle(self) -> list[str]:
        done: list[str] = []
        for _ in range(10):
            steps = [s for s in analyze(CA, [MEMBER], self.seen(), self.now).steps if not s.waits_for]
            if not steps:
                return done
            for step in steps:
                await self.ways[type(step.action)](step.action)
                done.append(step.title)
        raise AssertionError(f"it does not come to rest: {done}")

    async def test_a_life(self) -> None:
        assert await self.settle() == ["MakeAuthority", "Issue"]
        first = self.seen()["Secret", "x-ca"]
        self.now += 21 * DAY
        assert await self.settle() == ["Issue"]
        self.now = NOW + 201 * DAY
        assert await self.settle() == ["PrepareSuccessor", "Issue"]
        assert self.seen()["Secret", "x-ca"]["data"][CERTIFICATE] == first["data"][CERTIFICATE]
        self.now += 1.1 * DAY
        assert await self.settle() == ["Succeed", "Issue"]
        self.now = NOW + 301 * DAY
        assert await self.settle() == ["DropExpired", "Issue"]
        assert len(read_all(data_of(self.seen()["Secret", "x-tls"])[TRUSTED])) == 1

    async def test_a_change_that_another_operator_made_meanwhile_stays(self) -> None:
        await self.settle()
        version = self.seen()["Secret", "x-ca"]["metadata"]["resourceVersion"]
        await self.ways[PrepareSuccessor](PrepareSuccessor(CA, version))
        before = self.seen()
        with pytest.raises(ApiError):
            await self.ways[PrepareSuccessor](PrepareSuccessor(CA, version))
        await self.ways[MakeAuthority](MakeAuthority(CA))
        assert self.seen() == before

    async def test_without_an_authority_nothing_is_issued(self) -> None:
        with pytest.raises(CertificateError, match="Secret x-ca is gone"):
            await self.ways[Issue](Issue(CA, MEMBER))

    async def test_trust_leaves_the_certificate(self) -> None:
        await self.settle()
        before = data_of(self.seen()["Secret", "x-tls"])
        version = self.seen()["Secret", "x-ca"]["metadata"]["resourceVersion"]
        await self.ways[PrepareSuccessor](PrepareSuccessor(CA, version))
        await self.ways[Trust](Trust(CA, MEMBER))
        after = data_of(self.seen()["Secret", "x-tls"])
        assert (after[CERTIFICATE], after[KEY]) == (before[CERTIFICATE], before[KEY])
        assert len(read_all(after[TRUSTED])) == 2


@dataclass
class Member:
    """A daemon that reads its Secret again now and then, never later than `spread` after a change."""

    read: dict[str, bytes] = field(default_factory=dict)
    changed: float = 0.0


class World:
    """Three members, and an operator that is often away, or dies between two steps."""

    def __init__(self) -> None:
        self.now = NOW
        self.authority = replace(CA, lifetime=24 * DAY, spread=3 * DAY)
        self.wanted = [replace(MEMBER, meta=meta(f"m{n}"), lifetime=9 * DAY) for n in range(3)]
        self.secrets = {CA.secret: make_authority(self.authority, NOW)}
        self.since: dict[str, float] = {}
        self.members = {request.secret: Member() for request in self.wanted}
        for request in self.wanted:
            self.carry_out(Issue(self.authority, request))
            self.read(request.secret)

    def read(self, name: str) -> None:
        self.members[name].read = self.secrets[name]

    def seen(self) -> dict[tuple[str, str], JsonObject]:
        found = live(**{name.replace("-", "_"): content for name, content in self.secrets.items()})
        for name, at in self.since.items():
            noted = datetime.fromtimestamp(at, UTC).isoformat()
            found["Secret", name]["metadata"]["annotations"] = {TRUSTED_SINCE: noted}
        return found

    def carry_out(self, action: object) -> None:
        authority = self.secrets[CA.secret]
        match action:
            case PrepareSuccessor():
                self.secrets[CA.secret] = with_successor(authority, self.authority, self.now)
            case Succeed():
                self.secrets[CA.secret] = succeeded(authority)
            case Issue(request=request):
                self.put(request.secret, issue(authority, request, self.now))
            case Trust(request=request):
                self.put(request.secret, self.secrets[request.secret] | {TRUSTED: authority[TRUSTED]})

    def put(self, name: str, content: dict[str, bytes]) -> None:
        self.secrets[name], self.since[name] = content, self.now
        self.members[name].changed = self.now

    def assert_all_are_let_in(self) -> None:
        for shows in self.members.values():
            certificate = read_pair(shows.read)
            if has_ended(certificate, self.now):
                continue  # the operator was away for as long as a certificate lives
            for trusts in self.members.values():
                assert any(is_signed_by(certificate, one) for one in read_all(trusts.read[TRUSTED]))


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_no_member_is_ever_refused_by_another(data: st.DataObject) -> None:
    world = World()
    for _ in range(data.draw(st.integers(20, 60))):
        world.now += data.draw(st.sampled_from([60.0, 3600.0, DAY / 2, DAY, 2 * DAY]))
        for name, member in world.members.items():
            if world.now - member.changed >= world.authority.spread or data.draw(st.booleans()):
                world.read(name)
        for step in analyze(world.authority, world.wanted, world.seen(), world.now).steps:
            if not step.waits_for and data.draw(st.integers(0, 3)):
                world.carry_out(step.action)
        world.assert_all_are_let_in()
