"""What the metrics of a member are called, for the exporter in its Java machine.

Few beans are read: each table and each thread pool has dozens, and a scrape that reads them all takes seconds.
https://github.com/prometheus/jmx_exporter/tree/main/docs
"""

from __future__ import annotations

import json
from typing import Any

_METRICS = "org.apache.cassandra.metrics:"


def exporter() -> str:
    """The exporter's configuration. It is JSON, which is YAML too."""
    included = [
        f"{_METRICS}type=Storage,*",
        f"{_METRICS}type=ClientRequest,*",
        f"{_METRICS}type=Compaction,*",
        f"{_METRICS}type=CommitLog,*",
        f"{_METRICS}type=HintsService,*",
        f"{_METRICS}type=DroppedMessage,*",
        f"{_METRICS}type=Streaming,*",
        f"{_METRICS}type=Client,*",
        f"{_METRICS}type=ThreadPools,path=*,scope=*,name=PendingTasks",
    ]
    rules = [
        *_counted("ClientRequest", "scope=(Read|Write|Range)", "request"),
        *_counted("DroppedMessage", r"scope=(\w+)", "message"),
        _gauge("ThreadPools", r"path=(\w+), scope=([^,]+)", "(PendingTasks)", {"path": "$1", "pool": "$2"}, "$3"),
        *(_plain(kind) for kind in ("Storage", "Compaction", "CommitLog", "HintsService", "Streaming", "Client")),
    ]
    return json.dumps({"lowercaseOutputName": True, "includeObjectNames": included, "rules": rules}, indent=1) + "\n"


def _counted(kind: str, scope: str, label: str) -> list[dict[str, Any]]:
    """Events, by scope; of those that are timed, how long the slowest hundredth takes in microseconds."""
    start = rf"org\.apache\.cassandra\.metrics<type={kind}, {scope}, name=(\w+)><>"
    name = f"cassandra_{kind.lower()}_$2"
    return [
        {"pattern": f"{start}Count", "name": f"{name}_total", "labels": {label: "$1"}, "type": "COUNTER"},
        {"pattern": f"{start}99thPercentile", "name": f"{name}_p99", "labels": {label: "$1"}, "type": "GAUGE"},
    ]


def _gauge(kind: str, keys: str, name: str, labels: dict[str, str], called: str) -> dict[str, Any]:
    pattern = rf"org\.apache\.cassandra\.metrics<type={kind}, {keys}, name={name}><>Value"
    return {"pattern": pattern, "name": f"cassandra_{kind.lower()}_{called}", "labels": labels, "type": "GAUGE"}


def _plain(kind: str) -> dict[str, Any]:
    pattern = rf"org\.apache\.cassandra\.metrics<type={kind}, name=(\w+)><>(?:Value|Count)"
    return {"pattern": pattern, "name": f"cassandra_{kind.lower()}_$1", "type": "UNTYPED"}
