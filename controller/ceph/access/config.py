"""Settings in the mons' database that are ours, as `framework.owned` has it.

The records are in the cluster itself, as digests, each part's below a prefix of its own: what is there and left the
part's spec is unset.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError
from controller.ceph.access.records import Records
from controller.framework.owned import Owned, compare
from controller.framework.plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from controller.ceph.access.rados import Cluster
    from controller.ceph.access.records import Name
    from controller.framework.plan import Handler


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


async def read(ceph: Cluster, prefix: str) -> ConfigState:
    """The settings, and which of them are ours by the records below `prefix`.

    Raises:
        CephError: The mons do not answer.
    """
    return ConfigState.parse(await ceph.mon("config dump"), await Records(ceph, prefix).read())


def steps(wanted: Mapping[Name, str], state: ConfigState, hidden: frozenset[Name] = frozenset()) -> Iterator[Step]:
    """What to set and unset. Pure.

    Args:
        wanted: Every setting that should be there.
        state: What is there.
        hidden: Those of which no message may show the value.
    """
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


def handlers(ceph: Cluster, prefix: str) -> dict[type, Handler]:
    """How the actions of this module are carried out, with records below `prefix`."""

    async def set_config(action: SetConfig) -> None:
        try:
            await ceph.mon("config set", who=action.who, name=action.name, value=action.value)
        except CephError as error:
            if not action.hidden:
                raise
            # The mons' own words quote the value.
            raise CephError(error.errno, f"{action.who} {action.name} cannot be set to its Secret's value") from None
        stored = ConfigState.parse(await ceph.mon("config dump"), {}).values.get((action.who, action.name), "")
        record = Owned(digest(action.value), digest(stored))
        await Records(ceph, prefix).write((action.who, action.name), record)

    async def unset_config(action: UnsetConfig) -> None:
        await ceph.mon("config rm", who=action.who, name=action.name)
        await Records(ceph, prefix).remove((action.who, action.name))

    return {SetConfig: set_config, UnsetConfig: unset_config}


def digest(value: str) -> str:
    """A short digest of a setting's value."""
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def normal(name: Name) -> Name:
    """A setting's name as Ceph spells it; users may write spaces or dashes."""
    who, option = name
    return who, option.strip().replace(" ", "_").replace("-", "_") if "/" not in option else option.strip()
