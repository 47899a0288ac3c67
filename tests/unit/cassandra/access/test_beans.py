"""What is read of the answers of Cassandra's JMX, as 4.1 and 5.0 gave them."""

import json
from typing import Any

import msgspec
import pytest

from controller.cassandra.access import beans
from controller.cassandra.access.answers import (
    UNREACHABLE,
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
    StopCleanups,
    StopRepairs,
    Stream,
    TakeSnapshot,
    UnansweredError,
    UpgradeSSTables,
)

STORAGE = {
    "MovingNodesWithPort": [],
    "GossipRunning": True,
    "LiveNodesWithPort": ["10.0.0.1:7000"],
    "ReleaseVersion": "5.0.9",
    "LeavingNodesWithPort": [],
    "EndpointWithPortToHostId": {"10.0.0.1:7000": "h1", "10.0.0.2:7000": "h2"},
    "LocalHostId": "h1",
    "ClusterName": "c",
    "JoiningNodesWithPort": [],
    "UnreachableNodesWithPort": ["10.0.0.2:7000"],
    "OperationMode": "NORMAL",
    "NativeTransportRunning": True,
    "Tokens": ["1", "2"],
}
STREAM = {
    "description": "Unbootstrap",
    "currentRxBytes": 0,
    "totalRxBytes": 0,
    "currentTxBytes": 1024.0,
    "totalTxBytes": 4096,
}


def answers(**changes: Any) -> list[beans.Answer]:
    """Those to a look, in the order of the requests; a change of None stands for an error."""
    values: dict[str, Any] = {
        "storage": STORAGE,
        "snitch": {"Rack": "r1", "Datacenter": "dc1"},
        "seeds": ["10.0.0.2:7000"],
        "streams": [],
        "hints": [{"hostId": "h2", "totalSize": "4096", "totalFiles": "1"}],
        "load": 117448,
        "bootstrap": "COMPLETED",
        **changes,
    }
    given = [
        {"status": 404, "error": "no such attribute"} if value is None else {"status": 200, "value": value}
        for value in values.values()
    ]
    return msgspec.json.decode(json.dumps(given), type=list[beans.Answer])


def test_a_state() -> None:
    state = beans.state(answers(streams=[STREAM]))
    assert state is not None
    assert (state.mode, state.bootstrap, state.host_id, state.release) == (
        Mode.NORMAL,
        Bootstrap.COMPLETED,
        "h1",
        "5.0.9",
    )
    assert (state.datacenter, state.rack, state.tokens, state.load) == ("dc1", "r1", 2, 117448)
    assert state.ring.host_ids == {"10.0.0.1": "h1", "10.0.0.2": "h2"}
    assert (state.ring.live, state.ring.unreachable) == (frozenset({"10.0.0.1"}), frozenset({"10.0.0.2"}))
    assert (state.seeds, state.hints) == (("10.0.0.2",), {"h2": 4096})
    assert state.streams == (Stream("Unbootstrap", sent=1024, to_send=4096),)
    assert state.is_serving


@pytest.mark.parametrize(
    ("mode", "bootstrap"),
    [
        ("NORMAL", Bootstrap.COMPLETED),
        ("LEAVING", Bootstrap.COMPLETED),
        ("JOINING", Bootstrap.IN_PROGRESS),
        ("DECOMMISSIONED", Bootstrap.DECOMMISSIONED),
        ("DRAINED", Bootstrap.UNKNOWN),
        ("STARTING", Bootstrap.UNKNOWN),
    ],
)
def test_4_1_does_not_tell_how_far_it_is_with_joining(mode: str, bootstrap: Bootstrap) -> None:
    state = beans.state(answers(bootstrap=None, storage={**STORAGE, "OperationMode": mode}))
    assert state is not None
    assert state.bootstrap is bootstrap


def test_a_mode_that_is_not_known_is_no_other() -> None:
    state = beans.state(answers(storage={**STORAGE, "OperationMode": "SLEEPING"}, bootstrap="SLEEPY"))
    assert state is not None
    assert (state.mode, state.bootstrap, state.is_serving) == (Mode.UNKNOWN, Bootstrap.UNKNOWN, False)


def test_the_schema() -> None:
    told = beans.Answer(status=200, value=msgspec.Raw(b'{"v1": ["10.0.0.1:7000"], "UNREACHABLE": ["10.0.0.2:7000"]}'))
    assert beans.schema(told) == {"v1": {"10.0.0.1"}, UNREACHABLE: {"10.0.0.2"}}


@pytest.mark.parametrize("missing", ["storage", "snitch", "seeds"])
def test_while_it_starts_there_is_no_state(missing: str) -> None:
    assert beans.state(answers(**{missing: None})) is None


@pytest.mark.parametrize("missing", ["streams", "hints", "load"])
def test_what_need_not_be_known(missing: str) -> None:
    assert beans.state(answers(**{missing: None})) is not None


def test_what_cannot_be_read_says_nothing() -> None:
    with pytest.raises(UnansweredError, match="cannot be read"):
        beans.state(answers(storage={**STORAGE, "LiveNodesWithPort": None}))


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("10.0.0.1:7000", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("/10.0.0.1:7000", "10.0.0.1"),
        ("host/10.0.0.1:7000", "10.0.0.1"),
        ("[fd00:0:0:0:0:0:0:1]:7000", "fd00:0:0:0:0:0:0:1"),
        ("fd00:0:0:0:0:0:0:1", "fd00:0:0:0:0:0:0:1"),
    ],
)
def test_addresses(name: str, address: str) -> None:
    assert beans.address(name) == address


@pytest.mark.parametrize(
    ("text", "strategy", "factors"),
    [
        ("SimpleStrategy {replication_factor=1}", "SimpleStrategy", {"": 1}),
        ("NetworkTopologyStrategy {dc1=3, dc2=2}", "NetworkTopologyStrategy", {"dc1": 3, "dc2": 2}),
        ("org.apache.cassandra.locator.SimpleStrategy {replication_factor=3/1}", "SimpleStrategy", {"": 3}),
        ("EverywhereStrategy", "EverywhereStrategy", {}),
    ],
)
def test_a_keyspace(text: str, strategy: str, factors: dict[str, int]) -> None:
    answer = beans.Answer(status=200, value=msgspec.Raw(json.dumps(text).encode()))
    assert beans.keyspace("app", answer) == Keyspace("app", strategy, factors)


def test_a_replication_that_cannot_be_read_is_not_none() -> None:
    with pytest.raises(UnansweredError, match="keyspace app cannot be read"):
        beans.keyspace("app", beans.Answer(status=200, value=msgspec.Raw(b'"SimpleStrategy {copies=many}"')))


@pytest.mark.parametrize(
    ("command", "operation", "arguments"),
    [
        (Drain(), "drain()", []),
        (Decommission(), "decommission(boolean)", [False]),
        (Decommission(force=True), "decommission(boolean)", [True]),
        (RemoveNode("h2"), "removeNode(java.lang.String)", ["h2"]),
        (ResumeBootstrap(), "resumeBootstrap()", []),
        (Cleanup("app"), "forceKeyspaceCleanup(java.lang.String,[Ljava.lang.String;)", ["app", []]),
        (Flush("app"), "forceKeyspaceFlush(java.lang.String,[Ljava.lang.String;)", ["app", []]),
        (
            UpgradeSSTables("app"),
            "upgradeSSTables(java.lang.String,boolean,[Ljava.lang.String;)",
            ["app", True, []],
        ),
        (
            TakeSnapshot("t", ("app",)),
            "takeSnapshot(java.lang.String,java.util.Map,[Ljava.lang.String;)",
            ["t", {}, ["app"]],
        ),
        (ClearSnapshot("t"), "clearSnapshot(java.lang.String,[Ljava.lang.String;)", ["t", []]),
        (BulkLoad("/var/lib/cassandra/x/app/rows"), "bulkLoad(java.lang.String)", ["/var/lib/cassandra/x/app/rows"]),
    ],
)
def test_orders(command: Command, operation: str, arguments: list[object]) -> None:
    assert beans.order(command) == {"operation": operation, "arguments": arguments}


def test_a_repair_is_followed() -> None:
    order = beans.order(Repair("app"))
    assert order["follow"] == "getParentRepairStatus(int)"
    assert order["arguments"][1]["primaryRange"] == "true"
    assert beans.order(Repair("app", primary=False))["arguments"][1]["primaryRange"] == "false"
    assert order["arguments"][1]["incremental"] == "false"
    assert beans.order(Repair("app", incremental=True))["arguments"][1]["incremental"] == "true"


def test_cleanups_are_stopped_by_another_bean() -> None:
    assert beans.order(StopRepairs())["operation"] == "forceTerminateAllRepairSessions()"
    assert beans.order(StopCleanups()) == {
        "mbean": "org.apache.cassandra.db:type=CompactionManager",
        "operation": "stopCompaction(java.lang.String)",
        "arguments": ["CLEANUP"],
    }
