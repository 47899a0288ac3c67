"""The API server of the environment, as plain JSON over HTTPS: what scenarios read and write.

It stands on the standard library alone. The project's own client is under test, so it cannot be what judges; and one
kept connection costs a fraction of starting kubectl at each look.
"""

import base64
import http.client
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

type Manifest = dict[str, Any]

TIMEOUT = 30.0
"""Seconds for one answer."""
TRIES = 30
"""How often a server is asked that says when to ask again, as it does for a kind whose definition was just changed."""
FIELD_MANAGER = "e2e"

_APPS, _CORE, _STORAGE, _CEPH = "/apis/apps/v1", "/api/v1", "/apis/storage.k8s.io/v1", "/apis/ceph.rook.io/v1"
_SNAPSHOTS, _GROUPS = "/apis/snapshot.storage.k8s.io/v1", "/apis/groupsnapshot.storage.k8s.io/v1"
_REPLICATION = "/apis/replication.storage.openshift.io/v1alpha1"
_BUCKETS = "/apis/objectbucket.io/v1alpha1"
_CASSANDRA = "/apis/cassandra.rook.io/v1alpha1"
PATHS = {
    "CassandraCluster": (_CASSANDRA, "clusters"),
    "CassandraOperation": (_CASSANDRA, "operations"),
    "CassandraOperationSchedule": (_CASSANDRA, "operationschedules"),
    "CephBlockPool": (_CEPH, "cephblockpools"),
    "CephBlockPoolRadosNamespace": (_CEPH, "cephblockpoolradosnamespaces"),
    "CephBucketNotification": (_CEPH, "cephbucketnotifications"),
    "CephBucketTopic": (_CEPH, "cephbuckettopics"),
    "CephClient": (_CEPH, "cephclients"),
    "CephCluster": (_CEPH, "cephclusters"),
    "CephFilesystem": (_CEPH, "cephfilesystems"),
    "CephFilesystemMirror": (_CEPH, "cephfilesystemmirrors"),
    "CephFilesystemSubVolumeGroup": (_CEPH, "cephfilesystemsubvolumegroups"),
    "CephNFS": (_CEPH, "cephnfses"),
    "CephObjectRealm": (_CEPH, "cephobjectrealms"),
    "CephObjectStore": (_CEPH, "cephobjectstores"),
    "CephObjectStoreUser": (_CEPH, "cephobjectstoreusers"),
    "CephObjectZone": (_CEPH, "cephobjectzones"),
    "CephObjectZoneGroup": (_CEPH, "cephobjectzonegroups"),
    "CephRBDMirror": (_CEPH, "cephrbdmirrors"),
    "Cluster": ("/apis/ceph.rook.io/v1beta1", "clusters"),
    "ConfigMap": (_CORE, "configmaps"),
    "CSINode": (_STORAGE, "csinodes"),
    "CSIStorageCapacity": (_STORAGE, "csistoragecapacities"),
    "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "DaemonSet": (_APPS, "daemonsets"),
    "Deployment": (_APPS, "deployments"),
    "Event": (_CORE, "events"),
    "Job": ("/apis/batch/v1", "jobs"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "Namespace": (_CORE, "namespaces"),
    "Node": (_CORE, "nodes"),
    "NetworkFence": ("/apis/csiaddons.openshift.io/v1alpha1", "networkfences"),
    "NodeReport": ("/apis/rook.io/v1alpha1", "nodereports"),
    "ObjectBucket": (_BUCKETS, "objectbuckets"),
    "ObjectBucketClaim": (_BUCKETS, "objectbucketclaims"),
    "PersistentVolume": (_CORE, "persistentvolumes"),
    "PersistentVolumeClaim": (_CORE, "persistentvolumeclaims"),
    "Pod": (_CORE, "pods"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "Secret": (_CORE, "secrets"),
    "Service": (_CORE, "services"),
    "StatefulSet": (_APPS, "statefulsets"),
    "StorageClass": (_STORAGE, "storageclasses"),
    "VolumeAttachment": (_STORAGE, "volumeattachments"),
    "VolumeAttributesClass": (_STORAGE, "volumeattributesclasses"),
    "VolumeGroupSnapshot": (_GROUPS, "volumegroupsnapshots"),
    "VolumeGroupSnapshotClass": (_GROUPS, "volumegroupsnapshotclasses"),
    "VolumeGroupSnapshotContent": (_GROUPS, "volumegroupsnapshotcontents"),
    "VolumeReplication": (_REPLICATION, "volumereplications"),
    "VolumeReplicationClass": (_REPLICATION, "volumereplicationclasses"),
    "VolumeSnapshot": (_SNAPSHOTS, "volumesnapshots"),
    "VolumeSnapshotClass": (_SNAPSHOTS, "volumesnapshotclasses"),
    "VolumeSnapshotContent": (_SNAPSHOTS, "volumesnapshotcontents"),
}
"""Where the kinds that scenarios touch are served."""
OF_A_CLUSTER = sorted({kind for kind, (base, _) in PATHS.items() if base == _CEPH} - {"CephCluster"})
"""The kinds of what a Ceph cluster serves: while there is one, the cluster stays."""
CLUSTER_SCOPED = frozenset(
    {
        "CSINode",
        "CustomResourceDefinition",
        "Namespace",
        "NetworkFence",
        "Node",
        "ObjectBucket",
        "PersistentVolume",
        "StorageClass",
        "VolumeAttachment",
        "VolumeAttributesClass",
        "VolumeGroupSnapshotClass",
        "VolumeGroupSnapshotContent",
        "VolumeReplicationClass",
        "VolumeSnapshotClass",
        "VolumeSnapshotContent",
    }
)


class ApiError(Exception):
    """An answer other than 2xx."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """One API server, reached with a kubeconfig's current context. Threads may share it; each has its connection."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        address = urlsplit(cluster["server"])
        assert address.hostname, cluster["server"]
        self._host, self._port = address.hostname, address.port or 443
        self._tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile(suffix=".pem") as chain:
            for part in ("client-certificate-data", "client-key-data"):
                chain.write(base64.b64decode(user[part]))
            chain.flush()
            self._tls.load_cert_chain(chain.name)
        self._local = threading.local()

    def request(
        self, method: str, path: str, body: Manifest | None = None, content_type: str = "application/json"
    ) -> bytes:
        """The body of the answer. Raises `ApiError` for an answer other than 2xx and `OSError` without an answer."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "Content-Type": content_type}
        for _ in range(TRIES):
            try:
                status, answer, again = self._exchange(method, path, content, headers)
            except (http.client.HTTPException, ConnectionError):
                # The server closed the kept connection; a new one tells whether it is there.
                self._local.connection = None
                status, answer, again = self._exchange(method, path, content, headers)
            if not again:
                break
            time.sleep(float(again))
        if not 200 <= status < 300:
            raise ApiError(status, answer.decode(errors="replace")[:2000])
        return answer

    def _exchange(
        self, method: str, path: str, content: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes, str | None]:
        """The status, the body, and the seconds after which the server wants to be asked again."""
        connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT, context=self._tls)
            self._local.connection = connection
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.getheader("Retry-After")
        except BaseException:
            connection.close()
            self._local.connection = None
            raise

    def get(self, kind: str, name: str, namespace: str = "") -> Manifest:
        """The object. Raises `ApiError` 404 when there is none."""
        found: Manifest = json.loads(self.request("GET", path(kind, namespace, name)))
        return found

    def find(self, kind: str, name: str, namespace: str = "") -> Manifest | None:
        """The object, or None when there is none."""
        try:
            return self.get(kind, name, namespace)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Manifest]:
        """The objects of a namespace, or of all, with these labels and fields (selectors as kubectl takes them)."""
        query = urlencode({"labelSelector": labels, "fieldSelector": fields})
        items: list[Manifest] = json.loads(self.request("GET", f"{path(kind, namespace)}?{query}"))["items"]
        return items

    def apply(self, manifest: Manifest, *, kind: str = "") -> Manifest:
        """Server-side apply, taking fields over from other managers; `kind`: where `PATHS` has it by another name."""
        meta = manifest["metadata"]
        query = urlencode({"fieldManager": FIELD_MANAGER, "force": "true"})
        target = f"{path(kind or manifest['kind'], meta.get('namespace', ''), meta['name'])}?{query}"
        applied: Manifest = json.loads(self.request("PATCH", target, manifest, "application/apply-patch+yaml"))
        return applied

    def patch(self, kind: str, name: str, namespace: str, body: Manifest, *, subresource: str = "") -> Manifest:
        """A JSON merge patch, as `kubectl edit` makes it."""
        target = path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        patched: Manifest = json.loads(self.request("PATCH", target, body, "application/merge-patch+json"))
        return patched

    def delete(self, kind: str, name: str, namespace: str = "", *, grace_seconds: int | None = None) -> None:
        """Delete it if it is there, without waiting until it is gone."""
        options: Manifest = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            self.request("DELETE", path(kind, namespace, name), options)
        except ApiError as error:
            if error.status != 404:
                raise

    def logs(self, pod: str, namespace: str, container: str, *, previous: bool = False) -> str:
        """What a container wrote. Raises `ApiError` when it has not run."""
        query = urlencode({"container": container, "previous": str(previous).lower()})
        return self.request("GET", f"{path('Pod', namespace, pod)}/log?{query}").decode(errors="replace")


def path(kind: str, namespace: str = "", name: str = "") -> str:
    """The URL path of a kind's objects in a namespace ("" for all, or for kinds without one), or of one of them."""
    base, plural = PATHS[kind]
    scope = f"/namespaces/{namespace}" if namespace and kind not in CLUSTER_SCOPED else ""
    return f"{base}{scope}/{plural}" + (f"/{name}" if name else "")


def condition(manifest: Manifest, kind: str) -> Manifest:
    """The status condition of that type, or an empty one."""
    for found in manifest.get("status", {}).get("conditions", []):
        if found["type"] == kind:
            return dict(found)
    return {}


def load(file: Path) -> Iterator[Manifest]:
    """The objects of a YAML file."""
    return (document for document in yaml.safe_load_all(file.read_text()) if document)


def _named(entries: list[Manifest], name: str) -> Manifest:
    return next(entry for entry in entries if entry["name"] == name)
