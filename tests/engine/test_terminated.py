"""pg_terminate_backend before each statement and each COMMIT: nothing is concluded, nothing is lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from sqlalchemy import event

from controlplane.provisioning.crew import nowhere
from tests.engine.faults import Failure
from tests.engine.lab import RESTING, Lab
from tests.engine.plans_under_test import SCENARIOS
from tests.engine.test_commit_cut import standing
from tests.engine.world import assert_world

pytestmark = [pytest.mark.anyio]


@dataclass
class Strike:
    """Ends the session of the `nth` statement of the owner's, just before it is sent.

    A COMMIT counts as a statement. `statement` is what was struck.
    """

    lab: Lab
    nth: int
    seen: int = 0
    statement: str | None = None

    def statement_comes(self, conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self._count(conn, statement)

    def commit_comes(self, conn: Any) -> None:
        self._count(conn, "COMMIT")

    def _count(self, conn: Any, statement: str) -> None:
        self.seen += 1
        if self.seen != self.nth:
            return
        self.statement = statement
        pid = conn.connection.dbapi_connection.driver_connection.info.backend_pid
        with psycopg.connect(self.lab.database.superuser_url, autocommit=True) as superuser:
            ended = superuser.execute("SELECT pg_terminate_backend(%s, 10000)", [pid]).fetchone()
        assert ended == (True,)


@contextmanager
def armed(lab: Lab, nth: int) -> Iterator[Strike]:
    strike, engine = Strike(lab, nth), lab.parts.owner.sync_engine
    listeners = (
        (engine, "before_cursor_execute", strike.statement_comes),
        (engine, "commit", strike.commit_comes),
    )
    for listener in listeners:
        event.listen(*listener)
    try:
        yield strike
    finally:
        for listener in listeners:
            event.remove(*listener)


async def life(lab: Lab, nth: int) -> str | None:
    """One claim and drive whose `nth` statement finds its session ended; that statement."""
    await lab.expire()
    with armed(lab, nth) as strike:
        await lab.drive_once()
    return strike.statement


def by_name(*names: str) -> list[Any]:
    return [s for s in SCENARIOS if str(s) in names]


@pytest.mark.parametrize(
    ("scenario", "fails"),
    [
        pytest.param(*by_name("provision"), False, id="provision"),
        pytest.param(*by_name("provision"), True, id="unwinding"),
        pytest.param(*by_name("deprovision"), False, id="deprovision"),
    ],
)
async def test_a_plan_whose_session_ends_before_every_statement_ends_as_it_would(
    lab, scenario, fails, chance
):
    """From where the journal stands, each life comes one statement further; once the journal has
    moved, it begins anew. The way there and back takes every second statement."""
    tenant_id = await scenario.prepare(lab)
    operation = await scenario.ask(lab, tenant_id)
    pivot = scenario.plan.steps[scenario.plan.pivot]
    if fails:
        lab.steps = Failure(pivot.name, pivot.action).wrap(lab.steps)
    stride, struck = 2 if fails else 1, []
    nth = -chance.randrange(stride)
    while (before := await standing(lab, operation))[0] not in RESTING:
        nth += stride
        statement = await life(lab, nth)
        if statement is not None:
            struck.append(statement)
        if await standing(lab, operation) != before:
            nth = -chance.randrange(stride)

    assert (await lab.view(operation.id)).state == ("failed" if fails else "succeeded")
    commits = struck.count("COMMIT")
    if not fails:
        assert commits > len(scenario.plan.steps)
        assert len(struck) > 3 * commits
    assert len(struck) > commits > 0
    world = await assert_world(lab)
    ends = scenario.rolled_back if fails else scenario.succeeded
    assert world.tenants[operation.tenant_id].state == ends


@pytest.mark.database_near
async def test_an_app_servers_session_that_ends_before_it_verifies_is_opened_anew(lab):
    operation = await lab.create("acme")

    async def terminate(place):
        if place == "step:verify:before-call":
            with psycopg.connect(lab.database.superuser_url, autocommit=True) as superuser:
                superuser.execute(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND usename = 'cp_app'"
                )

    lab.failpoint = terminate
    await lab.drive_once()
    lab.failpoint = nowhere

    assert (await lab.settle(operation)).state == "succeeded"
    await assert_world(lab)
