"""What a replica of the operator tells of itself."""

from e2e.leader import looks

METRICS = """\
controller_runtime_reconcile_total{controller="cephcluster",result="success"} 2.0
controller_runtime_reconcile_total{controller="cephcluster",result="error"} 5.0
controller_runtime_reconcile_total{controller="cephcluster",result="requeue_after"} 3.0
controller_runtime_reconcile_total{controller="cephblockpool",result="success"} 7.0
"""


def test_looks_that_ended_well_are_counted() -> None:
    assert looks(METRICS, "cephcluster") == 5
    assert looks(METRICS, "cephfilesystem") == 0
