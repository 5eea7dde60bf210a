"""What a worker does with the warm pool."""

from uuid import UUID

import pytest

from controlplane.domain.warm_pool import (
    OTHERS_STAY_AFTER_A_ROLLOUT_S,
    OTHERS_STAY_S,
    SURPLUS_STAYS_S,
    Discard,
    Make,
    Rest,
    WarmSchema,
    next_move,
    recipe,
)


def made(number: int, by: str = "ours", *, going: bool = False, age_s: float = 1.0) -> WarmSchema:
    return WarmSchema(UUID(int=number), by, going, age_s)


def discards(*numbers: int) -> Discard:
    return Discard(tuple(UUID(int=number) for number in numbers))


@pytest.mark.parametrize(
    ("pool", "size", "move"),
    [
        ([], 0, Rest()),
        ([], 1, Make()),
        ([made(1)], 1, Rest()),
        ([made(1)], 2, Make()),
        ([made(1, age_s=SURPLUS_STAYS_S), made(2)], 1, discards(1)),
        ([made(1, age_s=SURPLUS_STAYS_S), made(2, age_s=SURPLUS_STAYS_S)], 0, discards(1, 2)),
        # Another worker, which was told another size, may just have made them.
        ([made(1, age_s=SURPLUS_STAYS_S - 1), made(2)], 0, Rest()),
        ([made(1, age_s=60), made(2)], 1, Rest()),
        # Of no use any more, and one is missing for it: that comes first.
        ([made(1, going=True)], 1, Make()),
        ([made(1, going=True), made(2)], 1, discards(1)),
        # What another release hands out is left to it for a while.
        ([made(1, "other"), made(2)], 1, Rest()),
        ([made(1, "other")], 1, Make()),
        ([made(1, "other", age_s=OTHERS_STAY_S), made(2)], 1, discards(1)),
        ([made(1, "other", age_s=OTHERS_STAY_S)], 0, discards(1)),
    ],
)
def test_the_pool_comes_to_its_size(pool, size, move):
    assert next_move(pool, recipe="ours", size=size, rolled_out=False) == move


def test_a_rollout_has_what_another_template_made_removed_sooner():
    pool = [
        made(1, "other", age_s=OTHERS_STAY_AFTER_A_ROLLOUT_S),
        made(2, "other", age_s=OTHERS_STAY_AFTER_A_ROLLOUT_S - 1),
    ]
    assert next_move(pool, recipe="ours", size=0, rolled_out=True) == discards(1)
    assert next_move(pool, recipe="ours", size=0, rolled_out=False) == Rest()


def test_a_recipe_is_another_if_anything_of_it_is():
    wanted = {"release": "1", "digest": "a", "app_login": "app"}
    others = [recipe(**{**wanted, name: "else"}) for name in wanted]
    assert len({recipe(**wanted), *others}) == 4
    assert recipe(**wanted) == recipe(**wanted)
