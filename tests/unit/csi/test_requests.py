"""What calls of a CSI controller service ask for."""

from __future__ import annotations

import uuid

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.agent.node import csi_pb2
from controller.agent.node.calls import CsiError
from controller.csi import requests
from controller.csi.records import Publication, VolumeRecord
from controller.csi.requests import Range
from controller.volumes.backend import Choice, Description, Volume
from tests.unit.volumes.objects import DISKS, SHARES

GIB = 1 << 30
Mode = csi_pb2.VolumeCapability.AccessMode


def capability(mode: Mode.Mode.ValueType, *, fs_type: str = "", block: bool = False) -> csi_pb2.VolumeCapability:
    access = csi_pb2.VolumeCapability.AccessMode(mode=mode)
    if block:
        return csi_pb2.VolumeCapability(block=csi_pb2.VolumeCapability.BlockVolume(), access_mode=access)
    return csi_pb2.VolumeCapability(mount=csi_pb2.VolumeCapability.MountVolume(fs_type=fs_type), access_mode=access)


@given(st.text(), st.text())
def test_other_names_have_other_uids_and_the_same_has_the_same(one: str, other: str) -> None:
    first, second = (requests.uid_of("driver", "volume", name) for name in (one, other))
    assert str(uuid.UUID(first)) == first
    assert (first == second) == (one == other)
    assert first != requests.uid_of("driver", "snapshot", one)


@given(st.lists(st.uuids(), unique=True, max_size=12), st.integers(0, 5))
def test_the_pages_of_a_list_are_all_of_it(found: list[uuid.UUID], most: int) -> None:
    everything, token = sorted(map(str, found)), ""
    seen: list[str] = []
    while True:
        part, token = requests.page(everything, str, token, most)
        assert not most or len(part) <= most
        seen += part
        if not token:
            break
    assert seen == everything


def test_a_token_that_was_not_given_here_is_aborted() -> None:
    with pytest.raises(CsiError) as refused:
        requests.page(["a"], str, "invalid-token", 0)
    assert refused.value.code is grpc.StatusCode.ABORTED


@pytest.mark.parametrize(
    ("asked", "most", "least", "size"),
    [(0, 0, 0, GIB), (5, 0, 0, 5), (5, 9, 7, 7), (0, 9, 0, 9), (0, 2 * GIB, 0, GIB)],
)
def test_the_size_of_a_new_volume(asked: int, most: int, least: int, size: int) -> None:
    wanted = requests.range_of(csi_pb2.CapacityRange(required_bytes=asked, limit_bytes=most), least)
    assert requests.size_within(wanted) == size
    assert wanted.has(size)


@pytest.mark.parametrize(
    ("asked", "most", "code"),
    [(9, 5, grpc.StatusCode.OUT_OF_RANGE), (-1, 0, grpc.StatusCode.INVALID_ARGUMENT)],
)
def test_a_size_that_cannot_be_is_refused(asked: int, most: int, code: grpc.StatusCode) -> None:
    with pytest.raises(CsiError) as refused:
        requests.range_of(csi_pb2.CapacityRange(required_bytes=asked, limit_bytes=most))
    assert refused.value.code is code


def test_an_xfs_that_would_be_too_small_is_out_of_range() -> None:
    asked = [capability(Mode.SINGLE_NODE_WRITER, fs_type="xfs")]
    with pytest.raises(CsiError, match="expected 314572800 at least") as refused:
        requests.range_of(csi_pb2.CapacityRange(limit_bytes=1 << 20), requests.least_bytes(asked, DISKS))
    assert refused.value.code is grpc.StatusCode.OUT_OF_RANGE


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (csi_pb2.VolumeCapability(), "no access type"),
        (capability(Mode.UNKNOWN), "access_mode is UNKNOWN"),
        (capability(Mode.SINGLE_NODE_WRITER, fs_type="btrfs"), "'btrfs': expected ext4 or xfs"),
        (capability(Mode.MULTI_NODE_MULTI_WRITER), "ReadWriteMany with a file system"),
        (capability(Mode.MULTI_NODE_MULTI_WRITER, block=True), ""),
        (capability(Mode.SINGLE_NODE_SINGLE_WRITER, fs_type="xfs"), ""),
    ],
)
def test_a_way_of_use_that_is_not_served_is_named(asked: csi_pb2.VolumeCapability, problem: str) -> None:
    found = requests.capability_problem(asked, DISKS)
    assert problem in found
    assert bool(problem) == bool(found)


def test_a_file_system_by_itself_has_no_type() -> None:
    asked = capability(Mode.MULTI_NODE_MULTI_WRITER, fs_type="ext4")
    assert "expected none" in requests.capability_problem(asked, SHARES)


@pytest.mark.parametrize(("mode", "apart"), [("ReadWriteOnce", True), ("ReadOnlyMany", False)])
def test_readers_share_a_volume_and_a_writer_does_not(mode: str, apart: bool) -> None:
    assert requests.keeps_apart(Publication(mode=mode), DISKS) is apart


@pytest.mark.parametrize(
    ("wanted", "source", "attributes", "differs"),
    [
        (Range(5, 0), "", {"pool": "a"}, ""),
        (Range(1, 5), "", {}, ""),
        (Range(6, 0), "", {}, "it has 5 bytes"),
        (Range(1, 4), "", {}, "it has 5 bytes"),
        (Range(5, 0), "snapshot:x", {}, "began as an empty one"),
        (Range(5, 0), "", {"pool": "b"}, "(pool)"),
    ],
)
def test_a_volume_of_the_same_name_is_the_same_or_said_to_differ(
    wanted: Range, source: str, attributes: dict[str, str], differs: str
) -> None:
    there = VolumeRecord(uid="u", driver="d", name="n", size=5, attributes={"pool": "a"})
    choice = Choice(volume=Volume(driver="d", attributes=attributes), place={})
    found = requests.differs(there, [choice], wanted, source)
    assert differs in found
    assert bool(differs) == bool(found)


@pytest.mark.parametrize(("name", "problem"), [("", "no name"), ("ä" * 65, "130 bytes"), ("x" * 128, "")])
def test_names_have_128_bytes_at_most(name: str, problem: str) -> None:
    request = csi_pb2.CreateVolumeRequest(name=name)
    if not problem:
        requests.require(request, "name")
        return
    with pytest.raises(CsiError, match=problem):
        requests.require(request, "name")


@pytest.mark.parametrize(
    ("preferred", "requisite", "pools"),
    [
        ((), (), ["a", "b"]),
        (({"zone": "b"},), ({"zone": "a"}, {"zone": "b"}), ["b", "a", "b"]),
        ((), ({"zone": "b", "rack": "1"},), ["b"]),
        ((), ({"zone": "c"},), []),
    ],
)
def test_a_volume_is_made_where_it_is_asked_for(
    preferred: tuple[dict[str, str], ...], requisite: tuple[dict[str, str], ...], pools: list[str]
) -> None:
    choices = tuple(Choice(volume=Volume(driver="d", attributes={"pool": zone}), place={"zone": zone}) for zone in "ab")
    described = Description(
        volume=choices[0].volume, secret_namespace="x", stage_secret="x", expand_secret="x", choices=choices
    )
    asked = csi_pb2.TopologyRequirement(
        preferred=[csi_pb2.Topology(segments=segments) for segments in preferred],
        requisite=[csi_pb2.Topology(segments=segments) for segments in requisite],
    )
    if not pools:
        with pytest.raises(CsiError, match="expected zone=a or zone=b") as refused:
            requests.choices_for(described, asked)
        assert refused.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        return
    assert [choice.volume.attributes["pool"] for choice in requests.choices_for(described, asked)] == pools
