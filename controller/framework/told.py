"""What users were told of objects, so that the same is told once, and not at each look."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.runtime.reconciler import Request


@dataclass(slots=True)
class Told:
    """What was told last of each object. A new leader tells once more what is still so."""

    _texts: dict[Request, str] = field(default_factory=dict)

    def is_news(self, request: Request, text: str) -> bool:
        """Takes note of what there is to tell of an object; whether it is something else than before.

        Args:
            request: The object.
            text: What there is to tell; empty: nothing, and what comes next is news whatever it says.
        """
        if not text:
            self._texts.pop(request, None)
            return False
        if self._texts.get(request) == text:
            return False
        self._texts[request] = text
        return True

    def forget(self, request: Request) -> None:
        """There is nothing to tell of the object any more."""
        self._texts.pop(request, None)
