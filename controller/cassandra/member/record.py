"""How one member is to be started: what the operator tells the program in its pod.

The records of members are keys of a ConfigMap that their pods mount, so that they can be told apart though their pod
template is one. What is in a record for a pod that starts has to be written before the pod is made; a change for one
that runs comes to it within about a minute.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

MOST_COPIES = 3
"""Copies of a row that tokens are chosen for, as Cassandra's own configuration has it."""


def copies(racks: int) -> int:
    """For how many copies of a row the tokens of a new member are chosen, by the racks that have members.

    Cassandra does not let a member join a rack where there are several of them, and fewer than these copies.
    """
    return min(MOST_COPIES, racks) if racks > 1 else MOST_COPIES


@dataclass(frozen=True, slots=True)
class Record:
    """How one member is to be started. `controller.cassandra.member.pod.start.judge` says what comes of it.

    Attributes:
        address: What others know it by, for as long as it is a member.
        seeds: Addresses that it finds the others by. Its own counts only once its data have a place in the ring.
        copies: How many copies of a row its tokens are chosen for when it joins (`copies`).
        founder: It may found the cluster: true for one member, and only until the cluster is founded.
        host_id: That of its data, as `Report.host_id` told it; empty as long as it has none, or is to replace another.
        replace: The address of the lost member whose place it takes, where its volume is empty. Where it is its own
            address too, Cassandra gives it the lost one's host ID, and the others send it nothing that is written while
            it copies the data.
    """

    address: str
    seeds: tuple[str, ...]
    copies: int = MOST_COPIES
    founder: bool = False
    host_id: str = ""
    replace: str = ""


def key(member: str) -> str:
    """The key of a member's record."""
    return f"{member}.json"


def text(record: Record) -> str:
    """The record as the program reads it."""
    content = {
        "address": record.address,
        "seeds": list(record.seeds),
        "copies": record.copies,
        "founder": record.founder,
        "hostId": record.host_id,
        "replace": record.replace,
    }
    return json.dumps(content, sort_keys=True)
