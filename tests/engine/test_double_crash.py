"""A worker dies, and so does the one that takes over: every place of the second death, for a first
death in every state that the world may be left in.

Places between which nothing is committed and nothing called leave the same world behind, so the
first death takes one of them, drawn by the seed of the run.
"""

from itertools import groupby
from random import Random

import pytest

from tests.engine.lives import Life, Trial, at_nth, never
from tests.engine.plans_under_test import SCENARIOS

pytestmark = [pytest.mark.anyio]

# All second deaths take about a tenth of a second each: here they are all tried, in so many tests.
WHOLE = {"provision": 4, "deprovision": 2, "purge": 2}
# Of the other plans, so many pairs, drawn by the seed of the run.
DRAWN = 4


WAYS = pytest.mark.parametrize("undoing", [False, True], ids=["forward", "undoing"])
PARTS = [
    pytest.param(scenario, slice(part, None, parts), id=f"{scenario}-{part + 1}-of-{parts}")
    for scenario in SCENARIOS
    for parts in [WHOLE.get(str(scenario), 0)]
    for part in range(parts)
]


@WAYS
@pytest.mark.parametrize(("scenario", "part"), PARTS)
async def test_a_recovery_that_dies_anywhere_is_recovered_from(trial, chance, part):
    firsts = await first_deaths(trial, chance)
    for first in firsts[part]:
        second = 0
        while await both(trial, first, second):
            second += 1


@WAYS
@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if str(s) not in WHOLE], ids=str)
async def test_of_the_other_plans_some_pairs_are_drawn(trial, chance):
    firsts = await first_deaths(trial, chance)
    for _ in range(DRAWN):
        first = chance.choice(firsts[:-1])
        assert await both(trial, first, chance.randrange(3)), "nobody died twice"


async def first_deaths(trial: Trial, chance: Random) -> list[int]:
    """One place for each state that a dead worker may leave; of an unwinding, from its turn on."""
    seen: list[tuple[int, int]] = []

    def look(life: Life, _place: str) -> bool:
        seen.append((life.commits, len(trial.lab.dns.calls)))
        return False

    operation = await trial.begin()
    life = await trial.live(look)
    await trial.end(operation)
    turn = f"operation:{trial.scenario.plan.kind}:before-unwind"
    start = life.passed.index(turn) if trial.undoing else 0
    alike = groupby(range(start, len(seen)), key=seen.__getitem__)
    return [chance.choice(list(places)) for _, places in alike]


async def both(trial: Trial, first: int, second: int) -> bool:
    """Whether there was a second death; the world is looked over either way."""
    operation = await trial.begin()
    assert (await trial.live(at_nth(first))).died
    recovery = await trial.live(at_nth(second))
    await trial.live(never)
    await trial.end(operation)
    return recovery.died
