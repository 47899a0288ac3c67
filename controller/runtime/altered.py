"""Objects that differ from what was applied: an admission controller, another writer or the API server changes them.

If an apply leaves a difference, the next apply leaves it too, and each change that is seen queues the object again. So
such an object is not applied again for a while, with backoff. `Alterations` remembers it meanwhile, and the reconciler
that owns it can say so in its status.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from informers import JsonObject

FIRST_PAUSE: Final = 30.0
"""Seconds until an object that still differs after an apply is applied again; the pause doubles each time."""

LONGEST_PAUSE: Final = 3600.0

AT_ONCE: Final = 3
"""Times in a row that another writer's change is corrected at once; after that there are pauses."""

QUIET: Final = 600.0
"""Seconds after the last pause until a change by another writer counts as the first one again."""

REMEMBERED: Final = 1024
"""Smallest number of objects that are remembered; more if the caches hold more."""

type Object = tuple[str, str, str]
"""Resource, namespace and name."""


class Held(dict[str, Any]):
    """A live object that differs from what was applied, and must not be applied again yet.

    Attributes:
        digest: Digest of what was applied. Anything else may be applied at once.
        left: Digest of the differences that are not corrected for now; None: none is corrected.
        change: The first difference, in words.
    """

    def __init__(self, live: JsonObject, digest: str, left: str | None, change: str) -> None:
        super().__init__(live)
        self.digest = digest
        self.left = left
        self.change = change


@dataclass(frozen=True, slots=True)
class _Record:
    digest: str
    left: str | None
    change: str
    tries: int
    at: float


class Alterations:
    """Remembers objects that still differ after an apply, and objects that are applied again and again."""

    def __init__(self) -> None:
        self._records: OrderedDict[Object, _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def note(
        self, obj: Object, digest: str, *, left: str | None, change: str, again: bool, now: float, most: int
    ) -> None:
        """Records that an object was applied.

        Args:
            obj: The object.
            digest: Digest of what was applied.
            left: Digest of the differences in the server's response; None: there are none.
            change: The difference before or after the apply, in words.
            again: Whether the same was applied before, and another writer has changed it since.
            now: Monotonic seconds.
            most: Largest number of objects to remember; `REMEMBERED` if that is more.
        """
        before = self._records.pop(obj, None)
        if left is None and (not again or (before is not None and before.left is not None)):
            return  # the object is now as applied, even if it was not before
        tries = 1
        if before is not None and before.digest == digest and now - before.at < _pause(before.tries) + QUIET:
            tries = before.tries + 1
        self._records[obj] = _Record(digest, left, change, tries, now)
        if len(self._records) > max(most, REMEMBERED):
            self._records.popitem(last=False)

    def held(self, obj: Object, decode: Callable[[], JsonObject], now: float) -> Held | None:
        """The live object as `Held` if it has a difference that must not be corrected yet, else None.

        Args:
            obj: The object.
            decode: Decodes the live object; called only if the object is remembered.
            now: Monotonic seconds.
        """
        record = self._records.get(obj)
        if record is None:
            return None
        if now < record.at + _pause(record.tries - AT_ONCE):
            return Held(decode(), record.digest, None, record.change)
        if record.left is not None and now < record.at + _pause(record.tries):
            return Held(decode(), record.digest, record.left, record.change)
        return None


def _pause(tries: int) -> float:
    # The exponent is bounded, because that of a float is.
    return 0.0 if tries <= 0 else min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries - 1, 16))
