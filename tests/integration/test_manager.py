"""The manager on a real API server: applying, drift, pruning, events, metrics, and an API server that goes away."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import aiohttp
import anyio
import pytest

from controller.runtime import (
    Controller,
    ImmutableFieldError,
    Manager,
    NotLeaderError,
    Program,
    Request,
    Result,
    add_finalizer,
    remove_finalizer,
)
from controller.runtime.kube import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    LEASE,
    SECRET,
    SERVICE,
    ConfigMap,
    Deployment,
    PartialObject,
)
from informers import ApiError, Client, Resource
from informers.http import HttpTransport
from tests.integration.replica import SOURCE, add_copier

MERGE = "application/merge-patch+json"
PROGRAM = Program("rook", domain="rook.io")


def new_manager(client: Client, namespace: str) -> Manager:
    return Manager(
        client,
        program=PROGRAM,
        namespaces=(namespace,),
        identity="test",
        metrics_address=("127.0.0.1", 0),
        debug_address=("127.0.0.1", 0),
        drain_deadline=5.0,
    )


@asynccontextmanager
async def running(manager: Manager) -> AsyncIterator[Manager]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: manager.run(signals=False))
        with anyio.fail_after(60):
            await until(lambda: bool(manager.addresses))
            await manager.informers.wait_synced()
        yield manager
        manager.stop()


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Looks until the condition holds: of what is in another process there is no event to wait for."""
    with anyio.fail_after(60):
        while not (await found if isinstance(found := condition(), Awaitable) else found):  # noqa: ASYNC110
            await anyio.sleep(0.01)


async def read(client: Client, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
    try:
        return await client.get(resource, namespace, name)
    except ApiError as error:
        if error.is_not_found:
            return None
        raise


async def until_stored(
    client: Client, namespace: str, name: str, condition: Callable[[dict[str, Any]], bool] = lambda _: True
) -> dict[str, Any]:
    """Waits until there is a ConfigMap for which the condition holds."""
    found: dict[str, Any] | None = None

    async def stored() -> bool:
        nonlocal found
        found = await read(client, CONFIG_MAP, namespace, name)
        return found is not None and condition(found)

    await until(stored)
    assert found is not None
    return found


def source(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": SOURCE}},
        "data": data,
    }


async def text(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


class TestReconciling:
    async def test_makes_follows_mends_and_prunes_a_child(self, client: Client, namespace: str) -> None:
        manager = new_manager(client, namespace)
        add_copier(manager)
        async with running(manager):
            await client.create(CONFIG_MAP, source(namespace, "one", a="1", b="2"))
            made = await until_stored(client, namespace, "copy-one")
            assert made["data"] == {"a": "1", "b": "2"}

            # A key that is dropped from the desired object is dropped from the live one.
            await client.patch(CONFIG_MAP, namespace, "one", {"data": {"b": None}}, content_type=MERGE)
            await until_stored(client, namespace, "copy-one", lambda found: found["data"] == {"a": "1"})

            # Drift is put right; what others add stays.
            drift = {"data": {"a": "changed", "theirs": "x"}}
            await client.patch(CONFIG_MAP, namespace, "copy-one", drift, content_type=MERGE)
            mended = {"a": "1", "theirs": "x"}
            await until_stored(client, namespace, "copy-one", lambda found: found["data"] == mended)

            # A child that somebody deletes comes back.
            await client.delete(CONFIG_MAP, namespace, "copy-one")
            await until_stored(
                client,
                namespace,
                "copy-one",
                lambda found: found["metadata"]["uid"] != made["metadata"]["uid"],
            )

            await client.patch(CONFIG_MAP, namespace, "one", {"data": {"copies": "0"}}, content_type=MERGE)

            async def pruned() -> bool:
                return await read(client, CONFIG_MAP, namespace, "copy-one") is None

            await until(pruned)

    async def test_writes_nothing_when_nothing_is_to_be_done(self, client: Client, namespace: str) -> None:
        manager = new_manager(client, namespace)
        controller = add_copier(manager)
        async with running(manager):
            for name in "abc":
                await client.create(CONFIG_MAP, source(namespace, name, value=name))
            for name in "abc":
                await until_stored(client, namespace, f"copy-{name}")
            await until(lambda: not len(controller.queue) and not controller.active)
            applied = manager.applier.stats.applied
            requests = dict(client.stats.requests)

            for name in "abc":
                controller.queue.add(Request(namespace, name))
            await until(lambda: not len(controller.queue) and not controller.active)

            assert manager.applier.stats.applied == applied == 3
            assert dict(client.stats.requests) == requests

    async def test_never_reconciles_on_a_cache_older_than_its_own_write(self, client: Client, namespace: str) -> None:
        manager = new_manager(client, namespace)
        informer = manager.informers.informer(CONFIG_MAP, ConfigMap)
        behind: list[tuple[int, int]] = []
        written = 0

        class Counter:
            async def reconcile(self, request: Request) -> Result:
                nonlocal written
                found = informer.get(request)
                if found is None:
                    return Result()
                seen = int(found.data["count"])
                if seen < written:
                    behind.append((seen, written))
                if seen < 50:
                    body = {"data": {"count": str(seen + 1)}}
                    await client.patch(CONFIG_MAP, request.namespace, request.name, body, content_type=MERGE)
                    written = seen + 1
                    controller.queue.add(request)
                return Result()

        controller = Controller("counter", Counter())
        controller.watch(informer)
        manager.add(controller)
        async with running(manager):
            await client.create(CONFIG_MAP, source(namespace, "count", count="0"))
            await until(lambda: written == 50)

        assert not behind
        assert informer.cache.stats.write_throughs > 0

    @pytest.mark.parametrize("selector", ["app=child", "app in (child),!absent"])
    async def test_never_makes_an_object_twice_that_a_cache_with_a_selector_is_to_show(
        self, client: Client, namespace: str, selector: str
    ) -> None:
        manager = new_manager(client, namespace)
        parents = manager.informers.informer(CONFIG_MAP, ConfigMap, label_selector=f"app={SOURCE}")
        children = manager.informers.informer(CONFIG_MAP, ConfigMap, label_selector=selector)
        made: list[str] = []

        class Maker:
            async def reconcile(self, request: Request) -> Result:
                known = {name for _, name in children.keys(request.namespace)}
                missing = next((name for name in (f"child-{n}" for n in range(50)) if name not in known), None)
                if missing is not None:
                    child = source(request.namespace, missing)
                    child["metadata"]["labels"] = {"app": "child"}
                    await client.create(CONFIG_MAP, child)  # a second time it would be a conflict
                    made.append(missing)
                    controller.queue.add(request)
                return Result()

        controller = Controller("maker", Maker())
        controller.watch(parents)
        manager.add(controller)
        async with running(manager):
            await client.create(CONFIG_MAP, source(namespace, "parent"))
            await until(lambda: len(children) == 50 and not len(controller.queue) and not controller.active)

        assert made == [f"child-{n}" for n in range(50)]
        assert controller.stats.error == 0

    async def test_finalizers_are_added_once_and_removed(self, client: Client, namespace: str) -> None:
        await client.create(CONFIG_MAP, source(namespace, "kept"))
        manager = new_manager(client, namespace)
        informer = manager.informers.informer(CONFIG_MAP, ConfigMap)
        async with running(manager):
            found = informer.get(namespace, "kept")
            assert found is not None
            assert await add_finalizer(client, CONFIG_MAP, found, "rook.io/test")
            with pytest.raises(ApiError) as stale:  # the object has changed since it was read
                await add_finalizer(client, CONFIG_MAP, found, "rook.io/other")
            assert stale.value.is_conflict
            fresh = informer.get(namespace, "kept")
            assert fresh is not None
            assert not await add_finalizer(client, CONFIG_MAP, fresh, "rook.io/test")

            await client.delete(CONFIG_MAP, namespace, "kept")
            assert (await client.get(CONFIG_MAP, namespace, "kept"))["metadata"]["deletionTimestamp"]
            fresh = informer.get(namespace, "kept")
            assert fresh is not None
            assert await remove_finalizer(client, CONFIG_MAP, fresh, "rook.io/test")
            assert await read(client, CONFIG_MAP, namespace, "kept") is None
            assert await remove_finalizer(client, CONFIG_MAP, fresh, "rook.io/test")  # gone already: no error


def deployment(namespace: str, **container: Any) -> dict[str, Any]:
    labels = {"app": "web"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": "web", "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": {"labels": labels, "annotations": {}},
                "spec": {
                    "hostNetwork": False,
                    "securityContext": {},
                    "volumes": [
                        {"name": "data", "emptyDir": {}},
                        {"name": "conf", "configMap": {"name": "conf", "items": [{"key": "a", "path": "a"}]}},
                        {"name": "dev", "hostPath": {"path": "/dev"}},
                        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1024Mi"}},
                    ],
                    "tolerations": [{"key": "a", "operator": "Exists"}],
                    "containers": [
                        {
                            "name": "web",
                            "image": "web:1",
                            "command": ["web", "--verbose"],
                            "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 80, "protocol": "UDP"}],
                            "env": [
                                {"name": "A", "value": ""},
                                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                            ],
                            "resources": {
                                "requests": {"cpu": "1000m", "memory": "1024Mi"},
                                "limits": {"cpu": 2, "memory": "1.5Gi", "ephemeral-storage": "1e9"},
                            },
                            "livenessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 10},
                            "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": False}],
                            **container,
                        }
                    ],
                },
            },
        },
    }


class TestApplying:
    async def test_a_deployment_with_all_that_the_server_fills_in_is_applied_once(
        self, client: Client, namespace: str
    ) -> None:
        manager = new_manager(client, namespace)
        manager.informers.informer(DEPLOYMENT, PartialObject, metadata_only=True)  # tells nothing of the spec
        manager.informers.informer(DEPLOYMENT, Deployment)
        async with running(manager):
            assert await manager.applier.apply(deployment(namespace))
            assert not await manager.applier.apply(deployment(namespace))

            other = new_manager(client, namespace)  # a new process remembers nothing
            other.informers.informer(DEPLOYMENT, Deployment)
            async with running(other):
                assert not await other.applier.apply(deployment(namespace))
                assert await other.applier.apply(deployment(namespace, args=["--quiet"]))
                assert await other.applier.apply(deployment(namespace))
            stored = await client.get(DEPLOYMENT, namespace, "web")
            assert "args" not in stored["spec"]["template"]["spec"]["containers"][0]
            assert PROGRAM.digest_annotation in stored["metadata"]["annotations"]

    async def test_a_service_and_a_secret_are_applied_once(self, client: Client, namespace: str) -> None:
        objects = [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"namespace": namespace, "name": "mon"},
                "spec": {
                    "selector": {"app": "mon"},
                    "ports": [{"name": "msgr2", "port": 3300}, {"name": "msgr1", "port": 6789, "targetPort": 6789}],
                },
            },
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"namespace": namespace, "name": "key"},
                "stringData": {"key": "not to be shown"},
            },
        ]
        manager = new_manager(client, namespace)
        async with running(manager):
            for obj in objects:
                assert await manager.applier.apply(obj)  # no cache holds these kinds: they are read
                assert not await manager.applier.apply(obj)

        secret = await client.get(SECRET, namespace, "key")
        assert secret["data"] == {"key": "bm90IHRvIGJlIHNob3du"}
        assert (await client.get(SERVICE, namespace, "mon"))["spec"]["clusterIP"]

    async def test_drift_is_seen_beside_a_field_that_the_server_spells_in_its_own_way(
        self, client: Client, namespace: str
    ) -> None:
        wanted: dict[str, Any] = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": namespace, "name": "spelled"},
            "spec": {"renewTime": "2026-01-01T01:00:00.000000+01:00", "holderIdentity": "a"},  # stored in UTC
        }
        manager = new_manager(client, namespace)
        async with running(manager):
            assert await manager.applier.apply(wanted)
            assert not await manager.applier.apply(wanted)

            body = {"spec": {"holderIdentity": "b"}}
            await client.patch(LEASE, namespace, "spelled", body, content_type=MERGE)
            assert await manager.applier.apply(wanted)
            assert not await manager.applier.apply(wanted)

        assert (await client.get(LEASE, namespace, "spelled"))["spec"]["holderIdentity"] == "a"

    async def test_a_field_that_nobody_may_change_is_named(self, client: Client, namespace: str) -> None:
        job: dict[str, Any] = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"namespace": namespace, "name": "prepare"},
            "spec": {
                "template": {
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a:1"}]},
                }
            },
        }
        changed = deployment(namespace)
        changed["spec"]["selector"] = {"matchLabels": {"app": "other"}}
        changed["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
        service: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"namespace": namespace, "name": "s"},
            "spec": {"clusterIP": "10.0.0.77", "ports": [{"port": 1}]},
        }
        manager = new_manager(client, namespace)
        async with running(manager):
            await manager.applier.apply(job)
            job["spec"]["template"]["spec"]["containers"][0]["image"] = "a:2"
            with pytest.raises(ImmutableFieldError, match=rf"^Job {namespace}/prepare: spec\.template cannot") as error:
                await manager.applier.apply(job)
            assert error.value.fields == ("spec.template",)
            assert "image is 'a:1', wanted 'a:2'" in str(error.value)

            await manager.applier.apply(deployment(namespace))
            with pytest.raises(ImmutableFieldError, match=r"spec\.selector cannot be changed"):
                await manager.applier.apply(changed)

            await manager.applier.apply(service)
            service["spec"]["clusterIP"] = "10.0.0.78"
            with pytest.raises(ImmutableFieldError, match=r"spec\.clusterIPs?\[0\]"):
                await manager.applier.apply(service)

    async def test_status_is_applied_once_and_its_fields_are_unset(self, client: Client, namespace: str) -> None:
        condition = {
            "type": "Available",
            "status": "True",
            "reason": "Test",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        manager = new_manager(client, namespace)
        manager.informers.informer(DEPLOYMENT, Deployment)
        async with running(manager):
            applier = manager.applier
            await applier.apply(deployment(namespace))
            full: dict[str, Any] = {"observedGeneration": 1, "replicas": 3, "conditions": [condition]}
            uid = (await client.get(DEPLOYMENT, namespace, "web"))["metadata"]["uid"]

            async def apply_status(status: dict[str, Any]) -> bool:
                return await applier.apply_status(DEPLOYMENT, namespace, "web", status, uid=uid)

            assert await apply_status(full)
            assert not await apply_status(full)
            assert await apply_status({"replicas": 3})
            assert not await apply_status({"replicas": 3})
            stored = await client.get(DEPLOYMENT, namespace, "web")
            assert stored["status"] == {"replicas": 3}

            drifted = {"status": {"replicas": 4}}
            await client.patch(DEPLOYMENT, namespace, "web", drifted, content_type=MERGE, subresource="status")
            assert await apply_status({"replicas": 3})
            assert not await applier.apply_status(DEPLOYMENT, namespace, "missing", {"replicas": 3}, uid=uid)

    async def test_status_does_not_belong_into_an_apply(self, client: Client, namespace: str) -> None:
        manager = new_manager(client, namespace)
        with pytest.raises(ValueError, match=r"Deployment test-.*/web: an apply cannot set status"):
            await manager.applier.apply({**deployment(namespace), "status": {}})
        assert await read(client, DEPLOYMENT, namespace, "web") is None
        with pytest.raises(ValueError, match=r"no cache holds example\.com/v1 Toy"):
            await manager.applier.apply({"apiVersion": "example.com/v1", "kind": "Toy", "metadata": {"name": "x"}})

    async def test_prune_leaves_alone_what_is_wanted_and_what_is_anothers(self, client: Client, namespace: str) -> None:
        def child(name: str, *, owner: str = "uid-1", app: str = "x") -> dict[str, Any]:
            obj = source(namespace, name)
            reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner}
            obj["metadata"] |= {"labels": {"app": app}, "ownerReferences": [reference]}
            return obj

        for obj in (child("old"), child("wanted"), child("theirs", owner="uid-2"), child("unlike", app="y")):
            await client.create(CONFIG_MAP, obj)
        manager = new_manager(client, namespace)
        informer = manager.informers.informer(CONFIG_MAP, ConfigMap)
        async with running(manager):
            pruned = await manager.applier.prune(
                informer, namespace, labels={"app": "x"}, owner_uid="uid-1", keep={"wanted"}
            )

        assert pruned == ["old"]
        left = {obj["metadata"]["name"] for obj in await client.list(CONFIG_MAP, namespace)}
        assert left >= {"wanted", "theirs", "unlike"}
        assert "old" not in left


class TestObserving:
    async def test_events_are_written_and_aggregated(
        self, client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("controller.runtime.manager.EVENTS_DEADLINE", 60.0)
        obj = await client.create(CONFIG_MAP, source(namespace, "eventful"))
        obj |= {"apiVersion": "v1", "kind": "ConfigMap"}
        manager = new_manager(client, namespace)
        async with running(manager):
            manager.events.event(obj, "Normal", "Created", "Made it")
            await until(
                lambda: manager.events.stats.written == 1
            )  # a manager that is stopped before it acts writes none
            for _ in range(5):
                manager.events.event(obj, "Warning", "MonDown", "mon a is out of quorum", "Wait")
        # The end of the manager writes what was still to be written.
        events = {e["reason"]: e for e in await client.list(EVENT, namespace)}

        assert set(events) == {"MonDown", "Created"}
        down = events["MonDown"]
        assert down["series"]["count"] == 5
        assert (down["type"], down["note"], down["action"]) == ("Warning", "mon a is out of quorum", "Wait")
        assert down["regarding"]["uid"] == obj["metadata"]["uid"]
        assert down["reportingController"] == "rook.io/operator"
        assert down["reportingInstance"] == manager.identity
        assert "series" not in events["Created"]

    async def test_events_about_objects_with_long_names(self, client: Client, namespace: str) -> None:
        obj = await client.create(CONFIG_MAP, source(namespace, "a" * 199 + ".b" + "c" * 20))
        manager = new_manager(client, namespace)
        async with running(manager):
            manager.events.event(obj, "Normal", "Tested", "note")
            await until(lambda: manager.events.stats.written == 1)
        assert manager.events.stats.dropped_failed == 0

    async def test_metrics_have_the_names_that_dashboards_know(self, client: Client, namespace: str) -> None:
        manager = new_manager(client, namespace)
        add_copier(manager)
        async with running(manager):
            host, port = manager.addresses[0]
            before = (await text(f"http://{host}:{port}/metrics"))[1]
            await client.create(CONFIG_MAP, source(namespace, "measured"))
            after = ""

            async def measured() -> bool:
                nonlocal after
                after = (await text(f"http://{host}:{port}/metrics"))[1]
                return 'rook_apply_total{result="applied"} 1.0\n' in after

            await until(measured)

        for series in (
            'workqueue_depth{controller="copier",name="copier",priority="0"}',
            'workqueue_adds_total{controller="copier",name="copier"}',
            'workqueue_retries_total{controller="copier",name="copier"}',
            'workqueue_unfinished_work_seconds{controller="copier",name="copier"}',
            'workqueue_longest_running_processor_seconds{controller="copier",name="copier"}',
            'workqueue_queue_duration_seconds_count{controller="copier",name="copier"}',
            'workqueue_work_duration_seconds_bucket{controller="copier",le="+Inf",name="copier"}',
            'controller_runtime_reconcile_total{controller="copier",result="success"}',
            'controller_runtime_reconcile_total{controller="copier",result="error"}',
            'controller_runtime_reconcile_total{controller="copier",result="requeue"}',
            'controller_runtime_reconcile_total{controller="copier",result="requeue_after"}',
            'controller_runtime_reconcile_errors_total{controller="copier"}',
            'controller_runtime_terminal_reconcile_errors_total{controller="copier"}',
            'controller_runtime_reconcile_panics_total{controller="copier"}',
            'controller_runtime_reconcile_timeouts_total{controller="copier"}',
            'controller_runtime_reconcile_time_seconds_sum{controller="copier"}',
            'controller_runtime_active_workers{controller="copier"}',
        ):
            assert f"{series} 0.0\n" in before
        assert 'controller_runtime_max_concurrent_reconciles{controller="copier"} 2.0\n' in before
        server = client.host.removeprefix("https://")
        assert re.search(rf'rest_client_requests_total{{code="200",host="{server}",method="GET"}} [1-9]', before)
        assert f'rest_client_request_duration_seconds_count{{host="{server}",verb="PATCH"}} 0.0\n' in before
        assert f'rest_client_request_duration_seconds_count{{host="{server}",verb="PATCH"}} 1.0\n' in after
        for size in ("request", "response"):
            name = f"rest_client_{size}_size_bytes"
            assert f'{name}_count{{host="{server}",verb="PATCH"}} 0.0\n' in before
            assert f'{name}_count{{host="{server}",verb="PATCH"}} 1.0\n' in after
            assert re.search(rf'{name}_sum{{host="{server}",verb="PATCH"}} [1-9]', after)
            assert f'{name}_bucket{{host="{server}",le="16777216.0",verb="PATCH"}} 1.0\n' in after
        assert re.search(r'controller_runtime_reconcile_total{controller="copier",result="success"} [1-9]', after)
        assert "controller_runtime_client_consistency_wait_duration_seconds_bucket" in before
        assert 'rook_apply_total{result="applied"} 1.0\n' in after
        assert "process_resident_memory_bytes" in before

    async def test_readyz_names_what_is_not_ready(self, client: Client, namespace: str) -> None:
        manager = new_manager(client, namespace)
        add_copier(manager)
        missing = Resource(group="example.com", version="v1", kind="Toy", plural="toys")
        manager.informers.informer(missing, dict)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: manager.run(signals=False))
            await until(lambda: bool(manager.addresses))
            (host, port), (debug_host, debug_port) = manager.addresses
            await until(lambda: manager.health.ready()["informer-configmaps"] == "ok")

            status, body = await text(f"http://{host}:{port}/readyz")
            assert status == 500
            assert "[+]informer-configmaps ok" in body
            assert "[-]informer-toys.example.com failed: reason withheld" in body
            reasons = (await text(f"http://{debug_host}:{debug_port}/readyz"))[1]
            assert f"[-]informer-toys.example.com namespace {namespace}: 404" in reasons
            assert (await text(f"http://{host}:{port}/healthz"))[0] == 200
            manager.stop()  # it stops though it never got its caches

    async def test_debug_endpoints_show_the_inside_on_the_loopback_address_alone(
        self, client: Client, namespace: str
    ) -> None:
        manager = new_manager(client, namespace)
        add_copier(manager)
        async with running(manager):
            (host, port), (debug_host, debug_port) = manager.addresses
            assert debug_host == "127.0.0.1"
            assert (await text(f"http://{host}:{port}/debug/tasks"))[0] == 404

            async def controllers_shown() -> bool:
                return "Controller._work" in (await text(f"http://{debug_host}:{debug_port}/debug/tasks"))[1]

            await until(controllers_shown)
            assert '"copier"' in (await text(f"http://{debug_host}:{debug_port}/debug/queues"))[1]

    async def test_debug_endpoints_are_not_bound_elsewhere(self, client: Client) -> None:
        manager = Manager(
            client,
            program=PROGRAM,
            namespaces=None,
            identity="test",
            metrics_address=("127.0.0.1", 0),
            debug_address=("0.0.0.0", 0),  # noqa: S104
        )
        with pytest.raises(ValueError, match=r"debug address 0\.0\.0\.0 is not a loopback address"):
            await manager.run(signals=False)


class TestEnding:
    async def test_workers_finish_what_they_are_at(self, client: Client, namespace: str) -> None:
        started, go_on, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

        class Slow:
            async def reconcile(self, request: Request) -> Result:
                started.set()
                await go_on.wait()
                await client.create(CONFIG_MAP, source(namespace, "last-words"))
                finished.set()
                return Result()

        manager = new_manager(client, namespace)
        controller = Controller("slow", Slow())
        manager.add(controller)
        async with running(manager):
            controller.queue.add(Request(namespace, "x"))
            await started.wait()
            manager.stop()
            await until(lambda: controller.queue.shutting_down)
            go_on.set()

        assert finished.is_set()
        assert await read(client, CONFIG_MAP, namespace, "last-words") is not None

    async def test_a_worker_that_does_not_finish_is_cut_off(self, client: Client, namespace: str) -> None:
        cut_off = False

        class Stuck:
            async def reconcile(self, request: Request) -> Result:
                nonlocal cut_off
                try:
                    await asyncio.get_running_loop().create_future()
                except asyncio.CancelledError:
                    cut_off = True
                    raise
                return Result()

        manager = Manager(
            client,
            program=PROGRAM,
            namespaces=(namespace,),
            identity="test",
            metrics_address=("127.0.0.1", 0),
            debug_address=None,
            drain_deadline=0.1,
        )
        controller = Controller("stuck", Stuck())
        manager.add(controller)
        async with running(manager):
            controller.queue.add(Request(namespace, "x"))
            await until(lambda: controller.stats.active == 1)

        assert cut_off

    async def test_what_a_runnable_raises_ends_the_manager(self, client: Client, namespace: str) -> None:
        async def fail() -> None:
            raise RuntimeError("the cluster's disks are on fire")

        manager = new_manager(client, namespace)
        manager.add_runnable(fail)
        with anyio.fail_after(60), pytest.raises(RuntimeError, match="on fire"):
            await manager.run(signals=False)

    async def test_two_controllers_of_one_name_are_refused(self, client: Client) -> None:
        manager = new_manager(client, "default")
        add_copier(manager)
        with pytest.raises(ValueError, match="controller copier: there is one"):
            add_copier(manager)


async def test_a_write_that_waited_for_a_connection_past_the_lease_is_not_sent(client: Client, namespace: str) -> None:
    """The gate is asked when the request is sent, not when it is made."""
    leading = True
    connecting = asyncio.Event()

    def gate() -> None:
        if not leading:
            raise NotLeaderError("not the leader any more")

    class Slow(aiohttp.TCPConnector):
        async def connect(self, *args: Any, **kwargs: Any) -> Any:
            connection = await super().connect(*args, **kwargs)
            connecting.set()
            await go_on.wait()
            return connection

    go_on = asyncio.Event()
    client.write_gate = gate
    assert isinstance(client.transport, HttpTransport)
    assert client.transport._sessions is not None
    session = client.transport._sessions[0]
    slow = Slow()
    with patch.object(session, "_connector", slow):
        writing = asyncio.create_task(client.create(CONFIG_MAP, source(namespace, "late")))
        await connecting.wait()
        leading = False
        go_on.set()
        with pytest.raises(NotLeaderError):
            await writing
        await slow.close()

    assert await read(client, CONFIG_MAP, namespace, "late") is None
