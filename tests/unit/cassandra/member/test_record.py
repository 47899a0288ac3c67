"""How a member is told to start."""

import json

import pytest

from controller.cassandra.member.pod.start import judge
from controller.cassandra.member.record import Record, copies, key, text


@pytest.mark.parametrize(("racks", "wanted"), [(0, 3), (1, 3), (2, 2), (3, 3), (4, 3)])
def test_tokens_are_chosen_for_no_more_copies_than_racks(racks: int, wanted: int) -> None:
    assert copies(racks) == wanted


def test_the_program_reads_what_the_operator_writes() -> None:
    record = Record(address="10.0.0.1", seeds=("10.0.0.2",), replace="10.0.0.9")
    assert key("c-0") == "c-0.json"
    assert judge(json.loads(text(record)), {}, has_data=False, cluster_name="c") == (["10.0.0.2"], "10.0.0.9")
