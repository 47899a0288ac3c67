"""Registration with the kubelet (k8s.io/kubelet, pluginregistration v1), which asks at a socket where it looks."""

from __future__ import annotations

from typing import Any

import structlog

from controller.agent.node import registration_pb2, registration_pb2_grpc

_log = structlog.get_logger(__name__)

PLUGIN_TYPE = "CSIPlugin"
CSI_VERSION = "1.0.0"
"""The version that a plug-in names: its major number is what counts."""


class RegistrationService(registration_pb2_grpc.RegistrationServicer):
    """Tells the kubelet where a CSI driver's socket is, and remembers whether it took it.

    Attributes:
        problem: Why the driver is not registered; empty when it is.
    """

    def __init__(self, driver: str, endpoint: str) -> None:
        self._driver = driver
        self._endpoint = endpoint
        self.problem = "the kubelet has not asked yet"

    async def GetInfo(  # noqa: N802
        self, request: registration_pb2.InfoRequest, context: Any
    ) -> registration_pb2.PluginInfo:
        """The driver's name and socket."""
        return registration_pb2.PluginInfo(
            type=PLUGIN_TYPE, name=self._driver, endpoint=self._endpoint, supported_versions=[CSI_VERSION]
        )

    async def NotifyRegistrationStatus(  # noqa: N802
        self, request: registration_pb2.RegistrationStatus, context: Any
    ) -> registration_pb2.RegistrationStatusResponse:
        """The kubelet's answer."""
        if request.plugin_registered:
            self.problem = ""
            _log.info("registered with the kubelet", driver=self._driver)
        else:
            self.problem = f"the kubelet refused it: {request.error}"
            _log.error("not registered with the kubelet", driver=self._driver, error=request.error)
        return registration_pb2.RegistrationStatusResponse()
