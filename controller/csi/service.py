"""The CSI controller service (CSI specification 1.11, "Controller Service RPC"), for callers other than Kubernetes.

It checks what CSI asks of a call, keeps operations on a volume apart, and knows no storage system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import grpc
import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from controller.agent.node import csi_pb2, csi_pb2_grpc
from controller.agent.node.calls import CsiError, status_of
from controller.csi import requests
from controller.csi.records import Publication
from controller.csi.requests import require, uid_of
from controller.csi.volumes import Asked, serving
from controller.framework.text import brief
from controller.runtime.leader import NotLeaderError
from controller.volumes.backend import BackendError, ParameterError, UnderWayError
from informers import ApiError, IncompleteIndexError, TransportError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from controller.agent.node.calls import Operations
    from controller.csi.records import SnapshotRecord, VolumeRecord
    from controller.csi.snapshots import Taken
    from controller.csi.volumes import Volumes
    from controller.volumes.backend import VolumeBackend
    from controller.volumes.drivers import Drivers
    from controller.volumes.features import Snapshots

_log = structlog.get_logger(__name__)

_Rpc = csi_pb2.ControllerServiceCapability.RPC

OPERATION_SECONDS = 600.0
"""Seconds that an operation may take: now and then all data is copied. The next call goes on with it."""


class ControllerService(csi_pb2_grpc.ControllerServicer):
    """Serves the volumes of a CSI driver.

    Args:
        driver: The driver's name.
        drivers: The storage systems.
        volumes: The driver's volumes.
        snapshots: The driver's snapshots.
        operations: Keeps operations apart.
    """

    def __init__(
        self, driver: str, drivers: Drivers, volumes: Volumes, snapshots: Taken, operations: Operations
    ) -> None:
        self._driver = driver
        self._drivers = drivers
        self._volumes = volumes
        self._taken = snapshots
        self._operations = operations

    async def problem(self) -> str:
        """Why the driver's volumes cannot be served now; empty: they can."""
        return "" if self._drivers.serving(self._driver) is not None else f"CSI driver {self._driver} is not served now"

    async def ControllerGetCapabilities(  # noqa: N802
        self, request: csi_pb2.ControllerGetCapabilitiesRequest, context: Any
    ) -> csi_pb2.ControllerGetCapabilitiesResponse:
        """What the driver's storage system can do."""
        capabilities, snapshots = self._backend().capabilities, self._drivers.snapshots_of(self._driver)
        served = [
            _Rpc.CREATE_DELETE_VOLUME,
            _Rpc.PUBLISH_UNPUBLISH_VOLUME,
            _Rpc.LIST_VOLUMES,
            _Rpc.LIST_VOLUMES_PUBLISHED_NODES,
            _Rpc.SINGLE_NODE_MULTI_WRITER,
        ]
        if capabilities.expands:
            served.append(_Rpc.EXPAND_VOLUME)
        if "PersistentVolumeClaim" in capabilities.sources:
            served.append(_Rpc.CLONE_VOLUME)
        if snapshots is not None:
            served += [_Rpc.CREATE_DELETE_SNAPSHOT, _Rpc.LIST_SNAPSHOTS]
        made = [csi_pb2.ControllerServiceCapability(rpc=_Rpc(type=kind)) for kind in served]
        return csi_pb2.ControllerGetCapabilitiesResponse(capabilities=made)

    async def CreateVolume(  # noqa: N802
        self, request: csi_pb2.CreateVolumeRequest, context: Any
    ) -> csi_pb2.CreateVolumeResponse:
        """Makes a volume, empty or as a copy."""
        require(request, "name", "volume_capabilities")
        if request.mutable_parameters:
            raise requests.invalid(f"mutable_parameters are {', '.join(request.mutable_parameters)}: expected none")
        backend, asked = self._backend(), request.volume_capabilities
        for capability in asked:
            requests.publication_of(capability, backend.capabilities)
        wanted = requests.range_of(request.capacity_range, requests.least_bytes(asked, backend.capabilities))
        source = _source_of(request, backend)
        uid = uid_of(self._driver, "volume", request.name)
        found = requests.storage_class(self._driver, request.parameters, asked)
        if backend.driver_of(found) != self._driver:
            raise BackendError(f"CSI driver {self._driver} is not served now")

        described = backend.describe(found, uid, filesystem=any(c.HasField("mount") for c in asked))
        if described.unserved:
            _log.warning("parameters have no effect", driver=self._driver, parameters=list(described.unserved))
        new = Asked(
            name=request.name,
            uid=uid,
            choices=requests.choices_for(described, request.accessibility_requirements),
            options=described.options,
            size=wanted,
            source=source,
        )
        record = await self._run(uid, lambda: self._volumes.create(backend, new), "CreateVolume")
        return csi_pb2.CreateVolumeResponse(volume=_volume(record))

    async def DeleteVolume(  # noqa: N802
        self, request: csi_pb2.DeleteVolumeRequest, context: Any
    ) -> csi_pb2.DeleteVolumeResponse:
        """Destroys a volume that this service has made, and that nobody needs."""
        require(request, "volume_id")
        backend, volume = self._backend(), request.volume_id
        await self._run(volume, lambda: self._volumes.delete(backend, volume), "DeleteVolume")
        return csi_pb2.DeleteVolumeResponse()

    async def ControllerPublishVolume(  # noqa: N802
        self, request: csi_pb2.ControllerPublishVolumeRequest, context: Any
    ) -> csi_pb2.ControllerPublishVolumeResponse:
        """Gives a volume to a node."""
        require(request, "volume_id", "node_id")
        if request.readonly:
            raise requests.invalid("readonly is true: expected false, and an access mode for readers")
        backend, volume, node = self._backend(), request.volume_id, request.node_id
        mode, block = requests.publication_of(request.volume_capability, backend.capabilities)
        wanted = Publication(mode=mode, block=block)
        told = await self._run(
            volume, lambda: self._volumes.publish(backend, volume, node, wanted), "ControllerPublishVolume"
        )
        return csi_pb2.ControllerPublishVolumeResponse(publish_context=dict(told))

    async def ControllerUnpublishVolume(  # noqa: N802
        self, request: csi_pb2.ControllerUnpublishVolumeRequest, context: Any
    ) -> csi_pb2.ControllerUnpublishVolumeResponse:
        """Takes a volume from a node, or from all, once they have it open no more."""
        require(request, "volume_id")
        backend, volume, node = self._backend(), request.volume_id, request.node_id
        await self._run(volume, lambda: self._volumes.unpublish(backend, volume, node), "ControllerUnpublishVolume")
        return csi_pb2.ControllerUnpublishVolumeResponse()

    async def ValidateVolumeCapabilities(  # noqa: N802
        self, request: csi_pb2.ValidateVolumeCapabilitiesRequest, context: Any
    ) -> csi_pb2.ValidateVolumeCapabilitiesResponse:
        """Whether a volume can be used in these ways."""
        require(request, "volume_id", "volume_capabilities")
        capabilities = self._backend().capabilities
        await self._run(request.volume_id, lambda: self._volumes.find(request.volume_id), "ValidateVolumeCapabilities")
        problems = (requests.capability_problem(c, capabilities) for c in request.volume_capabilities)
        if problem := next(filter(None, problems), ""):
            return csi_pb2.ValidateVolumeCapabilitiesResponse(message=problem)
        confirmed = csi_pb2.ValidateVolumeCapabilitiesResponse.Confirmed(
            volume_capabilities=request.volume_capabilities,
            volume_context=request.volume_context,
            parameters=request.parameters,
        )
        return csi_pb2.ValidateVolumeCapabilitiesResponse(confirmed=confirmed)

    async def ControllerExpandVolume(  # noqa: N802
        self, request: csi_pb2.ControllerExpandVolumeRequest, context: Any
    ) -> csi_pb2.ControllerExpandVolumeResponse:
        """Makes a volume larger."""
        require(request, "volume_id")
        if not request.HasField("capacity_range"):
            raise requests.invalid("ControllerExpandVolumeRequest has no capacity_range")
        backend, volume, wanted = self._backend(), request.volume_id, requests.range_of(request.capacity_range)
        if not backend.capabilities.expands:
            raise CsiError(grpc.StatusCode.UNIMPLEMENTED, f"volumes of {self._driver} do not grow")
        size = await self._run(volume, lambda: self._volumes.expand(backend, volume, wanted), "ControllerExpandVolume")
        nodes = backend.capabilities.nodes_expand
        return csi_pb2.ControllerExpandVolumeResponse(capacity_bytes=size, node_expansion_required=nodes)

    async def ListVolumes(  # noqa: N802
        self, request: csi_pb2.ListVolumesRequest, context: Any
    ) -> csi_pb2.ListVolumesResponse:
        """The volumes that this service has made."""
        found = await self._run("", lambda: self._volumes.records.of_driver(self._driver), "ListVolumes")
        there = [record for record in found if record.handle and not record.deleting]
        part, token = requests.page(there, lambda r: r.uid, request.starting_token, request.max_entries)
        entries = [
            csi_pb2.ListVolumesResponse.Entry(
                volume=_volume(record),
                status=csi_pb2.ListVolumesResponse.VolumeStatus(published_node_ids=sorted(record.published)),
            )
            for record in part
        ]
        return csi_pb2.ListVolumesResponse(entries=entries, next_token=token)

    async def CreateSnapshot(  # noqa: N802
        self, request: csi_pb2.CreateSnapshotRequest, context: Any
    ) -> csi_pb2.CreateSnapshotResponse:
        """Takes a snapshot."""
        require(request, "name", "source_volume_id")
        snapshots, uid = self._snapshots(), uid_of(self._driver, "snapshot", request.name)
        if unserved := snapshots.unserved(request.parameters):
            raise requests.invalid(f"parameters are {', '.join(unserved)}: expected none of these")
        record = await self._run(
            uid, lambda: self._taken.create(snapshots, request.name, uid, request.source_volume_id), "CreateSnapshot"
        )
        return csi_pb2.CreateSnapshotResponse(snapshot=_snapshot(record))

    async def DeleteSnapshot(  # noqa: N802
        self, request: csi_pb2.DeleteSnapshotRequest, context: Any
    ) -> csi_pb2.DeleteSnapshotResponse:
        """Destroys a snapshot that this service has taken, and that nobody needs."""
        require(request, "snapshot_id")
        snapshots, handle = self._snapshots(), request.snapshot_id
        await self._run(handle, lambda: self._taken.delete(snapshots, handle), "DeleteSnapshot")
        return csi_pb2.DeleteSnapshotResponse()

    async def ListSnapshots(  # noqa: N802
        self, request: csi_pb2.ListSnapshotsRequest, context: Any
    ) -> csi_pb2.ListSnapshotsResponse:
        """The snapshots that this service has taken; of one volume, or one of them, where that is asked for."""
        self._snapshots()
        found = await self._run("", lambda: self._taken.records.of_driver(self._driver), "ListSnapshots")
        there = [
            record
            for record in found
            if record.created
            and not record.deleting
            and request.snapshot_id in ("", record.handle)
            and request.source_volume_id in ("", record.source)
        ]
        part, token = requests.page(there, lambda r: r.uid, request.starting_token, request.max_entries)
        entries = [csi_pb2.ListSnapshotsResponse.Entry(snapshot=_snapshot(record)) for record in part]
        return csi_pb2.ListSnapshotsResponse(entries=entries, next_token=token)

    async def GetCapacity(  # noqa: N802
        self, request: csi_pb2.GetCapacityRequest, context: Any
    ) -> csi_pb2.GetCapacityResponse:
        """Not declared: how much fits depends on parameters, which this call may lack."""
        raise _undeclared("GET_CAPACITY")

    async def ControllerGetVolume(  # noqa: N802
        self, request: csi_pb2.ControllerGetVolumeRequest, context: Any
    ) -> csi_pb2.ControllerGetVolumeResponse:
        """Not declared: it is for the health of volumes, which the nodes know."""
        raise _undeclared("GET_VOLUME")

    async def ControllerModifyVolume(  # noqa: N802
        self, request: csi_pb2.ControllerModifyVolumeRequest, context: Any
    ) -> csi_pb2.ControllerModifyVolumeResponse:
        """Not declared: attributes are changed by VolumeAttributesClasses, through the API."""
        raise _undeclared("MODIFY_VOLUME")

    def _backend(self) -> VolumeBackend:
        return serving(self._driver, self._drivers.serving(self._driver))

    def _snapshots(self) -> Snapshots:
        self._backend()
        found = self._drivers.snapshots_of(self._driver)
        if found is None:
            raise CsiError(grpc.StatusCode.UNIMPLEMENTED, f"no snapshots are taken of volumes of {self._driver}")
        return found

    async def _run[T](self, subject: str, operation: Callable[[], Awaitable[T]], name: str) -> T:
        """The result of an operation; those with the same subject one after the other."""

        async def bounded() -> T:
            with anyio.fail_after(OPERATION_SECONDS):
                return await operation()

        return await (self._operations.run(subject, bounded, name) if subject else bounded())


def status(error: Exception) -> tuple[grpc.StatusCode, str]:
    """The status code of an error, and the text for the caller."""
    text = brief(error, 900)
    match error:
        case ParameterError():
            return grpc.StatusCode.INVALID_ARGUMENT, text
        case ApiError() if error.is_conflict or error.is_already_exists:
            return grpc.StatusCode.ABORTED, f"another call was faster: {text}"
        case UnderWayError():  # the next call tells how far it is
            return grpc.StatusCode.ABORTED, text
        case BackendError() | ApiError() | TransportError() | NotLeaderError() | IncompleteIndexError():
            return grpc.StatusCode.UNAVAILABLE, text
    return status_of(error)


def _undeclared(capability: str) -> CsiError:
    return CsiError(grpc.StatusCode.UNIMPLEMENTED, f"capability {capability} is not declared, and not served")


def _source_of(request: csi_pb2.CreateVolumeRequest, backend: VolumeBackend) -> str:
    """What a new volume is to be a copy of, as records have it; empty: of nothing."""
    content = request.volume_content_source
    if not request.HasField("volume_content_source"):
        return ""
    if content.HasField("volume"):
        kind, handle, needed = "volume", content.volume.volume_id, "PersistentVolumeClaim"
    else:
        kind, handle, needed = "snapshot", content.snapshot.snapshot_id, "VolumeSnapshot"
    if not handle:
        raise requests.invalid(f"volume_content_source has no {kind}_id")
    if needed not in backend.capabilities.sources:
        raise requests.invalid(f"volume_content_source is a {kind}: expected none")
    return f"{kind}:{handle}"


def _volume(record: VolumeRecord) -> csi_pb2.Volume:
    kind, _, handle = record.source.partition(":")
    content = None
    if kind == "volume":
        content = csi_pb2.VolumeContentSource(volume=csi_pb2.VolumeContentSource.VolumeSource(volume_id=handle))
    elif kind == "snapshot":
        content = csi_pb2.VolumeContentSource(snapshot=csi_pb2.VolumeContentSource.SnapshotSource(snapshot_id=handle))
    return csi_pb2.Volume(
        volume_id=record.handle,
        capacity_bytes=record.size,
        volume_context=record.attributes,
        content_source=content,
        accessible_topology=[csi_pb2.Topology(segments=record.place)] if record.place else [],
    )


def _snapshot(record: SnapshotRecord) -> csi_pb2.Snapshot:
    created = Timestamp()
    created.FromNanoseconds(record.created)
    return csi_pb2.Snapshot(
        snapshot_id=record.handle,
        source_volume_id=record.source,
        size_bytes=record.size,
        creation_time=created,
        ready_to_use=True,
    )
