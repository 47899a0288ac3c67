"""The bench of claims: what each costs is counted, and is the same however many there are."""

from __future__ import annotations

import sys
from collections import Counter
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from bench.scale.demand import DEMANDS
from bench.scale.measure import Loop
from bench.scale.volumes import at_rest, cost
from informers import informer
from informers.decode import decoder

if TYPE_CHECKING:
    from collections.abc import Callable

FEW, MANY = 10, 30


async def counted(claims: int, decoded: Counter[str]) -> dict[str, tuple[float, float, float]]:
    """By demand: calls to Ceph, writes, and objects that were decoded, for each object that was asked for."""
    found = {}
    async with at_rest(Loop()) as (world, binder, running):
        for demand in DEMANDS:
            decoded.clear()
            costs = await cost(world, binder, running, demand, claims)
            found[demand.name] = (costs.calls, costs.writes, decoded.total() / claims)
    return found


@pytest.mark.timeout(600)
async def test_what_a_claim_costs_does_not_grow_with_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rados", "rbd"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))  # what the simulation replaces is put back
    decoded: Counter[str] = Counter()

    def counting(view: type[Any]) -> Callable[[bytes], Any]:
        decode = decoder(view)

        def count(data: bytes) -> Any:
            decoded[view.__name__] += 1
            return decode(data)

        return count

    monkeypatch.setattr(informer, "decoder", counting)
    few, many = await counted(FEW, decoded), await counted(MANY, decoded)
    assert few.keys() == many.keys() == {demand.name for demand in DEMANDS}
    for name, figures in many.items():
        for what, before, after in zip(("calls", "writes", "decoded"), few[name], figures, strict=True):
            # What is done once, and what a lookup by halves costs, is not each object's.
            assert after <= before * 1.2 + 1, f"{name}: {what} grew from {before} to {after}"
    claim = many["RBD, file system: claim"]
    assert claim[:2] == (2, 4), "open and create; the note, the volume, the event, the release"
