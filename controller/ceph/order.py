"""Which daemons get a release of Ceph first: mons, mgrs and OSDs, before any that serves files, objects or copies.

Source: https://docs.ceph.com/en/latest/install/upgrading-ceph/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.pods import VERSION_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.ceph.pods import Release
    from controller.runtime.kube import Deployment

FIRST = ("mon", "mgr", "osd")
"""The types of the daemons that have a release before all others get it."""


def before_services(deployments: Iterable[Deployment], release: Release) -> str:
    """The first of `FIRST` that does not run a release yet, as others wait for it; empty: all do.

    Args:
        deployments: Those of the cluster's daemons.
        release: The release.
    """
    for deployment in sorted(deployments, key=lambda found: found.metadata.name):
        labels = deployment.metadata.labels
        kind = labels.get("ceph_daemon_type", "")
        if kind not in FIRST:
            continue
        if labels.get(VERSION_LABEL) != str(release.version) or not _replaced(deployment):
            return f"{kind} {labels.get('ceph_daemon_id', '')} to run Ceph {release.version}"
    return ""


def _replaced(deployment: Deployment) -> bool:
    """Whether no pod of an earlier template is left; one that is down for another reason runs no earlier release."""
    status = deployment.status
    seen = status.observed_generation >= deployment.metadata.generation
    return seen and deployment.spec.replicas <= status.updated_replicas >= status.replicas
