"""A worker dies, and so does the one that takes over.

Places between which nothing is committed and nothing called leave the same world behind. So of
each such stretch one place is drawn, by the seed of the run: for the first death, and again for
the second one in what then remains.
"""

from itertools import groupby
from random import Random

import pytest

from tests.engine.lives import Life, Trial, at_nth
from tests.engine.plans_under_test import SCENARIOS

pytestmark = [pytest.mark.anyio]

# Of these a sixth of the first deaths is drawn, and each followed by every second one. A pair takes
# about a fifth of a second.
SIXTHS = {"provision"}
# Of the others so many pairs are drawn each way.
DRAWN = 2

WAYS = pytest.mark.parametrize("undoing", [False, True], ids=["forward", "undoing"])


@WAYS
@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if str(s) in SIXTHS], ids=str)
async def test_a_recovery_that_dies_anywhere_is_recovered_from(trial, chance):
    for first in (await stretches(trial, chance))[chance.randrange(6) :: 6]:
        for second in await stretches(trial, chance, first):
            await both(trial, first, second)


@WAYS
@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if str(s) not in SIXTHS], ids=str)
async def test_of_the_other_plans_some_pairs_are_drawn(trial, chance):
    firsts = await stretches(trial, chance)
    for _ in range(DRAWN):
        # Behind the last one nothing is left to do; before it, at least three places are.
        await both(trial, chance.choice(firsts[:-1]), chance.randrange(3))


async def stretches(trial: Trial, chance: Random, *deaths: int) -> list[int]:
    """After these deaths, a place in every stretch of the next life."""
    seen: list[tuple[int, int]] = []

    def look(life: Life, _place: str) -> bool:
        seen.append((life.commits, len(trial.lab.dns.calls)))
        return False

    operation = await trial.begin()
    for place in deaths:
        assert (await trial.live(at_nth(place))).died
    life = await trial.live(look)
    await trial.end(operation)
    turn = f"operation:{trial.scenario.plan.kind}:before-unwind"
    # What comes before it was tried on the way forward.
    start = life.passed.index(turn) if trial.undoing and not deaths else 0
    alike = groupby(range(start, len(seen)), key=seen.__getitem__)
    return [chance.choice(list(places)) for _, places in alike]


async def both(trial: Trial, first: int, second: int) -> None:
    operation = await trial.begin()
    for place in (first, second):
        assert (await trial.live(at_nth(place))).died, f"nobody died at {first}, then at {second}"
    await trial.end(operation)
