"""What destroys data is agreed to at the moment when it is done: by the spec, and by the roster, as they are then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml

from controller.apis.cassandra import CassandraCluster
from controller.cassandra.access.answers import Decommission, Mode, Phase, RemoveNode, Ring, UnansweredError
from controller.cassandra.access.members import Login
from controller.cassandra.cluster.act import CLUSTERS, handlers
from controller.cassandra.cluster.objects import roster_config_map
from controller.cassandra.cluster.observe import Caches, Observation
from controller.cassandra.member.ring import Scene, Seen
from controller.cassandra.member.roster import Roster, Seat, Standing
from controller.cassandra.member.steps import DeleteVolume, NewAddress, Restart, Tell, WriteRoster
from controller.cassandra.member.turn import ANNOTATION
from controller.framework.consent import NoConsentError
from controller.framework.monitoring import POD_MONITOR, Monitors
from controller.framework.program import PROGRAM
from controller.framework.turns import NotFreeError
from controller.runtime.kube import CONFIG_MAP, POD, PVC, SERVICE, PersistentVolumeClaim, Pod, PodStatus
from controller.testkit import ApiServer, new_manager, virtual_time
from tests.unit.cassandra.daemons import Process, Volume
from tests.unit.cassandra.life import CRD, NAME, spec
from tests.unit.cassandra.talk import WorldMembers
from tests.unit.cassandra.world import NAMESPACE, World

if TYPE_CHECKING:
    from controller.framework.plan import Handler
    from informers import JsonObject

OTHER, MEMBER, HOST, ADDRESS = "store-dc1-a-0", "store-dc1-a-1", "host-1", "10.1.0.2"
WIPE = {"claimRetention": {"whenScaled": "Delete"}}
LOST = {"lostMembers": [{"member": MEMBER, "hostID": HOST}]}


class Case:
    """A cluster whose spec and roster changed since the plan was made, with a volume and a Service of a member."""

    def __init__(self, then: dict[str, Any], seat: Seat | None = None) -> None:
        self.server = ApiServer(namespaces=(NAMESPACE,))
        self.server.install(yaml.safe_load(CRD.read_text(encoding="utf-8")))
        meta = {"name": NAME, "namespace": NAMESPACE}
        made = self.server.create(CLUSTERS, {"metadata": meta, "spec": {"numTokens": 16, **spec(a=2), **then}})
        self._cluster = msgspec.convert(made, CassandraCluster)
        seats = {OTHER: Seat(rack="a", host_id="host-0"), **({MEMBER: seat} if seat is not None else {})}
        self.server.create(CONFIG_MAP, roster_config_map(self._cluster, Roster(cluster=NAME, seats=seats), {}))
        claim = {"metadata": {"name": f"data-{MEMBER}", "namespace": NAMESPACE}, "spec": {}}
        self._claim = msgspec.convert(self.server.create(PVC, claim), PersistentVolumeClaim)
        service = {"metadata": {"name": MEMBER, "namespace": NAMESPACE}, "spec": {"ports": [{"port": 1}]}}
        self._service: JsonObject = self.server.create(SERVICE, service)
        self.world = World(self.server)
        self.peer = Process(OTHER, "uid", "10.0.0.1", Volume("host-0", bootstrapped=True), "5.0.3", phase=Phase.RUNNING)
        self.peer.mode, self.peer.view = Mode.NORMAL, Ring({"10.1.0.1": "host-0"})
        self.world.processes[OTHER] = self.peer

    def acts(self) -> dict[type, Handler]:
        manager = new_manager(self.server, program=PROGRAM)
        pods = {OTHER: Pod(status=PodStatus(pod_ip=self.peer.ip))}
        scene = Scene(now=0.0, seen={MEMBER: Seen(address=ADDRESS)})
        seen = Observation(claims={MEMBER: self._claim}, pods=pods, admin=Login("rook", "secret"), scene=scene)
        members = WorldMembers(self.world)
        monitors = Monitors(manager.client, POD_MONITOR, PROGRAM.name)
        return dict(handlers(self._cluster, seen, manager, Caches(manager.informers), members, monitors))

    def wipe(self, *, lost: str = "") -> DeleteVolume:
        return DeleteVolume(member=MEMBER, claim=self._claim.metadata.uid, pod="", lost=lost)

    def move(self) -> NewAddress:
        return NewAddress(member=MEMBER, service=self._service["metadata"]["uid"], lost=HOST)

    @property
    def claim(self) -> str:
        """The uid of the member's claim."""
        return self._claim.metadata.uid

    def replacing(self, standing: Standing = Standing.REPLACING, host_id: str = HOST) -> Case:
        """The member's place is taken over, or it has not joined, and just this volume is given up."""
        seat = Seat(rack="a", ordinal=1, standing=standing, host_id=host_id, volume=self.claim)
        other = Seat(rack="a", host_id="host-0")
        found = roster_config_map(self._cluster, Roster(cluster=NAME, seats={OTHER: other, MEMBER: seat}), {})
        self.server.patch(CONFIG_MAP, NAMESPACE, found["metadata"]["name"], {"data": found["data"]})
        return self

    @property
    def has_volume(self) -> bool:
        return self.server.find(PVC, NAMESPACE, f"data-{MEMBER}") is not None


def stands(standing: Standing) -> Seat:
    return Seat(rack="a", ordinal=1, standing=standing, host_id=HOST)


@virtual_time
async def test_a_volume_goes_where_that_is_said_and_its_member_has_left() -> None:
    for seat in (stands(Standing.STOPPING), None):
        case = Case(WIPE, seat)
        await case.acts()[DeleteVolume](case.wipe())
        assert not case.has_volume


@pytest.mark.parametrize("standing", [standing for standing in Standing if standing is not Standing.STOPPING])
@virtual_time
async def test_a_volume_stays_while_its_member_is_in_the_ring(standing: Standing) -> None:
    case = Case(WIPE, stands(standing))
    with pytest.raises(NoConsentError, match="is in the ring: its volume stays"):
        await case.acts()[DeleteVolume](case.wipe())
    assert case.has_volume


@virtual_time
async def test_a_volume_stays_where_nobody_says_otherwise_any_more() -> None:
    case = Case({}, stands(Standing.STOPPING))
    with pytest.raises(NoConsentError, match="whenScaled is not Delete any more"):
        await case.acts()[DeleteVolume](case.wipe())
    assert case.has_volume


@virtual_time
async def test_the_volume_of_a_lost_member_goes_by_its_host_id_alone() -> None:
    given_up = Case(LOST).replacing()
    await given_up.acts()[DeleteVolume](given_up.wipe(lost=HOST))
    assert not given_up.has_volume

    for kept in (Case(WIPE).replacing(), Case({"lostMembers": [{"member": MEMBER, "hostID": "else"}]}).replacing()):
        with pytest.raises(NoConsentError, match=f"does not give up {HOST} any more"):
            await kept.acts()[DeleteVolume](kept.wipe(lost=HOST))
        assert kept.has_volume
    for standing in Standing:  # the roster gives up no such volume
        other = Case(LOST, stands(standing))
        with pytest.raises(NoConsentError, match="is in the ring"):
            await other.acts()[DeleteVolume](other.wipe(lost=HOST))
        assert other.has_volume


@virtual_time
async def test_the_volume_of_one_that_has_not_joined_goes_by_its_claim_alone() -> None:
    case = Case({})
    lost = {"lostMembers": [{"member": MEMBER, "claimUID": case.claim}]}
    kept = case.replacing(Standing.STOPPING, "")
    with pytest.raises(NoConsentError, match=f"does not give up {case.claim} any more"):
        await kept.acts()[DeleteVolume](kept.wipe(lost=case.claim))
    assert kept.has_volume

    kept.server.patch(CLUSTERS, NAMESPACE, NAME, {"spec": lost})
    await kept.acts()[DeleteVolume](kept.wipe(lost=case.claim))
    assert not kept.has_volume


SEEN = Ring({"10.1.0.1": "host-0", ADDRESS: HOST}, live=frozenset({ADDRESS}))


@pytest.mark.parametrize(
    ("standing", "lost", "view"),
    [
        pytest.param(Standing.STOPPING, "", SEEN, id="it left, and is still counted"),
        pytest.param(Standing.STOPPING, "", Ring({"10.1.0.1": "host-0", "10.2.0.1": HOST}), id="at another address"),
        pytest.param(Standing.STOPPING, "", Ring({"10.1.0.1": "h"}, joining=frozenset({ADDRESS})), id="it joins"),
        pytest.param(Standing.STOPPING, "", Ring({}), id="nobody says whom they see"),
        pytest.param(Standing.REPLACING, HOST, SEEN, id="it is lost, and up again"),
        pytest.param(None, "", SEEN, id="nothing is written of it, and somebody unknown is in the ring"),
    ],
)
@virtual_time
async def test_a_volume_stays_while_members_count_it_at_the_moment_of_the_act(
    standing: Standing | None, lost: str, view: Ring
) -> None:
    case = Case({**WIPE, **LOST})
    if standing is not None:
        case.replacing(standing)
    case.peer.view = view
    with pytest.raises(NoConsentError, match="stay"):
        await case.acts()[DeleteVolume](case.wipe(lost=lost))
    assert case.has_volume


@virtual_time
async def test_a_volume_stays_where_no_member_answers_at_the_moment_of_the_act() -> None:
    case = Case(WIPE, stands(Standing.STOPPING))
    case.world.silent.add(OTHER)
    with pytest.raises(NoConsentError, match="no member says"):
        await case.acts()[DeleteVolume](case.wipe())
    assert case.has_volume


@virtual_time
async def test_a_member_that_is_not_given_up_any_more_keeps_its_address() -> None:
    kept = Case({})
    with pytest.raises(NoConsentError, match="keeps its address"):
        await kept.acts()[NewAddress](kept.move())
    assert kept.server.find(SERVICE, NAMESPACE, MEMBER) is not None


@pytest.mark.parametrize(
    ("tell", "why"),
    [
        (Tell(MEMBER, "j", Decommission(force=True), ("shop",)), "spec.loseCopies has no shop any more"),
        (Tell(MEMBER, "j", RemoveNode(HOST)), f"does not give up host ID {HOST} any more"),
    ],
)
@virtual_time
async def test_nobody_is_told_what_is_not_agreed_to_any_more(tell: Tell, why: str) -> None:
    with pytest.raises(NoConsentError, match=why):
        await Case({}).acts()[Tell](tell)
    with pytest.raises(UnansweredError):  # nobody is there
        await Case({"loseCopies": ["shop"], **LOST}).acts()[Tell](tell)


@virtual_time
async def test_the_roster_is_not_written_and_nobody_restarted_while_an_operation_has_the_turn() -> None:
    case = Case({}, stands(Standing.MEMBER))
    name = f"{NAME}-members"
    taken = {"metadata": {"annotations": {ANNOTATION: "weekly/uid"}}}
    case.server.patch(CONFIG_MAP, NAMESPACE, name, taken)
    case.server.create(POD, {"metadata": {"name": MEMBER, "namespace": NAMESPACE}, "spec": {"containers": []}})
    uid = case.server.get(POD, NAMESPACE, MEMBER)["metadata"]["uid"]
    before = case.server.get(CONFIG_MAP, NAMESPACE, name)["data"]
    actions = (WriteRoster(Roster(cluster=NAME, founded=True)), Restart(MEMBER, uid))
    for action in actions:
        with pytest.raises(NotFreeError, match="Operation weekly has the turn"):
            await case.acts()[type(action)](action)
    assert case.server.get(CONFIG_MAP, NAMESPACE, name)["data"] == before

    case.server.patch(CONFIG_MAP, NAMESPACE, name, {"metadata": {"annotations": {ANNOTATION: None}}})
    for action in actions:
        await case.acts()[type(action)](action)
    assert '"founded":true' in case.server.get(CONFIG_MAP, NAMESPACE, name)["data"]["roster"]
