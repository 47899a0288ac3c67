"""The Kubernetes objects that a mon is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access.identity import ALL_KEY_TYPES, MONS_KEYRING, PROTECTION, secret
from controller.ceph.access.mons import (
    ENDPOINTS,
    PORT_V1,
    PORT_V2,
    Endpoints,
    Mon,
    hosts,
    render_endpoints,
    requires_msgr2,
)
from controller.ceph.pods import (
    CLUSTER_LABEL,
    MON_CONFIG,
    Context,
    Daemon,
    cluster_labels,
    deployment,
    environment,
    family_fields,
    flags,
    image_fields,
    ip_flags,
    pod_template,
    probes,
    security_context,
    volume_mounts,
    volumes,
)
from controller.framework.disruption import budget, spare
from controller.framework.placement import HOSTNAME_LABEL, keep_apart, labelled, spread, within

if TYPE_CHECKING:
    from collections.abc import Collection

    from controller.apis.ceph.mon import MonSpec
    from informers import JsonObject

APP = "rook-ceph-mon"
BUDGET = "rook-ceph-mon-pdb"
JOINED = "mons_joined"
"""Key of Secret `rook-ceph-config`: the mons that have been in quorum."""
MAX_ID_ANNOTATION = "rook.io/max-mon-id"
DATA_ROOT = "/var/lib/ceph/mon"
DEFAULT_CLAIM_SIZE = "10Gi"


PREPARE_STORE = """\
set -eu
umask 077
store=$1 fsid=$2 id=$3; shift 3
chown ceph:ceph /run/ceph /var/log/ceph /var/lib/ceph/crash "$(dirname "$store")"
if [ -e "$store/kv_backend" ]; then
    found=$(cat "$store/rook-fsid" 2>/dev/null || echo "$fsid")
    if [ "$found" != "$fsid" ]; then
        echo "$DATA_PLACE has the mon store of another cluster (fsid $found, not $fsid): remove it if that cluster" \\
            "is gone for good, or choose another dataDirHostPath" >&2
        exit 1
    fi
    [ "$(stat -c %U "$store")" = ceph ] || chown -R ceph:ceph "$store"
    exit 0
fi
case ",${ROOK_MONS_JOINED:-}," in *",$id,"*)
    # Its store is lost. The others have what was in it, as long as they have a quorum.
    if ! ceph --connect-timeout 20 --name mon. quorum_status >/dev/null; then
        echo "mon $id has lost its store ($DATA_PLACE is empty), and no other mons have a quorum, from which it could" \
            "get it again: an empty one would make an empty cluster. Bring the others back, or the store" >&2
        exit 1
    fi
esac
rm -rf "$store.new"
mkdir "$store.new"
chown ceph:ceph "$store.new"
if [ -n "${MON_CIPHERS:-}" ] && [ "$ROOK_CEPH_MON_INITIAL_MEMBERS" = "$id" ]; then
    # The first mon makes the map. One of its own making lets in no client that knows only the older type of keys.
    monmaptool --create --clobber --fsid "$fsid" --addv "$id" "$ROOK_CEPH_MON_HOST" \\
        --auth-allowed-ciphers "$MON_CIPHERS" /tmp/monmap
    chown ceph:ceph /tmp/monmap
    set -- "$@" --monmap=/tmp/monmap
fi
ceph-mon --mkfs --mon-data="$store.new" "$@"
echo "$fsid" > "$store.new/rook-fsid"
sync -f "$store.new"
if [ -d "$store" ]; then rmdir "$store"; fi
mv "$store.new" "$store"
"""
"""Makes a mon's store where there is none: whole or not at all, since it only gets its name when it is complete.

Mons that are all new make a cluster without pools and OSDs. So one that had a store before gets a new one only to fill
it from others.
"""


def endpoints_config_map(context: Context, endpoints: Endpoints) -> JsonObject:
    """The ConfigMap that says who the members are. It has no owner: it is the cluster's identity, as its keys are."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": context.owner.metadata(
            ENDPOINTS, cluster_labels(context.owner, APP), owned=False, finalizers=[PROTECTION]
        ),
        "data": render_endpoints(endpoints, context.namespace, context.network),
    }


def config_secret(context: Context, endpoints: Endpoints, joined: Collection[str]) -> JsonObject:
    """The Secret from which daemons learn at their start where the mons are, and mons whether they have a store.

    It has the newest mon id a second time, so that ids are not used again when the ConfigMap is lost.

    Args:
        context: The cluster.
        endpoints: The members.
        joined: Those of them that have been in quorum.
    """
    data = {
        "mon_host": ",".join(hosts(context.network, endpoints)),
        "mon_initial_members": ",".join(endpoints.ids),
        JOINED: ",".join(mon_id for mon_id in endpoints.ids if mon_id in joined),
    }
    annotations = {MAX_ID_ANNOTATION: str(endpoints.max_id)}
    meta = context.owner.metadata(MON_CONFIG, cluster_labels(context.owner, APP), annotations=annotations)
    return secret(meta, data)


def service(context: Context, mon_id: str, *, address: str = "") -> JsonObject:
    """A mon's Service. It has no owner: its address is in every monmap, so a cluster that is made again needs it back.

    `address`: the address that it must get, for a member whose Service was deleted.
    """
    daemon = Daemon(type="mon", id=mon_id)
    ports = [{"name": "tcp-msgr2", "port": PORT_V2, "targetPort": PORT_V2, "protocol": "TCP"}]
    if not requires_msgr2(context.network):
        ports.insert(0, {"name": "tcp-msgr1", "port": PORT_V1, "targetPort": PORT_V1, "protocol": "TCP"})
    spec: JsonObject = {
        "type": "ClusterIP",
        "selector": daemon.selector(context.namespace),
        # A mon must be reachable for its peers while it joins, before it is ready.
        "publishNotReadyAddresses": True,
        "ports": ports,
    }
    spec |= family_fields(context)
    if address:
        spec["clusterIP"] = address
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": context.owner.metadata(daemon.name, daemon.labels(context.owner), owned=False),
        "spec": spec,
    }


def claim_size(spec: MonSpec) -> int | str:
    """How much storage the claim of a mon asks for, as a quantity; 0 where the spec leaves that to others."""
    resources = (spec.volume_claim_template or {}).get("spec", {}).get("resources")
    if resources is None:
        return DEFAULT_CLAIM_SIZE
    size: int | str = resources.get("requests", {}).get("storage", 0)
    return size


def claim(spec: MonSpec, context: Context, mon_id: str) -> JsonObject | None:
    """The claim for a mon's data, or None when it is in `dataDirHostPath`. It is data: without owner, protected."""
    template = spec.volume_claim_template
    if template is None:
        return None
    daemon = Daemon(type="mon", id=mon_id)
    claim_spec = {"accessModes": ["ReadWriteOnce"], **template.get("spec", {})}
    claim_spec.setdefault("resources", {"requests": {"storage": claim_size(spec)}})
    own = template.get("metadata", {})
    labels = {**own.get("labels", {}), **daemon.labels(context.owner)}
    more = {"annotations": own["annotations"]} if own.get("annotations") else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": context.owner.metadata(daemon.name, labels, owned=False, finalizers=[PROTECTION], **more),
        "spec": claim_spec,
    }


def mon_deployment(spec: MonSpec, context: Context, mon: Mon) -> JsonObject:
    """A mon's Deployment."""
    on_claim = mon.has_claim
    place = f"claim {mon.daemon.name}" if on_claim else f"{context.data_dir}/mon-{mon.id} on {mon.node}"
    data: JsonObject = (
        {"name": "data", "persistentVolumeClaim": {"claimName": mon.daemon.name}}
        if on_claim
        else {
            "name": "data",
            "hostPath": {"path": f"{context.data_dir}/mon-{mon.id}", "type": "DirectoryOrCreate"},
        }
    )
    store = f"{DATA_ROOT}/data"
    common = [*flags(context, mon.daemon), f"--public-addr={mon.address}", *_network_flags(context)]
    bind = [] if context.host_network else ["--public-bind-addr=$(ROOK_POD_IP)"]
    container = {
        **image_fields(context),
        "env": environment(),
        "volumeMounts": [*volume_mounts(), {"name": "data", "mountPath": DATA_ROOT}],
        "securityContext": security_context(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **context.pods.container_resources("mon"),
    }
    main = {
        "name": "mon",
        "command": ["ceph-mon"],
        "args": [*common, *bind, f"--mon-data={store}"],
        "ports": [{"name": "tcp-msgr2", "containerPort": PORT_V2, "protocol": "TCP"}],
        **container,
        **probes(context, mon.daemon, "mon_status"),
    }
    if not requires_msgr2(context.network):
        main["ports"].insert(0, {"name": "tcp-msgr1", "containerPort": PORT_V1, "protocol": "TCP"})
    key_types = [{"name": "MON_CIPHERS", "value": ",".join(ALL_KEY_TYPES)}]
    prepare = {
        "name": "init-mon-fs",
        "command": ["sh", "-c", PREPARE_STORE, "init-mon-fs", store, context.fsid, mon.id],
        "args": [flag for flag in common if flag != "--foreground"],
        **container,
        "env": [
            *environment(),
            {"name": "DATA_PLACE", "value": place},
            *(key_types if context.release.version.knows_aes256k else []),
            {
                "name": "ROOK_MONS_JOINED",
                "valueFrom": {"secretKeyRef": {"name": MON_CONFIG, "key": JOINED, "optional": True}},
            },
        ],
    }
    pod: JsonObject = {
        "initContainers": [prepare],
        "containers": [main],
        "volumes": [*volumes(MONS_KEYRING), data],
    }
    if mon.node:
        pod["nodeSelector"] = {HOSTNAME_LABEL: mon.hostname or mon.node}
    zones, placement = [zone.name for zone in spec.zones], context.pods.placement_of("mon")
    if zones and not mon.node:
        placement = within(placement, labelled(context.zone_label, zones))
    template = pod_template(context, mon.daemon, pod, placement=placement)
    if not mon.node:
        mons = {"app": APP, CLUSTER_LABEL: context.namespace}
        keep_apart(template["spec"], mons, strictly=not spec.allow_multiple_per_node)
        spread(template["spec"], mons, context.zone_label, strictly=bool(zones))
    return deployment(context, mon.daemon, template)


def _network_flags(context: Context) -> list[str]:
    found = ["--ms-bind-msgr1=false"] if requires_msgr2(context.network) else []
    return [*found, *ip_flags(context)]


def budgets(context: Context, endpoints: Endpoints) -> tuple[JsonObject, ...]:
    """How many mons a drain has to leave; nothing when there are too few to lose one, or it is not wanted.

    It counts those that run, so that one that somebody has stopped counts as lost. A mon that is broken may always be
    drained: that takes no vote away.
    """
    members = len(endpoints.mons)
    if not context.budgets or not spare(members):
        return ()
    selector = {"matchLabels": {"app": APP, CLUSTER_LABEL: context.namespace}}
    labels = cluster_labels(context.owner, APP)
    return (budget(context.owner, BUDGET, labels, selector, minAvailable=members - spare(members)),)
