"""A worker that dies after each single commit: every life brings the operation forward."""

import pytest

from tests.engine.lives import after_a_commit, never
from tests.engine.plans_under_test import SCENARIOS

pytestmark = [pytest.mark.anyio]


@pytest.mark.parametrize("undoing", [False, True], ids=["forward", "undoing"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_workers_that_die_after_every_commit_need_as_many_lives_as_one_makes_commits(trial):
    operation = await trial.begin()
    commits = (await trial.live(never)).commits
    await trial.end(operation)

    operation = await trial.begin()
    lives, journal = 0, await rows(trial, operation)
    while (await trial.live(after_a_commit)).died:
        lives += 1
        journal, before = await rows(trial, operation), journal
        assert journal > before, f"life {lives} brought nothing"
        assert lives <= commits, "this goes round"
    assert lives == commits
    await trial.end(operation)


async def rows(trial, operation):
    (row,) = await trial.lab.sql(
        "SELECT count(*) FROM public.operation_events WHERE operation_id = :id", id=operation.id
    )
    return row[0]
