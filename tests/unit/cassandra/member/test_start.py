"""Whether Cassandra is started, and with what: the record that the operator wrote against the mark on the volume."""

import os

import pytest

from controller.cassandra.member.pod.start import LEAST_FREE, LeftError, RefusedError, judge, trouble

OWN, OTHER, THIRD = "10.0.0.1", "10.0.0.2", "10.0.0.3"
MARK = {"clusterName": "c", "hostId": "h1", "left": False}


def record(*seeds: str, **fields: object) -> dict[str, object]:
    return {"address": OWN, "seeds": list(seeds), "founder": False, "hostId": "", "replace": "", **fields}


@pytest.mark.parametrize(
    ("wanted", "mark", "has_data", "started"),
    [
        pytest.param(record(OWN, founder=True), {}, False, ([OWN], ""), id="the founder begins alone"),
        pytest.param(record(OWN, founder=True), {}, True, ([OWN], ""), id="a founder that was cut short begins again"),
        pytest.param(record(OTHER), {}, False, ([OTHER], ""), id="a new member finds the others"),
        pytest.param(record(OWN, OTHER), {}, False, ([OTHER], ""), id="a new member is not its own seed"),
        pytest.param(record(OWN, OTHER), {}, True, ([OTHER], ""), id="nor is one whose join was cut short"),
        pytest.param(record(OWN, OTHER, hostId="h1"), MARK, True, ([OWN, OTHER], ""), id="a member is, if it is to be"),
        pytest.param(record(OWN, OTHER), MARK, True, ([OWN, OTHER], ""), id="whoever comes back has its data"),
        pytest.param(record(hostId="h1"), MARK, True, ([OWN], ""), id="the only member"),
        pytest.param(record(OWN, hostId="h1"), {}, True, ([OWN], ""), id="the only member, its mark not written yet"),
        pytest.param(record(OTHER, replace=OWN), {}, False, ([OTHER], OWN), id="an empty volume takes a lost place"),
        pytest.param(record(OTHER, replace=OWN), {}, True, ([OTHER], OWN), id="and does so until it has it"),
        pytest.param(record(OTHER, replace=OWN), MARK, True, ([OTHER], ""), id="but not again once it has it"),
    ],
)
def test_it_is_started(
    wanted: dict[str, object], mark: dict[str, object], has_data: bool, started: tuple[list[str], str]
) -> None:
    assert judge(wanted, mark, has_data, "c") == started


@pytest.mark.parametrize(
    ("wanted", "mark", "has_data", "why"),
    [
        pytest.param(record(OTHER, hostId="h1"), {}, False, "the volume is empty", id="a lost volume is no new member"),
        pytest.param(record(OTHER, hostId="h2"), MARK, True, "data of host ID h1", id="volumes that were swapped"),
        pytest.param(record(OWN), {}, False, "no seed but itself", id="nobody else founds a cluster"),
        pytest.param(record(), {}, False, "no seed but itself", id="nor without any seed"),
        pytest.param(record(OTHER), {**MARK, "clusterName": "d"}, True, "cluster 'd'", id="another cluster's volume"),
        pytest.param(
            record(OWN, founder=True), {**MARK, "clusterName": "d"}, True, "cluster 'd'", id="even for the founder"
        ),
        pytest.param(
            record(OWN, founder=True, hostId="h1"),
            {},
            False,
            "the volume is empty",
            id="a founder without its volume",
        ),
        pytest.param(record(OWN, replace=OWN), {}, False, "no seed but itself", id="nobody to get the data from"),
    ],
)
def test_it_is_not_started(wanted: dict[str, object], mark: dict[str, object], has_data: bool, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        judge(wanted, mark, has_data, "c")


def test_who_has_left_stays_away() -> None:
    with pytest.raises(LeftError, match="h1 has left"):
        judge(record(OTHER, hostId="h1"), {**MARK, "left": True}, True, "c")


def volume(free: int, *, reserved: int = 0, flags: int = 0) -> os.statvfs_result:
    """A volume with so many bytes free, some of them for root alone."""
    block = 4096
    return os.statvfs_result((block, block, 1 << 20, (free + reserved) // block, free // block, 0, 0, 0, flags, 255))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        pytest.param(volume(LEAST_FREE), "", id="there is just enough room"),
        pytest.param(volume(LEAST_FREE - 4096), "is full: 49 MiB of it are free", id="a little is missing"),
        pytest.param(volume(0, reserved=1 << 30), "is full: 0 MiB", id="the rest is root's alone"),
        pytest.param(volume(1 << 30, flags=os.ST_RDONLY), "can only be read", id="after an error it is read-only"),
    ],
)
def test_with_which_volume_it_cannot_do(found: os.statvfs_result, why: str) -> None:
    told = trouble(found)
    assert why in told
    assert bool(told) is bool(why)
