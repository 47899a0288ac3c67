"""The Kubernetes objects of members: a StatefulSet for each rack, a Service for each member. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.cassandra.cluster import CASSANDRA_4, EncryptionSpec
from controller.cassandra.member.configuration import Settings, files
from controller.cassandra.member.containers import (
    GRACE_SECONDS,
    PROGRAM_DIGEST,
    install_container,
    member_container,
    pod_security,
    program_digest,
    volumes,
)
from controller.cassandra.member.encryption import PLAIN, Encryption, as_annotations
from controller.cassandra.pods import (
    CQL_PORT,
    MEMBER_LABEL,
    PEER_PORT,
    PEER_TLS_PORT,
    POD_NAME_LABEL,
    SEED_LABEL,
    account,
    admin_secret,
    labels,
    owner,
    rack_name,
    roster_name,
    selector,
    tls_secret,
)
from controller.cassandra.releases import CassandraVersion
from controller.framework.placement import keep_apart
from controller.framework.resources import memory_bytes
from controller.framework.workload import ALL, PodSettings, pod_template, stateful_set
from controller.runtime.quantities import quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.apis.cassandra import CassandraCluster, RackSpec
    from informers import JsonObject

TEMPLATE_ANNOTATION = "cassandra.rook.io/template"
"""On a pod: which pod template it was made from. One with another is out of date."""
VERSION_LABEL = "cassandra.rook.io/version"
STORAGE_ANNOTATION = "cassandra.rook.io/storage-mode"
"""On a pod: how it writes files, where it is not in such a way that 4.1 can read them."""
MADE_ANNOTATION = "cassandra.rook.io/made"
"""On a pod: which operators make it in this way."""
CONFIG_ANNOTATION = "cassandra.rook.io/configuration"
"""On a pod: the ConfigMap with its configuration."""
CONFIG_LABEL = "cassandra.rook.io/configuration"
"""On ConfigMaps with racks' configurations."""
DEFAULT_REPOSITORY = "docker.io/library/cassandra"


def member_service(cluster: CassandraCluster, rack: str, name: str, *, seed: bool) -> JsonObject:
    """The Service that is a member's identity: its address stays the same wherever its pod runs."""
    ports = {"intra-node": PEER_PORT, "tls-intra-node": PEER_TLS_PORT, "cql": CQL_PORT}
    own = {**labels(cluster, rack), MEMBER_LABEL: name, **({SEED_LABEL: "true"} if seed else {})}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owner(cluster).metadata(name, own),
        "spec": {
            "publishNotReadyAddresses": True,
            "selector": {POD_NAME_LABEL: name},
            "ports": [{"name": port, "port": number} for port, number in ports.items()],
        },
    }


def claim_name(rack: RackSpec, member: str) -> str:
    """The claim of a member."""
    return f"{_template_name(rack)}-{member}"


def resources(rack: RackSpec) -> JsonObject:
    """What a member may use: in 2018 that could be below the container's name, too."""
    found = rack.resources
    below = found.get("cassandra")
    return dict(below) if isinstance(below, dict) else {k: v for k, v in found.items() if k in ("limits", "requests")}


def image(cluster: CassandraCluster) -> str:
    """The image that members run."""
    return f"{cluster.spec.repository or DEFAULT_REPOSITORY}:{cluster.spec.version}"


def settings(cluster: CassandraCluster, rack: RackSpec, encryption: Encryption = PLAIN) -> Settings:
    """What the members of a rack are to be like."""
    spec = cluster.spec
    heap = quantity(spec.jvm.heap_size) if spec.jvm.heap_size is not None else None
    return Settings(
        cluster_name=cluster.metadata.name,
        datacenter=spec.datacenter.name,
        rack=rack.name,
        release=CassandraVersion.parse(spec.version).release,
        num_tokens=spec.num_tokens,
        storage_mode=spec.storage_compatibility,
        authentication=spec.authentication.enabled,
        encryption=encryption,
        memory=memory_bytes(resources(rack)),
        heap=int(heap) if heap is not None else None,
        config=spec.config,
        options=tuple(spec.jvm.options),
        metrics=spec.monitoring.enabled,
    )


def config_map(cluster: CassandraCluster, rack: RackSpec, encryption: Encryption = PLAIN) -> JsonObject:
    """The configuration of a rack's members. Its name tells it from others, so that a pod keeps the one it has."""
    data = files(settings(cluster, rack, encryption))
    name = f"{rack_name(cluster, rack.name)}-config-{_digest(data)[:8]}"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owner(cluster).metadata(name, {**labels(cluster, rack.name), CONFIG_LABEL: "true"}),
        "data": data,
    }


def rack_template(
    cluster: CassandraCluster, rack: RackSpec, *, installer: str, config: str, encryption: Encryption = PLAIN
) -> JsonObject:
    """The pod template of a rack's members.

    Args:
        cluster: The cluster.
        rack: The rack.
        installer: The operator's image, out of which comes the program that starts Cassandra.
        config: The ConfigMap with the rack's configuration.
        encryption: How the members speak with each other and with clients.
    """
    spec, own = cluster.spec, resources(rack)
    claim, tls = _template_name(rack), tls_secret(cluster, rack.name) if encryption.is_on else ""
    pod_spec: JsonObject = {
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "initContainers": [install_container(installer, own)],
        "containers": [
            member_container(image(cluster), own, claim=claim, tls=bool(tls), pull_policy=spec.image_pull_policy)
        ],
        "volumes": volumes(configuration=config, members=roster_name(cluster), admin=admin_secret(cluster), tls=tls),
    }
    pods = PodSettings(
        placement={ALL: rack.placement},
        labels={ALL: spec.labels},
        annotations={ALL: {**spec.annotations, **rack.annotations}},
        priority_class_names={ALL: spec.priority_class_name} if spec.priority_class_name else {},
    )
    own_labels = {**labels(cluster, rack.name), VERSION_LABEL: spec.version}
    template = pod_template(pods, rack.name, pod_spec, labels=own_labels, account=account(cluster))
    keep_apart(template["spec"], selector(cluster), strictly=False)
    annotations = template["metadata"].setdefault("annotations", {})
    annotations[TEMPLATE_ANNOTATION] = template_hash(cluster, rack, encryption)
    annotations[CONFIG_ANNOTATION] = config
    if spec.storage_compatibility != CASSANDRA_4:
        annotations[STORAGE_ANNOTATION] = spec.storage_compatibility
    annotations[PROGRAM_DIGEST] = program_digest()
    annotations |= as_annotations(encryption)
    annotations[MADE_ANNOTATION] = _digest(_without_image(template, installer))
    return template


def made_of(template: JsonObject) -> str:
    """What tells a pod template, or a pod, from one that another operator makes for the same spec."""
    return str(template["metadata"]["annotations"].get(MADE_ANNOTATION, ""))


def _without_image(template: JsonObject, installer: str) -> JsonObject:
    """A pod template but for the image of the operator: of another one that does the same, nothing is new."""
    containers = template["spec"]["initContainers"]
    kept = [{k: v for k, v in c.items() if k != "image" or v != installer} for c in containers]
    return {**template, "spec": {**template["spec"], "initContainers": kept}}


def template_hash(cluster: CassandraCluster, rack: RackSpec, encryption: Encryption = PLAIN) -> str:
    """What tells a pod template from others: all that the user asks for which needs a restart.

    What another release of the operator does otherwise is no part of it, so that none restarts a database. Of
    encryption, the step that the ring is at counts, and not what the spec asks for in the end.
    """
    spec = cluster.spec
    asked: tuple[object, ...] = (
        image(cluster),
        spec.image_pull_policy,
        spec.annotations,
        spec.labels,
        spec.priority_class_name,
        spec.config,
        spec.jvm,
        EncryptionSpec(),
        spec.monitoring,
        spec.upgrade.restart,
        rack.annotations,
        rack.placement,
        rack.resources,
        *((spec.storage_compatibility,) if spec.storage_compatibility != CASSANDRA_4 else ()),
    )
    return _digest((*asked, encryption) if encryption.is_on else asked)


def rack_stateful_set(
    cluster: CassandraCluster, rack: RackSpec, template: JsonObject, claims: Sequence[JsonObject], *, replicas: int
) -> JsonObject:
    """The StatefulSet of a rack. Its pods are restarted by the operator alone, in an order through all racks."""
    meta = owner(cluster).metadata(rack_name(cluster, rack.name), labels(cluster, rack.name))
    service = f"{cluster.metadata.name}-members"
    return stateful_set(meta, selector(cluster, rack.name), template, replicas=replicas, service=service, claims=claims)


def claim_template(cluster: CassandraCluster, rack: RackSpec) -> JsonObject:
    """The claim that each member of a rack gets."""
    template: dict[str, Any] = dict(rack.storage.volume_claim_templates[0])
    meta = dict(template.get("metadata") or {})
    spec = {"accessModes": ["ReadWriteOnce"], **(template.get("spec") or {})}
    own = {**(meta.get("labels") or {}), **selector(cluster, rack.name)}
    annotations = {"annotations": meta["annotations"]} if meta.get("annotations") else {}
    return {"metadata": {"name": _template_name(rack), "labels": own, **annotations}, "spec": spec}


def storage_request(rack: RackSpec) -> int | str:
    """How much storage the claim of a member asks for; 0: the spec does not say."""
    templates = rack.storage.volume_claim_templates
    requests = ((templates[0].get("spec") or {}).get("resources") or {}).get("requests") or {} if templates else {}
    found: int | str = requests.get("storage", 0)
    return found


def _template_name(rack: RackSpec) -> str:
    template = rack.storage.volume_claim_templates[0] if rack.storage.volume_claim_templates else {}
    return str((template.get("metadata") or {}).get("name") or "data")


def _digest(content: object) -> str:
    return sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:16]
