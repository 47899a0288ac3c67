"""What calls of a CSI controller service ask for, in the terms of the storage systems' volumes. All of it pure.

By the CSI specification 1.11, "Controller Service RPC". All functions raise `CsiError`.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from controller.agent.node import csi_pb2
from controller.agent.node.calls import CsiError
from controller.runtime.kube import ObjectMeta, StorageClass
from controller.volumes.backend import Choice
from controller.volumes.capabilities import (
    BLOCK,
    FILESYSTEM,
    MANY,
    ONCE,
    ONCE_POD,
    READERS,
    exclusive,
    modes_problem,
)
from controller.volumes.claims.objects import CSI, FSTYPE
from controller.volumes.places import in_words, is_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from controller.csi.records import Publication, VolumeRecord
    from controller.volumes.backend import Description
    from controller.volumes.capabilities import Capabilities

DEFAULT_BYTES = 1 << 30
"""Of a volume for which no size is asked."""

LONGEST_NAME = 128
"""Bytes of a name and of an id, by the specification; the limit of other strings."""

_NAMES = uuid.UUID("5b0e2c41-7a0b-5d3c-9a39-1f1d6f5f3d6e")
"""The namespace of the uids that are made of callers' names. Another one would lose sight of all that was made."""

_Mode = csi_pb2.VolumeCapability.AccessMode

MODES = {
    _Mode.SINGLE_NODE_WRITER: ONCE,
    _Mode.SINGLE_NODE_SINGLE_WRITER: ONCE_POD,
    _Mode.SINGLE_NODE_MULTI_WRITER: ONCE,
    _Mode.SINGLE_NODE_READER_ONLY: READERS,
    _Mode.MULTI_NODE_READER_ONLY: READERS,
    _Mode.MULTI_NODE_SINGLE_WRITER: MANY,
    _Mode.MULTI_NODE_MULTI_WRITER: MANY,
}
"""Access modes of CSI, as Kubernetes calls what they come to."""


@dataclass(frozen=True, slots=True)
class Range:
    """How large a volume may be: at least, and at most (0: any size), in bytes."""

    least: int
    most: int

    def has(self, size: int) -> bool:
        """Whether a size will do."""
        return self.least <= size and (not self.most or size <= self.most)

    def __str__(self) -> str:
        return f"at least {self.least}" + (f" and at most {self.most}" if self.most else "") + " bytes"


def invalid(message: str) -> CsiError:
    """A request that can never be served."""
    return CsiError(grpc.StatusCode.INVALID_ARGUMENT, message)


def require(request: Any, *fields: str) -> None:
    """Refuses a request that lacks a field, or has a name that is too long."""
    kind = type(request).__name__
    for field in fields:
        value = getattr(request, field)
        if not value:
            raise invalid(f"{kind} has no {field}")
        if field == "name" and len(value.encode()) > LONGEST_NAME:
            raise invalid(f"{kind}: name has {len(value.encode())} bytes: expected {LONGEST_NAME} at most")


def uid_of(driver: str, kind: str, name: str) -> str:
    """The uid of what a caller names: the same for ever, so that a repeated call finds what the one before made."""
    return str(uuid.uuid5(_NAMES, f"{driver}/{kind}/{name}"))


def range_of(request: csi_pb2.CapacityRange, least: int = 0) -> Range:
    """The size that is asked for.

    Args:
        request: Bytes at least and at most; 0: any.
        least: What is needed in any case.
    """
    asked, most = request.required_bytes, request.limit_bytes
    if asked < 0 or most < 0:
        raise invalid(f"capacity_range is {asked} to {most} bytes: expected no negative numbers")
    wanted = max(asked, least)
    if most and most < wanted:
        raise CsiError(grpc.StatusCode.OUT_OF_RANGE, f"capacity_range ends at {most} bytes: expected {wanted} at least")
    return Range(wanted, most)


def size_within(wanted: Range) -> int:
    """The size of a new volume."""
    if wanted.least:
        return wanted.least
    return min(DEFAULT_BYTES, wanted.most) if wanted.most else DEFAULT_BYTES


def publication_of(capability: csi_pb2.VolumeCapability, capabilities: Capabilities) -> tuple[str, bool]:
    """Access mode and whether it is a block volume.

    Raises:
        CsiError: INVALID_ARGUMENT: the storage system does not serve it.
    """
    if problem := capability_problem(capability, capabilities):
        raise invalid(problem)
    return MODES[capability.access_mode.mode], capability.HasField("block")


def capability_problem(capability: csi_pb2.VolumeCapability, capabilities: Capabilities) -> str:
    """Why a storage system does not serve a way of use, with what would be right; empty: it does."""
    block, mode = capability.HasField("block"), capability.access_mode.mode
    if not block and not capability.HasField("mount"):
        return "volume_capability has no access type: expected block or mount"
    if mode not in MODES:
        return f"volume_capability.access_mode is {_Mode.Mode.Name(mode)}: expected {names_of(MODES)}"
    filesystem, served = capability.mount.fs_type, capabilities.file_systems
    if filesystem and filesystem not in served:
        expected = " or ".join(served) if served else "none, as the volumes are file systems by themselves"
        return f"volume_capability.mount.fs_type is {filesystem!r}: expected {expected}"
    problem = modes_problem(capabilities, (MODES[mode],), BLOCK if block else FILESYSTEM)
    return f"volume_capability: {problem}" if problem else ""


def names_of(modes: Mapping[Any, str]) -> str:
    """Access modes by CSI's names."""
    return ", ".join(_Mode.Mode.Name(mode) for mode in modes)


def least_bytes(requested: Sequence[csi_pb2.VolumeCapability], capabilities: Capabilities) -> int:
    """What a volume needs at least for the file systems that may be made on it."""
    types = [c.mount.fs_type or next(iter(capabilities.file_systems), "") for c in requested if c.HasField("mount")]
    return max((capabilities.least_bytes.get(name, 0) for name in types), default=0)


def storage_class(
    driver: str, parameters: Mapping[str, str], requested: Sequence[csi_pb2.VolumeCapability]
) -> StorageClass:
    """The class that a claim would have that asks for the same."""
    kept = {key: value for key, value in parameters.items() if not key.startswith(CSI)}
    types = [c.mount.fs_type for c in requested if c.mount.fs_type]
    if types:
        kept[FSTYPE] = types[0]
    return StorageClass(metadata=ObjectMeta(name=f"of a call to {driver}"), provisioner=driver, parameters=kept)


def keeps_apart(publication: Publication, capabilities: Capabilities) -> bool:
    """Whether no other node may have the volume beside one that has it in this way."""
    return exclusive(capabilities, (publication.mode,), BLOCK if publication.block else FILESYSTEM)


def choices_for(described: Description, asked: csi_pb2.TopologyRequirement) -> Sequence[Choice]:
    """The volumes of which one may be made, the best first.

    Raises:
        CsiError: RESOURCE_EXHAUSTED: none is reached from where it is asked for.
    """
    choices = described.choices or (Choice(volume=described.volume, place=described.place),)
    if not asked.requisite and not asked.preferred:
        return choices
    wanted = [topology.segments for topology in (*asked.preferred, *asked.requisite)]
    # One at a place is for all nodes that have its labels; what is asked for may have more labels, or fewer.
    fitting = [c for segments in wanted for c in choices if not c.place or is_at(segments, c.place)]
    if not fitting:
        places = " or ".join(dict.fromkeys(in_words(choice.place) for choice in choices))
        raise CsiError(
            grpc.StatusCode.RESOURCE_EXHAUSTED, f"accessibility_requirements name other places: expected {places}"
        )
    return fitting


def differs(record: VolumeRecord, choices: Sequence[Choice], wanted: Range, source: str) -> str:
    """In what a volume that is there differs from those of its name that are asked for; empty: it does not."""
    if not wanted.has(record.size):
        return f"it has {record.size} bytes, asked for are {wanted}"
    if record.source != source:
        return f"it began as {record.source or 'an empty one'}, asked for is {source or 'an empty one'}"
    changed = [
        sorted(key for key, value in choice.volume.attributes.items() if record.attributes.get(key) != value)
        for choice in choices
    ]
    return f"other parameters are asked for ({', '.join(changed[0])})" if all(changed) else ""


def page[T](found: Sequence[T], key: Callable[[T], str], token: str, most: int) -> tuple[Sequence[T], str]:
    """The part of a list that is asked for, and the token of the next one; empty: it is the last.

    Args:
        found: All of it, in the order of `key`.
        key: What a token is made of: that of the last one of the part before.
        token: The token of the part; empty: the first.
        most: How many there may be in it; 0: any number.

    Raises:
        CsiError: ABORTED: the token is none of ours.
    """
    if most < 0:
        raise invalid(f"max_entries is {most}: expected no negative number")
    if token:
        try:
            uuid.UUID(token)
        except ValueError:
            raise CsiError(
                grpc.StatusCode.ABORTED, f"starting_token {token!r} was not given here: begin anew without"
            ) from None
    left = [one for one in found if key(one) > token]
    part = left[:most] if most else left
    return part, key(part[-1]) if part and len(part) < len(left) else ""
