"""Reports live as long as their nodes, and those of earlier releases go."""

from pathlib import Path
from typing import Any

import anyio
import yaml

from controller.apis.rook.node_report import NODE_REPORT
from controller.framework.reports import LOOK_AGAIN, REPORTS, devices_changed, register, reports_of
from controller.framework.settings import Settings
from controller.runtime.kube import CONFIG_MAP, NODE, VOLUME_ATTACHMENT
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from informers import ApiError

NAMESPACE = "rook"
CRD = Path(__file__).parents[3] / "manifests/crds/rook.io_nodereports.yaml"


def report(server: ApiServer, node: str) -> None:
    body: dict[str, Any] = {"metadata": {"namespace": NAMESPACE, "name": node}, "devices": [{"name": "sdb"}]}
    server.create(REPORTS, {"apiVersion": NODE_REPORT.api_version, "kind": NODE_REPORT.kind, **body})


def world() -> ApiServer:
    server = ApiServer(namespaces=(NAMESPACE, "served"))
    server.install(yaml.safe_load(CRD.read_text(encoding="utf-8")))
    return server


@virtual_time
async def test_a_report_goes_with_its_node() -> None:
    server = world()
    for node in ("a", "b"):
        server.create(NODE, {"metadata": {"name": node}})
        report(server, node)
    report(server, "gone-while-nobody-led")
    manager = new_manager(server, namespaces=("served",))
    register(manager, Settings(operator_namespace=NAMESPACE))

    async with running(manager):
        await until(lambda: server.find(REPORTS, NAMESPACE, "gone-while-nobody-led") is None)
        server.delete(NODE, "", "a")
        await until(lambda: server.find(REPORTS, NAMESPACE, "a") is None)
        assert server.find(REPORTS, NAMESPACE, "b") is not None


@virtual_time
async def test_a_report_stays_while_clients_in_it_may_have_to_be_fenced() -> None:
    server = world()
    report(server, "gone")
    server.patch(REPORTS, NAMESPACE, "gone", {"clients": [{"driver": "d", "volumeHandle": "v", "address": "x:0/1"}]})
    source = {"persistentVolumeName": "v"}
    server.create(
        VOLUME_ATTACHMENT,
        {"metadata": {"name": "va"}, "spec": {"attacher": "d", "nodeName": "gone", "source": source}},
    )
    manager = new_manager(server, namespaces=("served",))
    register(manager, Settings(operator_namespace=NAMESPACE))

    async with running(manager):
        await anyio.sleep(2 * LOOK_AGAIN)
        assert server.find(REPORTS, NAMESPACE, "gone") is not None
        server.delete(VOLUME_ATTACHMENT, "", "va")
        await until(lambda: server.find(REPORTS, NAMESPACE, "gone") is None)


@virtual_time
async def test_the_config_maps_of_earlier_releases_go_and_no_others() -> None:
    server = world()
    labels = {"app": "rook-discover"}
    for name in ("local-device-a", "of-somebody"):
        server.create(CONFIG_MAP, {"metadata": {"namespace": NAMESPACE, "name": name, "labels": labels}})
    server.create(CONFIG_MAP, {"metadata": {"namespace": NAMESPACE, "name": "local-device-unlabelled"}})
    manager = new_manager(server, namespaces=("served",))
    register(manager, Settings(operator_namespace=NAMESPACE))

    async with running(manager):
        await until(lambda: server.find(CONFIG_MAP, NAMESPACE, "local-device-a") is None)
        assert server.find(CONFIG_MAP, NAMESPACE, "of-somebody") is not None
        assert server.find(CONFIG_MAP, NAMESPACE, "local-device-unlabelled") is not None


@virtual_time
async def test_an_operator_without_the_right_to_delete_them_runs_on() -> None:
    server = world()
    server.create(CONFIG_MAP, {"metadata": {"namespace": NAMESPACE, "name": "local-device-a"}})
    manager = new_manager(server, namespaces=("served",))
    register(manager, Settings(operator_namespace=NAMESPACE))

    async with running(manager):
        server.refusals.append(ApiError(403, "Forbidden", "no"))
        report(server, "gone")
        await until(lambda: server.find(REPORTS, NAMESPACE, "gone") is None)


@virtual_time
async def test_other_clients_are_no_other_devices() -> None:
    server = world()
    report(server, "a")
    manager = new_manager(server, namespaces=("served",))
    seen: list[bool] = []
    reports = reports_of(manager.informers, NAMESPACE)
    reports.add_handler(lambda delta: seen.append(devices_changed(delta)))

    async with running(manager):
        server.patch(REPORTS, NAMESPACE, "a", {"clients": [{"driver": "d", "volumeHandle": "v", "address": "x:0/1"}]})
        await until(lambda: len(seen) == 2)
        server.patch(REPORTS, NAMESPACE, "a", {"devices": [{"name": "sdb"}, {"name": "sdc"}]})
        await until(lambda: len(seen) == 3)
    assert seen == [True, False, True]
