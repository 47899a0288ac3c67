"""How a ring comes to the encryption that the spec asks for: which step is next, and what it waits for. Pure.

The steps are those of `controller.cassandra.member.encryption`. The roster has the step that members are at or are
restarted for. The next one is written down when no pod, and no pod that a StatefulSet may make, is two steps away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from controller.cassandra.cluster import certificates
from controller.cassandra.member.encryption import PLAIN, distance, hear_each_other, toward, wanted
from controller.cassandra.member.steps import LANE, WriteRoster
from controller.framework.plan import Step
from controller.framework.text import some

if TYPE_CHECKING:
    from controller.apis.cassandra import CassandraCluster
    from controller.cassandra.cluster.certificates import Certificates
    from controller.cassandra.cluster.observe import Observation
    from controller.cassandra.member.encryption import Encryption
    from controller.cassandra.member.roster import Roster
    from controller.cassandra.releases import Upgrade

MAX_NAMED = 3


def next_step(
    cluster: CassandraCluster, seen: Observation, roster: Roster, upgrade: Upgrade, certified: Certificates
) -> Step | None:
    """The step by which it is written down how members speak from now on; None: it is as the spec has it.

    Args:
        cluster: What is wanted.
        seen: What is there.
        roster: Who belongs to the ring.
        upgrade: Which version members should run.
        certified: Which certificates there are.
    """
    then = toward(roster.encryption, wanted(cluster.spec.encryption))
    if then == roster.encryption:
        return None
    held = certified.hold if then.is_on else ""
    missing = sorted(roster.seats.keys() - seen.pods.keys())
    if missing:
        held = f"pods of {some(missing, MAX_NAMED)}"
    elif upgrade.under_way and upgrade.target is not None:
        held = f"all members to run {upgrade.target.image}"
    elif not hear_each_other((*certificates.present(cluster, seen), then)):
        held = f"all members to be restarted for {roster.encryption}"
    reason = f"it becomes {then}, from {roster.encryption}"
    action = WriteRoster(replace(roster, encryption=then))
    return Step(subject="encryption", reason=reason, action=action, lane="encryption" if held else LANE, waits_for=held)


def found(cluster: CassandraCluster, seen: Observation) -> Encryption:
    """The step that a ring is at, or is restarted for, by what its pods are made from."""
    goal = wanted(cluster.spec.encryption)
    return min(certificates.present(cluster, seen), key=lambda one: distance(one, goal), default=PLAIN)
