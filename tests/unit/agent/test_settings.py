"""What the agent is told by its environment."""

from __future__ import annotations

import pytest

from controller.agent.__main__ import Settings

POD = {"NODE_NAME": "n1", "POD_NAMESPACE": "rook"}


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("1d", 86400), ("45", 45)])
def test_the_interval_is_a_duration_as_specs_write_them(text: str, seconds: float) -> None:
    settings = Settings.from_environment({**POD, "ROOK_DISCOVER_DEVICES_INTERVAL": text})
    assert settings.interval == seconds


@pytest.mark.parametrize(("text", "why"), [("soon", "'soon' is not a duration"), ("0s", "is zero"), ("", "''")])
def test_an_interval_that_is_none_is_named(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"ROOK_DISCOVER_DEVICES_INTERVAL.*{why}"):
        Settings.from_environment({**POD, "ROOK_DISCOVER_DEVICES_INTERVAL": text})


@pytest.mark.parametrize("name", POD)
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is not set"):
        Settings.from_environment({key: value for key, value in POD.items() if key != name})


def test_labels_that_would_be_told_by_one_name_are_named() -> None:
    wanted = "topology.kubernetes.io/zone, topology.rook.io/rack"
    assert Settings.from_environment({**POD, "ROOK_TOPOLOGY_LABELS": wanted}).domains == (
        "topology.kubernetes.io/zone",
        "topology.rook.io/rack",
    )
    with pytest.raises(ValueError, match="ROOK_TOPOLOGY_LABELS is 'a/zone,b/zone': expected labels that differ"):
        Settings.from_environment({**POD, "ROOK_TOPOLOGY_LABELS": "a/zone,b/zone"})


def test_a_driver_of_no_known_kind_is_named() -> None:
    assert Settings.from_environment({**POD, "ROOK_CSI_DRIVERS": "a.rbd.csi.ceph.com, b.rbd.csi.ceph.com"}).drivers
    with pytest.raises(ValueError, match=r"ROOK_CSI_DRIVERS has 'x.example.com': expected names that end in \.rbd"):
        Settings.from_environment({**POD, "ROOK_CSI_DRIVERS": "a.rbd.csi.ceph.com,x.example.com"})


def test_a_controller_service_is_declared_where_the_operator_offers_one() -> None:
    assert not Settings.from_environment(POD).controller_service
    assert Settings.from_environment({**POD, "ROOK_CSI_CONTROLLER_SERVICE": "true"}).controller_service
    with pytest.raises(ValueError, match="ROOK_CSI_CONTROLLER_SERVICE is 'maybe': expected true or false"):
        Settings.from_environment({**POD, "ROOK_CSI_CONTROLLER_SERVICE": "maybe"})
