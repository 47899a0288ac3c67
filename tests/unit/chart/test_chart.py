"""The chart's objects: what a user's values do, and that no pod or account may more than it needs."""

import ast
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.__main__ import sockets
from controller.agent.__main__ import SUFFIXES
from controller.cassandra import system as cassandra
from controller.ceph import system as ceph
from controller.ceph.cephfs.volumes import SUFFIX
from controller.ceph.pods import ACCOUNT, ACCOUNTS
from controller.ceph.system import CSI_DRIVERS
from controller.framework.namespaces import SERVED_FOR, Account, full_name
from controller.runtime import resource_of
from tests.unit.chart.rendered import CHART, Manifest, Rendered
from tools import drivers as csi_drivers

type Render = Callable[..., Rendered]
type Helm = Callable[..., subprocess.CompletedProcess[str]]


def rules(rendered: Rendered, kind: str, name: str, namespace: str | None = None) -> list[Manifest]:
    found: list[Manifest] = rendered.get(kind, name, namespace)["rules"]
    return found


def subjects_of(binding: Manifest) -> set[tuple[str, str]]:
    return {(s["namespace"], s["name"]) for s in binding["subjects"]}


def environment(pod: Manifest) -> dict[str, str]:
    return {e["name"]: e.get("value", "") for e in pod["containers"][0]["env"]}


def test_lint_finds_nothing(helm: Helm) -> None:
    result = helm("lint", "--strict", "--kube-version", "1.36.0", CHART)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 chart(s) failed" in result.stdout


def test_nothing_is_in_the_release_twice(render: Render) -> None:
    rendered = render(clusterNamespaces=["one", "two"])
    keys = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in rendered.objects]
    assert len(keys) == len(set(keys))


# Operator


def test_operator_is_confined(render: Render) -> None:
    pod = render().pod("Deployment", "rook-ceph-operator")
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == 2016
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
    assert not any("hostPath" in volume for volume in pod["volumes"])


def test_operator_survives_the_loss_of_a_node(render: Render) -> None:
    rendered = render()
    deployment = rendered.get("Deployment", "rook-ceph-operator")
    assert deployment["spec"]["replicas"] == 2
    pod = deployment["spec"]["template"]["spec"]
    (term,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    budget = rendered.get("PodDisruptionBudget", "rook-ceph-operator")["spec"]
    assert budget["maxUnavailable"] == 1
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        budget["selector"]["matchLabels"],
        term["podAffinityTerm"]["labelSelector"]["matchLabels"],
        rendered.get("Service", "rook-ceph-operator-metrics")["spec"]["selector"],
    ):
        assert selector.items() <= labels.items()


def test_operator_is_probed(render: Render) -> None:
    (container,) = render().pod("Deployment", "rook-ceph-operator")["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    ports = {port["name"] for port in container["ports"]}
    assert {container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} <= ports


@pytest.mark.parametrize(
    ("values", "path", "expected"),
    [
        pytest.param({"replicas": 3}, "replicas", 3, id="replicas"),
        pytest.param({"revisionHistoryLimit": 1}, "revisionHistoryLimit", 1, id="revisionHistoryLimit"),
        pytest.param(
            {"image.repository": "r/o", "image.tag": "v2"},
            "template.spec.containers.0.image",
            "r/o:v2",
            id="image",
        ),
        pytest.param(
            {"image.pullPolicy": "Always"}, "template.spec.containers.0.imagePullPolicy", "Always", id="pullPolicy"
        ),
        pytest.param({"nodeSelector": {"a": "b"}}, "template.spec.nodeSelector", {"a": "b"}, id="nodeSelector"),
        pytest.param({"priorityClassName": "high"}, "template.spec.priorityClassName", "high", id="priorityClassName"),
        pytest.param({"useOperatorHostNetwork": True}, "template.spec.hostNetwork", True, id="useOperatorHostNetwork"),
        pytest.param({"operatorPodLabels": {"x": "y"}}, "template.metadata.labels.x", "y", id="operatorPodLabels"),
        pytest.param({"annotations": {"x": "y"}}, "template.metadata.annotations.x", "y", id="annotations"),
        pytest.param(
            {"unreachableNodeTolerationSeconds": 7},
            "template.spec.tolerations.0.tolerationSeconds",
            7,
            id="unreachableNodeTolerationSeconds",
        ),
        pytest.param(
            {"tolerations": [{"key": "k", "operator": "Exists"}]},
            "template.spec.tolerations.1.key",
            "k",
            id="tolerations",
        ),
        pytest.param(
            {"resources": {"limits": {"memory": "1Gi"}}},
            "template.spec.containers.0.resources.limits.memory",
            "1Gi",
            id="resources",
        ),
        pytest.param(
            {"containerSecurityContext": {"runAsUser": 5}},
            "template.spec.containers.0.securityContext.runAsUser",
            5,
            id="containerSecurityContext",
        ),
    ],
)
def test_operator_values(render: Render, values: dict[str, Any], path: str, expected: object) -> None:
    found: Any = render(**values).get("Deployment", "rook-ceph-operator")["spec"]
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else found[part]
    assert found == expected


@pytest.mark.parametrize(
    ("values", "variable", "expected"),
    [
        ({}, "ROOK_WATCH_NAMESPACES", "rook-ceph"),
        ({"clusterNamespaces": ["b", "a", "b"]}, "ROOK_WATCH_NAMESPACES", "a,b"),
        ({"clusterNamespaces": "*"}, "ROOK_WATCH_NAMESPACES", "*,rook-ceph"),
        ({"clusterNamespaces": ["b", "*"]}, "ROOK_WATCH_NAMESPACES", "*,b,rook-ceph"),
        (
            {"clusterNamespaces": "*", "imagePullSecrets": [{"name": "a"}, {"name": "b"}]},
            "ROOK_IMAGE_PULL_SECRETS",
            "a,b",
        ),
        ({"clusterNamespaces": ""}, "ROOK_WATCH_NAMESPACES", "rook-ceph"),
        ({"currentNamespaceOnly": False}, "ROOK_WATCH_NAMESPACES", "*,rook-ceph"),
        ({"currentNamespaceOnly": True}, "ROOK_WATCH_NAMESPACES", "rook-ceph"),
        ({"currentNamespaceOnly": False, "clusterNamespaces": ["a"]}, "ROOK_WATCH_NAMESPACES", "a"),
        ({"logLevel": "DEBUG"}, "ROOK_LOG_LEVEL", "DEBUG"),
        ({}, "ROOK_CEPH_ALLOW_LOOP_DEVICES", "false"),
        ({"allowLoopDevices": True}, "ROOK_CEPH_ALLOW_LOOP_DEVICES", "true"),
        ({"cephCommandsTimeoutSeconds": "20"}, "ROOK_CEPH_COMMANDS_TIMEOUT_SECONDS", "20"),
        ({}, "ROOK_OBC_ALLOW_ADDITIONAL_CONFIG_FIELDS", "maxObjects,maxSize"),
        ({"obcAllowAdditionalConfigFields": ""}, "ROOK_OBC_ALLOW_ADDITIONAL_CONFIG_FIELDS", ","),
        ({"obcProvisionerNamePrefix": "east"}, "ROOK_OBC_PROVISIONER_NAME_PREFIX", "east"),
    ],
)
def test_operator_settings(render: Render, values: dict[str, Any], variable: str, expected: str) -> None:
    assert environment(render(**values).pod("Deployment", "rook-ceph-operator"))[variable] == expected


def test_a_controller_service_is_offered_and_may_keep_records_only_where_it_is_asked_for(render: Render) -> None:
    without, given = (
        render(clusterNamespaces=["one"]),
        render(clusterNamespaces=["one"], **{"csi.controllerService": True}),
    )
    pods = [rendered.pod("Deployment", "rook-ceph-operator") for rendered in (without, given)]
    assert "ROOK_CSI_CONTROLLERS" not in environment(pods[0])
    drivers = environment(given.pod("DaemonSet", "rook-agent"))["ROOK_CSI_DRIVERS"].split(",")
    found = sockets(environment(pods[1])["ROOK_CSI_CONTROLLERS"])
    assert found == {driver: Path(f"/run/csi/{driver}.sock") for driver in drivers}
    (mount,) = [m for m in pods[1]["containers"][0]["volumeMounts"] if m["mountPath"] == "/run/csi"]
    (place,) = [v for v in pods[1]["volumes"] if v["name"] == mount["name"]]
    assert "emptyDir" in place
    declared = [
        environment(r.pod("DaemonSet", "rook-agent")).get("ROOK_CSI_CONTROLLER_SERVICE") for r in (without, given)
    ]
    assert declared == [None, "true"]
    more = [r for r in rules(given, "Role", "rook-ceph-system") if r not in rules(without, "Role", "rook-ceph-system")]
    assert more == [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "update"]}]


def test_pull_secrets_are_on_every_account(render: Render) -> None:
    for account in render(imagePullSecrets=[{"name": "registry"}]).of_kind("ServiceAccount"):
        assert account["imagePullSecrets"] == [{"name": "registry"}], account["metadata"]["name"]


def test_there_is_every_account_that_pods_of_ceph_run_under(render: Render) -> None:
    served = ["storage-a", "storage-b"]
    accounts = render(clusterNamespaces=served).of_kind("ServiceAccount")
    made = {(a["metadata"]["namespace"], a["metadata"]["name"]) for a in accounts}
    assert {(n, a) for n in served for a in (ACCOUNT, *ACCOUNTS.values())} <= made


# Access


@pytest.mark.parametrize("namespaces", [[], ["one"], ["one", "two"]])
def test_no_role_opens_secrets_cluster_wide(render: Render, namespaces: list[str]) -> None:
    for role in render(clusterNamespaces=namespaces).of_kind("ClusterRole"):
        for rule in role.get("rules") or []:
            assert not {"secrets", "*"} & set(rule["resources"]), role["metadata"]["name"]
            assert "*" not in rule["apiGroups"], role["metadata"]["name"]


def test_what_detaching_and_attaching_ask_of_the_api_server_is_allowed(render: Render) -> None:
    verbs = {
        resource: set(rule["verbs"])
        for rule in rules(render(), "ClusterRole", "rook-ceph-rook-volumes")
        for resource in rule["resources"]
    }
    assert verbs["nodes"] >= {"get", "list"}
    assert verbs["volumeattachments"] >= {"list", "patch"}
    assert verbs["volumeattachments/status"] >= {"patch"}
    assert verbs["persistentvolumes"] >= {"get", "patch"}


def test_what_snapshots_ask_of_the_api_server_is_allowed_and_no_more(render: Render) -> None:
    verbs = {
        resource: set(rule["verbs"])
        for rule in rules(render(), "ClusterRole", "rook-ceph-rook-volumes")
        for resource in rule["resources"]
        if {"snapshot.storage.k8s.io", "groupsnapshot.storage.k8s.io"} & set(rule["apiGroups"])
    }
    read = {"get", "list", "watch"}
    assert verbs == {
        "volumesnapshots": read,
        "volumesnapshotclasses": read,
        "volumesnapshotcontents": read | {"patch"},
        "volumesnapshotcontents/status": {"patch"},
        "volumegroupsnapshotclasses": read,
        "volumegroupsnapshotcontents": read | {"patch"},
        "volumegroupsnapshotcontents/status": {"patch"},
    }


def test_what_replications_and_fences_ask_of_the_api_server_is_allowed_and_no_more(render: Render) -> None:
    verbs = {
        resource: set(rule["verbs"])
        for rule in rules(render(), "ClusterRole", "rook-ceph-rook-volumes")
        for resource in rule["resources"]
        if {"replication.storage.openshift.io", "csiaddons.openshift.io"} & set(rule["apiGroups"])
    }
    read = {"get", "list", "watch"}
    assert verbs == {
        "volumereplicationclasses": read,
        "volumereplications": read | {"patch"},
        "volumereplications/status": {"patch"},
        "volumegroupreplicationclasses": read,
        "volumegroupreplications": read,
        "volumegroupreplications/status": {"patch"},
        "networkfenceclasses": read,
        "networkfences": read | {"patch"},
        "networkfences/status": {"patch"},
    }


def test_no_rule_has_a_wildcard_verb_or_escalates(render: Render) -> None:
    rendered = render()
    for role in rendered.of_kind("ClusterRole") + rendered.of_kind("Role"):
        for rule in role.get("rules") or []:
            assert not {"*", "escalate", "bind", "impersonate"} & set(rule["verbs"]), role["metadata"]["name"]
            assert not {"pods/exec", "serviceaccounts/token"} & set(rule["resources"]), role["metadata"]["name"]


@pytest.mark.parametrize("namespaces", [["rook-ceph"], ["one", "two"]])
def test_secrets_are_open_to_the_operator_in_served_namespaces_only(render: Render, namespaces: list[str]) -> None:
    rendered = render(clusterNamespaces=namespaces)
    with_secrets = {
        (role["metadata"]["namespace"], role["metadata"]["name"])
        for role in rendered.of_kind("Role")
        if any("secrets" in rule["resources"] for rule in role["rules"])
    }
    assert with_secrets == {(namespace, "rook-ceph-cluster-mgmt") for namespace in namespaces}
    for binding in rendered.of_kind("RoleBinding"):
        if (binding["metadata"]["namespace"], binding["roleRef"]["name"]) in with_secrets:
            assert subjects_of(binding) == {("rook-ceph", "rook-ceph-system")}


def bound_cluster_wide(rendered: Rendered) -> list[Manifest]:
    """The rules of ClusterRoles that hold in all namespaces."""
    names = {b["roleRef"]["name"] for b in rendered.of_kind("ClusterRoleBinding")}
    return [
        rule for role in rendered.of_kind("ClusterRole") if role["metadata"]["name"] in names for rule in role["rules"]
    ]


def test_an_operator_for_all_namespaces_has_no_more_rights_in_them_than_any_until_there_is_a_cluster(
    render: Render,
) -> None:
    one, every = render(), render(clusterNamespaces="*")
    more = [rule for rule in bound_cluster_wide(every) if rule not in bound_cluster_wide(one)]
    read = ["get", "list", "watch"]
    named = [f"rook-ceph-{resource_of(home).plural}.{home.group}" for home in (*ceph.HOMES, *cassandra.HOMES)]
    bindings = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"]}
    assert more == [
        {"apiGroups": ["ceph.rook.io"], "resources": ["*"], "verbs": read},
        {"apiGroups": ["cassandra.rook.io"], "resources": ["*"], "verbs": read},
        {
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["clusterroles"],
            "resourceNames": ["rook-ceph-rook-cluster-mgmt"],
            "verbs": ["bind"],
        },
        bindings | {"verbs": ["list", "create"]},
        bindings | {"resourceNames": named, "verbs": ["delete"]},
    ]
    assert not any("secrets" in rule["resources"] for rule in bound_cluster_wide(every))


def test_what_is_bound_where_there_is_a_cluster_is_what_a_named_namespace_has(render: Render) -> None:
    every = render(clusterNamespaces=["*", "named"])
    bound = rules(every, "ClusterRole", Account("rook-ceph").role)
    for namespace in ("named", "rook-ceph"):
        assert rules(every, "Role", "rook-ceph-cluster-mgmt", namespace) == bound
    assert Account("rook-ceph").role not in {b["roleRef"]["name"] for b in every.of_kind("ClusterRoleBinding")}


def test_each_kind_that_makes_a_namespace_a_served_one_has_its_policy(render: Render) -> None:
    """What the policies let through is shown on a real API server, in tests/integration."""
    every = render(clusterNamespaces="*")
    for home in (*ceph.HOMES, *cassandra.HOMES):
        resource = resource_of(home)
        binding = Account("rook-ceph").binding("a", full_name(resource))
        policy = every.get("ValidatingAdmissionPolicy", binding["metadata"]["name"])["spec"]
        assert policy["paramKind"] == {"apiVersion": home.api_version, "kind": home.kind}
        selected = policy["matchConstraints"]["objectSelector"]["matchLabels"]
        assert selected == {SERVED_FOR: full_name(resource)}
        assert selected.items() <= binding["metadata"]["labels"].items()
        bound = every.get("ValidatingAdmissionPolicyBinding", binding["metadata"]["name"])["spec"]
        assert bound["paramRef"] == {"selector": {}, "parameterNotFoundAction": "Deny"}
        assert bound["validationActions"] == ["Deny"]
    assert "rook-ceph-rook-namespaces" not in {
        o["metadata"]["name"] for o in render().of_kind("ValidatingAdmissionPolicy")
    }


def test_an_operator_of_named_namespaces_sees_elsewhere_just_what_it_tells_of(render: Render) -> None:
    seen = {
        (rule["apiGroups"][0], resource)
        for rule in rules(render(), "ClusterRole", "rook-ceph-rook-namespaces")
        for resource in rule["resources"]
    }
    assert seen == {(home.group, home.plural) for home in (*ceph.HOMES, *cassandra.HOMES)}


def test_where_all_are_served_drivers_are_named_after_the_operators_namespace_as_upstreams_are(render: Render) -> None:
    def drivers(namespaces: object) -> set[str]:
        return {o["metadata"]["name"] for o in render(clusterNamespaces=namespaces).of_kind("CSIDriver")}

    assert drivers("*") == {f"rook-ceph{suffix}" for suffix in CSI_DRIVERS}
    assert drivers(["*", "one"]) == {f"{name}{suffix}" for name in ("one", "rook-ceph") for suffix in CSI_DRIVERS}


def test_claims_to_buckets_open_secrets_by_name_where_the_values_say_so(render: Render) -> None:
    def opened(*namespaces: str) -> dict[tuple[str, str], list[Any]]:
        rendered = render(clusterNamespaces=["served"], **{"bucketClaims.namespaces": list(namespaces)})
        return {
            (role["kind"], role["metadata"].get("namespace", "")): role["rules"]
            for kind in ("Role", "ClusterRole")
            for role in rendered.of_kind(kind)
            if role["metadata"]["name"] == "rook-ceph-rook-bucket-secrets"
        }

    by_name = [
        {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get", "create", "patch", "delete"]}
    ]
    assert opened() == opened("served") == {}
    assert opened("app", "served") == {("Role", "app"): by_name}
    assert opened("app", "*") == {("ClusterRole", ""): by_name}


def test_leases_are_the_operators_in_its_own_namespace_only(render: Render) -> None:
    rendered = render(clusterNamespaces=["one"])
    holders = [
        role["metadata"]["namespace"]
        for role in rendered.of_kind("Role")
        if any("leases" in rule["resources"] for rule in role["rules"])
    ]
    assert holders == ["rook-ceph"]


def test_bindings_refer_to_roles_and_accounts_of_the_release(render: Render) -> None:
    rendered = render(clusterNamespaces=["one", "two"])
    accounts = {(o["metadata"]["namespace"], o["metadata"]["name"]) for o in rendered.of_kind("ServiceAccount")}
    for binding in rendered.of_kind("RoleBinding") + rendered.of_kind("ClusterRoleBinding"):
        reference = binding["roleRef"]
        rendered.get(reference["kind"], reference["name"], binding["metadata"].get("namespace"))
        assert subjects_of(binding) <= accounts


def test_ceph_daemons_have_no_token_and_no_rights(render: Render) -> None:
    rendered = render(clusterNamespaces=["one", "two"])
    bound = {
        s for b in rendered.of_kind("RoleBinding") + rendered.of_kind("ClusterRoleBinding") for s in subjects_of(b)
    }
    for namespace in ("one", "two"):
        for name in ("rook-ceph-default", "rook-ceph-mgr", "rook-ceph-osd"):
            assert rendered.get("ServiceAccount", name, namespace)["automountServiceAccountToken"] is False
            assert (namespace, name) not in bound


def test_rbac_can_be_left_to_the_administrator(render: Render) -> None:
    rendered = render(rbacEnable=False)
    kinds = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    outside_tests = [
        o
        for kind in kinds
        for o in rendered.of_kind(kind)
        if o["metadata"].get("annotations", {}).get("helm.sh/hook") != "test"
    ]
    assert outside_tests == []


# Types


def test_types_are_those_of_the_manifests_and_kept_on_uninstall(render: Render) -> None:
    expected = {}
    for file in (CHART.parents[1] / "manifests" / "crds").glob("*.yaml"):
        definition = yaml.load(file.read_text(), yaml.CSafeLoader)
        expected[definition["metadata"]["name"]] = definition["spec"]
    rendered = render().of_kind("CustomResourceDefinition")
    assert expected
    assert {o["metadata"]["name"]: o["spec"] for o in rendered} == expected
    for definition in rendered:
        assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_types_can_be_left_out(render: Render) -> None:
    assert render(**{"crds.enabled": False}).of_kind("CustomResourceDefinition") == []


# Nodes


def test_a_driver_is_registered_for_each_served_namespace_and_for_the_operators(render: Render) -> None:
    rendered = render(clusterNamespaces=["one", "two"])
    drivers = {o["metadata"]["name"]: o["spec"] for o in rendered.of_kind("CSIDriver")}
    (namespace,) = {o["metadata"]["namespace"] for o in rendered.of_kind("DaemonSet")}
    kinds = ("rbd", "cephfs", "nfs")
    assert set(drivers) == {f"{name}.{kind}.csi.ceph.com" for name in ("one", "two", namespace) for kind in kinds}
    environment = rendered.pod("DaemonSet", "rook-agent")["containers"][0]["env"]
    (served,) = [found["value"] for found in environment if found["name"] == "ROOK_CSI_DRIVERS"]
    assert set(served.split(",")) == set(drivers)
    for spec in drivers.values():
        assert spec == {
            "attachRequired": True,
            "podInfoOnMount": False,
            "fsGroupPolicy": "File",
            "seLinuxMount": False,
            "volumeLifecycleModes": ["Persistent"],
            "storageCapacity": True,
        }


def test_volumes_are_mounted_with_labels_where_the_agents_see_the_nodes_selinux(render: Render) -> None:
    names = {"selinux": "/sys/fs/selinux", "selinux-policy": "/etc/selinux"}
    for asked in (False, True):
        rendered = render(**{"csi.enablePluginSelinuxHostMount": asked})
        drivers = {o["metadata"]["name"]: o["spec"]["seLinuxMount"] for o in rendered.of_kind("CSIDriver")}
        assert {name: ".rbd." in name and asked for name in drivers} == drivers
        pod = rendered.pod("DaemonSet", "rook-agent")
        paths = {v["name"]: v["hostPath"]["path"] for v in pod["volumes"] if v["name"] in names}
        mounted = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"] if m["name"] in names}
        assert paths == mounted == (names if asked else {})


def test_what_the_scheduler_is_told_of_room_is_in_the_operators_namespace(render: Render) -> None:
    found = [
        (role["metadata"]["namespace"], rule.get("resourceNames"), set(rule["verbs"]))
        for role in render(clusterNamespaces=["one"]).of_kind("Role")
        for rule in role["rules"]
        if {"csistoragecapacities", "deployments"} & set(rule["resources"]) and role["metadata"]["namespace"] != "one"
    ]
    every = {"get", "list", "watch", "create", "patch", "delete"}
    assert found == [("rook-ceph", None, every), ("rook-ceph", ["rook-ceph-operator"], {"get"})]


def test_the_drivers_are_those_of_the_operator_and_of_the_agent() -> None:
    assert csi_drivers.FILE.read_text() == csi_drivers.rendered(), "run `make crds`"
    assert set(CSI_DRIVERS) == set(SUFFIXES)


def test_a_namespace_that_is_too_long_for_a_driver_is_refused(helm: Helm, render: Render) -> None:
    longest = "n" * (63 - len(SUFFIX))
    driver = f"{longest}{SUFFIX}"
    assert driver in {o["metadata"]["name"] for o in render(clusterNamespaces=[longest]).of_kind("CSIDriver")}
    for arguments in (["--set", f"clusterNamespaces={{one,{longest}n}}"], ["--namespace", f"{longest}n"]):
        result = helm("template", "rook", CHART, "--kube-version", "1.36.0", *arguments)
        assert result.returncode != 0
        assert f"namespace {longest}n has 44 characters: expected 43 at most" in result.stderr


@pytest.mark.parametrize("name", ["rook-agent", "rook-mounter"])
def test_node_pods_run_everywhere_with_the_hosts_network(render: Render, name: str) -> None:
    pod = render().pod("DaemonSet", name)
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["hostNetwork"] is True
    assert pod["priorityClassName"] == "system-node-critical"
    assert not any(pod.get(key) for key in ("hostPID", "hostIPC"))
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_nothing_but_a_person_restarts_the_mounter(render: Render) -> None:
    rendered = render()
    assert rendered.get("DaemonSet", "rook-mounter")["spec"]["updateStrategy"] == {"type": "OnDelete"}
    pod = rendered.pod("DaemonSet", "rook-mounter")
    assert "livenessProbe" not in pod["containers"][0]
    assert "limits" not in pod["containers"][0]["resources"]
    assert pod["automountServiceAccountToken"] is False


def test_file_systems_have_a_mounter_of_their_own_where_their_driver_is_served(render: Render) -> None:
    rendered = render(**{"csi.kubeletDirPath": "/data/kubelet"})
    pod = rendered.pod("DaemonSet", "rook-mounter")
    found = [container for container in pod["containers"] if container["name"] == "cephfs"]
    served = any(o["metadata"]["name"].endswith(".cephfs.csi.ceph.com") for o in rendered.of_kind("CSIDriver"))
    assert bool(found) == served
    for container in found:
        (mount,) = [m for m in container["volumeMounts"] if m["name"] == "kubelet"]
        assert mount == {"name": "kubelet", "mountPath": "/data/kubelet", "mountPropagation": "Bidirectional"}
        assert "livenessProbe" not in container
        assert "limits" not in container["resources"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_mounts_of_the_agent_reach_the_kubelet(render: Render) -> None:
    pod = render(**{"csi.kubeletDirPath": "/data/kubelet"}).pod("DaemonSet", "rook-agent")
    (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "kubelet"]
    assert mount == {"name": "kubelet", "mountPath": "/data/kubelet", "mountPropagation": "Bidirectional"}
    (volume,) = [v for v in pod["volumes"] if v["name"] == "kubelet"]
    assert volume["hostPath"]["path"] == "/data/kubelet"
    assert environment(pod)["KUBELET_DIR"] == "/data/kubelet"


def test_agent_serves_the_drivers_that_are_registered(render: Render) -> None:
    rendered = render(clusterNamespaces=["one", "two"])
    drivers = environment(rendered.pod("DaemonSet", "rook-agent"))["ROOK_CSI_DRIVERS"].split(",")
    assert drivers == [o["metadata"]["name"] for o in rendered.of_kind("CSIDriver")]


@pytest.mark.parametrize(
    ("enabled", "told"), [(True, "topology.kubernetes.io/zone,topology.rook.io/rack"), (False, "")]
)
def test_agent_tells_where_nodes_are_where_that_is_wanted(render: Render, enabled: bool, told: str) -> None:
    wanted = {"enabled": enabled, "domainLabels": ["topology.kubernetes.io/zone", "topology.rook.io/rack"]}
    rendered = render(**{"csi.topology": wanted})
    assert environment(rendered.pod("DaemonSet", "rook-agent"))["ROOK_TOPOLOGY_LABELS"] == told
    assert "annotations" not in rendered.get("Deployment", "rook-ceph-operator")["metadata"], "it is upstream's value"


def test_agent_may_write_reports_and_nothing_else(render: Render) -> None:
    rendered = render()
    bound = [
        (b["roleRef"]["kind"], b["roleRef"]["name"])
        for b in rendered.of_kind("RoleBinding") + rendered.of_kind("ClusterRoleBinding")
        if {("rook-ceph", "rook-agent"), ("rook-ceph", "rook-mounter")} & subjects_of(b)
    ]
    assert bound == [("Role", "rook-agent"), ("ClusterRole", "rook-ceph-rook-agent")]
    assert rules(rendered, "Role", "rook-agent") == [
        {"apiGroups": ["rook.io"], "resources": ["nodereports"], "verbs": ["get", "list", "watch", "create", "patch"]}
    ]
    assert rules(rendered, "ClusterRole", "rook-ceph-rook-agent") == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}
    ]


def test_an_agent_is_held_to_the_report_of_its_node(render: Render) -> None:
    """What the policy lets through is shown on a real API server, in tests/integration."""
    rendered = render()
    binding = rendered.get("ValidatingAdmissionPolicyBinding", "rook-ceph-rook-agent")
    policy = rendered.get("ValidatingAdmissionPolicy", binding["spec"]["policyName"])
    assert binding["spec"]["validationActions"] == ["Deny"]
    assert policy["spec"]["failurePolicy"] == "Fail"


@pytest.mark.parametrize(("address", "shown"), [("127.0.0.1", "127.0.0.1:9810"), ("::1", "[::1]:9810")])
def test_agents_show_their_metrics_to_their_node_only_unless_told_otherwise(
    render: Render, address: str, shown: str
) -> None:
    rendered = render() if address == "127.0.0.1" else render(**{"agent.metricsAddress": address})
    pod = rendered.pod("DaemonSet", "rook-agent")
    assert environment(pod)["ROOK_AGENT_METRICS_ADDRESS"] == shown
    for probe in ("livenessProbe", "readinessProbe"):
        assert pod["containers"][0][probe]["httpGet"]["host"] == address
    assert "rook-agent-metrics" not in [o["metadata"]["name"] for o in rendered.of_kind("Service")]
    template = rendered.get("DaemonSet", "rook-agent")["spec"]["template"]["metadata"]
    assert "prometheus.io/scrape" not in template.get("annotations", {})


def test_agent_port_is_one_value(render: Render) -> None:
    rendered = render(**{"agent.metricsPort": 7000, "agent.metricsAddress": "10.0.0.1"})
    pod = rendered.pod("DaemonSet", "rook-agent")
    assert environment(pod)["ROOK_AGENT_METRICS_ADDRESS"] == "10.0.0.1:7000"
    assert pod["containers"][0]["ports"][0]["containerPort"] == 7000
    assert rendered.get("Service", "rook-agent-metrics")["spec"]["ports"][0]["port"] == 7000


@pytest.mark.parametrize("name", ["rook-agent", "rook-mounter"])
def test_node_values(render: Render, name: str) -> None:
    affinity: Manifest = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
    pod = render(
        **{
            "csi.pluginTolerations": [],
            "csi.pluginNodeAffinity": affinity,
            "agent.image.repository": "r/a",
            "agent.image.tag": "v3",
        }
    ).pod("DaemonSet", name)
    assert "tolerations" not in pod
    assert pod["affinity"]["nodeAffinity"] == affinity
    assert pod["containers"][0]["image"] == "r/a:v3"


@pytest.mark.parametrize("name", ["rook-agent", "rook-mounter"])
def test_node_values_as_upstreams_users_write_them(render: Render, name: str) -> None:
    pod = render(
        **{
            "csi.pluginTolerations": "- operator: Exists",
            "csi.pluginNodeAffinity": "role=storage, app; ssd",
            "discover.nodeAffinity": "role=storage",
            "discover.tolerations": [{"key": "storage", "operator": "Exists"}],
        }
    ).pod("DaemonSet", name)
    assert pod["tolerations"] == [{"operator": "Exists"}, {"key": "storage", "operator": "Exists"}]
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [
        {"key": "role", "operator": "In", "values": ["storage", "app"]},
        {"key": "ssd", "operator": "Exists"},
    ]


def test_volumes_are_mounted_on_all_nodes_though_only_some_have_disks(render: Render) -> None:
    rendered = render(**{"discover.nodeAffinity": "role=storage"})
    assert "affinity" not in rendered.pod("DaemonSet", "rook-agent")
    annotations = rendered.get("Deployment", "rook-ceph-operator")["metadata"]["annotations"]
    assert annotations["rook.io/values-not-served"] == "discover.nodeAffinity"


def test_a_directory_may_end_in_a_slash(render: Render) -> None:
    pod = render(**{"csi.kubeletDirPath": "/var/lib/kubelet/"}).pod("DaemonSet", "rook-agent")
    assert environment(pod)["KUBELET_DIR"] == "/var/lib/kubelet"


def test_upstreams_image_is_refused_with_what_to_do(helm: Helm) -> None:
    setting = "image.repository=registry.example.org/mirror/rook/ceph"
    result = helm("template", "rook", CHART, "--kube-version", "1.36.0", "--set", setting)
    assert result.returncode != 0
    assert "the image of upstream's operator" in result.stderr


# Monitoring and tests


def test_prometheus_finds_the_operator_one_way(render: Render) -> None:
    def annotations(rendered: Rendered) -> dict[str, str]:
        template = rendered.get("Deployment", "rook-ceph-operator")["spec"]["template"]["metadata"]
        found: dict[str, str] = template.get("annotations", {})
        return found

    assert annotations(render())["prometheus.io/port"] == "9090"
    assert render().of_kind("ServiceMonitor") == []
    without_types = render(**{"monitoring.enabled": True})
    assert annotations(without_types)["prometheus.io/port"] == "9090"
    assert without_types.of_kind("ServiceMonitor") == []
    monitored = render("--api-versions=monitoring.coreos.com/v1/ServiceMonitor", **{"monitoring.enabled": True})
    assert "prometheus.io/scrape" not in annotations(monitored)
    selector = monitored.get("ServiceMonitor", "rook-ceph-operator")["spec"]["selector"]["matchLabels"]
    service = monitored.get("Service", "rook-ceph-operator-metrics")
    assert selector.items() <= service["metadata"]["labels"].items()


def test_who_may_reach_the_operator_can_be_limited(render: Render) -> None:
    assert render().of_kind("NetworkPolicy") == []
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    limited = render(networkPolicy={"enabled": True, "metricsFrom": [prometheus]})
    spec = limited.get("NetworkPolicy", "rook-ceph-operator")["spec"]
    pod = limited.get("Deployment", "rook-ceph-operator")["spec"]["template"]["metadata"]["labels"]
    assert spec["podSelector"]["matchLabels"].items() <= pod.items()
    assert spec["policyTypes"] == ["Ingress"]
    assert spec["ingress"] == [{"ports": [{"port": "metrics"}], "from": [{"podSelector": {}}, prometheus]}]


def test_the_smoke_test_is_a_hook_that_asks_for_every_type(render: Render) -> None:
    rendered = render()
    pod = rendered.get("Pod", "rook-smoke")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (container,) = pod["spec"]["containers"]
    script, host, replicas, *types = container["args"]
    ast.parse(script)
    assert host == "rook-ceph-operator-metrics.rook-ceph.svc"
    assert replicas == "2"
    assert sorted(types) == sorted(o["metadata"]["name"] for o in rendered.of_kind("CustomResourceDefinition"))
    (rule,) = rules(rendered, "ClusterRole", "rook-ceph-rook-smoke")
    assert rule["verbs"] == ["get"]
    assert sorted(rule["resourceNames"]) == sorted(types)


# Values


def test_a_value_that_does_not_exist_is_refused(helm: Helm) -> None:
    result = helm("template", "rook", CHART, "--kube-version", "1.36.0", "--set", "replicaCount=3")
    assert result.returncode != 0
    assert "replicaCount" in result.stderr


@pytest.mark.parametrize("setting", ["logLevel=LOUD", "clusterNamespaces={Not_A_Name}", "replicas=-1"])
def test_a_wrong_value_is_refused_with_its_name(helm: Helm, setting: str) -> None:
    result = helm("template", "rook", CHART, "--kube-version", "1.36.0", "--set", setting)
    assert result.returncode != 0
    assert setting.split("=")[0] in result.stderr


def test_values_of_upstreams_chart_that_have_no_meaning_are_named(render: Render) -> None:
    rendered = render(monRunAsRoot=True, **{"csi.provisionerReplicas": 1})
    annotations = rendered.get("Deployment", "rook-ceph-operator")["metadata"]["annotations"]
    assert annotations["rook.io/values-not-served"] == "monRunAsRoot, csi.provisionerReplicas"
    assert "annotations" not in render().get("Deployment", "rook-ceph-operator")["metadata"]


def test_the_readme_has_every_value(helm: Helm) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    readme = (CHART / "README.md").read_text()
    missing = [path for path in leaves(values) if f"`{path}`" not in readme]
    assert missing == []


def leaves(values: dict[str, Any], prefix: str = "") -> list[str]:
    """The paths of all values; a map that the user fills counts as one."""
    found = []
    for name, value in values.items():
        path = f"{prefix}{name}"
        opaque = name in {"resources", "containerSecurityContext"}
        found += leaves(value, f"{path}.") if isinstance(value, dict) and value and not opaque else [path]
    return found
