"""The CSI identity service (CSI specification 1.11, "Identity Service RPC"): who the driver is, and can it work."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from google.protobuf.wrappers_pb2 import BoolValue

from controller.agent.node import csi_pb2, csi_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class IdentityService(csi_pb2_grpc.IdentityServicer):
    """Tells who this is.

    Args:
        driver: The CSI driver's name.
        version: This program's version.
        problem: Why no volume can be served now; empty when it can.
        controller: Whether the driver has a controller service, too; it may have another socket.
        places: Whether volumes may be for some nodes only, as far as it is known where nodes are.
    """

    def __init__(
        self,
        driver: str,
        version: str,
        problem: Callable[[], Awaitable[str]],
        *,
        controller: bool = False,
        places: bool = False,
    ) -> None:
        self._driver = driver
        self._version = version
        self._problem = problem
        self._controller = controller
        self._places = places

    async def GetPluginInfo(  # noqa: N802
        self, request: csi_pb2.GetPluginInfoRequest, context: Any
    ) -> csi_pb2.GetPluginInfoResponse:
        """Name and version."""
        return csi_pb2.GetPluginInfoResponse(name=self._driver, vendor_version=self._version)

    async def GetPluginCapabilities(  # noqa: N802
        self, request: csi_pb2.GetPluginCapabilitiesRequest, context: Any
    ) -> csi_pb2.GetPluginCapabilitiesResponse:
        """What there is beside the node service. Kubernetes asks for no controller service: the operator is that."""
        volumes, service = csi_pb2.PluginCapability.VolumeExpansion, csi_pb2.PluginCapability.Service
        found = [csi_pb2.PluginCapability(volume_expansion=volumes(type=volumes.ONLINE))]
        kinds = {service.CONTROLLER_SERVICE: self._controller, service.VOLUME_ACCESSIBILITY_CONSTRAINTS: self._places}
        found += [csi_pb2.PluginCapability(service=service(type=kind)) for kind, has in kinds.items() if has]
        return csi_pb2.GetPluginCapabilitiesResponse(capabilities=found)

    async def Probe(self, request: csi_pb2.ProbeRequest, context: Any) -> csi_pb2.ProbeResponse:  # noqa: N802
        """Whether a volume could be served now."""
        return csi_pb2.ProbeResponse(ready=BoolValue(value=not await self._problem()))


def installed_version() -> str:
    """This program's version."""
    try:
        return version("rook")
    except PackageNotFoundError:  # the images carry the packages without their metadata
        return "unknown"
