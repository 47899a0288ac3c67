"""Objects that are not as they were applied: an admission controller, another writer or the API server changes them.

What an apply leaves different, the next one leaves different too, and each that is seen wakes the reconciler again. So
such an object is let be for a while, longer each time, and is known by then: whoever owns it says so in its status.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from informers import JsonObject

FIRST_PAUSE: Final = 30.0
"""Seconds until an object that an apply has left different is applied again; twice as long each time after that."""

LONGEST_PAUSE: Final = 3600.0

AT_ONCE: Final = 3
"""Times in a row that what somebody else has changed is put right at once; from then on there are pauses."""

QUIET: Final = 600.0
"""Seconds beyond the last pause after which a change by somebody else is the first one again."""

REMEMBERED: Final = 1024
"""Objects that are remembered at least; more if the caches hold more."""

type Object = tuple[str, str, str]
"""Resource, namespace and name."""


class Held(dict[str, Any]):
    """A live object that differs from what was applied, and is not to be applied again yet.

    Attributes:
        digest: Of what was applied. Something else may be applied at once.
        left: Digest of the differences that are let be; None: all are.
        change: The first of them, in words.
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
    """Remembers the objects that were applied in vain, or again and again."""

    def __init__(self) -> None:
        self._records: OrderedDict[Object, _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def note(
        self, obj: Object, digest: str, *, left: str | None, change: str, again: bool, now: float, most: int
    ) -> None:
        """An object was applied.

        Args:
            obj: Which.
            digest: Of what was applied.
            left: Digest of what the server's answer has otherwise; None: nothing.
            change: What was, or is now, different, in words.
            again: Whether the same had been applied before, and somebody has changed it since.
            now: Monotonic seconds.
            most: Objects that are remembered at most, but `REMEMBERED` in any case.
        """
        before = self._records.pop(obj, None)
        if left is None and (not again or (before is not None and before.left is not None)):
            return  # it has become as applied, at last where it did not before
        tries = 1
        if before is not None and before.digest == digest and now - before.at < _pause(before.tries) + QUIET:
            tries = before.tries + 1
        self._records[obj] = _Record(digest, left, change, tries, now)
        if len(self._records) > max(most, REMEMBERED):
            self._records.popitem(last=False)

    def held(self, obj: Object, decode: Callable[[], JsonObject], now: float) -> Held | None:
        """The live object as `Held` if there is something that it must not be applied again for yet, else None.

        Args:
            obj: Which.
            decode: Decodes it as it is; is called only for one that is remembered.
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
    # The exponent is bounded, since a float's is.
    return 0.0 if tries <= 0 else min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries - 1, 16))
