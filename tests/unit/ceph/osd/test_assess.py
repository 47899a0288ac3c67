"""What is remembered of comparisons from one look to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from controller.apis.ceph import CephCluster
from controller.apis.ceph.storage import StorageScopeSpec
from controller.ceph.osd import analyze as osd
from controller.ceph.osd import assess as osd_assess
from controller.ceph.osd.act import DeployOsd
from controller.ceph.osd.assess import assess
from controller.ceph.osd.memory import Comparisons
from controller.ceph.osd.objects import Osd, osd_deployment
from controller.ceph.osd.observation import OsdObservation
from controller.ceph.osd.spec import OsdSpec
from controller.ceph.pods import Context
from controller.runtime.kube import Deployment
from tests.unit.ceph.osd.cases import (
    IMAGE,
    NEXT_RELEASE,
    NOW,
    RELEASE,
    THREE,
    FakeCeph,
    a_context,
    cluster,
    look,
    node,
    running,
    state,
)


class TestMemory:
    """At rest nothing is built or compared; what changed is, and whatever it depends on counts."""

    @pytest.fixture
    def built(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The OSDs whose Deployments were built."""
        found: list[int] = []

        def count(spec: StorageScopeSpec, context: Context, one: Osd, *more: Any) -> dict[str, Any]:
            found.append(one.osd_id)
            return osd_deployment(spec, context, one, *more)

        monkeypatch.setattr(osd_assess, "osd_deployment", count)
        return found

    def deployed(self, spec: CephCluster, *, version: str = "1") -> list[dict[str, Any]]:
        found = [running(spec, one) for one in THREE]
        for deployment in found:
            deployment["metadata"]["resourceVersion"] = version
        return found

    async def test_what_did_not_change_is_not_compared_again(self, built: list[int]) -> None:
        spec, ceph, memory = cluster(), FakeCeph(*(state(n) for n in range(3))), Comparisons()
        deployed = self.deployed(spec)
        for _ in range(3):
            seen = await look(spec, RELEASE, ceph, deployed, memory=memory)
            assert seen.assessed.changes == {}
        assert built == [0, 1, 2]
        deployed[1]["metadata"]["resourceVersion"] = "2"
        deployed[1]["spec"]["replicas"] = 0
        seen = await look(spec, RELEASE, ceph, deployed, memory=memory)
        assert list(seen.assessed.changes) == [1]
        assert built == [0, 1, 2, 1]

    async def test_a_plan_of_thousands_builds_none_until_it_is_carried_out(self, built: list[int]) -> None:
        spec, ceph, memory = cluster(), FakeCeph(*(state(n) for n in range(3))), Comparisons()
        deployed = self.deployed(spec)
        await look(spec, NEXT_RELEASE, ceph, deployed, memory=memory)
        built.clear()
        seen = await look(spec, NEXT_RELEASE, ceph, deployed, memory=memory)
        steps = osd.analyze(OsdSpec.of(spec), a_context(spec, NEXT_RELEASE), seen)
        assert (len(steps), built) == (3, [])
        assert isinstance(steps[0].action, DeployOsd)
        assert steps[0].action.obj["metadata"]["labels"]["ceph-version"] == "19.2.2-0"
        assert built == [0]

    @pytest.mark.parametrize("what", ["release", "generation", "script image", "labels of the node", "resources"])
    async def test_all_that_it_depends_on_counts(self, what: str) -> None:
        """As if there were no memory."""
        spec, memory = cluster(storage={"nodes": [{"name": "a"}, {"name": "b"}]}), Comparisons()
        deployments = [msgspec.convert(d, Deployment) for d in self.deployed(spec)]
        live = {("Deployment", d["metadata"]["name"]): d for d in self.deployed(spec)}
        numbered = dict(enumerate(deployments))
        seen = OsdObservation(
            now=NOW,
            nodes=(node("a"), node("b")),
            live=live,
            deployments=numbered,
            states={n: state(n) for n in range(3)},
            script_image=IMAGE,
        )
        assert assess(OsdSpec.of(spec), a_context(spec), seen, memory).changes == {}
        release = RELEASE
        if what == "release":
            release = NEXT_RELEASE
        elif what == "generation":
            spec = msgspec.structs.replace(
                cluster(network={"ipFamily": "IPv6"}),
                metadata=msgspec.structs.replace(spec.metadata, generation=9),
            )
        elif what == "script image":
            seen = replace(seen, script_image="another:v9")
        elif what == "labels of the node":
            seen = replace(seen, nodes=(node("a", **{"kubernetes.io/hostname": "a2"}), node("b")))
        else:
            limits = {"limits": {"cpu": "3"}}
            spec = msgspec.structs.replace(
                cluster(storage={"nodes": [{"name": "a", "resources": limits}, {"name": "b"}]}),
                metadata=msgspec.structs.replace(spec.metadata, generation=9),
            )
        remembered = assess(OsdSpec.of(spec), a_context(spec, release), seen, memory).changes
        assert remembered == assess(OsdSpec.of(spec), a_context(spec, release), seen, Comparisons()).changes
        assert remembered or what == "script image"

    async def test_those_that_are_gone_are_forgotten(self) -> None:
        memory = Comparisons()
        memory.begin("x", [1, 2])
        assert memory.difference(1, "own", lambda: "differs") == "differs"
        assert memory.difference(1, "own", lambda: "not asked") == "differs"
        assert memory.difference(1, None, lambda: "asked") == "asked"
        memory.begin("x", [2])
        memory.begin("x", [1, 2])
        assert memory.difference(1, "own", lambda: "again") == "again"
