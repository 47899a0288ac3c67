"""Which fields of Cassandra's kinds are served; what else is set is named in the condition FieldsHonoured."""

from __future__ import annotations

from collections.abc import Mapping

from controller.apis.served import Honoured, Moot, only

CLUSTER: Mapping[str, Honoured] = {
    **dict.fromkeys(("annotations", "labels", "version", "repository", "imagePullPolicy", "priorityClassName")),
    "mode": only("cassandra"),
    "datacenter": {
        "name": None,
        "racks": {
            **dict.fromkeys(("name", "members", "annotations", "placement", "resources")),
            "storage": {"volumeClaimTemplates": None},
        },
    },
    "sidecarImage": Moot("there is no sidecar: the operator speaks with the members itself"),
    **dict.fromkeys(
        (
            "numTokens",
            "storageCompatibility",
            "config",
            "jvm",
            "authentication",
            "claimRetention",
            "lostMembers",
            "loseCopies",
        )
    ),
    "upgrade": None,
    "encryption": None,
    "monitoring": None,
}
"""The fields of a Cluster's spec that are served."""

OPERATION: Mapping[str, Honoured] = dict.fromkeys(
    ("cluster", "deadlineSeconds", "paused", "repair", "cleanup", "backup", "restore")
)
"""The fields of an Operation's spec that are served."""

SCHEDULE: Mapping[str, Honoured] = {
    **dict.fromkeys(("schedule", "timeZone", "suspend", "concurrency", "startingDeadlineSeconds", "history")),
    "operation": OPERATION,
}
"""The fields of an OperationSchedule's spec that are served."""
