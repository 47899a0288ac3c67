"""The CSI identity service (CSI specification 1.11, "Identity Service RPC"): who the driver is, and can it work."""

from __future__ import annotations

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
        problem: Why no volume can be mapped on this node; empty when it can.
    """

    def __init__(self, driver: str, version: str, problem: Callable[[], Awaitable[str]]) -> None:
        self._driver = driver
        self._version = version
        self._problem = problem

    async def GetPluginInfo(  # noqa: N802
        self, request: csi_pb2.GetPluginInfoRequest, context: Any
    ) -> csi_pb2.GetPluginInfoResponse:
        """Name and version."""
        return csi_pb2.GetPluginInfoResponse(name=self._driver, vendor_version=self._version)

    async def GetPluginCapabilities(  # noqa: N802
        self, request: csi_pb2.GetPluginCapabilitiesRequest, context: Any
    ) -> csi_pb2.GetPluginCapabilitiesResponse:
        """Volumes may be for some nodes only, and grow. No controller service: the operator is that."""
        service = csi_pb2.PluginCapability.Service
        places = service(type=service.VOLUME_ACCESSIBILITY_CONSTRAINTS)
        expansion = csi_pb2.PluginCapability.VolumeExpansion(type=csi_pb2.PluginCapability.VolumeExpansion.ONLINE)
        return csi_pb2.GetPluginCapabilitiesResponse(
            capabilities=[
                csi_pb2.PluginCapability(service=places),
                csi_pb2.PluginCapability(volume_expansion=expansion),
            ]
        )

    async def Probe(self, request: csi_pb2.ProbeRequest, context: Any) -> csi_pb2.ProbeResponse:  # noqa: N802
        """Whether a volume could be mapped now."""
        return csi_pb2.ProbeResponse(ready=BoolValue(value=not await self._problem()))
