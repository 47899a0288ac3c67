"""In which of the places that its class leaves to choose from a claim's volume is made ("Allowed topologies").

A class that binds when the first pod is scheduled gets the volume where that pod runs. Another one has its volumes
spread over the places that some node is at. What was chosen stays, as long as the pod can reach it.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from controller.volumes.places import in_words, is_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.runtime.kube import Node, StorageClass
    from controller.volumes.backend import Choice, Volume


class NowhereError(Exception):
    """No place of the class can be reached from where the volume is needed. The message says why."""


def choose(
    choices: Sequence[Choice],
    storage_class: StorageClass,
    nodes: Iterable[Node],
    claim: str,
    *,
    selected: Node | None = None,
    begun: Volume | None = None,
) -> Choice:
    """The choice for a claim: one that a node can reach where the volume may be needed. Pure.

    Args:
        choices: What the class leaves to choose from, the best first.
        storage_class: The class: its `allowedTopologies` limit the nodes.
        nodes: All nodes.
        claim: The claim's name, by which volumes are spread; those of a StatefulSet follow one another.
        selected: The node that was selected for the first pod; None: the class does not wait for one.
        begun: The volume of the choice that was made at an earlier try; None: this is the first.

    Raises:
        NowhereError: There is none.
    """
    candidates = [selected] if selected is not None else [n for n in nodes if _allows(storage_class, n.metadata.labels)]
    fitting = [choice for choice in choices if any(is_at(node.metadata.labels, choice.place) for node in candidates)]
    if not fitting:
        raise NowhereError(_nowhere(choices, storage_class, selected))
    fitting = [choice for choice in fitting if choice.volume == begun] or fitting
    return fitting[0] if selected is not None else fitting[_number(claim) % len(fitting)]


def _allows(storage_class: StorageClass, labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels is in one of the class' `allowedTopologies`, as the scheduler has it."""
    terms = storage_class.allowed_topologies
    return not terms or any(
        all(labels.get(label.key) in label.values for label in term.match_label_expressions) for term in terms
    )


def _number(claim: str) -> int:
    """A number that is the same for a claim at each try, and follows the ordinal of a StatefulSet's."""
    name, _, ordinal = claim.rpartition("-")
    if name and ordinal.isdecimal():
        return zlib.crc32(name.encode()) + int(ordinal)
    return zlib.crc32(claim.encode())


def _nowhere(choices: Sequence[Choice], storage_class: StorageClass, selected: Node | None) -> str:
    places = " or ".join(dict.fromkeys(in_words(choice.place) for choice in choices))
    name = f"StorageClass {storage_class.metadata.name}"
    if selected is None:
        within = " that its allowedTopologies allow" if storage_class.allowed_topologies else ""
        return f"{name}: no node{within} reaches a volume of it: expected one with {places}"
    labels = selected.metadata.labels
    keys = sorted({key for choice in choices for key in choice.place})
    has = ", ".join(f"{key}={labels[key]}" if key in labels else f"no label {key}" for key in keys)
    return (
        f"{name}: node {selected.metadata.name}, which the scheduler selected, reaches no volume of it, as it has "
        f"{has}: expected {places}"
    )
