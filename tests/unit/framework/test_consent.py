"""How long a deletion is consent by itself."""

from __future__ import annotations

import pytest

from controller.apis.meta import ObjectMeta
from controller.framework.consent import FRESH, is_stale

ASKED = "2027-01-15T08:00:00Z"
AT = 1800000000.0


@pytest.mark.parametrize(
    ("deleted", "now", "stale"),
    [(None, 2 * AT, False), (ASKED, AT, False), (ASKED, AT + FRESH, False), (ASKED, AT + FRESH + 1, True)],
)
def test_a_deletion_is_consent_for_a_day(deleted: str | None, now: float, stale: bool) -> None:
    assert is_stale(ObjectMeta(deletion_timestamp=deleted), now) is stale
