"""Encrypted volumes as the kubelet stages them: who is asked, and what is refused before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from controller.agent.node.block import BlockDriver
from controller.agent.node.calls import CsiError
from controller.agent.node.driver import Access, Stage
from controller.agent.rbd.devices import RbdDevices
from controller.agent.rbd.mapper import MappingError
from controller.agent.rbd.unlock import Question, UnlockError
from controller.apis.rook.encryption import DEFAULT, KMS_TYPE, METADATA, MONITORS
from tests.unit.agent.standin import DRIVER, FileMapper, Operator, needs_loop_devices

pytestmark = needs_loop_devices

PASS = "of the Secret"
SECRETS = {"userID": "csi-rbd-node", "userKey": "c2VjcmV0", "encryptionPassphrase": PASS}
TOLD = {MONITORS: "10.0.0.1:6789", "pool": "p", "imageName": "image", KMS_TYPE: METADATA}


class Node:
    """A node, and who unlocks images for it."""

    def __init__(self, mapper: FileMapper, operator: Operator, directory: Path) -> None:
        self.asked: list[Question] = []
        self.error = ""
        self.directory = directory
        self.devices = RbdDevices("node-a", [mapper], CollectorRegistry(), 7, unlock=self.unlock)
        self.driver = BlockDriver("node-a", self.devices, operator.clients, directory / "state")

    async def unlock(self, question: Question) -> str:
        self.asked.append(question)
        if self.error:
            raise UnlockError(self.error)
        return "the volume's own"

    def stage(self, **changes: Any) -> Stage:
        made: dict[str, Any] = {
            "driver": DRIVER,
            "volume": "vol-1",
            "path": str(self.directory / "staging"),
            "access": Access(block=True, mode="SINGLE_NODE_WRITER"),
            "attributes": {"encrypted": "true"},
            "told": TOLD,
            "secrets": SECRETS,
        }
        if changes.get("attributes", made["attributes"]).get("encrypted") != "true":
            made["told"] = {"monitors": TOLD[MONITORS], **TOLD}
        return Stage(**made | changes)


@pytest.fixture
def place(mapper: FileMapper, operator: Operator, tmp_path: Path) -> Node:
    mapper.create("image")
    return Node(mapper, operator, tmp_path)


async def test_an_encrypted_volume_is_unlocked_and_mapped(place: Node, mapper: FileMapper) -> None:
    await place.driver.stage(place.stage(access=Access(block=False, mode="SINGLE_NODE_WRITER")))
    (question,) = place.asked
    assert (question.handle, question.passphrase, question.kms, question.read_only) == ("vol-1", PASS, METADATA, False)
    assert mapper.passphrase == "the volume's own"
    device = await place.devices.find("vol-1")
    assert device is not None
    assert device.encrypted
    await place.driver.stage(place.stage(access=Access(block=False, mode="SINGLE_NODE_WRITER")))
    assert len(place.asked) == 1, "it is there"


async def test_one_that_is_not_encrypted_is_not_unlocked(place: Node, mapper: FileMapper) -> None:
    await place.driver.stage(place.stage(attributes={"encrypted": "false"}))
    assert (place.asked, mapper.passphrase) == ([], "")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"secrets": SECRETS | {"encryptionPassphrase": ""}}, "node-stage-secret-name has no encryptionPassphrase"),
        ({"told": {**TOLD, KMS_TYPE: ""}}, "encryptionKMSType.* is '': expected default or metadata"),
        (
            {"told": {**TOLD, MONITORS: "", "monitors": "10.0.0.1:6789"}},
            r"publish_context\['monitorsForEncrypted'\] is empty",
        ),
        ({"attributes": {"encrypted": "true", "encryptionType": "file"}}, "is 'file': expected 'block'"),
    ],
)
async def test_what_is_missing_is_named(place: Node, mapper: FileMapper, changes: Any, told: str) -> None:
    with pytest.raises(CsiError, match=told):
        await place.driver.stage(place.stage(**changes))
    assert (place.asked, mapper.mapped) == ([], {})


async def test_a_node_that_opens_no_encrypted_image_does_not_write_to_it(place: Node, mapper: FileMapper) -> None:
    mapper.cannot = "the kernel has no device mapper"
    with pytest.raises(CsiError, match=r"image p/image cannot be mapped on node node-a: .* has no device mapper"):
        await place.driver.stage(place.stage())
    assert (place.asked, mapper.mapped) == ([], {})
    await place.driver.stage(place.stage(attributes={}))


async def test_why_it_is_not_unlocked_is_told_without_the_passphrase(place: Node, mapper: FileMapper) -> None:
    place.error = "image p/image: no"
    with pytest.raises(MappingError, match="image p/image: no"):
        await place.driver.stage(place.stage())
    assert mapper.mapped == {}
    assert PASS not in repr(place.asked)


@pytest.mark.parametrize("first", [True, False])
async def test_one_handle_is_not_mapped_encrypted_and_as_it_is(place: Node, first: bool) -> None:
    words = {True: "image p/image, encrypted", False: "image p/image"}
    attributes = {True: {"encrypted": "true"}, False: {}}
    await place.driver.stage(place.stage(attributes=attributes[first]))
    with pytest.raises(CsiError, match=f"is {words[not first]}, and is mapped here as .* {words[first]}: that"):
        await place.driver.stage(place.stage(attributes=attributes[not first]))


async def test_a_reader_asks_to_change_nothing(place: Node) -> None:
    told = {**TOLD, KMS_TYPE: DEFAULT}
    access = Access(block=True, mode="MULTI_NODE_READER_ONLY", read_only=True)
    await place.driver.stage(place.stage(access=access, told=told))
    assert [(question.kms, question.read_only) for question in place.asked] == [(DEFAULT, True)]
