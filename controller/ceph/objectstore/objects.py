"""The Kubernetes objects that a store's gateways are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_OBJECT_STORE
from controller.ceph.access.identity import secret
from controller.ceph.objectstore.spec import S3, SWIFT, options, serves
from controller.ceph.pods import (
    CLUSTER_LABEL,
    ROOT_CAPABILITIES,
    cluster_labels,
    deployment,
    environment,
    family_fields,
    flags,
    image_fields,
    pod_template,
    pod_with_data,
    security_context,
)
from controller.ceph.rgw.names import (
    ACCESS_KEY,
    APP,
    KEY,
    SECRET_KEY,
    STORE_LABEL,
    admin_secret,
    certificate_secret,
    entity_of,
    keyring_name,
    port_of,
    service_name,
    speaks_tls,
)
from controller.ceph.rgw.stores import CA_BUNDLE, CERT
from controller.ceph.services import context_for, with_network
from controller.framework import workload
from controller.framework.disruption import budget
from controller.framework.labels import recommended
from controller.framework.placement import keep_apart, spread
from controller.framework.tls import CERTIFICATE
from controller.framework.tls import KEY as PRIVATE_KEY

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster, CephObjectStore
    from controller.ceph.pods import Context, Daemon, Release
    from controller.ceph.rgw.names import Place
    from informers import JsonObject

HTTP_PORT = 8080
"""Where gateways listen for HTTP within the network of pods; upstream's."""
PRIVILEGED_PORTS = 1024
"""Below which a port needs a right of its own."""
DRAIN_SECONDS = 10
"""For how long a gateway that is to end still serves: until nobody sends it new requests any more."""
GRACE_SECONDS = 60
"""After which one that has not ended is killed."""
CERTIFICATE_DIR, CA_DIR = "/etc/ceph/private", "/etc/ceph/ca"
FILES_DIR = "/var/rgw"
CERTIFICATE_ANNOTATION = "rook.io/certificate"
"""On a pod: a digest of the certificate and authorities that it started with; gateways never read them again."""
LOG_DIR = "/var/log/ceph"
OPS_LOG = f"{LOG_DIR}/ops-log.log"
_PRINT_OPS_LOG = f"""\
touch {OPS_LOG}
tail -n +1 -F {OPS_LOG} &
while sleep 60; do
  if [ "$(stat -c %s {OPS_LOG})" -gt 67108864 ]; then : > {OPS_LOG}; fi
done
"""
"""Prints the log, and empties it where it has grown: it is on the node's disk."""


def context(store: CephObjectStore, cluster: CephCluster, release: Release) -> Context:
    """What gateways are given of their cluster, with what the CephObjectStore says of their pods."""
    spec = store.spec.gateway
    given = context_for(CEPH_OBJECT_STORE, store.metadata, spec, KEY, cluster, release)
    return with_network(given, spec.host_network)


def selector(store: CephObjectStore) -> dict[str, str]:
    """The labels that all gateways of a store have, and no other pod has."""
    return {"app": APP, CLUSTER_LABEL: store.metadata.namespace, STORE_LABEL: store.metadata.name}


def labels(context: Context, daemon: Daemon) -> dict[str, str]:
    """The labels of a gateway's objects."""
    return {**daemon.labels(context.owner), "rgw": context.owner.name, STORE_LABEL: context.owner.name}


def store_labels(context: Context) -> dict[str, str]:
    """The labels of what all gateways of a store share."""
    return {**cluster_labels(context.owner, APP), "rgw": context.owner.name, STORE_LABEL: context.owner.name}


def listens(store: CephObjectStore, context: Context) -> dict[str, int]:
    """The ports on which gateways listen, by the name that the Service has for them."""
    found: dict[str, int] = {}
    if port_of(store):
        found["http"] = port_of(store) if context.host_network else HTTP_PORT
    if speaks_tls(store):
        found["https"] = store.spec.gateway.secure_port
    return found


def gateway_deployment(
    store: CephObjectStore, context: Context, daemon: Daemon, place: Place, certificate: str, *, separate_key: bool
) -> JsonObject:
    """A gateway's Deployment.

    Args:
        store: The CephObjectStore.
        context: What its gateways are given.
        daemon: The gateway.
        place: The zone that it serves.
        certificate: A digest of the certificate and authorities that it is to have; empty: it has none.
        separate_key: Whether the certificate's key is beside it, as in a Secret of type kubernetes.io/tls.
    """
    ports = listens(store, context)
    frontends = [*([f"port={ports['http']}"] if "http" in ports else [])]
    if "https" in ports:
        frontends += [f"ssl_port={ports['https']}", f"ssl_certificate={CERTIFICATE_DIR}/rgw-cert.pem"]
        frontends += [f"ssl_private_key={CERTIFICATE_DIR}/rgw-key.pem"] if separate_key else []
    own_id = entity_of(daemon).removeprefix("client.")
    given = {
        "rgw-frontends": f"beast {' '.join(frontends)}",
        "rgw-realm": place.realm,
        "rgw-zonegroup": place.zonegroup,
        "rgw-zone": place.zone,
        "host": "$(POD_NAME)",
        **options(store),
        **({"rgw-enable-ops-log": "true", "rgw-ops-log-file-path": OPS_LOG} if _prints_operations(store) else {}),
        **{
            name.replace("_", "-").replace(" ", "-"): value
            for name, value in store.spec.gateway.rgw_command_flags.items()
        },
    }
    low = any(port < PRIVILEGED_PORTS for port in ports.values())
    capabilities = (*ROOT_CAPABILITIES, *(["NET_BIND_SERVICE"] if low else []))
    container: JsonObject = {
        "name": "rgw",
        "command": ["radosgw"],
        "args": [
            *(flag if not flag.startswith("--id=") else f"--id={own_id}" for flag in flags(context, daemon)),
            *(f"--{name}={value}" for name, value in given.items()),
        ],
        **image_fields(context),
        "env": [*environment(), *_authorities(store)],
        "ports": [{"name": name, "containerPort": port} for name, port in ports.items()],
        "securityContext": security_context(capabilities),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(DRAIN_SECONDS)]}}},
        **context.pods.container_resources(KEY),
        **_probes(store, context),
    }
    pod = pod_with_data(context, container, keyring_name(daemon), f"/var/lib/ceph/rgw/ceph-{own_id}")
    _mount_files(store, pod, separate_key=separate_key)
    if _prints_operations(store):
        pod["containers"].append(_ops_log_container(store, context))
    pod["terminationGracePeriodSeconds"] = GRACE_SECONDS
    template = pod_template(context, daemon, pod)
    template["metadata"]["labels"] |= {"rgw": context.owner.name, STORE_LABEL: context.owner.name}
    if certificate:
        annotations = template["metadata"].get("annotations", {})
        template["metadata"]["annotations"] = {**annotations, CERTIFICATE_ANNOTATION: certificate}
    alike = selector(store)
    keep_apart(template["spec"], alike, strictly=context.host_network)
    spread(template["spec"], alike, context.zone_label, strictly=False)
    found = deployment(context, daemon, template)
    found["metadata"]["labels"] |= {"rgw": context.owner.name, STORE_LABEL: context.owner.name}
    if not context.host_network:
        # The next one serves before this one ends. Where both need the same port of a node, it has to wait.
        found["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    return found


def _prints_operations(store: CephObjectStore) -> bool:
    return store.spec.gateway.ops_log_sidecar is not None


def _ops_log_container(store: CephObjectStore, context: Context) -> JsonObject:
    sidecar = store.spec.gateway.ops_log_sidecar
    resources = dict(sidecar.resources) if sidecar is not None else {}
    return {
        "name": "ops-log",
        "command": ["sh", "-c", _PRINT_OPS_LOG],
        **image_fields(context),
        "volumeMounts": [{"name": "log", "mountPath": LOG_DIR}],
        # The file is user ceph's, whose number differs between images.
        "securityContext": security_context(("DAC_OVERRIDE",)),
        **({"resources": resources} if resources else {}),
    }


def _authorities(store: CephObjectStore) -> list[JsonObject]:
    if not store.spec.gateway.ca_bundle_ref:
        return []
    return [{"name": "CURL_CA_BUNDLE", "value": f"{CA_DIR}/{CA_BUNDLE}"}]


def _mount_files(store: CephObjectStore, pod: JsonObject, *, separate_key: bool) -> None:
    """Adds certificate, authorities and the user's own files to the pod and to the gateway's container."""
    gateway = store.spec.gateway
    volumes: list[JsonObject] = []
    mounts: list[JsonObject] = []
    if speaks_tls(store):
        items = [{"key": CERTIFICATE if separate_key else CERT, "path": "rgw-cert.pem"}]
        items += [{"key": PRIVATE_KEY, "path": "rgw-key.pem"}] if separate_key else []
        # User ceph reads them, whose number differs between images.
        source = {"secretName": certificate_secret(store), "items": items, "defaultMode": 0o444}
        volumes.append({"name": "rook-ceph-rgw-cert", "secret": source})
        mounts.append({"name": "rook-ceph-rgw-cert", "mountPath": CERTIFICATE_DIR, "readOnly": True})
    if gateway.ca_bundle_ref:
        items = [{"key": CA_BUNDLE, "path": CA_BUNDLE}]
        volumes.append(
            {"name": "rook-ceph-custom-ca-bundle", "secret": {"secretName": gateway.ca_bundle_ref, "items": items}}
        )
        mounts.append({"name": "rook-ceph-custom-ca-bundle", "mountPath": CA_DIR, "readOnly": True})
    for index, files in enumerate(gateway.additional_volume_mounts):
        volumes.append({"name": f"additional-{index}", **files.volume_source})
        mounts.append({"name": f"additional-{index}", "mountPath": f"{FILES_DIR}/{files.sub_path}", "readOnly": True})
    pod["volumes"] += volumes
    container = pod["containers"][0]
    # The container that gives directories to user ceph has a list of its own.
    container["volumeMounts"] = [*container["volumeMounts"], *mounts]


def _probes(store: CephObjectStore, context: Context) -> JsonObject:
    """Started: it listens, which it does once it has read its zone. Ready: it answers a request of the API."""
    ports = listens(store, context)
    name = "http" if "http" in ports else "https"
    startup: JsonObject = {
        "tcpSocket": {"port": ports[name]},
        "periodSeconds": 2,
        "timeoutSeconds": 5,
        "failureThreshold": 180,
    }
    action: JsonObject = {"tcpSocket": {"port": ports[name]}}
    path = _probe_path(store)
    if path:
        action = {"httpGet": {"path": path, "port": ports[name], "scheme": name.upper()}}
    readiness = {**action, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3, "successThreshold": 1}
    chosen = store.spec.health_check
    return workload.probes(
        {"startupProbe": startup, "readinessProbe": readiness},
        {"startupProbe": chosen.startup_probe, "readinessProbe": chosen.readiness_probe},
    )


def _probe_path(store: CephObjectStore) -> str:
    """What a gateway answers to everybody; empty: nothing."""
    if serves(store, S3):
        return "/"
    prefix = (store.spec.protocols.swift.url_prefix or "swift").strip("/")
    return f"/{prefix}/info".replace("//", "/") if serves(store, SWIFT) else ""


def service(store: CephObjectStore, context: Context) -> JsonObject:
    """The Service of a store's gateways."""
    asked, targets = store.spec.gateway.service, listens(store, context)
    outside = {"http": port_of(store), "https": store.spec.gateway.secure_port}
    meta = context.owner.metadata(service_name(context.owner.name), {**asked.labels, **store_labels(context)})
    if asked.annotations:
        meta["annotations"] = dict(asked.annotations)
    ports = [
        {"name": name, "port": outside[name], "targetPort": target, "protocol": "TCP"}
        for name, target in targets.items()
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"selector": selector(store), "ports": ports, **family_fields(context)},
    }


def gateway_budget(store: CephObjectStore, context: Context) -> tuple[JsonObject, ...]:
    """A drain may take one gateway away at a time."""
    if not context.budgets:
        return ()
    owner = context.owner
    own = {
        **recommended(name="ceph-rgw", instance=owner.name, component=owner.kind.crd_name, part_of=owner.name),
        **selector(store),
    }
    return (budget(owner, f"{APP}-{owner.name}", own, {"matchLabels": selector(store)}, maxUnavailable=1),)


def admin_keys(context: Context, access_key: str, secret_key: str) -> JsonObject:
    """The Secret with the keys of the operator's own user of a store."""
    meta = context.owner.metadata(admin_secret(context.owner.name), store_labels(context))
    return secret(meta, {ACCESS_KEY: access_key, SECRET_KEY: secret_key})
