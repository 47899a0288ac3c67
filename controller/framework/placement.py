"""On which nodes a daemon may run: the spec's `placement` by daemon, judged against nodes without any I/O.

The scheduler decides for pods that may run anywhere. A daemon that is bound to a node by its data (a host path, a
device) is placed here instead, by the same rules, so that the reason against every node can be shown.
Rules: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from controller.runtime.kube import Node, Taint

HOSTNAME_LABEL = "kubernetes.io/hostname"
ZONE_LABEL = "topology.kubernetes.io/zone"


def topology_label(driver: str, domain: str) -> str:
    """The label of nodes by which a CSI driver tells places apart, as Ceph's CSI driver names it.

    Args:
        driver: The driver's name.
        domain: What a label of the node that says the same is called, after its slash: "zone".
    """
    return f"topology.{driver.lower()}/{domain}"


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_EFFECTS_THAT_KEEP_PODS_OFF = frozenset({"NoSchedule", "NoExecute"})
_PLACED_BY_NODE_HEALTH = frozenset(
    {
        "node.kubernetes.io/disk-pressure",
        "node.kubernetes.io/memory-pressure",
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/pid-pressure",
        "node.kubernetes.io/unreachable",
    }
)


def merged(placements: Mapping[str, Mapping[str, Any]], key: str) -> dict[str, Any]:
    """The placement of daemon `key`: what `placements` has for it, over what it has for "all".

    Tolerations add up; of everything else the more specific one counts alone, as upstream does it.
    """
    return over(placements.get("all") or {}, placements.get(key) or {})


def over(general: Mapping[str, Any], specific: Mapping[str, Any]) -> dict[str, Any]:
    """A placement and a more specific one: tolerations add up; of everything else the specific one counts alone."""
    placement = {**general, **specific}
    tolerations = [*general.get("tolerations", ()), *specific.get("tolerations", ())]
    if tolerations:
        placement["tolerations"] = [t for i, t in enumerate(tolerations) if t not in tolerations[:i]]
    return placement


def within(general: Mapping[str, Any], specific: Mapping[str, Any]) -> dict[str, Any]:
    """As `over`, but on nodes that both require: neither opens a node that the other closes."""
    placement = over(general, specific)
    terms = [p.get("nodeAffinity", {}).get(_REQUIRED, {}).get("nodeSelectorTerms") for p in (general, specific)]
    first, second = terms
    if first and second:
        joined = [
            {
                name: [*a.get(name, ()), *b.get(name, ())]
                for name in ("matchExpressions", "matchFields")
                if name in {**a, **b}
            }
            for a in first
            for b in second
        ]
        affinity = {**general["nodeAffinity"], **specific["nodeAffinity"], _REQUIRED: {"nodeSelectorTerms": joined}}
        placement["nodeAffinity"] = affinity
    elif first:
        placement["nodeAffinity"] = {
            **placement.get("nodeAffinity", {}),
            _REQUIRED: general["nodeAffinity"][_REQUIRED],
        }
    return placement


def pod_fields(placement: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a pod's spec that carry `placement`."""
    fields: dict[str, Any] = {}
    affinity = {k: placement[k] for k in ("nodeAffinity", "podAffinity", "podAntiAffinity") if placement.get(k)}
    if affinity:
        fields["affinity"] = affinity
    for name in ("tolerations", "topologySpreadConstraints"):
        if placement.get(name):
            fields[name] = placement[name]
    return fields


def hostname(node: Node) -> str:
    """The value that binds pods to a node: its label `kubernetes.io/hostname`, which need not be its name."""
    return node.metadata.labels.get(HOSTNAME_LABEL, node.metadata.name)


def rejection(node: Node, placement: Mapping[str, Any]) -> str:
    """Why pods with this placement may not start on `node`, in words; empty when they may."""
    if node.spec.unschedulable:
        return "is cordoned"
    tolerations = placement.get("tolerations", ())
    for taint in node.spec.taints:
        if taint.effect in _EFFECTS_THAT_KEEP_PODS_OFF and not any(tolerates(t, taint) for t in tolerations):
            if taint.key in _PLACED_BY_NODE_HEALTH:
                return f"is unhealthy ({taint.key.rpartition('/')[2]})"
            return f"has taint {taint.key}={taint.value}:{taint.effect}, which is not tolerated"
    required = placement.get("nodeAffinity", {}).get(_REQUIRED)
    if required is not None and not any(_term_matches(term, node) for term in required.get("nodeSelectorTerms", ())):
        return "does not match the required node affinity"
    return ""


def eligible(nodes: Iterable[Node], placement: Mapping[str, Any]) -> tuple[list[Node], dict[str, str]]:
    """The nodes on which pods with this placement may start, and for each other node's name the reason why not."""
    fit: list[Node] = []
    rejected: dict[str, str] = {}
    for node in nodes:
        reason = rejection(node, placement)
        if reason:
            rejected[node.metadata.name] = reason
        else:
            fit.append(node)
    return fit, rejected


def tolerates(toleration: Mapping[str, Any], taint: Taint) -> bool:
    """Whether a pod with `toleration` may be on a node with `taint`."""
    if toleration.get("effect") and toleration["effect"] != taint.effect:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key", "") in ("", taint.key)
    return bool(toleration.get("key") == taint.key and toleration.get("value", "") == taint.value)


def _term_matches(term: Mapping[str, Any], node: Node) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False  # an empty term selects nothing
    own_fields = {"metadata.name": node.metadata.name}
    return all(_matches(e, node.metadata.labels) for e in expressions) and all(_matches(f, own_fields) for f in fields)


_OPERATORS: Mapping[str, Callable[[str | None, list[str]], bool]] = {
    "In": lambda value, wanted: value in wanted,
    "NotIn": lambda value, wanted: value not in wanted,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
    "Gt": lambda value, wanted: _both_integers(value, wanted) and int(value or 0) > int(wanted[0]),
    "Lt": lambda value, wanted: _both_integers(value, wanted) and int(value or 0) < int(wanted[0]),
}


def _matches(requirement: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    operator = _OPERATORS.get(requirement.get("operator", ""))
    return operator is not None and operator(values.get(requirement["key"]), list(requirement.get("values") or ()))


def _both_integers(value: str | None, wanted: list[str]) -> bool:
    return value is not None and value.lstrip("-").isdigit() and len(wanted) == 1 and wanted[0].lstrip("-").isdigit()


def labelled(label: str, values: Iterable[str]) -> dict[str, Any]:
    """The placement on nodes only whose `label` has one of these values."""
    expression = {"key": label, "operator": "In", "values": sorted(values)}
    return {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}


def spread(pod_spec: dict[str, Any], labels: Mapping[str, str], over: str, *, strictly: bool) -> None:
    """Adds to a pod's constraints that pods with these labels are spread evenly over the values of a node label.

    Args:
        pod_spec: Is changed; constraints that it has already stay, also those over the same label.
        labels: What the pods have in common.
        over: The node label.
        strictly: A pod rather waits than makes one value's share greater by two than another's.
    """
    constraint = {
        "maxSkew": 1,
        "topologyKey": over,
        "whenUnsatisfiable": "DoNotSchedule" if strictly else "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(labels)},
    }
    present = pod_spec.get("topologySpreadConstraints", [])
    if all(found.get("topologyKey") != over for found in present):
        pod_spec["topologySpreadConstraints"] = [*present, constraint]


def keep_apart(pod_spec: dict[str, Any], labels: Mapping[str, str], *, strictly: bool) -> None:
    """Adds to a pod's affinity that no node gets two pods with these labels.

    Args:
        pod_spec: Is changed; what its affinity says already stays.
        labels: What the pods have in common.
        strictly: A pod rather waits than shares a node. Else the scheduler only prefers other nodes.
    """
    term: dict[str, Any] = {"topologyKey": HOSTNAME_LABEL, "labelSelector": {"matchLabels": dict(labels)}}
    affinity = dict(pod_spec.get("affinity", {}))
    rules = dict(affinity.get("podAntiAffinity", {}))
    if strictly:
        kind, rule = "requiredDuringSchedulingIgnoredDuringExecution", term
    else:
        kind, rule = "preferredDuringSchedulingIgnoredDuringExecution", {"weight": 100, "podAffinityTerm": term}
    rules[kind] = [*rules.get(kind, ()), rule]
    pod_spec["affinity"] = {**affinity, "podAntiAffinity": rules}
