"""What a daemon runs as: its pod template from what the spec says of its kind of daemon, and the workload around it.

A spec speaks of daemons by a key ("mon", "osd", a rack's name): placement, resources, labels, annotations, priority.
What it has for "all" counts for each. A system adds containers and volumes, and knows its own labels and accounts; it
gets back plain objects. Contract: equal arguments give equal objects, so that a pod template changes, and a daemon
restarts, only where the spec, the image or the program that builds it does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from controller.apis.meta import ObjectMeta
from controller.framework.labels import INSTANCE
from controller.framework.placement import merged, pod_fields
from controller.framework.resources import requirements
from controller.runtime import owner_reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.apis.meta import Kind
    from informers import JsonObject

ALL = "all"
"""The key under which a spec speaks of every daemon."""

REVISION_HISTORY = 3

_ACTIONS = ("exec", "httpGet", "tcpSocket", "grpc")


@dataclass(frozen=True, slots=True)
class Owner:
    """The object that others are made for: they are in its namespace and refer to it.

    It has nothing that changes during the object's life, so that what is built for equal owners is equal.
    """

    kind: Kind
    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, kind: Kind, meta: ObjectMeta) -> Owner:
        """The object of this kind with this metadata."""
        return cls(kind, meta.namespace, meta.name, meta.uid)

    @property
    def reference(self) -> JsonObject:
        """The controller reference, through which the garbage collector deletes what is owned."""
        return owner_reference(ObjectMeta(name=self.name, uid=self.uid), self.kind)

    def metadata(self, name: str, labels: Mapping[str, str], *, owned: bool = True, **more: Any) -> JsonObject:
        """The metadata of a child.

        Args:
            name: The child's.
            labels: The child's.
            owned: It is removed with its owner. Not so for identity and data, which go without the label of an
                instance: Argo CD takes an object that has it and no owner for its own, and prunes it.
            more: Other fields, such as `annotations`.
        """
        own = dict(labels)
        meta: JsonObject = {"name": name, "namespace": self.namespace, "labels": own, **more}
        if owned:
            meta["ownerReferences"] = [self.reference]
        else:
            own.pop(INSTANCE, None)
        return meta


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSettings:
    """What a spec says of its daemons' pods, each field by the daemon's key and for "all".

    Attributes:
        placement: Affinities, tolerations and spread constraints.
        resources: Requests and limits of containers.
        labels: Labels of pods, which do not take the place of the system's own.
        annotations: Annotations of pods.
        priority_class_names: Names of PriorityClasses.
        host_network: Whether pods are in the network of their nodes.
    """

    placement: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    resources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    annotations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    priority_class_names: Mapping[str, str] = field(default_factory=dict)
    host_network: bool = False

    def placement_of(self, key: str) -> dict[str, Any]:
        """Where daemons of this key may run."""
        return merged(self.placement, key)

    def container_resources(self, *keys: str) -> JsonObject:
        """The field `resources` of a container by the first of `keys`, to merge into it; empty where none are set."""
        found = requirements(self.resources, *keys)
        return {"resources": found} if found else {}


def pod_template(
    settings: PodSettings,
    key: str,
    pod_spec: Mapping[str, Any],
    *,
    labels: Mapping[str, str],
    account: str,
    placement: Mapping[str, Any] | None = None,
) -> JsonObject:
    """A pod template: `pod_spec` with what the spec says of daemons of this key. The pod has no access to the API.

    Args:
        settings: What the spec says.
        key: Under which it speaks of such daemons.
        pod_spec: Containers, volumes, and whatever else is the system's; goes before all but priority and network.
        labels: The system's own.
        account: The service account.
        placement: Where the pod may run; by default what the settings say.
    """
    annotations = {**settings.annotations.get(ALL, {}), **settings.annotations.get(key, {})}
    meta: JsonObject = {"labels": {**settings.labels.get(ALL, {}), **settings.labels.get(key, {}), **labels}}
    if annotations:
        meta["annotations"] = annotations
    full: JsonObject = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "serviceAccountName": account,
        "restartPolicy": "Always",
        **pod_fields(settings.placement_of(key) if placement is None else placement),
        **pod_spec,
    }
    priority_class = settings.priority_class_names.get(key) or settings.priority_class_names.get(ALL)
    if priority_class:
        full["priorityClassName"] = priority_class
    if settings.host_network:
        full["hostNetwork"] = True
        full["dnsPolicy"] = "ClusterFirstWithHostNet"
    return {"metadata": meta, "spec": full}


def deployment(meta: JsonObject, selector: Mapping[str, str], template: JsonObject) -> JsonObject:
    """The Deployment of one daemon. The old pod ends before the new one starts: they would share data.

    Args:
        meta: Its metadata.
        selector: Labels that find its pods; a Deployment's can never change.
        template: Its pod template.
    """
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": REVISION_HISTORY,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": dict(selector)},
            "template": template,
        },
    }


def stateful_set(
    meta: JsonObject,
    selector: Mapping[str, str],
    template: JsonObject,
    *,
    replicas: int,
    service: str,
    claims: Sequence[JsonObject] = (),
    partition: int | None = None,
) -> JsonObject:
    """The StatefulSet of alike daemons, each with a name and a volume of its own.

    Claims stay when a pod, or the StatefulSet, goes: what becomes of data is decided by `controller.framework.claims`.

    Args:
        meta: Its metadata.
        selector: Labels that find its pods; they can never change.
        template: The pod template of each.
        replicas: How many there are.
        service: The headless Service that gives the pods their names; it can never change.
        claims: Templates of their claims; they can never change while the StatefulSet lives.
        partition: Pods of this ordinal and above may be restarted by the StatefulSet's controller where the template
            has changed; None: no pod is, until it is deleted.
    """
    strategy: JsonObject = {"type": "OnDelete"}
    if partition is not None:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}
    spec: JsonObject = {
        "replicas": replicas,
        "revisionHistoryLimit": REVISION_HISTORY,
        "serviceName": service,
        # In order, a set where one pod is broken would be stuck.
        "podManagementPolicy": "Parallel",
        "updateStrategy": strategy,
        "selector": {"matchLabels": dict(selector)},
        "template": template,
    }
    if claims:
        spec["volumeClaimTemplates"] = list(claims)
        spec["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Retain", "whenScaled": "Retain"}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": spec}


def no_rights() -> JsonObject:
    """The securityContext of a container that needs no right on its node and writes to its volumes alone."""
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


class ProbeChoice(Protocol):
    """What a spec says of one probe."""

    @property
    def disabled(self) -> bool:
        """Whether the daemon does without it."""
        ...

    @property
    def probe(self) -> Mapping[str, Any] | None:
        """Fields of a Kubernetes probe that take the place of the system's."""
        ...


def probes(own: Mapping[str, JsonObject], chosen: Mapping[str, ProbeChoice | None]) -> JsonObject:
    """The probes of a container by field: the system's own, as far as the spec does not say otherwise."""
    result: JsonObject = {}
    for name, probe in own.items():
        choice = chosen.get(name)
        if choice is None:
            result[name] = probe
        elif not choice.disabled:
            result[name] = _with_fields(probe, choice.probe or {})
    return result


def _with_fields(probe: JsonObject, fields: Mapping[str, Any]) -> JsonObject:
    replaces_action = any(fields.get(action) for action in _ACTIONS)
    kept = {k: v for k, v in probe.items() if not (replaces_action and k in _ACTIONS)}
    return {**kept, **fields}
