"""csi-sanity, the conformance tests of CSI: how it is called, and why it may skip tests."""

from pathlib import PurePath

from e2e.junit import Results

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


def unexplained(results: Results) -> dict[str, str]:
    """The tests that were skipped for another reason than a capability that is not declared, with that reason."""
    return {name: why for name, why in results.skipped.items() if why not in UNDECLARED}


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
