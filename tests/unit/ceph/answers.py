"""A Ceph cluster that answers as a test says. It stands for the cluster's answers only: nothing is computed."""

from __future__ import annotations

from typing import Any

from controller.ceph.access.rados import CephError


class FakeCeph:
    """Implements `controller.ceph.access.rados.Cluster`.

    Attributes:
        answers: By command: what is answered, an error to raise, or a function of the arguments that says.
        asked: The commands that were asked, with their arguments, in order.
    """

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.answers: dict[str, Any] = answers or {}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        return self._answer(prefix, args)

    async def mgr(self, prefix: str, /, **args: Any) -> Any:
        return self._answer(prefix, args)

    def _answer(self, prefix: str, args: dict[str, Any]) -> Any:
        self.asked.append((prefix, args))
        answer = self.answers.get(prefix)
        if isinstance(answer, CephError):
            raise answer
        return answer(**args) if callable(answer) else answer
