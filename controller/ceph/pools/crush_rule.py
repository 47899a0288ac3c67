"""The CRUSH rule of a replicated pool: the one that its spec asks for, its name, and whether it is the pool's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.crush import Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import PoolSpec


def wanted_rule(spec: PoolSpec) -> Rule:
    """The CRUSH rule that the spec asks for."""
    return Rule(root=spec.crush_root, failure_domain=spec.failure_domain, device_class=spec.device_class)


def rule_name(name: str, wanted: Rule, rules: Mapping[str, Rule | None]) -> str:
    """The name of the rule for a pool: of one that fits, else one that is free."""
    parts = [name, wanted.failure_domain, *([wanted.device_class] if wanted.device_class else []), wanted.root]
    candidates = ["_".join(parts[:length]) for length in range(1, len(parts) + 1)]
    fitting = [c for c in candidates if rules.get(c) == wanted]
    free = [c for c in candidates if c not in rules]
    return next(iter([*fitting, *free]), "_".join(parts))


def is_own(rule: str, pool: str) -> bool:
    """Whether a rule was made for the pool, by its name."""
    return rule == pool or rule.startswith(f"{pool}_")


def differences(name: str, found: Rule | None, asked: Rule) -> str:
    """How a pool's rule differs from the one that its spec asks for, in words; empty: not at all.

    Args:
        name: The rule's.
        found: The rule; None: it says more than a spec can.
        asked: The one that the spec asks for.
    """
    if found == asked:
        return ""
    if found is None:
        return f"the pool's CRUSH rule {name} is somebody else's; set enableCrushUpdates to leave it"
    has = ", ".join(
        f"{field} {before or 'any'}, not {after or 'any'}"
        for field, before, after in (
            ("failureDomain", found.failure_domain, asked.failure_domain),
            ("crushRoot", found.root, asked.root),
            ("deviceClass", found.device_class, asked.device_class),
        )
        if before != after
    )
    return f"the pool has {has}; set enableCrushUpdates to change it, which moves the pool's data"
