"""Settings of Ceph: `spec.cephConfig` in the mons' database, and the ConfigMap that is every daemon's ceph.conf.

What we set is ours as `framework.owned` has it. The records are in the cluster itself, below the config-key
`rook/config/`, as digests.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError
from controller.ceph.access.records import Records
from controller.ceph.part import Part
from controller.ceph.pods import CONFIG_OVERRIDE, cluster_labels
from controller.framework.children import Create, Live
from controller.framework.owned import Owned, compare
from controller.framework.plan import Step
from controller.runtime.log import looks_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from controller.apis.ceph import CephCluster
    from controller.ceph.access.rados import Cluster
    from controller.ceph.access.records import Name
    from controller.ceph.part import Ground
    from controller.ceph.pods import Context
    from controller.framework.plan import Handler
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


@dataclass(frozen=True, slots=True)
class ConfigState:
    """The settings in the mons' database, by section (with mask, as in "osd/class:ssd") and name; which are ours."""

    values: Mapping[Name, str] = field(default_factory=dict, repr=False)
    owned: Mapping[Name, Owned] = field(default_factory=dict)

    @classmethod
    def parse(cls, dump: Iterable[Mapping[str, Any]], owned: Mapping[Name, Owned]) -> ConfigState:
        """From the answer to `config dump`, and the records."""
        values = {
            (f"{o['section']}/{o['mask']}" if o.get("mask") else o["section"], o["name"]): str(o["value"]) for o in dump
        }
        return cls(values, owned)


@dataclass(frozen=True, slots=True)
class SetConfig:
    """Set a setting in the mons' database and remember that it is ours."""

    who: str
    name: str
    value: str = field(repr=False)
    hidden: bool = False
    """Whether the value is a Secret's, or goes by a secret's name, which no message may show."""


@dataclass(frozen=True, slots=True)
class UnsetConfig:
    """Take a setting of ours out of the mons' database."""

    who: str
    name: str


def desired(cluster: CephCluster, secret_values: Mapping[Name, str]) -> dict[Name, str]:
    """Every setting that should be in the mons' database for this spec; secrets first, then `cephConfig` over them."""
    settings = dict(DEFAULTS)
    connections = cluster.spec.network.connections
    if connections.encryption.enabled:
        settings |= {("global", f"ms_{side}_mode"): "secure" for side in ("cluster", "service", "client")}
    if connections.compression.enabled:
        settings["global", "ms_osd_compress_mode"] = "force"
    settings |= {_normal(name): value for name, value in secret_values.items()}
    for who, options in cluster.spec.ceph_config.items():
        settings |= {_normal((who, option)): value for option, value in options.items()}
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
    hidden = {*map(_normal, secret_values), *(name for name in wanted if looks_secret(name[1]))}
    return tuple(_steps(wanted, state, hidden=frozenset(hidden)))


def _steps(wanted: Mapping[Name, str], state: ConfigState, hidden: frozenset[Name]) -> Iterator[Step]:
    changes = compare(wanted, state.values, state.owned, kept_as=digest)
    for who, name in changes.set:
        value = wanted[who, name]
        shown = "a secret value" if (who, name) in hidden else repr(value)
        reason = f"it should be {shown}" if (who, name) in state.values else f"it is not set, wanted {shown}"
        yield Step(
            subject=f"setting {who} {name}", action=SetConfig(who, name, value, (who, name) in hidden), reason=reason
        )
    for who, name in changes.unset:
        yield Step(subject=f"setting {who} {name}", action=UnsetConfig(who, name), reason="it left the spec")


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
                dump = await ground.ceph.mon("config dump")
                state = ConfigState.parse(dump, await Records(ground.ceph, OWNED_PREFIX).read())
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
        handlers=lambda ground, _: {} if ground.ceph is None else handlers(ground.ceph),
    )


def handlers(ceph: Cluster) -> dict[type, Handler]:
    """How the actions of this module are carried out."""
    return {SetConfig: partial(set_config, ceph), UnsetConfig: partial(unset_config, ceph)}


async def set_config(ceph: Cluster, action: SetConfig) -> None:
    """Carries out `SetConfig`."""
    try:
        await ceph.mon("config set", who=action.who, name=action.name, value=action.value)
    except CephError as error:
        if not action.hidden:
            raise
        # The mons' own words quote the value.
        raise CephError(error.errno, f"{action.who} {action.name} cannot be set to its Secret's value") from None
    stored = ConfigState.parse(await ceph.mon("config dump"), {}).values.get((action.who, action.name), "")
    record = Owned(digest(action.value), digest(stored))
    await Records(ceph, OWNED_PREFIX).write((action.who, action.name), record)


async def unset_config(ceph: Cluster, action: UnsetConfig) -> None:
    """Carries out `UnsetConfig`."""
    await ceph.mon("config rm", who=action.who, name=action.name)
    await Records(ceph, OWNED_PREFIX).remove((action.who, action.name))


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


def digest(value: str) -> str:
    """A short digest of a setting's value."""
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def _normal(name: Name) -> Name:
    """A setting's name as Ceph spells it; users may write spaces or dashes."""
    who, option = name
    return who, option.strip().replace(" ", "_").replace("-", "_") if "/" not in option else option.strip()
