"""Whatever nodes, attachments, clients and reports there are: no second writer, and no healthy client is fenced.

The world has what the operator cannot see: which node each client is really on. Addresses of clients are their node's
own, or those of tunnels and translators, which no node says are its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from controller.apis.rook.node_report import NodeReport
from controller.runtime.kube import Node, VolumeAttachment
from controller.volumes.attachments.analyze import Attach, Detach, Fence, analyze
from controller.volumes.attachments.observe import OUT_OF_SERVICE, AttachmentObservation
from controller.volumes.backend import Holder
from controller.volumes.clients import locate, reported_for
from tests.unit.volumes.objects import alone as one_writer
from tests.unit.volumes.objects import attachment, node, report, volume

FINALIZER = "external-attacher/rook-ceph-rbd-csi-ceph-com"
NAMES = ("a", "b", "c")
METADATA = {"monitors": "10.96.0.1:6789"}


@dataclass
class Host:
    """A machine, and what Kubernetes and the operator know of it."""

    name: str
    known: bool
    tainted: bool
    ready: str
    reports: bool
    attached: bool
    watching: list[Holder] = field(default_factory=list)
    forgotten: list[Holder] = field(default_factory=list)
    unreported: set[str] = field(default_factory=set)

    @property
    def healthy(self) -> bool:
        return self.known and self.ready == "True" and not self.tainted

    @property
    def clients(self) -> list[Holder]:
        return [*self.watching, *self.forgotten]

    @property
    def node(self) -> Node | None:
        taints = (OUT_OF_SERVICE,) if self.tainted else ()
        if not self.known:
            return None
        in_use = bool(self.clients) and self.ready != "Unknown"
        return node(self.name, f"10.0.0.{self.name}", taints=taints, ready=self.ready, in_use=in_use)

    @property
    def report(self) -> NodeReport | None:
        clients = [holder.client for holder in self.clients if holder.client not in self.unreported]
        return report(self.name, *clients) if self.reports else None


@st.composite
def hosts(draw: st.DrawFn, name: str, *, attached: bool) -> Host:
    known = draw(st.booleans())
    host = Host(
        name=name,
        known=known,
        tainted=known and draw(st.booleans()),
        ready=draw(st.sampled_from(("True", "False", "Unknown"))),
        reports=draw(st.booleans()),
        attached=attached,
    )
    for number in range(draw(st.integers(0, 2)) if attached else 0):
        address = draw(st.sampled_from((f"10.0.0.{name}", "192.168.0.1", "192.168.0.2")))
        client = Holder(address=address, client=f"{address}:0/{name}{number}")
        # Ceph forgets only clients that are cut off, and an agent reports a client before the volume is used.
        (host.watching if host.healthy or draw(st.booleans()) else host.forgotten).append(client)
        if not host.healthy and draw(st.booleans()):
            host.unreported.add(client.client)
    return host


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[str, Host], bool]:
    """Hosts by name, and whether one of them only may have the volume."""
    alone = draw(st.booleans())
    having = draw(st.sets(st.sampled_from(NAMES), max_size=1 if alone else 3))
    return {name: draw(hosts(name, attached=name in having)) for name in NAMES}, alone


def observed(world: dict[str, Host], name: str, *, alone: bool) -> AttachmentObservation:
    """What the operator sees, for the attachment to a node."""
    this = volume() if alone else volume(modes=("ReadWriteMany",), mode="Block")
    nodes = [host.node for host in world.values() if host.node is not None]
    reports = [host.report for host in world.values() if host.report is not None]
    mine = world[name].report
    clients = reported_for(this, mine) if mine is not None else ()
    mapped = [r.metadata.name for r in reports if reported_for(this, r)]
    return AttachmentObservation(
        volume=this,
        others=[attachment(h.name, attached=True) for h in world.values() if h.attached and h.name != name],
        holders=locate([client for h in world.values() for client in h.watching], reports, nodes),
        absent=locate([client for h in world.values() for client in h.forgotten], reports, nodes),
        node=world[name].node,
        reports=mine is not None,
        reported=locate([Holder(address="", client=client) for client in clients], reports, nodes),
        elsewhere=[other for other in mapped if other != name and world[other].known and not world[other].tainted],
        metadata=METADATA,
        age=60.0,
        exclusive=one_writer(this),
    )


def leaving(name: str, host: Host) -> VolumeAttachment:
    return attachment(name, deleting=True, attached=host.attached, finalizers=(FINALIZER,))


@given(worlds())
def test_a_healthy_client_is_never_fenced(found: tuple[dict[str, Host], bool]) -> None:
    world, alone = found
    for name, host in world.items():
        if not host.attached:
            continue
        plan = analyze(leaving(name, host), observed(world, name, alone=alone))
        fenced = {step.action.holder.client for step in plan.steps if isinstance(step.action, Fence)}
        others = {client.client for other in world.values() if other is not host for client in other.clients}
        assert not fenced & others
        assert not fenced or not host.known or host.tainted


@given(worlds())
def test_a_node_is_let_go_only_when_none_of_its_clients_can_write(found: tuple[dict[str, Host], bool]) -> None:
    world, alone = found
    for name, host in world.items():
        if not host.attached:
            continue
        plan = analyze(leaving(name, host), observed(world, name, alone=alone))
        actions = [step.action for step in plan.steps if not step.waits_for]
        if Detach() not in actions:
            continue
        fenced = {action.holder.client for action in actions if isinstance(action, Fence)}
        assert {client.client for client in host.watching} <= fenced, "a client that Ceph sees"
        if alone or not host.known or host.tainted:
            assert {client.client for client in host.forgotten} <= fenced, "one that may be back"


@given(worlds())
def test_a_second_writer_is_never_let_in(found: tuple[dict[str, Host], bool]) -> None:
    """A detachment and an attachment after it, with no time between them for anything to end by itself."""
    world, alone = found
    if not alone:
        return
    assert one_writer(volume())
    for name, host in world.items():
        if host.attached:
            plan = analyze(leaving(name, host), observed(world, name, alone=alone))
            actions = [step.action for step in plan.steps if not step.waits_for]
            if Detach() in actions:
                host.attached = False
                fenced = {action.holder.client for action in actions if isinstance(action, Fence)}
                host.watching = [client for client in host.watching if client.client not in fenced]
                host.forgotten = [client for client in host.forgotten if client.client not in fenced]
    for name in NAMES:
        this = attachment(name, finalizers=(FINALIZER,))
        if Attach(METADATA) not in [step.action for step in analyze(this, observed(world, name, alone=alone)).steps]:
            continue
        for other in world.values():
            if other.name != name:
                assert not other.attached
                assert not other.clients
