"""Which namespaces are served where all are meant: those that have objects of ours, each with rights of its own.

The operator reads Secrets in no namespace but those. It binds the role for storage clusters to itself where there is an
object of a kind that makes a namespace a served one; the chart lets it bind that role alone, and an admission policy
lets it do so just there. The set is fixed for as long as a manager runs, whose caches are of it, so that nothing is
decided by caches of which some know a namespace and others do not. When the set changes, the manager is stopped in
order, and another one begins with the new set.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import anyio
import structlog

from controller.framework.settings import Served
from controller.runtime import object_reference
from controller.runtime.kube import SERVICE_ACCOUNT, PartialObject
from informers import ApiError, Resource, TransportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.runtime import Manager
    from controller.runtime.events import EventRecorder
    from informers import Client, Delta, Informer, JsonObject

log = structlog.get_logger(__name__)

RBAC = "rbac.authorization.k8s.io"
ROLE_BINDINGS = Resource(RBAC, "v1", "RoleBinding", "rolebindings")
REVIEWS = Resource(
    "authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False
)

SERVED_FOR = "rook.io/served-for"
"""The label of a binding that says for objects of which resource it is: "cephclusters.ceph.rook.io"."""

SETTLED = 1.0
"""Seconds without a change after which a new set of namespaces is taken up: objects come in groups."""
LOOK_AGAIN = 30.0
"""Seconds until it is looked again whether there are rights in a namespace, or the API server is asked once more."""
GRANTED_WITHIN, ASK_AGAIN, ASK_LATER = 5.0, 0.25, 2.0
"""Seconds that the API server gets to honour a binding, between two questions, and after one without an answer."""
TELL_AGAIN = 1800.0
"""Seconds between events of an object that nobody serves; events are kept for an hour."""
TAKEN_UP_WITHIN = 60.0
"""Seconds that another operator gets to take up an object before its user is told that nobody does."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who the operator is, for the bindings that it makes.

    Attributes:
        namespace: Of its ServiceAccount, and what names of bindings begin with.
        name: Of its ServiceAccount.
    """

    namespace: str
    name: str = "rook-ceph-system"

    @property
    def role(self) -> str:
        """The ClusterRole that it binds, as the chart calls it."""
        return f"{self.namespace}-rook-cluster-mgmt"

    def binding(self, namespace: str, plural: str) -> JsonObject:
        """The binding in a namespace that has objects of a resource, `<plural>.<group>`."""
        return {
            "apiVersion": ROLE_BINDINGS.api_version,
            "kind": ROLE_BINDINGS.kind,
            "metadata": {
                "name": f"{self.namespace}-{plural}",
                "namespace": namespace,
                "labels": {SERVED_FOR: plural, "app.kubernetes.io/part-of": "rook"},
            },
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": self.role},
            "subjects": [{"kind": "ServiceAccount", "name": self.name, "namespace": self.namespace}],
        }


type Places = Mapping[str, AbstractSet[Resource]]
"""By namespace, of which resources it has objects."""


class Everywhere:
    """Finds the namespaces to serve, and has the rights in them.

    Args:
        account: Who binds.
        named: The namespaces that are served in any case, with rights of their own.
        homes: The kinds of which one object makes its namespace a served one.
        others: Further kinds, for objects of which a namespace stays served.
        pods: The ServiceAccounts that pods in a served namespace run under, which are made where they are missing.
        pull_secrets: The Secrets that these accounts pull images with.
    """

    def __init__(
        self,
        account: Account,
        named: tuple[str, ...],
        homes: Sequence[Resource],
        others: Sequence[Resource],
        *,
        pods: Sequence[str] = (),
        pull_secrets: Sequence[str] = (),
    ) -> None:
        self.account = account
        self.named = named
        self.homes = tuple(homes)
        self.kinds = tuple(dict.fromkeys((*homes, *others)))
        self._pods, self._pull_secrets = tuple(pods), tuple(pull_secrets)
        self._refusals: dict[tuple[str, Resource], str] = {}

    async def find(self, client: Client) -> Served:
        """The namespaces to serve, once the operator has its rights in them; waits for as long as nobody answers.

        Args:
            client: Asks and binds, whether or not this process leads: what it binds is the same for all replicas.
        """
        while True:
            try:
                return await self._find(client)
            except (ApiError, TransportError) as error:
                log.warning("It is not known which namespaces have storage clusters", error=str(error))
                await anyio.sleep(ASK_LATER)

    async def _find(self, client: Client) -> Served:
        places: dict[str, set[Resource]] = defaultdict(set)
        for kind in self.kinds:
            for namespace in await _namespaces_with(client, kind):
                places[namespace].add(kind)
        wanted = self.wanted(places)
        found = {n: await self.granted(client, n, places[n]) for n in sorted(places) if n not in self.named}
        await self.revoke(client, places)
        refused = frozenset(n for n in wanted if not found[n])
        if refused:
            log.warning(
                "Namespaces with storage clusters are not served: no rights in them", namespaces=sorted(refused)
            )
        allowed = tuple(n for n, allowed in found.items() if allowed)
        return Served(named=self.named, everywhere=True, found=allowed, refused=refused)

    def wanted(self, places: Places) -> frozenset[str]:
        """The namespaces that are to be served by what they have, beside those that are named. Pure."""
        return frozenset(n for n, kinds in places.items() if n not in self.named and not kinds.isdisjoint(self.homes))

    async def granted(self, client: Client, namespace: str, kinds: AbstractSet[Resource]) -> bool:
        """Whether the operator has its rights in a namespace, after binding them for each kind that allows it to.

        Raises:
            ApiError, TransportError: Its rights are not known.
        """
        bound = [await self._bind(client, namespace, kind) for kind in self.homes if kind in kinds]
        deadline = anyio.current_time() + (GRANTED_WITHIN if any(bound) else 0.0)
        while not await _allowed(client, namespace):
            if anyio.current_time() >= deadline:
                return False
            await anyio.sleep(ASK_AGAIN)
        if not kinds.isdisjoint(self.homes):
            for name in self._pods:
                await self._make_account(client, namespace, name)
        return True

    async def _make_account(self, client: Client, namespace: str, name: str) -> None:
        """Makes an account where there is none; one that is there is its maker's."""
        account: JsonObject = {
            "apiVersion": SERVICE_ACCOUNT.api_version,
            "kind": SERVICE_ACCOUNT.kind,
            "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "rook"}},
            "automountServiceAccountToken": False,
            "imagePullSecrets": [{"name": secret} for secret in self._pull_secrets],
        }
        try:
            await client.create(SERVICE_ACCOUNT, account)
        except ApiError as error:
            if not error.is_already_exists:
                raise

    async def _bind(self, client: Client, namespace: str, kind: Resource) -> bool:
        """Whether there is a binding for a kind; otherwise an administrator makes them, or it is tried again."""
        try:
            await client.create(ROLE_BINDINGS, self.account.binding(namespace, full_name(kind)))
        except ApiError as error:
            if not error.is_already_exists and self._refusals.get((namespace, kind)) != str(error):
                self._refusals[namespace, kind] = str(error)
                log.info("Rights were not bound", namespace=namespace, kind=full_name(kind), error=str(error))
            return error.is_already_exists
        log.info("Rights are bound", namespace=namespace, kind=full_name(kind))
        return True

    async def revoke(self, client: Client, places: Places) -> None:
        """Deletes the bindings in namespaces that have nothing left.

        Raises:
            ApiError, TransportError: It is not known which bindings there are, or one was not deleted.
        """
        names = {self.account.binding("", full_name(kind))["metadata"]["name"] for kind in self.homes}
        try:
            bindings = await client.list(ROLE_BINDINGS, label_selector=SERVED_FOR)
        except ApiError as error:
            if error.status == HTTPStatus.FORBIDDEN:
                return  # an administrator makes the bindings
            raise
        for found in bindings:
            meta = found["metadata"]
            if meta["name"] in names and not places.get(meta["namespace"]):
                await client.delete(ROLE_BINDINGS, meta["namespace"], meta["name"], uid=meta["uid"])
                log.info("Rights are given back", namespace=meta["namespace"])

    async def follow(self, manager: Manager, served: Served, client: Client) -> None:
        """Returns once others are to be served than these: when there are rights in a new one, or one is empty.

        Args:
            manager: Its caches tell what is where.
            served: The namespaces that are served now.
            client: As for `find`.
        """
        informers = {kind: everywhere(manager, kind) for kind in self.kinds}
        changed = anyio.Event()

        def changes(delta: Delta[PartialObject]) -> None:
            if delta.old is None or delta.new is None:
                changed.set()

        for informer in informers.values():
            informer.add_handler(changes)
        bound: dict[str, AbstractSet[Resource]] = {}
        pause = SETTLED
        while True:
            changed, places, waiting = anyio.Event(), places_of(informers), False
            try:
                for namespace in sorted(self.wanted(places)):
                    kinds = places[namespace] & frozenset(self.homes)
                    if bound.get(namespace) == kinds:
                        continue
                    if await self.granted(client, namespace, kinds):
                        bound[namespace] = kinds
                    else:  # the policy may not have heard of the object yet
                        waiting = True
            except (ApiError, TransportError) as error:
                waiting = True
                log.info("It is not known whether a namespace can be served", error=str(error))
            known = all(informer.synced for informer in informers.values())
            gone = {n for n in served.found if known and n not in places}
            new = bound.keys() - {*served.found, *gone}
            if new or gone:
                log.info("Other namespaces are to be served", new=sorted(new), gone=sorted(gone))
                return
            pause = min(2 * pause, LOOK_AGAIN) if waiting else LOOK_AGAIN
            with anyio.move_on_after(pause):
                await changed.wait()
                pause = SETTLED
            await anyio.sleep(SETTLED)


class Unserved:
    """Tells users of objects whose namespace is not served, where no other operator has taken them up.

    Args:
        homes: The kinds that make a namespace a served one.
        served: The namespaces that are served.
        namespace: The operator's own.
    """

    def __init__(self, homes: Sequence[Resource], served: Served, namespace: str) -> None:
        self._homes, self._served, self._namespace = tuple(homes), served, namespace
        self._since: dict[str, float] = {}
        self._told: dict[str, float] = {}

    async def run(self, manager: Manager) -> None:
        """Looks again and again, until cancelled."""
        informers = {kind: everywhere(manager, kind) for kind in self._homes}
        while True:
            self.look(informers, manager.events)
            await anyio.sleep(LOOK_AGAIN)

    def look(self, informers: Mapping[Resource, Informer[PartialObject]], events: EventRecorder) -> None:
        """Tells of what has been there for a while, and was not told of lately."""
        now, since = anyio.current_time(), {}
        for kind, informer in informers.items():
            for key in informer.keys(None):
                found = informer.get(*key) if key[0] not in self._served.watched else None
                if found is None or found.metadata.finalizers:
                    continue
                uid = found.metadata.uid
                since[uid] = self._since.get(uid, now)
                told = self._told.get(uid)
                if now - since[uid] >= TAKEN_UP_WITHIN and (told is None or now - told >= TELL_AGAIN):
                    self._told[uid] = now
                    events.event(object_reference(found, kind), "Warning", "NotServed", self._why(key[0]), "Serve")
                    log.warning("An object is in a namespace that is not served", kind=full_name(kind), object=key)
        self._since = since
        self._told = {uid: told for uid, told in self._told.items() if uid in since}

    def _why(self, namespace: str) -> str:
        who = f"namespace {namespace} is not served by the operator in namespace {self._namespace}"
        if self._served.everywhere:
            return f"{who}, which has no rights in it: expected a RoleBinding of its account, see the operator's log"
        return f'{who}: expected the chart\'s clusterNamespaces to have it, or to be "*"'


def everywhere(manager: Manager, kind: Resource) -> Informer[PartialObject]:
    """What there is of a kind in all namespaces, whichever are served."""
    return manager.informers.informer(kind, PartialObject, cluster_wide=True, metadata_only=True, optional=True)


def places_of(informers: Mapping[Resource, Informer[PartialObject]]) -> Places:
    """What is where, by the caches."""
    places: dict[str, set[Resource]] = defaultdict(set)
    for kind, informer in informers.items():
        for namespace, _ in informer.keys(None):
            places[namespace].add(kind)
    return places


def full_name(kind: Resource) -> str:
    """A resource as the labels of bindings name it."""
    return f"{kind.plural}.{kind.group}"


async def _namespaces_with(client: Client, kind: Resource) -> set[str]:
    """The namespaces that have objects of a kind; none where the API server does not have the kind."""
    try:
        return {found["metadata"]["namespace"] for found in await client.list(kind)}
    except ApiError as error:
        if error.is_not_found:
            return set()
        raise


async def _allowed(client: Client, namespace: str) -> bool:
    """Whether the operator may watch what a namespace that is served has to be watched for."""
    asked: JsonObject = {"namespace": namespace, "verb": "watch", "resource": "secrets"}
    review = {
        "apiVersion": REVIEWS.api_version,
        "kind": REVIEWS.kind,
        "metadata": {},
        "spec": {"resourceAttributes": asked},
    }
    answer = json.loads(await client.request("POST", REVIEWS.path(), body=review))
    return bool(answer.get("status", {}).get("allowed"))
