"""The objects of a store's gateways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from controller.ceph.objectstore.objects import gateway_budget, gateway_deployment, service
from controller.ceph.objectstore.spec import gateways
from controller.ceph.rgw.names import own_place
from tests.unit.ceph.objectstores import a_context, a_store, gateway
from tests.unit.ceph.snapshot import assert_matches_snapshot

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStore
    from informers import JsonObject

TLS = {"securePort": 443, "sslCertificateRef": "tls"}


def built(store: CephObjectStore, certificate: str = "", *, separate_key: bool = True) -> JsonObject:
    daemon = gateways(store)[0]
    place = own_place(store.metadata.name)
    return gateway_deployment(store, a_context(store), daemon, place, certificate, separate_key=separate_key)


def pod(store: CephObjectStore, **more: Any) -> JsonObject:
    spec: JsonObject = built(store, **more)["spec"]["template"]["spec"]
    return spec


def args(store: CephObjectStore, **more: Any) -> list[str]:
    found: list[str] = pod(store, **more)["containers"][0]["args"]
    return found


def test_the_gateway() -> None:
    assert_matches_snapshot(built(a_store(gateway(**TLS)), "digest"), "rgw-deployment")


def test_the_service() -> None:
    store = a_store(gateway(**TLS, service={"annotations": {"a": "b"}, "labels": {"c": "d"}}))
    assert_matches_snapshot(service(store, a_context(store)), "rgw-service")


def test_the_next_one_serves_before_this_one_ends_unless_both_need_a_port_of_the_node() -> None:
    assert built(a_store())["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    assert built(a_store(gateway(hostNetwork=True)))["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("spec", "separate_key", "frontends", "low"),
    [
        (gateway(), True, "beast port=8080", False),
        (gateway(hostNetwork=True), True, "beast port=80", True),
        (gateway(hostNetwork=True, port=8000), True, "beast port=8000", False),
        (
            gateway(**TLS),
            True,
            (
                "beast port=8080 ssl_port=443 ssl_certificate=/etc/ceph/private/rgw-cert.pem "
                "ssl_private_key=/etc/ceph/private/rgw-key.pem"
            ),
            True,
        ),
        (
            {"gateway": {**TLS, "securePort": 8443}},
            False,
            "beast ssl_port=8443 ssl_certificate=/etc/ceph/private/rgw-cert.pem",
            False,
        ),
    ],
)
def test_where_it_listens(spec: JsonObject, separate_key: bool, frontends: str, low: bool) -> None:
    store = a_store(spec)
    rights = pod(store)["containers"][0]["securityContext"]["capabilities"]["add"]

    assert f"--rgw-frontends={frontends}" in args(store, separate_key=separate_key)
    assert ("NET_BIND_SERVICE" in rights) == low


@pytest.mark.parametrize(
    ("spec", "flags"),
    [
        ({"protocols": {"enableAPIs": ["s3", "admin"]}}, ["--rgw-enable-apis=s3, admin"]),
        ({"protocols": {"swift": {"urlPrefix": "foo", "accountInUrl": True}}}, ["--rgw-swift-url-prefix=foo"]),
        (gateway(disableMultisiteSyncTraffic=True), ["--rgw-run-sync-thread=false"]),
        (gateway(rgwCommandFlags={"rgw_dmclock_auth_res": "100.0"}), ["--rgw-dmclock-auth-res=100.0"]),
        (
            {"hosting": {"dnsNames": ["s3.example.org"]}},
            [
                (
                    "--rgw-dns-name=rook-ceph-rgw-s.rook-ceph.svc,rook-ceph-rgw-s.rook-ceph,"
                    "rook-ceph-rgw-s.rook-ceph.svc.cluster.local,rook-ceph-rgw-s,s3.example.org"
                )
            ],
        ),
    ],
)
def test_what_is_told_on_the_command_line(spec: JsonObject, flags: list[str]) -> None:
    assert set(flags) <= set(args(a_store(spec)))


def test_no_name_of_a_host_is_told_where_none_is_asked_for() -> None:
    assert not [flag for flag in args(a_store()) if "dns-name" in flag]


@pytest.mark.parametrize(
    ("protocols", "probe"),
    [
        ({}, {"httpGet": {"path": "/", "port": 8080, "scheme": "HTTP"}}),
        ({"s3": {"enabled": False}}, {"httpGet": {"path": "/swift/info", "port": 8080, "scheme": "HTTP"}}),
        (
            {"enableAPIs": ["swift"], "swift": {"urlPrefix": "/foo/"}},
            {"httpGet": {"path": "/foo/info", "port": 8080, "scheme": "HTTP"}},
        ),
        ({"enableAPIs": ["admin"]}, {"tcpSocket": {"port": 8080}}),
    ],
)
def test_it_is_ready_when_it_answers_what_it_serves(protocols: JsonObject, probe: JsonObject) -> None:
    found = pod(a_store({"protocols": protocols}))["containers"][0]["readinessProbe"]

    assert probe.items() <= found.items()


def test_probes_can_be_switched_off_and_changed() -> None:
    checks = {"startupProbe": {"disabled": True}, "readinessProbe": {"probe": {"periodSeconds": 30}}}
    container = pod(a_store({"healthCheck": checks}))["containers"][0]

    assert "startupProbe" not in container
    assert container["readinessProbe"]["periodSeconds"] == 30


def test_the_users_own_files_and_authorities() -> None:
    files = [{"subPath": "vault", "volumeSource": {"secret": {"secretName": "token"}}}]
    found = pod(a_store(gateway(additionalVolumeMounts=files, caBundleRef="ca")))
    mounts = {mount["mountPath"]: mount["name"] for mount in found["containers"][0]["volumeMounts"]}

    assert mounts["/var/rgw/vault"] == "additional-0"
    assert {"name": "additional-0", "secret": {"secretName": "token"}} in found["volumes"]
    assert {"name": "CURL_CA_BUNDLE", "value": "/etc/ceph/ca/cabundle"} in found["containers"][0]["env"]


def test_the_log_of_operations_is_printed_beside() -> None:
    found = pod(a_store(gateway(opsLogSidecar={"resources": {"limits": {"memory": "64Mi"}}})))

    assert [container["name"] for container in found["containers"]] == ["rgw", "ops-log"]
    assert "--rgw-ops-log-file-path=/var/log/ceph/ops-log.log" in found["containers"][0]["args"]
    assert found["containers"][1]["resources"] == {"limits": {"memory": "64Mi"}}


def test_no_budget_where_they_are_switched_off() -> None:
    store = a_store()
    (found,) = gateway_budget(store, a_context(store))

    assert found["spec"]["maxUnavailable"] == 1


def test_what_the_spec_says_of_pods() -> None:
    spec = gateway(
        labels={"a": "b"}, annotations={"c": "d"}, priorityClassName="high", resources={"limits": {"cpu": 1}}
    )
    template = built(a_store(spec))["spec"]["template"]

    assert template["metadata"]["labels"].items() >= {"a": "b", "rgw": "s", "rook_object_store": "s"}.items()
    assert template["metadata"]["annotations"] == {"c": "d"}
    assert template["spec"]["priorityClassName"] == "high"
    assert template["spec"]["containers"][0]["resources"] == {"limits": {"cpu": 1}}
