"""Long work is done in slices."""

from informers.turns import sliced
from tests.turns import LOOKS, counted_turns


async def test_others_have_their_turns() -> None:
    async with counted_turns() as had:
        assert [item async for item in sliced(range(1000))] == list(range(1000))
        assert had[0] >= 1000 // LOOKS - 1


async def test_short_work_is_done_in_one_go() -> None:
    async with counted_turns() as had:
        assert [item async for item in sliced("abc")] == ["a", "b", "c"]
        assert had[0] == 0
