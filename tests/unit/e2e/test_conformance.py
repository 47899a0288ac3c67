"""What others' suites found, from their report to the page."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from controller.ceph.system import CSI_DRIVERS
from controller.volumes.capabilities import BLOCK, FILESYSTEM, MANY
from e2e import conformance, csi_sanity, junit

RBD, CEPHFS = "rook-ceph.rbd.csi.ceph.com", "rook-ceph.cephfs.csi.ceph.com"
NAME = "[It] External Storage [Driver: {}] [Testpattern: {}] {}"
REPORT = f"""<testsuites><testsuite>
<testcase status="passed" name="{NAME.format(RBD, "Dynamic PV (ext4)", "[Slow] volumes should store data [Slow]")}"/>
<testcase status="failed" name="{NAME.format(RBD, "Dynamic PV (xfs)", "volumes should allow exec")}">
  <failure message="no such | file">at volumes.go</failure></testcase>
<testcase status="skipped" name="{NAME.format(CEPHFS, "Dynamic PV (block volmode)", "volumeMode should fail")}">
  <skipped message="skipped - Driver does not support block"/></testcase>
<testcase status="skipped" name="{NAME.format(CEPHFS, "Dynamic PV (ntfs)", "volumes should store data")}">
  <skipped message="skipped"/></testcase>
<testcase status="passed" name="[It] Something else"/>
<testcase status="passed" name="[BeforeSuite]"/>
</testsuite></testsuites>"""


def test_a_report_has_what_was_chosen() -> None:
    results = junit.read(REPORT)
    assert len(results.passed) == 2
    (why,) = results.failed.values()
    assert why == "no such | file\nat volumes.go"
    assert list(results.skipped.values()) == ["Driver does not support block"]


def test_the_page_has_the_results_between_its_marks() -> None:
    rows = conformance.rows_of(junit.read(REPORT))
    assert [(row.driver, row.suite, row.test, row.state) for row in rows] == [
        (CEPHFS, "volumeMode", "should fail", "skipped"),
        (RBD, "volumes", "should store data", "passed"),
        (RBD, "volumes", "should allow exec", "failed"),
    ]
    page = conformance.rewritten(conformance.PAGE.read_text(encoding="utf-8"), conformance.section(rows))
    assert f"| `{RBD}` | volumes | 1 | 1 | 0 |" in page
    assert f"- `{RBD}`, Dynamic PV (xfs): volumes should allow exec" in page
    assert f"| 1 | `{CEPHFS}`: Driver does not support block |" in page
    assert (
        page.partition(conformance.BEGIN)[0]
        == conformance.PAGE.read_text(encoding="utf-8").partition(conformance.BEGIN)[0]
    )
    assert conformance.rewritten(page, "x").count(conformance.END) == 1
    assert "1 passed, 1 failed, 1 skipped" in conformance.table(rows)


def test_a_part_takes_the_place_of_what_the_whole_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROOK_CACHE", str(tmp_path))
    found = conformance.rows_of(junit.read(REPORT))
    part = [replace(row, state="passed", why="") for row in found if row.state == "failed"]
    other = conformance.rows_of(junit.read(REPORT), ", late")
    assert conformance.keep(part, whole=False) == []
    assert {row.test for row in conformance.keep(found, whole=True)} == {row.test for row in found}
    newest = conformance.keep([*part, *other], whole=False)
    assert [(row.pattern, row.state) for row in newest if row.driver == RBD] == [
        ("Dynamic PV (ext4)", "passed"),
        ("Dynamic PV (ext4), late", "passed"),
        ("Dynamic PV (xfs)", "passed"),
        ("Dynamic PV (xfs), late", "failed"),
    ]
    assert len(conformance.keep(found, whole=True)) == len(found)


def test_a_page_without_marks_is_left_as_it_is() -> None:
    with pytest.raises(ValueError, match="has not both of"):
        conformance.rewritten("# A page", "x")


def test_pods_of_the_suite_get_our_images_under_its_names() -> None:
    listed = [
        "registry.k8s.io/e2e-test-images/agnhost:2.63.0",
        "gcr.io/k8s-authenticated-test/agnhost:2.6",
        "registry.k8s.io/etcd:3",
    ]
    assert conformance.standins(listed) == {listed[0]: conformance.AGNHOST}


@pytest.mark.parametrize("file", sorted(conformance.DRIVERS.rglob("*.yaml")), ids=lambda file: str(file.stem))
def test_the_suite_is_told_what_the_drivers_can_do(file: Path) -> None:
    told = yaml.safe_load(file.read_text(encoding="utf-8"))["DriverInfo"]
    (capabilities,) = [can for suffix, can in CSI_DRIVERS.items() if told["Name"].endswith(suffix)]
    has = told["Capabilities"]
    assert has["block"] == (BLOCK in capabilities.access_modes)
    assert has["RWX"] == (MANY in capabilities.access_modes[FILESYSTEM])
    assert has["nodeExpansion"] == capabilities.nodes_expand
    assert has["onlineExpansion"] == (capabilities.expands == "online")
    assert has["capacity"] == (capabilities.knows_room and file.parent.name == "late")
    assert has["pvcDataSource"] == ("PersistentVolumeClaim" in capabilities.sources)
    assert has["snapshotDataSource"] == ("VolumeSnapshot" in capabilities.sources)


def test_a_test_is_skipped_for_what_is_not_declared_and_for_nothing_else() -> None:
    skipped = {"a": "GetCapacity not supported", "b": "Volume Cloning not supported"}
    assert csi_sanity.unexplained(junit.Results((), {}, skipped)) == {"b": "Volume Cloning not supported"}
