"""Daemons of a service that has several alike, told apart by letters: whose an object is, and what all are held by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.ceph.access.health import HEALTH_ERR, obstacles
from controller.ceph.order import before_services
from controller.ceph.pods import CLUSTER_LABEL, Release
from controller.ceph.releases import CephVersion
from controller.framework.caches import ClusterCaches
from controller.runtime import Request
from controller.runtime.kube import CONFIG_MAP, DEPLOYMENT, ConfigMap, Deployment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.apis.ceph import CephCluster
    from controller.framework.children import Live
    from controller.runtime.kube import HasMetadata, Pod
    from informers import Informer, InformerFactory, JsonObject

LETTER_LABEL = "instance"
"""The label with the letter of a daemon."""


@dataclass(frozen=True, slots=True)
class Service:
    """A kind of service.

    Attributes:
        app: The value of label `app` of its objects.
        label: The label with the name of the object that they are made for.
    """

    app: str
    label: str

    def selector(self, namespace: str, name: str) -> dict[str, str]:
        """The labels that all daemons of one object have."""
        return {"app": self.app, CLUSTER_LABEL: namespace, self.label: name}

    def deployments(self, found: Iterable[Deployment], name: str) -> dict[str, Deployment]:
        """The Deployments of an object's daemons, by letter."""
        return {each.metadata.labels[LETTER_LABEL]: each for each in found if self._is_of(each.metadata.labels, name)}

    def pods(self, found: Iterable[Pod], name: str) -> dict[str, tuple[Pod, ...]]:
        """The pods of an object's daemons, by letter."""
        by_letter: dict[str, tuple[Pod, ...]] = {}
        for pod in found:
            labels = pod.metadata.labels
            if self._is_of(labels, name):
                by_letter[labels[LETTER_LABEL]] = (*by_letter.get(labels[LETTER_LABEL], ()), pod)
        return by_letter

    def secrets(self, live: Live, name: str) -> set[str]:
        """The letters of an object's daemons that have a key."""
        labelled = ((found["metadata"].get("labels") or {}) for (kind, _), found in live.items() if kind == "Secret")
        return {labels.get(LETTER_LABEL, "") for labels in labelled if labels.get(self.label) == name} - {""}

    def is_left(self, live: JsonObject | None, name: str) -> bool:
        """Whether this is an object of a daemon of the object `name`, and nobody has deleted it yet."""
        if live is None or live["metadata"].get("deletionTimestamp") is not None:
            return False
        return bool((live["metadata"].get("labels") or {}).get(self.label) == name)

    def request(self, obj: HasMetadata) -> Iterable[Request]:
        """The object that an object of a daemon is made for; nothing for any other."""
        labels = obj.metadata.labels
        is_ours = labels.get("app") == self.app and labels.get(self.label)
        return [Request(obj.metadata.namespace, labels[self.label])] if is_ours else ()

    def _is_of(self, labels: Mapping[str, str], name: str) -> bool:
        """Whether labels are those of an object of one of its daemons, and no copy that somebody works on."""
        letter = labels.get(LETTER_LABEL, "")
        is_ours = labels.get("app") == self.app and labels.get(self.label) == name
        return is_ours and bool(letter) and labels.get("ceph_daemon_id") == f"{name}-{letter}"


class Caches(ClusterCaches):
    """The informers that daemons of a service are observed through."""

    def __init__(self, factory: InformerFactory) -> None:
        super().__init__(factory, CLUSTER_LABEL)
        self.deployments: Informer[Deployment] = self.ours(DEPLOYMENT, Deployment)
        self.config_maps: Informer[ConfigMap] = factory.informer(CONFIG_MAP, ConfigMap)

    @property
    def children(self) -> tuple[Informer[Any], ...]:
        """The caches of the kinds that the children are of."""
        return (self.deployments, self.services, self.config_maps, self.budgets, self.secrets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a cluster stands, as services in it go by it.

    Attributes:
        release: What its daemons run.
        hold: What has to happen before anything new is made in the cluster; empty: nothing.
        hold_upgrade: What has to happen before a daemon gets another release; empty: nothing.
    """

    release: Release
    hold: str
    hold_upgrade: str


def standing(cluster: CephCluster, deployments: Sequence[Deployment]) -> Standing:
    """How a cluster stands that answers.

    Args:
        cluster: The cluster, whose status has a version.
        deployments: Those in its namespace.
    """
    version = cluster.status.version
    release = Release(version.image, CephVersion.parse(version.version))
    codes = ", ".join(obstacles(cluster.status.ceph))
    hold = f"CephCluster {cluster.metadata.name} to leave {HEALTH_ERR} ({codes})" if codes else ""
    late = before_services(deployments, release) or ("" if cluster.spec.skip_upgrade_checks else hold)
    return Standing(release=release, hold=hold, hold_upgrade=late)
