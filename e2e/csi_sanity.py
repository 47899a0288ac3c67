"""csi-sanity, the conformance tests of CSI: how it is called, and what it found."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from xml.etree import ElementTree

PROGRAM = "csi-sanity"

UNDECLARED = {
    "pending": "nothing: csi-sanity itself leaves these out",
    "GetCapacity not supported": "GET_CAPACITY",
    "Modify volume not supported": "MODIFY_VOLUME",
    "Modify Volume not supported": "MODIFY_VOLUME",
    "ControllerModifyVolume not supported": "MODIFY_VOLUME",
    "ControllerPublishVolume.readonly field not supported": "PUBLISH_READONLY",
    "testnodevolumeattachlimit not enabled": "an option of csi-sanity",
    "GetSnapshot not supported": "GET_SNAPSHOT, which CSI 1.11 has not",
    "SNAPSHOT_ACCESSIBILITY_CONSTRAINTS not supported": "SNAPSHOT_ACCESSIBILITY_CONSTRAINTS, which CSI 1.11 has not",
    "ControllerGetVolumeHealth not supported": "GET_VOLUME_HEALTH, which CSI 1.11 has not",
    "ControllerListVolumeHealth not supported": "LIST_VOLUME_HEALTH, which CSI 1.11 has not",
    "NodeGetVolumeHealth not supported": "GET_VOLUME_HEALTH, which CSI 1.11 has not",
    "NodeGetStorageHealth not supported": "GET_STORAGE_HEALTH, which CSI 1.11 has not",
    "GroupControllerService not supported": "GROUP_CONTROLLER_SERVICE",
    "VolumeGroupSnapshots not supported": "CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT",
}
"""Why tests are skipped, by what they say: the capability that is not declared."""


@dataclass(frozen=True)
class Results:
    """What csi-sanity found, by the names of its tests.

    Attributes:
        passed: Those that passed.
        failed: Those that failed, with what they say.
        skipped: Those that were skipped, with why.
    """

    passed: tuple[str, ...]
    failed: Mapping[str, str]
    skipped: Mapping[str, str]

    @property
    def unexplained(self) -> Mapping[str, str]:
        """The tests that were skipped for another reason than a capability that is not declared."""
        return {name: why for name, why in self.skipped.items() if why not in UNDECLARED}


def command(
    program: PurePath,
    *,
    node: PurePath,
    controller: PurePath,
    directory: PurePath,
    block: bool = False,
    size: int = 1 << 30,
    parameters: bool = False,
) -> list[str]:
    """The command that runs csi-sanity.

    Args:
        program: Where it is.
        node: The socket of the node service.
        controller: The socket of the controller service.
        directory: Where it mounts, and where `secrets.yaml` is, and `parameters.yaml` with `parameters`; its results go
            to `junit.xml`. The node service has it at the same path.
        block: Whether volumes are devices; else they have file systems.
        size: Bytes of the volumes; they grow to twice as many.
        parameters: Whether volumes have parameters.
    """
    given = [f"-csi.testvolumeparameters={directory}/parameters.yaml"] if parameters else []
    return [
        str(program),
        f"-csi.endpoint=unix://{node}",
        f"-csi.controllerendpoint=unix://{controller}",
        f"-csi.mountdir={directory}/mount",
        f"-csi.stagingdir={directory}/staging",
        f"-csi.secrets={directory}/secrets.yaml",
        f"-csi.testvolumesize={size}",
        f"-csi.testvolumeexpandsize={2 * size}",
        f"-csi.testvolumeaccesstype={'block' if block else 'mount'}",
        f"-ginkgo.junit-report={directory}/junit.xml",
        "-ginkgo.no-color",
        *given,
    ]


def read(junit: str | bytes) -> Results:
    """What the report of a run says, in JUnit's form."""
    passed, failed, skipped = [], {}, {}
    for case in ElementTree.fromstring(junit).iter("testcase"):  # noqa: S314 - our own program's
        name, state = case.get("name", ""), case.get("status", "")
        if state == "passed" and name.startswith("[It]"):
            passed.append(name)
        for why in case.findall("skipped"):
            message = why.get("message", "")
            skipped[name] = message.removeprefix("skipped - ")
        for kind in ("failure", "error"):
            for why in case.findall(kind):
                failed[name] = f"{why.get('message', '')}\n{why.text or ''}"
    return Results(tuple(passed), failed, {name: why for name, why in skipped.items() if why})
