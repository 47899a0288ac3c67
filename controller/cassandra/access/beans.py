"""The beans of Cassandra's JMX that are asked, what is read of their answers, and the operations that commands are.

Requests and answers are Jolokia's: https://jolokia.org/reference/html/manual/jolokia_protocol.html. Names and
signatures are those of Cassandra 4.1 and 5.0. A request that one of the two does not know fails alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from controller.cassandra.access.answers import (
    Bootstrap,
    BulkLoad,
    Cleanup,
    ClearSnapshot,
    Command,
    Decommission,
    Drain,
    Flush,
    Keyspace,
    Mode,
    RemoveNode,
    Repair,
    ResumeBootstrap,
    Ring,
    State,
    StopCleanups,
    StopRepairs,
    Stream,
    TakeSnapshot,
    UnansweredError,
    UpgradeSSTables,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from informers import JsonObject

STORAGE = "org.apache.cassandra.db:type=StorageService"
COMPACTIONS = "org.apache.cassandra.db:type=CompactionManager"
_STRINGS = "[Ljava.lang.String;"


class Answer(msgspec.Struct, frozen=True):
    """Jolokia's answer to one request."""

    status: int = 0
    value: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""


class _Storage(msgspec.Struct, frozen=True, rename="pascal"):
    operation_mode: str
    local_host_id: str | None
    cluster_name: str
    release_version: str
    gossip_running: bool
    native_transport_running: bool
    live_nodes_with_port: list[str]
    unreachable_nodes_with_port: list[str]
    joining_nodes_with_port: list[str]
    leaving_nodes_with_port: list[str]
    moving_nodes_with_port: list[str]
    endpoint_with_port_to_host_id: dict[str, str]
    tokens: list[str]


class _Snitch(msgspec.Struct, frozen=True, rename="pascal"):
    datacenter: str
    rack: str


_STATE: dict[str, tuple[str, list[str] | str]] = {
    "storage": (STORAGE, [field.encode_name for field in msgspec.structs.fields(_Storage)]),
    "snitch": ("org.apache.cassandra.db:type=EndpointSnitchInfo", ["Datacenter", "Rack"]),
    "seeds": ("org.apache.cassandra.net:type=Gossiper", "Seeds"),
    "streams": ("org.apache.cassandra.net:type=StreamManager", "CurrentStreams"),
    "hints": ("org.apache.cassandra.hints:type=HintsService", "PendingHints"),
    "load": ("org.apache.cassandra.metrics:type=Storage,name=Load", "Count"),
    "bootstrap": (STORAGE, "BootstrapState"),
}
_OPTIONAL = frozenset({"streams", "hints", "load", "bootstrap"})
"""What need not be known: 4.1 has no `BootstrapState`, and some beans come up late."""

STATE_REQUESTS: list[JsonObject] = [
    {"type": "read", "mbean": mbean, "attribute": attribute} for mbean, attribute in _STATE.values()
]
"""What is asked for a `State`."""
SCHEMA_REQUESTS: list[JsonObject] = [
    {"type": "read", "mbean": "org.apache.cassandra.db:type=StorageProxy", "attribute": "SchemaVersionsWithPort"},
]
"""What is asked for the versions of the schema: the member asks all others, and waits for those that do not answer."""
KEYSPACES_REQUESTS: list[JsonObject] = [
    {"type": "read", "mbean": STORAGE, "attribute": "NonLocalStrategyKeyspaces"},
]


def decode[T](answer: Answer, kind: type[T]) -> T:
    """The value of an answer.

    Raises:
        UnansweredError: It is an error, or not of that kind.
    """
    if answer.status != 200:
        raise UnansweredError(f"Cassandra does not tell: {answer.error[:300]}")
    try:
        return msgspec.json.decode(answer.value, type=kind)
    except msgspec.MsgspecError as error:
        raise UnansweredError(f"Cassandra's answer cannot be read: {error}") from error


def state(answers: Sequence[Answer]) -> State | None:
    """The state out of the answers to `STATE_REQUESTS`, without the schema; None while Cassandra cannot tell it yet.

    Raises:
        UnansweredError: They cannot be read.
    """
    found = dict(zip(_STATE, answers, strict=True))
    if any(answer.status != 200 for name, answer in found.items() if name not in _OPTIONAL):
        return None
    storage, snitch = decode(found["storage"], _Storage), decode(found["snitch"], _Snitch)
    mode = _mode(storage.operation_mode)
    return State(
        mode=mode,
        bootstrap=_bootstrap(found["bootstrap"], mode),
        host_id=storage.local_host_id or "",
        release=storage.release_version,
        cluster_name=storage.cluster_name,
        datacenter=snitch.datacenter,
        rack=snitch.rack,
        tokens=len(storage.tokens),
        load=_optional(found["load"], int, 0),
        gossip_running=storage.gossip_running,
        native_running=storage.native_transport_running,
        seeds=tuple(sorted(_addresses(decode(found["seeds"], list[str])))),
        ring=Ring(
            host_ids={address(name): host_id for name, host_id in storage.endpoint_with_port_to_host_id.items()},
            live=_addresses(storage.live_nodes_with_port),
            unreachable=_addresses(storage.unreachable_nodes_with_port),
            joining=_addresses(storage.joining_nodes_with_port),
            leaving=_addresses(storage.leaving_nodes_with_port),
            moving=_addresses(storage.moving_nodes_with_port),
        ),
        streams=tuple(_stream(plan) for plan in _optional(found["streams"], list[dict[str, Any]], [])),
        hints=_hints(_optional(found["hints"], list[dict[str, str]], [])),
    )


def schema(answer: Answer) -> dict[str, frozenset[str]]:
    """Who has which version of the schema, out of the answer to `SCHEMA_REQUESTS`.

    Raises:
        UnansweredError: It cannot be read.
    """
    return {version: _addresses(names) for version, names in decode(answer, dict[str, list[str]]).items()}


def address(name: str) -> str:
    """The IP address in what Cassandra calls a member: `10.0.0.1:7000`, `/10.0.0.1:7000` or `[fd00:0:..]:7000`."""
    text = name.rpartition("/")[2]
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _addresses(names: Iterable[str]) -> frozenset[str]:
    return frozenset(address(name) for name in names)


def _optional[T](answer: Answer, kind: type[T], default: T) -> T:
    return decode(answer, kind) if answer.status == 200 else default


def _mode(text: str) -> Mode:
    return Mode(text) if text in Mode else Mode.UNKNOWN


def _bootstrap(answer: Answer, mode: Mode) -> Bootstrap:
    if answer.status == 200:
        text = decode(answer, str)
        return Bootstrap(text) if text in Bootstrap else Bootstrap.UNKNOWN
    # 4.1 becomes normal, and leaves, only when it has written so to its volume.
    if mode in (Mode.NORMAL, Mode.LEAVING, Mode.MOVING):
        return Bootstrap.COMPLETED
    if mode is Mode.DECOMMISSIONED:
        return Bootstrap.DECOMMISSIONED
    return Bootstrap.IN_PROGRESS if mode is Mode.JOINING else Bootstrap.UNKNOWN


def _stream(plan: dict[str, Any]) -> Stream:
    def number(name: str) -> int:
        value = plan.get(name)
        return int(value) if isinstance(value, int | float) else 0

    return Stream(
        operation=str(plan.get("description", "")),
        received=number("currentRxBytes"),
        to_receive=number("totalRxBytes"),
        sent=number("currentTxBytes"),
        to_send=number("totalTxBytes"),
    )


def _hints(rows: Iterable[dict[str, str]]) -> dict[str, int]:
    """Bytes, or where only files are counted (4.1) their number, by the host ID that they are for."""
    found: dict[str, int] = {}
    for row in rows:
        size = row.get("totalSize") or row.get("totalFiles") or "0"
        found[row.get("hostId", "")] = int(size) if size.isdigit() else 0
    return found


def replication_requests(names: Iterable[str]) -> list[JsonObject]:
    """What is asked for the replication of keyspaces."""
    operation = "getKeyspaceReplicationInfo(java.lang.String)"
    return [{"type": "exec", "mbean": STORAGE, "operation": operation, "arguments": [name]} for name in names]


def keyspace(name: str, answer: Answer) -> Keyspace:
    """A keyspace out of the answer to its request, such as `NetworkTopologyStrategy {dc1=3}`.

    Raises:
        UnansweredError: It cannot be read.
    """
    text = decode(answer, str)
    strategy, found, options = text.partition(" {")
    factors: dict[str, int] = {}
    for option in options.rstrip("}").split(", ") if found else ():
        key, _, value = option.partition("=")
        copies = value.partition("/")[0]  # of transient replication, all copies count
        if not copies.isdigit():
            raise UnansweredError(f"the replication of keyspace {name} cannot be read: {text[:300]}")
        factors["" if key == "replication_factor" else key] = int(copies)
    return Keyspace(name=name, strategy=strategy.rpartition(".")[2], factors=factors)


def order(command: Command) -> JsonObject:
    """What the program in the pod is told for a command."""
    match command:
        case Drain():
            return _order("drain()")
        case Decommission(force):
            return _order("decommission(boolean)", force)
        case RemoveNode(host_id):
            return _order("removeNode(java.lang.String)", host_id)
        case ResumeBootstrap():
            return _order("resumeBootstrap()")
        case Cleanup() | UpgradeSSTables() | Flush():
            return _write(command)
        case TakeSnapshot(tag, names):
            return _order(f"takeSnapshot(java.lang.String,java.util.Map,{_STRINGS})", tag, {}, list(names))
        case ClearSnapshot(tag):
            return _order(f"clearSnapshot(java.lang.String,{_STRINGS})", tag, [])
        case BulkLoad(directory):
            return _order("bulkLoad(java.lang.String)", directory)
        case StopRepairs() | StopCleanups():
            return _stop(command)
        case Repair():
            return _repair(command)


def _write(command: Cleanup | UpgradeSSTables | Flush) -> JsonObject:
    """What writes the files of a keyspace."""
    match command:
        case Cleanup(name):
            return _order(f"forceKeyspaceCleanup(java.lang.String,{_STRINGS})", name, [])
        case UpgradeSSTables(name):
            return _order(f"upgradeSSTables(java.lang.String,boolean,{_STRINGS})", name, True, [])
        case Flush(name):
            return _order(f"forceKeyspaceFlush(java.lang.String,{_STRINGS})", name, [])


def _repair(command: Repair) -> JsonObject:
    choices = {"primaryRange": command.primary, "incremental": command.incremental}
    options = {key: str(value).lower() for key, value in choices.items()} | {"parallelism": "parallel"}
    order = _order("repairAsync(java.lang.String,java.util.Map)", command.keyspace, options)
    return {**order, "follow": "getParentRepairStatus(int)"}


def _stop(command: StopRepairs | StopCleanups) -> JsonObject:
    if isinstance(command, StopRepairs):
        return _order("forceTerminateAllRepairSessions()")
    return {"mbean": COMPACTIONS, **_order("stopCompaction(java.lang.String)", "CLEANUP")}


def _order(operation: str, *arguments: Any) -> JsonObject:
    return {"operation": operation, "arguments": list(arguments)}
