"""How the steps of a rotation are carried out: the Secret is written last, and only by who wrote it before.

The operator may be killed at any instruction, or go on when another one has long taken over. It changes nothing of the
role that the Secret names, and each write of the Secret replaces only the version that the plan is for.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from controller.cassandra.access import roles
from controller.cassandra.access.answers import RefusedError, UnansweredError
from controller.cassandra.access.members import Login
from controller.cassandra.cluster.rotation import (
    ENDED,
    FORMER,
    FORMER_SINCE,
    ROTATION,
    TRIED,
    DropRole,
    LockFormer,
    Rotate,
)
from controller.framework.status import timestamp
from controller.runtime.kube import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from controller.cassandra.access.members import Session
    from controller.framework.plan import Handler
    from informers import Client, JsonObject

PASSWORD_BYTES = 24
PROOFS, PROOF_SECONDS = 20, 0.5
"""How often a member is asked to let a new role in, and the seconds in between: it remembers for 2 s what it knew."""


@dataclass(frozen=True, slots=True)
class Rotating:
    """The acts of a rotation.

    Attributes:
        client: Of the API server.
        namespace: The Secret's.
        secret: Its name.
        prefix: What names of roles begin with.
        session: Opens a session with a member, by its name.
        clock: Seconds since the epoch.
    """

    client: Client
    namespace: str
    secret: str
    prefix: str
    session: Callable[[str, Login], AbstractAsyncContextManager[Session]]
    clock: Callable[[], float]

    def handlers(self) -> Mapping[type, Handler]:
        """What carries out each action."""
        return {Rotate: self.rotate, LockFormer: self.lock_former, DropRole: self.drop_role}

    async def rotate(self, action: Rotate) -> None:
        """See `Rotate`."""
        live, current = await self._read(action.version)
        if live is None:
            return
        new = Login(f"{self.prefix}-{secrets.token_hex(4)}", secrets.token_urlsafe(PASSWORD_BYTES))
        live = await self._write(live, {TRIED: new.user})
        async with self.session(action.members[0], current) as session:
            await roles.set_superuser(session, new)
        for name in action.members:
            await self._prove(name, new)
        notes = {TRIED: None, ROTATION: action.text, FORMER: current.user, FORMER_SINCE: timestamp(self.clock())}
        await self._write(live, notes, login=new)

    async def lock_former(self, action: LockFormer) -> None:
        """See `LockFormer`."""
        live, current = await self._read(action.version)
        if live is None:
            return
        if action.role != current.user:
            async with self.session(action.via, current) as session:
                await roles.lock(session, action.role)
        await self._write(live, {FORMER_SINCE: None})

    async def drop_role(self, action: DropRole) -> None:
        """See `DropRole`."""
        live, current = await self._read(action.version)
        if live is None:
            return
        notes = live["metadata"].get("annotations") or {}
        named = dict.fromkeys(key for key in (TRIED, FORMER) if notes.get(key) == action.role)
        if action.role != current.user:
            live = await self._write(live, {**named, ENDED: action.role})
            async with self.session(action.via, current) as session:
                await roles.drop(session, action.role)
        await self._write(live, {**named, ENDED: None})

    async def _read(self, version: str) -> tuple[JsonObject | None, Login]:
        """The Secret and the login in it; no Secret, where it is of another version: a later plan knows it."""
        live = await self.client.get(SECRET, self.namespace, self.secret)
        if live["metadata"]["resourceVersion"] != version:
            return None, Login("", "")
        data: Mapping[str, str] = live["data"]
        return live, Login(*(b64decode(data[key]).decode() for key in ("username", "password")))

    async def _write(
        self, live: JsonObject, notes: Mapping[str, str | None], *, login: Login | None = None
    ) -> JsonObject:
        """Writes annotations (None: it is removed), and a login with them."""
        meta: dict[str, Any] = dict(live["metadata"])
        found = {**(meta.get("annotations") or {}), **notes}
        meta["annotations"] = {key: value for key, value in found.items() if value is not None}
        data = dict(live["data"])
        if login is not None:
            content = {"username": login.user, "password": login.password}
            data |= {key: b64encode(value.encode()).decode() for key, value in content.items()}
        return await self.client.replace(SECRET, {**live, "metadata": meta, "data": data})

    async def _prove(self, name: str, login: Login) -> None:
        """Has a member let a role in.

        Raises:
            UnansweredError: It does not.
        """
        for _ in range(PROOFS):
            try:
                async with self.session(name, login):
                    return
            except RefusedError:
                await anyio.sleep(PROOF_SECONDS)
        raise UnansweredError(f"{name} does not let role {login.user} in")
