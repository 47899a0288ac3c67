"""What the agent writes of its node: when, and that it never says less than it knows."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import msgspec
import pytest
import yaml

from controller.agent.devices import report
from controller.agent.devices.discovery import Discovery
from controller.agent.devices.report import REPORTS, Reporter
from controller.apis.rook.node_report import BlockDevice, Mapper, NodeReport, VolumeClient, VolumeProblem
from controller.testkit import ApiServer
from informers import ApiError

CRD = Path(__file__).parents[4] / "manifests/crds/rook.io_nodereports.yaml"
DISK = BlockDevice(name="sdb", path="/dev/sdb", size=1, type="disk", signatures=("gpt",))
VOLUME = VolumeClient(driver="rbd", volume_handle="v", image="pool/a", address="10.0.0.1:0/3456", cookie="18446")


class Devices:
    def __init__(self) -> None:
        self.looks = 0

    async def devices(self) -> tuple[BlockDevice, ...]:
        self.looks += 1
        return (DISK,)


class Node:
    """A node with an agent, and the API server that it reports to."""

    def __init__(self) -> None:
        self.server = ApiServer(namespaces=("rook",))
        self.server.install(yaml.safe_load(CRD.read_text(encoding="utf-8")))
        self.devices = Devices()
        self.volumes: list[VolumeClient] = []
        self.problems: list[VolumeProblem] = []
        self.reporter = Reporter(
            client=self.server.client(),
            namespace="rook",
            node="n1.example.org",
            discovery=cast("Discovery", self.devices),
            mapper=self._mapper,
            clients=lambda: self.volumes,
            problems=lambda: self.problems,
            interval=60.0,
        )

    async def _mapper(self) -> Mapper:
        return Mapper(name="userspace", reason="krbd: no such driver")

    def told(self) -> NodeReport:
        found = self.server.find(REPORTS, "rook", "n1.example.org")
        assert found is not None
        return msgspec.convert(found, NodeReport)


async def test_a_report_has_the_nodes_name_and_all_that_is_known() -> None:
    node = Node()
    await node.reporter.write()
    told = node.told()
    assert (told.devices, told.mapper.name, told.clients) == ((DISK,), "userspace", ())


async def test_a_new_client_is_told_at_once_and_without_another_look_at_the_devices() -> None:
    node = Node()
    await node.reporter.write()
    node.volumes.append(VOLUME)
    await node.reporter.write()
    assert node.told().clients == (VOLUME,)
    node.volumes.clear()
    await node.reporter.write()
    assert node.told().clients == ()
    assert node.devices.looks == 1


async def test_a_client_that_is_told_before_the_first_look_does_not_hide_the_devices() -> None:
    node = Node()
    node.volumes.append(VOLUME)
    await node.reporter.write()
    assert node.told().devices == (DISK,)


async def test_what_is_told_already_is_not_written_again_until_it_is_time_to_make_sure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Node()
    await node.reporter.write()
    before = len(node.server.requests)
    await node.reporter.write()
    assert len(node.server.requests) == before

    node.server.delete(REPORTS, "rook", "n1.example.org")
    monkeypatch.setattr(report, "CONFIRM_INTERVAL", 0.0)
    await node.reporter.write()
    assert node.told().devices


async def test_what_was_refused_is_written_the_next_time() -> None:
    node = Node()
    node.server.refusals.append(ApiError(403, "Forbidden", "no"))
    with pytest.raises(ApiError):
        await node.reporter.write()
    assert not node.reporter.reported
    await node.reporter.write()
    assert node.told().devices
    assert node.reporter.reported


async def test_volumes_that_fail_are_in_it_as_long_as_they_do() -> None:
    node = Node()
    node.problems = [VolumeProblem(driver="rbd", volume_handle="v", message="it died")]
    await node.reporter.write()
    assert node.told().problems == (VolumeProblem(driver="rbd", volume_handle="v", message="it died"),)
    node.problems = []
    await node.reporter.write()
    assert node.told().problems == ()
