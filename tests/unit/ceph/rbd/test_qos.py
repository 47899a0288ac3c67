"""Limits of images: what parameters mean, and that an image has those of its class and no others, whoever dies."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.apis.meta import ObjectMeta
from controller.apis.rook.node_report import Mapper, NodeReport
from controller.ceph.rbd import images
from controller.ceph.rbd.images import Changes
from controller.ceph.rbd.qos import LIMITS, RECORD, Qos, apply, check, follow_size, limits
from controller.volumes.backend import BackendError, ParameterError, Volume
from tests.unit.ceph.rbd.librbd import Cluster, CrashError

GIB = 1 << 30
VOLUME = Volume(driver="d", attributes={"clusterID": "rook-ceph", "pool": "p", "imageName": "i"})
GROWING = {"baseReadIops": "100", "readIopsPerGiB": "10", "baseVolSizeBytes": str(2 * GIB), "maxReadIops": "125"}


@pytest.mark.parametrize(
    ("parameters", "size", "expected"),
    [
        ({}, 1, {}),
        ({"maxReadIops": "100"}, 1, {"rbd_qos_read_iops_limit": "100"}),
        ({"baseWriteBps": "100"}, 1, {"rbd_qos_write_bps_limit": "100"}),
        ({"maxIops": "1", "maxBps": "2"}, 1, {"rbd_qos_iops_limit": "1", "rbd_qos_bps_limit": "2"}),
        ({"baseReadIops": "100", "maxReadIops": "200"}, 1, {"rbd_qos_read_iops_limit": "100"}),
        (GROWING, GIB, {"rbd_qos_read_iops_limit": "100"}),
        (GROWING, 3 * GIB, {"rbd_qos_read_iops_limit": "110"}),
        (GROWING, 4 * GIB - 1, {"rbd_qos_read_iops_limit": "110"}),
        (GROWING, 9 * GIB, {"rbd_qos_read_iops_limit": "125"}),
    ],
)
def test_limits(parameters: dict[str, str], size: int, expected: dict[str, str]) -> None:
    check(parameters)
    assert limits(parameters, size) == expected


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"iops": "1"}, "parameter 'iops' is not known: expected some of baseIops, .*, maxWriteBps, .*readBpsPerGiB"),
        ({"maxIops": "0"}, r"parameters\['maxIops'\] is '0': expected a whole number, 1 at least"),
        ({"maxIops": "-1"}, "is '-1': expected a whole number"),
        ({"maxIops": "1k"}, "is '1k': expected a whole number"),
        ({"maxIops": "\u0661"}, "expected a whole number"),
        ({"maxIops": str(1 << 63)}, "expected a whole number"),
        (
            {"iopsPerGiB": "1"},
            "parameter 'iopsPerGiB' says what a volume gets beyond 'baseIops' and 'baseVolSizeBytes'",
        ),
        ({"iopsPerGiB": "1", "baseIops": "1"}, "expected these, too"),
        ({"baseBps": "9", "maxBps": "8"}, r"parameters\['maxBps'\] is 8: expected at least 9, as 'baseBps'"),
    ],
)
def test_parameters_that_mean_nothing_are_named(parameters: dict[str, str], told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        check(parameters)


@pytest.fixture
def ceph(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster("p")
    monkeypatch.setattr(images, "library", lambda: made)
    made.add("p", "i", size=GIB)
    return made


def metadata(ceph: Cluster) -> dict[str, str]:
    return ceph.pools["p"].images["i"].metadata


def give(ceph: Cluster, parameters: dict[str, str]) -> None:
    apply(ceph.pools["p"], VOLUME, parameters, Changes())


def test_an_image_has_the_limits_of_its_class_and_no_others(ceph: Cluster) -> None:
    metadata(ceph).update({"conf_rbd_cache": "false", "conf_rbd_qos_bps_limit": "7"})
    give(ceph, {"maxReadIops": "100"})
    assert metadata(ceph) == {
        "conf_rbd_cache": "false",
        "conf_rbd_qos_read_iops_limit": "100",
        RECORD: '{"maxReadIops":"100"}',
    }
    writes = ceph.writes
    give(ceph, {"maxReadIops": "100"})
    assert ceph.writes == writes, "one that has them is left alone"
    give(ceph, {})
    assert metadata(ceph) == {"conf_rbd_cache": "false"}


def test_limits_follow_the_size(ceph: Cluster) -> None:
    stored = ceph.pools["p"].images["i"]
    stored.size = 4 * GIB
    follow_size(ceph.pools["p"], VOLUME, Changes())
    assert metadata(ceph) == {}, "one without a class is left alone"
    stored.size = GIB
    give(ceph, GROWING)
    stored.size = 4 * GIB
    follow_size(ceph.pools["p"], VOLUME, Changes())
    assert metadata(ceph)["conf_rbd_qos_read_iops_limit"] == "120"


def test_the_lock_of_a_client_that_may_come_back_is_not_taken(ceph: Cluster) -> None:
    stored = ceph.pools["p"].images["i"]
    stored.owner = "10.0.0.1:0/1"
    with pytest.raises(BackendError, match=r"image p/i: 10\.0\.0\.1:0/1 owns its lock and does not answer"):
        give(ceph, {"maxIops": "1"})
    assert metadata(ceph) == {}
    stored.watched = True
    give(ceph, {"maxIops": "1"})
    assert metadata(ceph)["conf_rbd_qos_iops_limit"] == "1"


def test_an_image_that_is_gone_is_named(ceph: Cluster) -> None:
    del ceph.pools["p"].images["i"]
    with pytest.raises(BackendError, match="image p/i does not exist"):
        give(ceph, {"maxIops": "1"})


PARAMETERS = st.dictionaries(
    st.sampled_from([f"max{name}" for name in LIMITS]), st.integers(1, 3).map(str), max_size=len(LIMITS)
)


@given(st.lists(st.tuples(PARAMETERS, st.integers(1, 8)), max_size=4), PARAMETERS)
def test_whatever_was_cut_off_before_an_image_ends_up_with_its_limits(
    history: list[tuple[dict[str, str], int]], last: dict[str, str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        made = Cluster("p")
        patch.setattr(images, "library", lambda: made)
        made.add("p", "i", size=GIB)
        for parameters, dies_at in history:
            made.crash_at = made.writes + dies_at
            with suppress(CrashError):
                give(made, parameters)
            made.crash_at = None
        give(made, last)
        wanted: dict[str, str] = {f"conf_{key}": value for key, value in limits(last, GIB).items()}
        found = {key: value for key, value in metadata(made).items() if key != RECORD}
        assert found == wanted


@pytest.mark.parametrize(
    ("mounter", "mapper", "told"),
    [("", "krbd", True), ("rbd", "krbd", True), ("rbd-nbd", "krbd", False), ("", "userspace", False)],
)
def test_the_kernels_client_knows_no_limits(mounter: str, mapper: str, told: bool) -> None:
    calls: Any = None
    volume = Volume(driver="d", attributes={"mounter": mounter} if mounter else {})
    report = NodeReport(metadata=ObjectMeta(name="n1"), mapper=Mapper(name=mapper))
    why = Qos(calls).without_effect(volume, [report])
    assert ("no effect on node n1" in why) == told
