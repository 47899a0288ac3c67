"""What of a spec cannot be done: the field, what was found, and what would be right."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.apis.cassandra import CassandraCluster
from controller.apis.meta import ObjectMeta
from controller.cassandra.cluster.spec import effective, hindrances, immutable, too_small, upgrade_of, wanted_racks
from controller.cassandra.member.objects import VERSION_LABEL
from controller.cassandra.member.roster import Roster, Seat
from controller.cassandra.releases import CassandraVersion
from controller.runtime.kube import Pod
from tests.unit.cassandra.life import spec


def cluster(**changes: Any) -> CassandraCluster:
    wanted = {"metadata": {"name": "store", "namespace": "db"}, "spec": {**spec(a=2), **changes}}
    return msgspec.convert(wanted, CassandraCluster)


def roster(**changes: Any) -> Roster:
    known = Roster(
        cluster="store",
        datacenter="dc1",
        num_tokens=16,
        authentication=True,
        founded=True,
        version="5.0.3",
        seats={"store-dc1-a-0": Seat(rack="a", ordinal=0, host_id="h0"), "store-dc1-b-0": Seat(rack="b", host_id="h1")},
    )
    return msgspec.structs.replace(known, **changes)


HINDRANCES: list[tuple[dict[str, Any], Roster | None, str]] = [
    ({}, None, ""),
    (
        {"mode": "scylla"},
        None,
        "spec.mode is scylla, and this operator runs Apache Cassandra only: set it to cassandra",
    ),
    ({"version": "3.11.6"}, None, "spec.version is 3.11.6, and this operator runs 4.1 and 5.0: set one of those"),
    ({"version": "latest"}, None, "spec.version is latest"),
    ({"version": "4.1.7"}, roster(), "the members have written files of 5.0.3"),
    ({"version": "4.1.7"}, roster(version="4.1.7"), ""),
    ({"version": "5.0.3-rhel"}, roster(), ""),
    ({"config": {"cluster_name": "other"}}, None, "config.cluster_name is the operator's to set"),
    ({"jvm": {"options": ["-Dcassandra.replace_address=1.2.3.4"]}}, None, "is the operator's to set"),
    ({"jvm": {"heapSize": "64Mi"}}, None, "jvm.heapSize is 64 MiB; a member needs 256 MiB or more"),
]


@pytest.mark.parametrize(("changes", "known", "told"), HINDRANCES)
def test_what_keeps_members_from_being_made(changes: dict[str, Any], known: Roster | None, told: str) -> None:
    changed = cluster(**changes)
    found = " ".join(hindrances(changed, upgrade_of(changed, known, {})))

    assert told in found
    assert bool(found) == bool(told)


def test_a_name_that_is_too_long_is_told_with_what_is_possible() -> None:
    long = cluster(datacenter=spec("5.0.3", **{"r" * 48: 1})["datacenter"])

    assert "at most 52 are possible" in " ".join(hindrances(long, upgrade_of(long, None, {})))


IMMUTABLE: list[tuple[dict[str, Any], str]] = [
    ({"datacenter": {**spec(a=1, b=1)["datacenter"], "name": "dc2"}}, "spec.datacenter.name is dc2, and the members"),
    (
        {"datacenter": spec(a=1, b=1)["datacenter"], "numTokens": 8},
        "spec.numTokens is 8, and the members were made with 16",
    ),
    (
        {"datacenter": spec(a=1, b=1)["datacenter"], "authentication": {"enabled": False}},
        "spec.authentication.enabled is false",
    ),
    ({}, "spec.datacenter.racks has no b, which has 1 members: put it back"),
]


@pytest.mark.parametrize(("changes", "told"), IMMUTABLE)
def test_what_cannot_be_changed_is_told_and_what_was_recorded_counts(changes: dict[str, Any], told: str) -> None:
    changed = cluster(**changes)

    (found,) = immutable(changed, roster())
    assert told in found
    counts = effective(changed, roster()).spec
    assert counts.datacenter.name == "dc1"
    assert counts.num_tokens == 16
    assert counts.authentication.enabled
    assert immutable(changed, None) == ()


def test_a_rack_that_is_not_in_the_spec_any_more_keeps_its_members() -> None:
    assert wanted_racks(cluster(), roster()) == {"a": 2, "b": 1}


@pytest.mark.parametrize(("has", "told"), [("1Gi", False), ("512Mi", False), ("2Gi", True)])
def test_volumes_never_shrink(has: str, told: bool) -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": has}}}}
    live = {"spec": {"volumeClaimTemplates": [claim]}}
    (rack,) = cluster().spec.datacenter.racks

    found = too_small(3, rack, live)

    assert bool(found) == told
    if told:
        assert found.startswith(
            "spec.datacenter.racks[3].storage.volumeClaimTemplates[0].spec.resources.requests.storage"
        )
        assert "is 1Gi, and volumes have 2Gi" in found


MEMBER, OTHER = "store-dc1-a-0", "store-dc1-b-0"


@pytest.mark.parametrize(
    ("wanted", "recorded", "tags", "target", "under_way", "refused"),
    [
        pytest.param("5.0.3", "5.0.3", ("5.0.3", "5.0.3"), "5.0.3", False, False, id="at rest"),
        pytest.param("5.0.3", "", (), "5.0.3", False, False, id="nobody is there"),
        pytest.param("5.0.4", "5.0.3", ("5.0.4", "5.0.3"), "5.0.4", True, False, id="an upgrade"),
        pytest.param("5.0.3", "4.1.7", ("4.1.7", "4.1.7"), "5.0.3", True, False, id="to the next release"),
        pytest.param("5.0.3-rhel", "5.0.3", ("5.0.3", "5.0.3"), "5.0.3-rhel", True, False, id="another image of it"),
        pytest.param("5.0.2", "5.0.3", ("5.0.3", "5.0.3"), "5.0.2", True, False, id="back within the release"),
        pytest.param("4.1.7", "4.1.7", ("4.1.7", "5.0.3"), "4.1.7", True, False, id="back before all have gone on"),
        pytest.param("4.1.7", "5.0.3", ("5.0.3", "5.0.3"), "5.0.3", False, True, id="back when all have gone on"),
        pytest.param("4.1.7", "", ("5.0.3",), "5.0.3", False, True, id="back when the first has been made"),
        pytest.param("3.11.6", "5.0.3", ("5.0.2", "5.0.3"), "5.0.3", True, True, id="what is under way goes on"),
    ],
)
def test_what_members_should_run(
    wanted: str, recorded: str, tags: tuple[str, ...], target: str, under_way: bool, refused: bool
) -> None:
    pods = {
        name: Pod(metadata=ObjectMeta(name=name, labels={VERSION_LABEL: tag}))
        for name, tag in zip((MEMBER, OTHER), tags, strict=False)
    }
    found = upgrade_of(cluster(version=wanted), roster(version=recorded), pods)

    assert found.target is not None
    assert (found.target.image, found.under_way, bool(found.refusal)) == (target, under_way, refused)


def test_versions_are_ordered_by_number_and_not_by_letter() -> None:
    tags = ["5.0.10-rhel", "5.0.9", "4.1.7", "4.1", "latest"]

    assert sorted(tags, key=CassandraVersion.parse) == ["latest", "4.1", "4.1.7", "5.0.9", "5.0.10-rhel"]
    assert [CassandraVersion.parse(tag).release for tag in tags] == [(5, 0), (5, 0), (4, 1), (4, 1), (0, 0)]
