"""Pools: replicated and erasure-coded, quotas, and that a pool with data in it stays."""

from collections.abc import Iterator

import pytest

from e2e import environment as env
from e2e import pods
from e2e.api import load
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

pytestmark = pytest.mark.meanwhile


@pytest.fixture
def ec_class(environment: Environment) -> Iterator[str]:
    """An erasure-coded pool and a StorageClass that keeps data in it."""
    (pool,) = load(env.EXAMPLES / "pool-ec.yaml")
    environment.api.apply(pool)
    name = pool["metadata"]["name"]
    env.wait_for_pool(environment, name)
    (storage_class,) = load(env.EXAMPLES / "storageclass.yaml")
    storage_class["metadata"]["name"] = "rook-ceph-block-ec"
    storage_class["parameters"]["dataPool"] = name
    environment.api.apply(storage_class)
    yield "rook-ceph-block-ec"
    environment.api.delete("StorageClass", "rook-ceph-block-ec")
    environment.api.delete("CephBlockPool", name, env.NAMESPACE)
    env.gone(environment, "CephBlockPool", name, env.NAMESPACE)


def test_pool_is_as_its_spec_says(environment: Environment) -> None:
    pools = {p["pool_name"]: p for p in env.ceph(environment, "osd", "pool", "ls", "detail")}
    assert pools[env.POOL]["size"] == 3
    assert "rbd" in pools[env.POOL]["application_metadata"]
    rules = {r["rule_id"]: r for r in env.ceph(environment, "osd", "crush", "rule", "dump")}
    steps = rules[pools[env.POOL]["crush_rule"]]["steps"]
    assert any(step.get("type") == "host" for step in steps)


@pytest.mark.alone  # the pool is everybody's
def test_quotas_are_set_changed_and_unset(environment: Environment) -> None:
    for quotas, expected in (({"maxSize": "1Gi", "maxObjects": 1000}, (1 << 30, 1000)), (None, (0, 0))):
        environment.api.patch("CephBlockPool", env.POOL, env.NAMESPACE, {"spec": {"quotas": quotas}})

        def look(wanted: tuple[int, int] = expected) -> None:
            found = env.ceph(environment, "osd", "pool", "get-quota", env.POOL)
            if (found["quota_max_bytes"], found["quota_max_objects"]) != wanted:
                raise NotYetError(f"{found['quota_max_bytes']} bytes, {found['quota_max_objects']} objects")

        eventually(f"quotas {expected}", look, deadline=120)


def test_volume_with_its_data_in_an_erasure_coded_pool(environment: Environment, ec_class: str, namespace: str) -> None:
    pods.claim(environment, namespace, "coded", storage_class=ec_class)
    pods.pod(environment, namespace, "writer", "coded")
    pods.wait(environment, namespace, "writer")
    digest = pods.shell(environment, namespace, "writer", "head -c 8M /dev/urandom | tee /data/f | md5sum; sync")
    assert pods.shell(environment, namespace, "writer", "md5sum < /data/f") == digest

    def look() -> None:  # OSDs report what pools hold every few seconds
        stored = {p["name"]: p["stats"]["stored"] for p in env.ceph(environment, "df")["pools"]}["ec-pool"]
        if stored < 8 << 20:
            raise NotYetError(f"{stored} bytes")

    eventually("8 MiB in the erasure-coded pool", look, deadline=120)
    pods.delete(environment, namespace, "writer")
    environment.api.delete("PersistentVolumeClaim", "coded", namespace)
    env.gone(environment, "PersistentVolumeClaim", "coded", namespace)


def test_a_pool_with_images_is_not_deleted(environment: Environment, namespace: str) -> None:
    (pool,) = load(env.EXAMPLES / "pool.yaml")
    pool["metadata"]["name"] = "kept"
    environment.api.apply(pool)
    env.wait_for_pool(environment, "kept")
    env.in_toolbox(environment, "rbd", "create", "--size", "1M", "kept/image")
    environment.api.delete("CephBlockPool", "kept", env.NAMESPACE)
    env.wait_until_blocked(environment, "CephBlockPool", "kept", by="image")
    assert "kept" in env.ceph(environment, "osd", "pool", "ls")
    env.in_toolbox(environment, "rbd", "rm", "--no-progress", "kept/image")
    env.gone(environment, "CephBlockPool", "kept", env.NAMESPACE, deadline=120)
    assert "kept" not in env.ceph(environment, "osd", "pool", "ls")


def test_volumes_of_a_tenant_are_in_its_part_of_the_pool(environment: Environment, namespace: str) -> None:
    tenant, storage_class = load(env.EXAMPLES / "rados-namespace.yaml")
    name, kind = tenant["metadata"]["name"], tenant["kind"]
    environment.api.apply(tenant)
    env.wait_for_phase(environment, kind, name)
    environment.api.apply(storage_class)
    pods.claim(environment, namespace, "data", storage_class=storage_class["metadata"]["name"])
    pods.pod(environment, namespace, "writer", "data")
    pods.wait(environment, namespace, "writer")
    pods.shell(environment, namespace, "writer", f"echo there > {pods.PATH}/file; sync {pods.PATH}/file")
    (image,) = env.in_toolbox(environment, "rbd", "ls", f"{env.POOL}/{name}").split()
    assert image not in env.in_toolbox(environment, "rbd", "ls", env.POOL).split()

    environment.api.delete(kind, name, env.NAMESPACE)
    volume = pods.volume_of(environment, namespace, "data")["metadata"]["name"]
    env.wait_until_blocked(environment, kind, name, by=volume)
    pods.delete(environment, namespace, "writer")
    environment.api.delete("PersistentVolumeClaim", "data", namespace)
    env.gone(environment, kind, name, env.NAMESPACE, deadline=120)
    environment.api.delete("StorageClass", storage_class["metadata"]["name"])
    assert env.in_toolbox(environment, "rbd", "namespace", "ls", env.POOL).split() == []
