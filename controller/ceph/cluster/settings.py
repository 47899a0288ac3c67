"""Settings of Ceph: `spec.cephConfig` in the mons' database, and the ConfigMap that is every daemon's ceph.conf.

What we set is ours as `controller.ceph.access.config` has it; the records are below the config-key `rook/config/`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.ceph.access import config
from controller.ceph.access.config import normal
from controller.ceph.access.rados import CephError
from controller.ceph.part import Part
from controller.ceph.pods import CONFIG_OVERRIDE, cluster_labels
from controller.framework.children import Create, Live
from controller.framework.plan import Step
from controller.runtime.log import looks_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from controller.apis.ceph import CephCluster
    from controller.ceph.access.config import ConfigState
    from controller.ceph.access.records import Name
    from controller.ceph.part import Ground
    from controller.ceph.pods import Context
    from controller.framework.workload import Owner
    from controller.runtime.kube import Secret
    from informers import Informer

OWNED_PREFIX = "rook/config/"

DEFAULTS: Mapping[tuple[str, str], str] = {
    # Pools are deleted when their CephBlockPool is, and their size is checked there.
    ("global", "mon_allow_pool_delete"): "true",
    ("global", "mon_allow_pool_size_one"): "true",
    ("global", "osd_scrub_auto_repair"): "true",
    # Closes CVE-2021-20288; every client that this operator makes is newer.
    ("mon", "auth_allow_insecure_global_id_reclaim"): "false",
}
"""What the operator sets unless the spec says otherwise, as upstream does."""


def desired(cluster: CephCluster, secret_values: Mapping[Name, str]) -> dict[Name, str]:
    """Every setting that should be in the mons' database for this spec; secrets first, then `cephConfig` over them."""
    settings = dict(DEFAULTS)
    connections = cluster.spec.network.connections
    if connections.encryption.enabled:
        settings |= {("global", f"ms_{side}_mode"): "secure" for side in ("cluster", "service", "client")}
    if connections.compression.enabled:
        settings["global", "ms_osd_compress_mode"] = "force"
    settings |= {normal(name): value for name, value in secret_values.items()}
    for who, options in cluster.spec.ceph_config.items():
        settings |= {normal((who, option)): value for option, value in options.items()}
    return settings


def secrets_of(cluster: CephCluster) -> frozenset[str]:
    """The names of the Secrets that `cephConfigFromSecret` refers to."""
    return frozenset(
        reference.name for options in cluster.spec.ceph_config_from_secret.values() for reference in options.values()
    )


def secret_values(
    cluster: CephCluster, secret: Callable[[str], Secret | None]
) -> tuple[dict[Name, str], tuple[str, ...]]:
    """What `cephConfigFromSecret` refers to, and which of its references lead nowhere, in words.

    Args:
        cluster: The cluster.
        secret: Gives a Secret of its namespace by name.
    """
    values: dict[Name, str] = {}
    missing: list[str] = []
    for who, options in cluster.spec.ceph_config_from_secret.items():
        for name, reference in options.items():
            found = secret(reference.name)
            value = None if found is None else found.data.get(reference.key)
            if value is not None:
                values[who, name] = value.decode()
            elif not reference.optional:
                missing.append(f"key {reference.key} of Secret {reference.name}")
    return values, tuple(missing)


def analyze(cluster: CephCluster, state: ConfigState | None, secret_values: Mapping[Name, str]) -> tuple[Step, ...]:
    """What to set and unset in the mons' database. Pure.

    Args:
        cluster: The cluster.
        state: What is there; None while the mons do not answer, and then nothing is planned.
        secret_values: What `cephConfigFromSecret` refers to.
    """
    if state is None:
        return ()
    wanted = desired(cluster, secret_values)
    hidden = {*map(normal, secret_values), *(name for name in wanted if looks_secret(name[1]))}
    return tuple(config.steps(wanted, state, frozenset(hidden)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsObservation:
    """What there is of a cluster's settings.

    Attributes:
        state: Those in the mons' database; None while the mons do not answer.
        secret_values: What `cephConfigFromSecret` refers to.
        missing_secrets: References of `cephConfigFromSecret` that lead nowhere.
    """

    state: ConfigState | None = None
    secret_values: Mapping[Name, str] = field(default_factory=dict, repr=False)
    missing_secrets: tuple[str, ...] = ()


def part(secrets: Informer[Secret]) -> Part[SettingsObservation]:
    """Settings as a part of their cluster.

    Args:
        secrets: The cache of Secrets.
    """

    async def observe(ground: Ground) -> SettingsObservation:
        namespace = ground.cluster.metadata.namespace
        values, missing = secret_values(ground.cluster, lambda name: secrets.get(namespace, name))
        state: ConfigState | None = None
        if ground.ceph is not None:
            with suppress(CephError):  # the mons stopped answering
                state = await config.read(ground.ceph, OWNED_PREFIX)
        return SettingsObservation(state=state, secret_values=values, missing_secrets=missing)

    def steps(ground: Ground, _: Context, seen: SettingsObservation, hold: str) -> Iterable[Step]:
        if seen.missing_secrets:
            missing = f"{' and '.join(seen.missing_secrets)} to exist"
            return (Step(subject="settings", reason="spec.cephConfigFromSecret refers to them", waits_for=missing),)
        return analyze(ground.cluster, seen.state, seen.secret_values)

    return Part(
        name="settings",
        apps=frozenset(),
        observe=observe,
        analyze=steps,
        handlers=lambda ground, _: {} if ground.ceph is None else config.handlers(ground.ceph, OWNED_PREFIX),
    )


def override_steps(owner: Owner, live: Live) -> tuple[Step, ...]:
    """Makes the ConfigMap `rook-config-override` where there is none; its content is the user's."""
    if ("ConfigMap", CONFIG_OVERRIDE) in live:
        return ()
    obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owner.metadata(CONFIG_OVERRIDE, cluster_labels(owner, CONFIG_OVERRIDE), owned=False),
        "data": {"config": ""},
    }
    reason = f"ConfigMap {CONFIG_OVERRIDE} does not exist"
    return (Step(subject="configuration override", action=Create(obj), reason=reason),)
