"""Encryption: a running ring comes to it and leaves it step by step; certificates are renewed without a restart."""

from __future__ import annotations

import asyncio
import random
from base64 import b64decode
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from controller.cassandra.cluster.act import CLUSTERS
from controller.cassandra.cluster.certificates import PATIENCE, authority, fingerprint
from controller.cassandra.member.encryption import PLAIN, ClientTls, Encryption, Internode, toward
from controller.cassandra.member.pod.files import Certificates
from controller.framework import tls
from controller.framework.certificates import DAY, TRUSTED_SINCE, Request
from controller.framework.issuing import issue, make_authority, secret, with_successor
from controller.framework.status import timestamp
from controller.runtime.kube import CONFIG_MAP, SECRET
from controller.testkit import VirtualLoop, virtual_time
from tests.unit.cassandra.clock import seconds
from tests.unit.cassandra.life import NAME, Life, living, operator, spec
from tests.unit.cassandra.wire import PLAIN as WITHOUT
from tests.unit.cassandra.wire import TLS
from tests.unit.cassandra.world import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Mapping

FULL = {"internode": True, "client": "Required"}
REQUIRED = Encryption(internode=Internode.REQUIRED, client=ClientTls.REQUIRED)
RACK_SECRET = f"{NAME}-dc1-a-tls"
OWN = {RACK_SECRET, f"{NAME}-ca", f"{NAME}-dc1-b-tls"}


def secrets(life: Life) -> dict[str, Mapping[str, bytes]]:
    """The Secrets with certificates, by name."""
    found = {obj["metadata"]["name"]: tls.data_of(obj) for obj in life.server.list(SECRET, NAMESPACE)}
    return {name: data for name, data in found.items() if tls.CERTIFICATE in data}


def names(data: Mapping[str, bytes]) -> set[str]:
    return tls.names(tls.read_pair(data))


def test_each_step_is_one_away_from_the_next() -> None:
    step, steps = PLAIN, []
    while step != REQUIRED:
        step = toward(step, REQUIRED)
        steps.append((step.internode, step.client))
    assert steps == [("Accepted", "Optional"), ("Preferred", "Required"), ("Required", "Required")]
    assert toward(REQUIRED, PLAIN) == Encryption(internode=Internode.PREFERRED, client=ClientTls.OPTIONAL)
    assert toward(REQUIRED, REQUIRED) == REQUIRED


@virtual_time
async def test_a_ring_that_is_made_with_it_has_it_at_once() -> None:
    async with living() as life:
        life.create({**spec(a=2, b=1), "encryption": FULL})
        await life.ready("a-0", "a-1", "b-0")
        assert {p.wire.accepts for p in life.world.processes.values()} == {frozenset({TLS})}
        assert {p.wire.clients for p in life.world.processes.values()} == {frozenset({TLS})}
        assert set(life.world.started.values()) == {1}
        assert secrets(life).keys() == OWN
        found = names(secrets(life)[RACK_SECRET])
        addresses = {p.address for p in life.world.processes.values() if p.name.startswith(f"{NAME}-dc1-a")}
        assert {f"{NAME}-client.{NAMESPACE}.svc", f"{NAME}-dc1-a-1.{NAMESPACE}.svc", *addresses} <= found
        trusted = life.server.get(CONFIG_MAP, NAMESPACE, f"{NAME}-ca")["data"]
        assert trusted == {"ca.crt": secrets(life)[f"{NAME}-ca"]["ca.crt"].decode()}
        status, reason, message = life.condition("CertificatesCurrent")
        assert (status, reason) == ("True", "Current")
        assert "is renewed at" in message


@virtual_time
async def test_a_running_ring_comes_to_it_and_leaves_it_with_no_member_unheard() -> None:
    async with living() as life:
        life.create(spec(a=2, b=1))
        await life.ready("a-0", "a-1", "b-0")
        assert not secrets(life)
        assert life.condition("CertificatesCurrent") == ("", "", "")
        life.world.most_down = 0
        life.edit(encryption=FULL)
        await life.ready("a-0", "a-1", "b-0", within=1800)
        assert {p.wire.accepts for p in life.world.processes.values()} == {frozenset({TLS})}
        assert set(life.world.started.values()) == {4}
        assert life.roster.encryption == REQUIRED
        assert life.world.roles.keys() == {f"{NAME}-superuser"}
        life.edit(encryption={"internode": False, "client": ""})
        await life.ready("a-0", "a-1", "b-0", within=1800)
        assert {p.wire.accepts for p in life.world.processes.values()} == {frozenset({WITHOUT})}
        assert set(life.world.started.values()) == {7}
        assert life.world.most_down == 1
        await life.until(lambda: not secrets(life))
        assert life.server.find(CONFIG_MAP, NAMESPACE, f"{NAME}-ca") is None
        await life.until(lambda: life.condition("CertificatesCurrent") == ("", "", ""))


@virtual_time
async def test_a_member_that_joins_finds_its_name_in_the_certificate_and_nobody_is_restarted() -> None:
    async with living() as life:
        life.create({**spec(a=2), "encryption": {"client": "Optional"}})
        await life.ready("a-0", "a-1")
        life.scale(a=3)
        await life.ready("a-0", "a-1", "a-2")
        assert set(life.world.started.values()) == {1}
        process = life.world.processes[f"{NAME}-dc1-a-2"]
        assert process.address in names(process.shown.data)
        assert process.wire.clients == {WITHOUT, TLS}


def aged(life: Life, age: float) -> None:
    """A rack's certificate is as old as this, in seconds."""
    data = secrets(life)
    before = tls.read_pair(data[RACK_SECRET])
    usages = frozenset({tls.SERVER, tls.CLIENT})
    request = Request(meta={}, common_name=tls.common_name(before), names=tuple(tls.names(before)), usages=usages)
    old = issue(data[f"{NAME}-ca"], request, seconds() - age)
    life.server.patch(SECRET, NAMESPACE, RACK_SECRET, {"data": secret({}, old)["data"]})


@virtual_time
async def test_a_certificate_is_renewed_and_taken_over_without_a_restart() -> None:
    async with living() as life:
        life.create({**spec(a=2), "encryption": FULL})
        await life.ready("a-0", "a-1")
        aged(life, 61 * DAY)
        await life.until(lambda: tls.times(tls.read_pair(secrets(life)[RACK_SECRET]))[1] > seconds() + 80 * DAY)
        fresh = secrets(life)[RACK_SECRET]
        await life.until(lambda: all(p.shown.data == fresh for p in life.world.processes.values()))
        await life.ready("a-0", "a-1")
        assert set(life.world.started.values()) == {1}


@virtual_time
async def test_a_member_that_does_not_take_a_new_certificate_is_named() -> None:
    async with living() as life:
        life.create({**spec(a=2), "encryption": FULL})
        await life.ready("a-0", "a-1")
        life.world.unwilling.add(f"{NAME}-dc1-a-1")
        aged(life, 61 * DAY)
        await life.until(lambda: life.condition("Degraded")[1] == "CertificateRenewalFailed", within=2 * PATIENCE)
        assert f"{NAME}-dc1-a-1 did not take over a new certificate" in life.condition("Degraded")[2]
        assert life.condition("CertificatesCurrent")[:2] == ("False", "CertificateRenewalFailed")
        life.world.unwilling.clear()
        await life.until(lambda: life.condition("CertificatesCurrent")[0] == "True")
        await life.ready("a-0", "a-1")


@pytest.mark.parametrize("key", [tls.KEY, tls.TRUSTED, tls.CERTIFICATE])
@virtual_time
async def test_an_authority_that_cannot_be_read_is_for_a_person_and_members_run_on(key: str) -> None:
    async with living() as life:
        life.create({**spec(a=2), "encryption": FULL})
        await life.ready("a-0", "a-1")
        whole = life.server.get(SECRET, NAMESPACE, f"{NAME}-ca")["data"][key]
        assert b64decode(whole).startswith(b"-----BEGIN ")
        life.server.patch(SECRET, NAMESPACE, f"{NAME}-ca", {"data": {key: "aHVudGVyMg=="}})
        await life.until(lambda: life.condition("CertificatesCurrent")[1] == "CertificateRenewalFailed")
        assert "hunter2" not in str(life.cluster.status)
        life.server.patch(SECRET, NAMESPACE, f"{NAME}-ca", {"data": {key: whole}})
        await life.ready("a-0", "a-1")
        assert set(life.world.started.values()) == {1}


@virtual_time
async def test_an_authority_outlives_the_cluster_where_the_volumes_do() -> None:
    async with living() as life:
        wanted = {**spec(a=1), "encryption": FULL}
        for wiped in (False, True):
            life.create({**wanted, "claimRetention": {"whenDeleted": "Delete" if wiped else "Retain"}})
            await life.ready("a-0")
            before = secrets(life)[f"{NAME}-ca"]
            life.server.delete(CLUSTERS, NAMESPACE, NAME)
            await life.until(lambda: life.server.find(CLUSTERS, NAMESPACE, NAME) is None)
            await life.until(lambda: secrets(life).keys() <= {f"{NAME}-ca"})
            assert secrets(life) == ({} if wiped else {f"{NAME}-ca": before})


@virtual_time
async def test_a_rack_that_was_removed_keeps_nobody_from_a_change() -> None:
    async with living() as life:
        life.create({**spec(a=2, b=1), "encryption": FULL})
        await life.ready("a-0", "a-1", "b-0")
        life.scale(b=0)
        await life.ready("a-0", "a-1")
        racks = life.server.get(CLUSTERS, NAMESPACE, NAME)["spec"]["datacenter"]["racks"]
        life.edit(datacenter={"name": "dc1", "racks": racks[:1]}, encryption={"internode": False, "client": ""})
        await life.ready("a-0", "a-1", within=1800)
        await life.until(lambda: not secrets(life))
        assert {p.wire.accepts for p in life.world.processes.values()} == {frozenset({WITHOUT})}


@virtual_time
async def test_an_idle_operator_writes_nothing_of_certificates() -> None:
    async with living() as life:
        life.create({**spec(a=2), "encryption": FULL, "monitoring": {"enabled": True}})
        await life.ready("a-0", "a-1")
        await asyncio.sleep(120)
        version = life.server.storage.version
        await asyncio.sleep(900)
        assert life.server.storage.version == version


async def succession(life: Life) -> None:
    """The authority is old, and all have had its successor among those that they trust for more than a week."""
    made = authority(life.cluster)
    old = make_authority(made, seconds() - 1300 * DAY)
    prepared = with_successor(old, made, seconds() - 8 * DAY)
    data = secrets(life)[RACK_SECRET]
    usages = frozenset({tls.SERVER, tls.CLIENT})
    request = Request(meta={}, common_name="rack a", names=tuple(sorted(names(data))), usages=usages)
    since = {"annotations": {TRUSTED_SINCE: timestamp(seconds() - 8 * DAY)}}
    content = secret({}, issue(prepared, request, seconds()))["data"]
    life.server.patch(SECRET, NAMESPACE, RACK_SECRET, {"metadata": since, "data": content})
    life.server.patch(SECRET, NAMESPACE, f"{NAME}-ca", {"data": secret({}, prepared)["data"]})
    for process in life.world.processes.values():
        process.shown.data = secrets(life)[RACK_SECRET]


@virtual_time
async def test_a_successor_of_the_authority_signs_when_all_members_say_that_they_trust_it() -> None:
    async with living(operated=False) as life:
        life.create({**spec(a=2), "encryption": FULL})
        async with operator(life):
            await life.ready("a-0", "a-1")
        await succession(life)
        late = life.world.processes[f"{NAME}-dc1-a-1"]
        late.shown.data = {**late.shown.data, tls.TRUSTED: secrets(life)[f"{NAME}-ca"][tls.CERTIFICATE]}
        life.world.unwilling.add(late.name)
        async with operator(life):
            await asyncio.sleep(300)
            assert tls.NEXT_CERTIFICATE in secrets(life)[f"{NAME}-ca"]
            assert life.is_ready()
            life.world.unwilling.clear()
            await life.until(lambda: tls.NEXT_CERTIFICATE not in secrets(life)[f"{NAME}-ca"])
            signer = tls.read_pair(secrets(life)[f"{NAME}-ca"])
            await life.until(lambda: tls.is_signed_by(tls.read_pair(secrets(life)[RACK_SECRET]), signer))
            await life.ready("a-0", "a-1")
        assert len(tls.read_all(life.server.get(CONFIG_MAP, NAMESPACE, f"{NAME}-ca")["data"]["ca.crt"].encode())) == 2
        assert set(life.world.started.values()) == {1}


CHOICES = [{"internode": internode, "client": client} for internode in (True, False) for client in ClientTls]


@pytest.mark.timeout(300)
@settings(max_examples=4, phases=[Phase.generate])
@given(seed=st.integers(0, 1_000_000))
def test_whatever_is_asked_for_and_whoever_dies_members_hear_each_other(seed: int) -> None:
    async def history() -> None:
        chance = random.Random(seed)  # noqa: S311
        async with living(seed=seed, operated=False) as life:
            life.create({**spec(a=1, b=1), "encryption": chance.choice(CHOICES)})
            async with operator(life):
                await life.ready("a-0", "b-0")
            for _ in range(chance.randint(2, 3)):
                async with operator(life):
                    life.edit(encryption=chance.choice(CHOICES))
                    await asyncio.sleep(chance.uniform(0, 60))
                    if chance.random() < 0.4:
                        life.world.kill(f"{NAME}-dc1-{chance.choice(('a-0', 'b-0'))}")
                    if chance.random() < 0.3:
                        life.scale(b=chance.choice((1, 2)))
                    await asyncio.sleep(chance.uniform(0, 30))
                assert life.world.violations == []
            goal = chance.choice(CHOICES)
            life.edit(encryption=goal)
            async with operator(life):
                await life.ready(within=3600)
            for process in life.world.processes.values():
                assert process.wire.accepts == ({TLS} if goal["internode"] else {WITHOUT})
                assert process.wire.has_certificates == any(goal.values())

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(history())


def test_the_program_in_the_pod_and_the_operator_call_a_certificate_the_same() -> None:
    data = {tls.CERTIFICATE: b"certificate\n", tls.KEY: b"key", tls.TRUSTED: b"authority\n"}
    told = Certificates(*(data[key].decode() for key in (tls.CERTIFICATE, tls.KEY, tls.TRUSTED))).fingerprint

    assert told == fingerprint(data)
    assert told != fingerprint({**data, tls.TRUSTED: b"authority\nanother\n"})
    assert Certificates().fingerprint == ""
