"""`cassandra.rook.io/v1alpha1` `Cluster`: what applied in 2018 applies, and means the same."""

from typing import Any

import msgspec
import pytest
import yaml

from controller.apis.cassandra import CassandraCluster, ClusterSpec
from controller.apis.cassandra.served import CLUSTER
from controller.apis.schema import schema_of
from controller.framework.honoured import unhonoured
from tests.unit.apis.structural import violations

MEMBERS_OF_2018 = """
apiVersion: cassandra.rook.io/v1alpha1
kind: Cluster
metadata: {name: rook-cassandra, namespace: rook-cassandra}
spec:
  version: 3.11.6
  mode: cassandra
  annotations:
  datacenter:
    name: us-east-1
    racks:
      - name: us-east-1a
        members: 3
        storage:
          volumeClaimTemplates:
            - metadata: {name: rook-cassandra-data}
              spec: {resources: {requests: {storage: 5Gi}}}
        resources:
          requests: {cpu: 1, memory: 2Gi}
          limits: {cpu: 1, memory: 2Gi}
"""
EVERYTHING_OF_2018 = """
apiVersion: cassandra.rook.io/v1alpha1
kind: Cluster
metadata: {name: rook-cassandra, namespace: rook-cassandra}
spec:
  version: 2.3.1
  repository: my-private-repo.io/cassandra
  mode: scylla
  annotations: {a: b}
  sidecarImage: {repository: rook/cassandra, version: v1.3.7}
  datacenter:
    name: us-east-1
    racks:
      - name: us-east-1a
        members: 3
        configMapName: settings
        jmxExporterConfigMapName: exporter
        annotations: {a: c}
        storage:
          useAllNodes: false
          nodeCount: 3
          volumeClaimTemplates:
            - metadata: {name: rook-cassandra-data}
              spec: {storageClassName: my-storage-class, resources: {requests: {storage: 200Gi}}}
        resources:
          cassandra: {requests: {cpu: 8, memory: 32Gi}}
          sidecar: {requests: {cpu: 1, memory: 1Gi}}
        placement:
          nodeAffinity:
            requiredDuringSchedulingIgnoredDuringExecution:
              nodeSelectorTerms:
                - matchExpressions: [{key: zone, operator: In, values: [us-east-1a]}]
"""


def loaded(text: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(text)
    return document


@pytest.mark.parametrize("text", [MEMBERS_OF_2018, EVERYTHING_OF_2018])
def test_a_manifest_of_2018_is_valid(text: str) -> None:
    document = loaded(text)

    assert violations(document, schema_of(CassandraCluster)) == []
    cluster = msgspec.convert(document, CassandraCluster)
    assert cluster.spec.datacenter.racks[0].members == 3
    assert cluster.spec.num_tokens == 16
    assert cluster.spec.authentication.enabled
    assert cluster.spec.claim_retention.when_deleted == "Retain"


def test_what_is_not_served_of_it_is_named() -> None:
    document = loaded(EVERYTHING_OF_2018)

    assert unhonoured(document["spec"], CLUSTER, ClusterSpec) == (
        "mode=scylla",
        "datacenter.racks[0].configMapName",
        "datacenter.racks[0].jmxExporterConfigMapName",
        "datacenter.racks[0].storage.useAllNodes",
        "datacenter.racks[0].storage.nodeCount",
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "US_East"}, "does not match"),
        ({"members": -1}, "out of range"),
        ({"storage": {}}, "volumeClaimTemplates: missing"),
    ],
)
def test_a_rack_that_could_not_be_made_is_refused(change: dict[str, Any], complaint: str) -> None:
    document = loaded(MEMBERS_OF_2018)
    document["spec"]["datacenter"]["racks"][0] |= change

    assert complaint in " ".join(violations(document, schema_of(CassandraCluster)))


def test_every_field_is_described() -> None:
    def undescribed(schema: dict[str, Any], path: str) -> list[str]:
        while "properties" not in schema and ("items" in schema or "additionalProperties" in schema):
            schema = schema.get("items") or schema["additionalProperties"]
        found = []
        for name, child in schema.get("properties", {}).items():
            if not child.get("description"):
                found.append(f"{path}.{name}")
            found += undescribed(child, f"{path}.{name}")
        return found

    properties = schema_of(CassandraCluster)["properties"]
    assert [path for part in ("spec", "status") for path in undescribed(properties[part], part)] == []
