"""Verdicts on devices: every reason to take one or to leave it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.apis.ceph.storage import StorageScopeSpec
from controller.apis.rook.node_report import BlockDevice
from controller.ceph.osd.devices import judge
from controller.ceph.osd.selection import ignored_fields
from controller.ceph.osd.verdicts import ALL_DEVICES, DeviceVerdict, KnownOsd, NodeDevices, Occupancy, Verdict

FSID = "a7beedc0-36a7-4be2-afe3-22094a6770aa"
OTHER_FSID = "11111111-2222-3333-4444-555555555555"
UUID = "354e9e31-3991-4647-ad71-9e21444f95c6"
GIB = 1024**3
EMPTY = Occupancy(fsid=FSID, registered=frozenset())


def storage(**spec: Any) -> StorageScopeSpec:
    return msgspec.convert(spec, StorageScopeSpec)


def disk(name: str = "sdb", **fields: Any) -> BlockDevice:
    fields = {"type": "disk", "size": 10 * GIB, "path": f"/dev/{name}", **fields}
    return BlockDevice(name=name, **fields)


def loop(name: str, **fields: Any) -> BlockDevice:
    return disk(name, type="loop", **fields)


def node(name: str, *devices: BlockDevice, **fields: Any) -> NodeDevices:
    return NodeDevices(**{"node": name, "hostname": name, "kernel": f"boot-{name}", "devices": devices, **fields})


def one(spec: StorageScopeSpec, device: BlockDevice, **options: Any) -> DeviceVerdict:
    """The verdict on the only device of the only node."""
    (verdict,) = judge(spec, [node("a", device)], options.pop("occupancy", EMPTY), **options)
    return verdict


ALL = storage(useAllNodes=True, useAllDevices=True)


@pytest.mark.parametrize(
    "spec",
    [
        ALL,
        storage(useAllNodes=True, devices=[{"name": "sdb"}]),
        storage(useAllNodes=True, devices=[{"name": "/dev/sdb"}]),
        storage(useAllNodes=True, devices=[{"fullpath": "/dev/disk/by-id/one"}]),
        storage(useAllNodes=True, devices=[{"name": "/dev/disk/by-id/one"}]),
        storage(useAllNodes=True, deviceFilter="^sd[b-d]$"),
        storage(useAllNodes=True, devicePathFilter="^/dev/disk/by-id/o"),
        storage(useAllNodes=True, devicePathFilter="^/dev/sd"),
        storage(nodes=[{"name": "a"}], useAllDevices=True),
        storage(nodes=[{"name": "a", "useAllDevices": True}]),
        storage(nodes=[{"name": "a", "useAllDevices": True}], useAllDevices=False),
        storage(nodes=[{"name": "a", "devices": [{"name": "sdb"}]}]),
        storage(nodes=[{"name": "a"}], deviceFilter="b$"),
        storage(nodes=[{"name": "a", "deviceFilter": "b$"}], deviceFilter="c$"),
        storage(nodes=[{"name": "a", "devices": [{"name": "sdb"}]}], devices=[{"name": "sdc"}]),
    ],
)
def test_selected(spec: StorageScopeSpec) -> None:
    verdict = one(spec, disk(dev_links=("/dev/disk/by-id/one",)))
    assert (verdict.verdict, verdict.reason.partition(",")[0]) == (Verdict.ACCEPTED, "empty")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (storage(useAllNodes=True), "nothing in spec.storage selects devices"),
        (storage(useAllNodes=True, useAllDevices=False), "nothing in spec.storage selects devices"),
        (
            storage(useAllNodes=True, useAllDevices=True, devices=[{"name": "sdc"}]),
            "not among spec.storage devices: sdc",
        ),
        (storage(useAllNodes=True, useAllDevices=True, deviceFilter="^sdc"), "does not match deviceFilter '^sdc'"),
        (storage(useAllNodes=True, devicePathFilter="by-id"), "none of its paths matches devicePathFilter 'by-id'"),
        (
            storage(useAllNodes=True, deviceFilter="["),
            "deviceFilter '[' is not a regular expression",
        ),
        (
            storage(useAllNodes=True, devicePathFilter="("),
            "devicePathFilter '(' is not a regular expression",
        ),
        (storage(nodes=[{"name": "a", "useAllDevices": False}], useAllDevices=True), "nothing in spec.storage selects"),
        (storage(nodes=[{"name": "a", "deviceFilter": "c$"}], deviceFilter="b$"), "does not match deviceFilter 'c$'"),
    ],
)
def test_not_selected(spec: StorageScopeSpec, reason: str) -> None:
    verdict = one(spec, disk())
    assert verdict.verdict is Verdict.REJECTED
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        (disk(filesystem="ext4", signatures=("ext4",)), "has a file system: ext4"),
        (disk(signatures=("gpt", "PMBR")), "has signatures: gpt, PMBR"),
        (disk(signatures=("ceph_bluestore",)), "has signatures: ceph_bluestore"),
        (disk(filesystem="LVM2_member", signatures=("LVM2_member",)), "has a file system: LVM2_member"),
        (disk(mountpoints=("/", "/var")), "is mounted at /, /var"),
        (disk(children=("sdb1", "sdb2")), "has partitions: sdb1, sdb2"),
        (disk(holders=("dm-0",)), "is part of dm-0"),
        (disk(read_only=True), "is read-only"),
        (disk(size=5 * GIB - 1), "is too small: 5.0 GiB, the least is 5 GiB"),
        (disk(size=0), "is too small: 0.0 GiB"),
        (disk(type="rom"), "is of type rom, which cannot hold an OSD"),
        (disk(type=""), "is of type unknown, which cannot hold an OSD"),
        (disk(filesystem="mpath_member"), "is one path of a multipath device"),
        (disk("sdb1", type="part", parent="sdb"), "is a partition, which is used only when"),
        (disk("dm-1", type="lvm"), "is of type lvm, which is used only when spec.storage names it"),
        (disk("dm-1", type="crypt"), "is of type crypt, which is used only when spec.storage names it"),
    ],
)
def test_unfit_for_all_devices(device: BlockDevice, reason: str) -> None:
    verdict = one(ALL, device)
    assert verdict.verdict is Verdict.REJECTED
    assert reason in verdict.reason


def test_every_fault_is_told_at_once() -> None:
    verdict = one(ALL, disk(filesystem="xfs", mountpoints=("/data",), read_only=True))
    assert verdict.reason == "is read-only; is mounted at /data; has a file system: xfs"


@pytest.mark.parametrize(
    "device",
    [disk("sdb1", type="part", parent="sdb"), disk("dm-1", type="lvm"), disk("mpatha", type="mpath")],
)
def test_unusual_devices_are_taken_when_named(device: BlockDevice) -> None:
    verdict = one(storage(useAllNodes=True, devices=[{"name": device.name}]), device)
    assert verdict.verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("name", ["rbd0", "rbd0p1", "nbd3", "zram0", "ram0", "fd0"])
def test_what_is_no_disk_is_not_even_taken_when_named(name: str) -> None:
    verdict = one(storage(useAllNodes=True, devices=[{"name": name}]), disk(name))
    assert verdict.verdict is Verdict.REJECTED
    assert "which is no disk" in verdict.reason


def test_partition_by_filter() -> None:
    verdict = one(storage(useAllNodes=True, deviceFilter="^sdb1$"), disk("sdb1", type="part", parent="sdb"))
    assert verdict.verdict is Verdict.ACCEPTED


@pytest.mark.parametrize(
    "parent", [disk(osd_uuid=UUID, osd_id=1, ceph_fsid=FSID), disk(signatures=("ceph_bluestore",))]
)
def test_phantom_partition_of_an_osd(parent: BlockDevice) -> None:
    spec = storage(useAllNodes=True, devices=[{"name": "sdb1"}])
    verdicts = judge(spec, [node("a", parent, disk("sdb1", type="part", parent="sdb"))], EMPTY)
    (verdict,) = [v for v in verdicts if v.device == "sdb1"]
    assert verdict.verdict is Verdict.REJECTED
    assert "its disk sdb is itself an OSD" in verdict.reason


@pytest.mark.parametrize(
    ("spec", "allow", "expected", "reason"),
    [
        (storage(useAllNodes=True, devices=[{"name": "loop3"}]), True, Verdict.ACCEPTED, "empty"),
        (
            storage(useAllNodes=True, devices=[{"name": "loop3"}]),
            False,
            Verdict.REJECTED,
            "ROOK_CEPH_ALLOW_LOOP_DEVICES",
        ),
        (storage(useAllNodes=True, deviceFilter="^loop"), True, Verdict.REJECTED, "only when spec.storage names it"),
        (ALL, True, Verdict.REJECTED, "only when spec.storage names it"),
    ],
)
def test_loop_devices(spec: StorageScopeSpec, allow: bool, expected: Verdict, reason: str) -> None:
    verdict = one(spec, loop("loop3"), allow_loop_devices=allow)
    assert verdict.verdict is expected
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"metadataDevice": "nvme0n1"}, "metadataDevice 'nvme0n1' is not served yet"),
        ({"encryptedDevice": "true"}, "encryptedDevice is not served yet"),
        ({"osdsPerDevice": "2"}, "osdsPerDevice '2' is not served"),
        ({"storeType": "filestore"}, "storeType 'filestore' is not served"),
    ],
)
def test_settings_that_are_not_served_keep_the_device_unused(config: dict[str, str], reason: str) -> None:
    verdict = one(storage(useAllNodes=True, useAllDevices=True, config=config), disk())
    assert verdict.verdict is Verdict.REJECTED
    assert reason in verdict.reason


def test_settings_come_from_device_then_node_then_cluster() -> None:
    spec = storage(
        config={"deviceClass": "hdd", "crushRoot": "cluster", "initialWeight": "1"},
        nodes=[
            {
                "name": "a",
                "config": {"deviceClass": "ssd", "crushRoot": "node"},
                "devices": [{"name": "sdb", "config": {"deviceClass": "nvme"}}],
            }
        ],
    )
    verdict = one(spec, disk())
    assert verdict.config == {"deviceClass": "nvme", "crushRoot": "node", "initialWeight": "1"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (storage(useAllNodes=True, useAllDevices=True, config={"crushRoot": "fast"}), {"crushRoot": "fast"}),
        (storage(useAllNodes=True, deviceFilter="^sdx", config={"crushRoot": "fast"}), None),
        (storage(nodes=[{"name": "b"}], config={"crushRoot": "fast"}), None),
    ],
)
def test_settings_of_an_osd_that_the_spec_no_longer_selects_are_unknown(
    spec: StorageScopeSpec, expected: dict[str, str] | None
) -> None:
    device = disk(osd_uuid=UUID, osd_id=3, ceph_fsid=FSID)
    verdicts = judge(spec, [node("a", device)], Occupancy(fsid=FSID, registered=frozenset({UUID})))
    assert [v.config for v in verdicts if v.verdict is Verdict.IN_USE] == [expected]


def test_settings_that_change_nothing_are_no_fault() -> None:
    config = {"osdsPerDevice": "1", "encryptedDevice": "false", "storeType": "bluestore", "metadataDevice": ""}
    assert one(storage(useAllNodes=True, useAllDevices=True, config=config), disk()).verdict is Verdict.ACCEPTED


class TestOwnOsds:
    ours = disk(osd_uuid=UUID, osd_id=3, ceph_fsid=FSID, signatures=("ceph_bluestore",))

    @pytest.mark.parametrize("registered", [None, frozenset({UUID})])
    @pytest.mark.parametrize("spec", [ALL, storage(), storage(nodes=[{"name": "b"}])])
    def test_in_use_whatever_the_spec_selects(self, registered: frozenset[str] | None, spec: StorageScopeSpec) -> None:
        verdicts = judge(spec, [node("a", self.ours)], Occupancy(fsid=FSID, registered=registered))
        (verdict,) = [v for v in verdicts if v.device == "sdb"]
        assert (verdict.verdict, verdict.reason) == (Verdict.IN_USE, "osd.3 of this cluster")
        assert (verdict.osd_id, verdict.osd_uuid) == (3, UUID)

    def test_removed_from_the_cluster(self) -> None:
        verdict = one(ALL, self.ours)
        assert verdict.verdict is Verdict.REJECTED
        assert "which this cluster no longer has; wipe it" in verdict.reason

    def test_of_another_cluster(self) -> None:
        verdict = one(ALL, disk(osd_uuid=UUID, osd_id=3, ceph_fsid=OTHER_FSID))
        assert verdict.verdict is Verdict.REJECTED
        assert verdict.reason == f"holds osd.3 of another Ceph cluster, fsid {OTHER_FSID}"

    def test_never_finished(self) -> None:
        verdict = one(ALL, disk(osd_uuid=UUID))
        assert verdict.verdict is Verdict.REJECTED
        assert "was never finished" in verdict.reason

    def test_known_before_the_report_is(self) -> None:
        known = KnownOsd(osd_id=4, uuid=UUID, node="a", path="/dev/sdb")
        verdict = one(ALL, disk(), occupancy=Occupancy(fsid=FSID, registered=frozenset({UUID}), known=(known,)))
        assert (verdict.verdict, verdict.osd_id, verdict.osd_uuid) == (Verdict.IN_USE, 4, UUID)

    def test_the_report_overrules_an_old_path(self) -> None:
        """After a reboot the OSD's disk has another name, and a new, empty disk has its old one."""
        known = KnownOsd(osd_id=3, uuid=UUID, node="a", path="/dev/sdb")
        moved = disk("sdc", osd_uuid=UUID, osd_id=3, ceph_fsid=FSID)
        occupancy = Occupancy(fsid=FSID, registered=frozenset({UUID}), known=(known,))
        verdicts = judge(ALL, [node("a", disk("sdb"), moved)], occupancy)
        assert {v.device: v.verdict for v in verdicts} == {"sdb": Verdict.ACCEPTED, "sdc": Verdict.IN_USE}

    def test_seen_from_another_node(self) -> None:
        known = KnownOsd(osd_id=3, uuid=UUID, node="b", path="/dev/sdb")
        verdict = one(ALL, self.ours, occupancy=Occupancy(fsid=FSID, registered=frozenset({UUID}), known=(known,)))
        assert verdict.reason == "osd.3 of this cluster, which runs on node b"


class TestNodes:
    def test_not_selected(self) -> None:
        spec = storage(nodes=[{"name": "b", "useAllDevices": True}])
        (verdict, absent) = judge(spec, [node("a", disk())], EMPTY)
        assert (verdict.node, verdict.device, verdict.verdict) == ("a", ALL_DEVICES, Verdict.REJECTED)
        assert verdict.reason == "not in spec.storage.nodes, and useAllNodes is off"
        assert (absent.node, absent.device) == ("b", ALL_DEVICES)
        assert "no node has that as its label kubernetes.io/hostname" in absent.reason

    def test_without_a_report(self) -> None:
        (verdict,) = judge(ALL, [node("a", devices=None)], EMPTY)
        assert (verdict.device, verdict.verdict) == (ALL_DEVICES, Verdict.REJECTED)
        assert "no report yet" in verdict.reason

    def test_not_selected_and_without_a_report(self) -> None:
        assert judge(storage(), [node("a", devices=None)], EMPTY) == ()

    def test_named_by_hostname_label(self) -> None:
        spec = storage(nodes=[{"name": "host-a", "useAllDevices": True}])
        (verdict,) = judge(spec, [node("a", disk(), hostname="host-a")], EMPTY)
        assert (verdict.node, verdict.verdict) == ("a", Verdict.ACCEPTED)

    def test_closed_to_new_osds(self) -> None:
        (verdict,) = judge(ALL, [node("a", disk(), closed="it is cordoned")], EMPTY)
        assert verdict.verdict is Verdict.REJECTED
        assert verdict.reason == "node a takes no new OSDs: it is cordoned"

    def test_all_nodes_leaves_the_list_of_nodes_out(self) -> None:
        spec = storage(useAllNodes=True, useAllDevices=True, nodes=[{"name": "a", "useAllDevices": False}])
        assert one(spec, disk()).verdict is Verdict.ACCEPTED

    def test_named_device_that_is_absent(self) -> None:
        spec = storage(nodes=[{"name": "a", "devices": [{"name": "sdx"}]}])
        verdicts = judge(spec, [node("a", disk())], EMPTY)
        assert [(v.device, v.verdict) for v in verdicts] == [("sdb", Verdict.REJECTED), ("sdx", Verdict.REJECTED)]
        assert verdicts[1].reason == "spec.storage names it, and the node has no such device"


class TestSharedDevices:
    """One device that several nodes reach: containers on one machine, or a storage network."""

    def verdicts(self, spec: StorageScopeSpec, *nodes: NodeDevices) -> dict[str, tuple[Verdict, str]]:
        found = judge(spec, nodes, EMPTY, allow_loop_devices=True)
        return {f"{v.node}/{v.device}": (v.verdict, v.reason) for v in found}

    def test_containers_on_one_machine(self) -> None:
        spec = storage(
            nodes=[{"name": "a", "devices": [{"name": "loop0"}]}, {"name": "b", "devices": [{"name": "loop1"}]}]
        )
        nodes = [node(name, loop("loop0"), loop("loop1"), kernel="same") for name in ("a", "b", "c")]
        found = self.verdicts(spec, *nodes)
        accepted = [place for place, (verdict, _) in found.items() if verdict is Verdict.ACCEPTED]
        assert accepted == ["a/loop0", "b/loop1"]

    def test_all_devices_on_one_machine(self) -> None:
        found = self.verdicts(ALL, *[node(name, disk(), kernel="same") for name in ("a", "b")])
        assert found == {
            "a/sdb": (Verdict.REJECTED, "is reached from b too: name it in the devices of one of spec.storage.nodes"),
            "b/sdb": (Verdict.REJECTED, "is reached from a too: name it in the devices of one of spec.storage.nodes"),
        }

    def test_the_same_name_on_separate_machines(self) -> None:
        found = self.verdicts(ALL, node("a", disk()), node("b", disk()))
        assert {verdict for verdict, _ in found.values()} == {Verdict.ACCEPTED}

    def test_named_for_two_nodes(self) -> None:
        spec = storage(nodes=[{"name": n, "devices": [{"name": "loop0"}]} for n in ("a", "b")])
        found = self.verdicts(spec, *[node(name, loop("loop0"), kernel="same") for name in ("a", "b")])
        assert found["a/loop0"] == (
            Verdict.REJECTED,
            "is named for node b too, which reaches the same device: name it for one of them",
        )
        assert found["b/loop0"][0] is Verdict.REJECTED

    def test_named_for_one_and_selected_on_the_other(self) -> None:
        spec = storage(nodes=[{"name": "a", "devices": [{"name": "sdb"}]}, {"name": "b", "useAllDevices": True}])
        found = self.verdicts(spec, *[node(name, disk(), kernel="same") for name in ("a", "b")])
        assert found["a/sdb"][0] is Verdict.ACCEPTED
        assert found["b/sdb"] == (Verdict.REJECTED, "the same device is named for node a")

    def test_reached_from_a_node_that_is_not_selected(self) -> None:
        spec = storage(nodes=[{"name": "a", "useAllDevices": True}])
        found = self.verdicts(spec, *[node(name, disk(), kernel="same") for name in ("a", "b")])
        assert found["a/sdb"][0] is Verdict.REJECTED

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"wwn": "0x5000c500a0000001"}, Verdict.REJECTED),
            ({"serial": "S3Z8NB0K", "model": "970"}, Verdict.REJECTED),
            ({"serial": "QM00003", "model": "QEMU HARDDISK"}, Verdict.ACCEPTED),
            ({"serial": "drive-scsi1", "vendor": "QEMU"}, Verdict.ACCEPTED),
        ],
    )
    def test_storage_network(self, fields: dict[str, str], expected: Verdict) -> None:
        found = self.verdicts(ALL, node("a", disk("sdb", **fields)), node("b", disk("sdq", **fields)))
        assert {verdict for verdict, _ in found.values()} == {expected}

    def test_partitions_of_a_shared_disk_are_told_apart(self) -> None:
        parts = [disk(f"sdb{n}", type="part", parent="sdb", wwn="0x1") for n in (1, 2)]
        spec = storage(
            nodes=[{"name": "a", "devices": [{"name": "sdb1"}]}, {"name": "b", "devices": [{"name": "sdb2"}]}]
        )
        found = self.verdicts(spec, node("a", *parts), node("b", *parts))
        assert [place for place, (verdict, _) in found.items() if verdict is Verdict.ACCEPTED] == ["a/sdb1", "b/sdb2"]

    def test_in_use_elsewhere_though_the_report_is_old(self) -> None:
        spec = storage(nodes=[{"name": "b", "devices": [{"name": "loop0"}]}])
        known = KnownOsd(osd_id=0, uuid=UUID, node="a", path="/dev/loop0")
        occupancy = Occupancy(fsid=FSID, registered=frozenset({UUID}), known=(known,))
        nodes = [node(name, loop("loop0"), kernel="same") for name in ("a", "b")]
        (verdict,) = [v for v in judge(spec, nodes, occupancy, allow_loop_devices=True) if v.node == "b"]
        assert (verdict.verdict, verdict.reason) == (Verdict.REJECTED, "the same device is osd.0 on node a")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (ALL, ()),
        (
            storage(useAllNodes=True, nodes=[{"name": "a"}], useAllDevices=True),
            ("storage.nodes (useAllNodes is set)",),
        ),
        (
            storage(useAllNodes=True, useAllDevices=True, deviceFilter="^sd", devicePathFilter="^/dev"),
            ("storage.devicePathFilter (deviceFilter is set)",),
        ),
        (
            storage(nodes=[{"name": "a", "devices": [{"name": "sdb"}], "deviceFilter": "x"}]),
            ("storage.nodes[0].deviceFilter (devices is set)",),
        ),
    ],
)
def test_selectors_without_effect_are_named(spec: StorageScopeSpec, expected: tuple[str, ...]) -> None:
    assert ignored_fields(spec) == expected


LINKS = ("/dev/disk/by-id/dm-name-vg-osd1", "/dev/disk/by-id/dm-uuid-LVM-a", "/dev/mapper/vg-osd1", "/dev/vg/osd1")


@pytest.mark.parametrize("spelled", ["vg-osd1", "dm-0", "/dev/dm-0", *LINKS])
def test_a_logical_volume_by_any_of_its_names(spelled: str) -> None:
    volume = disk("dm-0", path="/dev/mapper/vg-osd1", type="lvm", dev_links=LINKS)
    verdict = one(storage(useAllNodes=True, devices=[{"name": spelled}]), volume)
    assert (verdict.verdict, verdict.device) == (Verdict.ACCEPTED, "dm-0")


@pytest.mark.parametrize("name_filter", ["^dm-0$", "^mpatha$"])
def test_a_filter_matches_the_name_of_the_kernel_and_that_of_the_device_mapper(name_filter: str) -> None:
    found = disk("dm-0", path="/dev/mapper/mpatha", type="mpath")
    assert one(storage(useAllNodes=True, deviceFilter=name_filter), found).verdict is Verdict.ACCEPTED


def test_a_multipath_device_is_the_same_on_every_node_whatever_its_name() -> None:
    first = disk("dm-0", path="/dev/mapper/mpatha", type="mpath", dm_uuid="mpath-3600a098000aaaa")
    second = disk("dm-4", path="/dev/mapper/mpathc", type="mpath", dm_uuid="mpath-3600a098000aaaa")
    verdicts = judge(ALL, [node("a", first), node("b", second)], EMPTY)
    assert [v.reason for v in verdicts] == [
        "is reached from b too: name it in the devices of one of spec.storage.nodes",
        "is reached from a too: name it in the devices of one of spec.storage.nodes",
    ]


@pytest.mark.parametrize("names", [("n", "n"), ("n", "host"), ("host", "n")])
def test_devices_of_all_entries_of_a_node_are_taken(names: tuple[str, str]) -> None:
    first = {"name": names[0], "devices": [{"name": "sdb"}], "config": {"deviceClass": "ssd"}}
    second = {"name": names[1], "devices": [{"name": "sdc"}], "config": {"deviceClass": "hdd", "crushRoot": "r"}}
    verdicts = judge(storage(nodes=[first, second]), [node("n", disk("sdb"), disk("sdc"), hostname="host")], EMPTY)
    assert [v.verdict for v in verdicts] == [Verdict.ACCEPTED, Verdict.ACCEPTED]
    assert [v.config for v in verdicts] == [{"deviceClass": "ssd", "crushRoot": "r"}] * 2


def test_what_a_second_entry_of_a_node_says_beside_devices_is_named() -> None:
    first, second = {"name": "n", "devices": [{"name": "sdb"}]}, {"name": "n", "devices": [{"name": "sdc"}]}
    assert ignored_fields(storage(nodes=[first, second])) == ()
    more = {**second, "config": {"deviceClass": "ssd"}}
    assert ignored_fields(storage(nodes=[first, more])) == (
        "storage.nodes[1] but for its devices (n is listed before)",
    )
