"""A worker that dies after each single commit: every life brings the operation forward."""

import pytest

from tests.engine.lives import after_commits, never
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
    while (await trial.live(after_commits(await commits_needed(trial, operation)))).died:
        lives += 1
        journal, before = await rows(trial, operation), journal
        assert journal > before, f"life {lives} brought nothing"
        assert lives <= commits, "this goes round"
    assert lives == commits
    await trial.end(operation)


async def commits_needed(trial, operation):
    """A step that is begun is begun again by whoever takes over: that alone is no way forward."""
    steps = (await trial.lab.view(operation.id)).steps
    return 2 if any(step.state in {"started", "undo_started"} for step in steps) else 1


async def rows(trial, operation):
    (row,) = await trial.lab.sql(
        "SELECT count(*) FROM public.operation_events WHERE operation_id = :id", id=operation.id
    )
    return row[0]
