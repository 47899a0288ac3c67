"""Conditions of restarts: what would be restarted if somebody said so, and a rollout that stopped. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.meta import Condition
from controller.cassandra.cluster.analyze import restarts_of
from controller.cassandra.member import rollout
from controller.cassandra.member.objects import TEMPLATE_ANNOTATION, config_map, made_of, rack_template, template_hash
from controller.framework.text import MOST, cut, some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.cassandra import CassandraCluster
    from controller.cassandra.cluster.observe import Observation
    from controller.cassandra.member.roster import Roster

UPDATE_AVAILABLE, ROLLOUT_STOPPED = "UpdateAvailable", "RolloutStopped"
"""Types of conditions."""
MAX_NAMED = 3


def of_restarts(cluster: CassandraCluster, seen: Observation) -> tuple[Condition, ...]:
    """The conditions of a cluster whose spec can be done.

    Args:
        cluster: What counts of its spec (`controller.cassandra.cluster.spec.effective`).
        seen: What there is.
    """
    roster = seen.roster
    if roster is None:
        return ()
    earlier = sorted(_made_earlier(cluster, seen, roster))
    stopped = rollout.stopped(roster, seen.scene, restarts_of(cluster, seen, roster))
    return _update_available(earlier), _rollout_stopped(stopped)


def _made_earlier(cluster: CassandraCluster, seen: Observation, roster: Roster) -> Iterator[str]:
    """Members with what the spec asks for, which this operator would make otherwise than another one has made them."""
    for rack in cluster.spec.datacenter.racks:
        how = roster.encryption
        config = config_map(cluster, rack, how)["metadata"]["name"]
        made, template = (
            made_of(rack_template(cluster, rack, installer="", config=config, encryption=how)),
            template_hash(cluster, rack, how),
        )
        for name in roster.rack(rack.name):
            pod = seen.pods.get(name)
            annotations = pod.metadata.annotations if pod is not None else {}
            if (
                annotations.get(TEMPLATE_ANNOTATION) == template
                and made_of({"metadata": {"annotations": annotations}}) != made
            ):
                yield name


def _update_available(earlier: list[str]) -> Condition:
    if not earlier:
        return Condition(type=UPDATE_AVAILABLE, status="False", reason="UpToDate")
    message = (
        f"{some(earlier, MAX_NAMED)} run what an earlier operator made; they are restarted for no reason of its own: "
        "set spec.upgrade.restart to another text to restart all, one by one"
    )
    return Condition(type=UPDATE_AVAILABLE, status="True", reason="OperatorChanged", message=cut(message, MOST))


def _rollout_stopped(stopped: str) -> Condition:
    if not stopped:
        return Condition(type=ROLLOUT_STOPPED, status="False", reason="NotStopped")
    message = (
        f"the rollout waits for {stopped}. The other members keep what they run. Correct the spec, or set it back: "
        "that reaches this member first"
    )
    return Condition(type=ROLLOUT_STOPPED, status="True", reason="MemberNotBack", message=cut(message, 2 * MOST))
