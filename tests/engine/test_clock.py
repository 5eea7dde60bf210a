"""No worker's clock counts: leases, back-off and deadlines are kept by the database's alone."""

import asyncio
from collections import Counter
from datetime import timedelta
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from psycopg.sql import SQL, Identifier

from controlplane.domain.naming import schema_name
from controlplane.provisioning.crew import nowhere
from tests.engine.lab import Lab, environment, open_lab
from tests.engine.processes import QUICK, shifted, workers
from tests.engine.test_lease import claim
from tests.engine.world import assert_world, fingerprint

pytestmark = [pytest.mark.anyio]

HOUR = timedelta(hours=1)
# Which of the database's own times lie in the future, and how far at most.
AHEAD = {
    "give_up_at": timedelta(hours=24),
    "deadline_at": timedelta(minutes=15),
    "expires_at": timedelta(hours=72),
}


@pytest.mark.timeout(600)
@pytest.mark.requires("faketime")
async def test_workers_an_hour_before_and_an_hour_behind_work_as_any_other(database, tmp_path):
    zone = tmp_path / "zone" / "apps.test"
    more = {**QUICK, "CONTROLPLANE_DNS_ZONE_FILE": str(zone)}
    zone.parent.mkdir()
    async with open_lab(database, tmp_path, real_files=True, more=more) as lab:
        bystander = await lab.active("globex")
        before = await fingerprint(lab, bystander)
        zone.parent.rename(tmp_path / "away")
        created = [await lab.create(f"acme{n}") for n in range(4)]
        variables = environment(database, tmp_path, **more)
        clocks = [{**variables, **shifted("+1h")}, {**variables, **shifted("-1h")}]
        with workers(clocks):
            await come_true(lab, FAILED_TWICE)
            (tmp_path / "away").rename(zone.parent)
            await come_true(lab, ALL_SENT)
            async with asyncio.timeout(120):
                while not {-1, 1} <= set(clocks_of_mails(tmp_path / "outbox")):
                    created.append(await lab.create(f"acme{len(created)}"))
                    await come_true(lab, ALL_SENT)

        assert {(await lab.view(operation.id)).state for operation in created} == {"succeeded"}
        assert await done_once(lab)
        assert set(clocks_of_mails(tmp_path / "outbox")) == {-1, 0, 1}
        for operation in created:
            await assert_no_time_is_off(lab, schema_name(operation.tenant_id))
        await assert_no_time_is_off(lab, "public")
        await assert_world(lab)
        assert await fingerprint(lab, bystander) == before


FAILED_TWICE = (
    "SELECT EXISTS (SELECT FROM public.operation_events WHERE type = 'step_failed'"
    " GROUP BY operation_id HAVING count(*) > 1)"
)
ALL_SENT = (
    "SELECT NOT EXISTS (SELECT FROM public.operations WHERE finished_at IS NULL)"
    " AND NOT EXISTS (SELECT FROM public.email_deliveries WHERE state <> 'sent')"
)


async def come_true(lab: Lab, query: str) -> None:
    """Wait until the query says true; processes need their time to start."""
    async with asyncio.timeout(120):
        while True:
            if (await lab.sql(query))[0][0]:
                return
            await asyncio.sleep(0.05)


async def done_once(lab: Lab) -> bool:
    """Whether no step was done by two workers."""
    rows = await lab.sql(
        "SELECT count(*) AS n FROM public.operation_events WHERE type = 'step_done'"
        " GROUP BY operation_id, step"
    )
    return {row.n for row in rows} == {1}


def clocks_of_mails(outbox: Path) -> Counter[int]:
    """How many hours off the clocks were that dated the mails: proof that they were."""
    found: Counter[int] = Counter()
    for path in outbox.glob("*.eml"):
        dated = parsedate_to_datetime(message_from_bytes(path.read_bytes())["Date"])
        found[round((dated.timestamp() - path.stat().st_mtime) / 3600)] += 1
    return found


async def assert_no_time_is_off(lab: Lab, schema: str) -> None:
    """Every time in every table is of the last minutes by the database's clock."""
    columns = await lab.sql(
        "SELECT table_name, column_name FROM information_schema.columns c"
        " JOIN information_schema.tables USING (table_schema, table_name)"
        " WHERE table_schema = :schema AND data_type = 'timestamp with time zone'"
        " AND table_type = 'BASE TABLE'",
        schema=schema,
    )
    assert columns
    for row in columns:
        table, column = row.table_name, row.column_name
        newest = SQL(
            "SELECT min({c}) - statement_timestamp(), max({c}) - statement_timestamp() FROM {t}"
        )
        query = newest.format(c=Identifier(column), t=Identifier(schema, table)).as_string()
        async with lab.parts.owner.connect() as conn:
            low, high = tuple((await conn.exec_driver_sql(query)).one())
        if low is not None:
            ahead = AHEAD.get(column, timedelta(0)) + HOUR / 4
            assert -HOUR * 3 / 4 < low <= high < ahead, f"{table}.{column}"


async def test_a_lease_that_runs_out_under_a_step_changes_nothing_until_it_has_committed(lab):
    """At every place of every step: the thief gets nothing while a transaction is open, and what
    he gets afterwards the old worker touches no more."""
    operation = await lab.create("acme")
    stolen: list[str] = []

    async def steal(place):
        local = place.split(":")[1] in {"schema", "admin", "activate"}
        if place.endswith(("after-fence", "after-effect", "before-commit")):
            assert await claim(lab, owner="thief") == []
        elif place.endswith("before-begin") and local:
            await lab.expire()
        elif place.endswith("after-commit") and place not in stolen:
            stolen.append(place)
            await lab.expire()
            (theirs,) = await claim(lab, owner="thief")
            assert theirs.id == operation.id

    lab.failpoint = steal
    places = 0
    while (await lab.view(operation.id)).state != "succeeded":
        places += 1
        assert places < 20
        await lab.expire()
        await lab.drive_once()
    lab.failpoint = nowhere

    assert [place.split(":")[1] for place in stolen] == [
        *("schema", "admin", "dns", "verify", "activate")
    ]
    rows = await lab.sql(
        "SELECT step FROM public.operation_events WHERE operation_id = :id AND type = 'step_done'"
        " ORDER BY seq",
        id=operation.id,
    )
    assert [row.step for row in rows] == ["schema", "admin", "dns", "verify", "activate"]


async def test_a_lease_that_ran_out_unseen_is_still_its_holders(lab):
    """Late, but nobody was there to steal it: the drive goes on under its epoch."""
    operation = await lab.create("acme")

    async def late(place):
        if place.endswith(("before-begin", "before-intent", "before-call", "after-call")):
            await lab.expire()

    lab.failpoint = late
    await lab.drive_once()

    found = await lab.view(operation.id)
    assert found.state == "succeeded"
    (row,) = await lab.sql("SELECT epoch FROM public.operations WHERE id = :id", id=operation.id)
    assert row.epoch == 1
