"""Every invariant can fail: a world in order is tampered with by hand, and the right one says so."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from controlplane.domain.dns import record_for
from controlplane.domain.naming import Mark, Subdomain
from tests.database import Database
from tests.engine.lab import Lab, open_lab
from tests.engine.plans_under_test import plant
from tests.engine.world import assert_world, fingerprint

pytestmark = [pytest.mark.anyio]

# 'acme' has been provisioned; 'initech' was asked for, and nobody has claimed it.
_NAMED = {
    "acme": "(SELECT id FROM public.tenants WHERE subdomain = 'acme')",
    "done": "(SELECT id FROM public.operations WHERE state = 'succeeded')",
    "asked": "(SELECT id FROM public.operations WHERE state = 'pending')",
    "event": "INSERT INTO public.operation_events (operation_id, seq, epoch, step, type, data)"
    " SELECT",
}

# What is done to the database, and what must be said of it. No trigger is in the way.
TAMPERED = {
    "an end that was taken back": (
        """
        UPDATE public.operations SET state = 'running', finished_at = NULL WHERE state =
        'succeeded'
        """,
        "I1 it is running",
    ),
    "something behind the end": (
        """
        $event id, event_seq + 1, epoch, NULL, 'noted', '{}' FROM public.operations WHERE state
        = 'succeeded';
        UPDATE public.operations SET event_seq = event_seq + 1 WHERE state = 'succeeded'
        """,
        "I1 noted after the end",
    ),
    "two operations at once": (
        """
        DROP INDEX public.uq_operations_live;
        INSERT INTO public.operations (id, tenant_id, kind, plan, plan_version, deadline_at)
        SELECT gen_random_uuid(), tenant_id, kind, '{"steps": [{"pivot": true}], "rolled_back":
        null}', 1, deadline_at FROM public.operations WHERE state = 'pending'
        """,
        "I2",
    ),
    "a step that was skipped": (
        """
        UPDATE public.operation_steps SET state = 'done' WHERE operation_id = $asked AND ordinal
        = 2
        """,
        "I3 pending: ppdpp",
    ),
    "a success with a step undone": (
        """
        UPDATE public.operation_steps SET state = 'undone' WHERE operation_id = $done AND
        ordinal = 2
        """,
        "I4 succeeded: ddxdd",
    ),
    "a way forward after the turn": (
        """
        UPDATE public.operation_events SET type = 'unwinding', step = NULL WHERE operation_id =
        $done AND seq = 2
        """,
        "I5",
    ),
    "an event that is lost": (
        """
        DELETE FROM public.operation_events WHERE operation_id = $done AND seq = 3
        """,
        "I6 events",
    ),
    "an old epoch that wrote later": (
        """
        UPDATE public.operation_events SET epoch = 0 WHERE operation_id = $done AND seq = 3
        """,
        "I6 an old epoch",
    ),
    "an event that tells of another state": (
        """
        UPDATE public.operation_events SET data = data || '{"attempt": 7}' WHERE operation_id =
        $done AND seq = 2
        """,
        "I6 events and steps differ",
    ),
    "a step of an epoch without event": (
        """
        UPDATE public.operation_steps SET epoch = 7 WHERE operation_id = $done
        """,
        "I7",
    ),
    "a schema that is gone": (
        """
        DO $$ BEGIN EXECUTE (SELECT format('DROP SCHEMA %I CASCADE', schema_name) FROM
        public.tenants WHERE subdomain = 'acme'); END $$
        """,
        "I8",
    ),
    "a role that is gone": (
        """
        DO $$ BEGIN EXECUTE (SELECT format('DROP OWNED BY %1$I; DROP ROLE %1$I', schema_name)
        FROM public.tenants WHERE subdomain = 'acme'); END $$
        """,
        "I8",
    ),
    "a schema that lacks a table": (
        """
        DO $$ BEGIN EXECUTE (SELECT format('DROP TABLE %I.notes CASCADE', schema_name) FROM
        public.tenants WHERE subdomain = 'acme'); END $$
        """,
        "I9",
    ),
    "a second admin": (
        """
        DO $$ BEGIN EXECUTE (SELECT format('INSERT INTO %I.users (id, email, tenant_id) VALUES
        (gen_random_uuid(), ''eve@acme.test'', %L)', schema_name, id) FROM public.tenants WHERE
        subdomain = 'acme'); END $$
        """,
        "I9 its admins",
    ),
    "a deleted tenant with its record": (
        """
        UPDATE public.tenants SET state = 'deleted', deleted_at = now() WHERE subdomain = 'acme'
        """,
        "I11 deleted with a record",
    ),
    "a tenant on its way without an operation": (
        """
        UPDATE public.tenants SET state = 'deleting' WHERE subdomain = 'acme'
        """,
        "I11 deleting without an operation",
    ),
    "an inventory that lacks a thing": (
        """
        DELETE FROM public.tenant_resources WHERE tenant_id = $acme AND kind = 'dns'
        """,
        "I11 active: the inventory",
    ),
    "a mail that is lost": (
        """
        DELETE FROM public.email_deliveries
        """,
        "I12 provision succeeded: 0 mails",
    ),
    "one name of two tenants": (
        """
        DROP INDEX public.uq_tenants_subdomain_held;
        UPDATE public.tenants SET subdomain = 'acme' WHERE subdomain = 'initech'
        """,
        "I13",
    ),
    "a park before the pivot": (
        """
        $event id, 2, 0, 'schema', 'step_failed', '{"state": "pending", "attempt": 0}' FROM
        public.operations WHERE state = 'pending';
        $event id, 3, 0, NULL, 'parked', '{}' FROM public.operations WHERE state = 'pending';
        UPDATE public.operation_steps SET epoch = 0 WHERE operation_id = $asked AND name =
        'schema';
        UPDATE public.operations SET state = 'parked', event_seq = 3 WHERE state = 'pending'
        """,
        "I20 parked before its pivot",
    ),
}


def named(statements: str) -> bytes:
    """With the sub-selects in place of their names."""
    for name, text in _NAMED.items():
        statements = statements.replace(f"${name}", text)
    return statements.encode()


@pytest.fixture
async def whole(database: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    """A lab whose world is in order; nobody looks at it afterwards."""
    async with open_lab(database, tmp_path) as lab:
        await lab.active("acme")
        await lab.create("initech")
        await assert_world(lab)
        yield lab


@pytest.mark.parametrize("what", TAMPERED, ids=lambda what: what.replace(" ", "-"))
async def test_what_was_tampered_with_is_named(whole, what):
    statements, noticed = TAMPERED[what]
    with psycopg.connect(whole.database.superuser_url) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute(named(statements))

    with pytest.raises(AssertionError, match=noticed):
        await assert_world(whole)


async def test_what_was_written_under_an_old_epoch_is_named_though_no_later_row_tells(whole):
    with psycopg.connect(whole.database.superuser_url) as conn:
        conn.execute("UPDATE public.operations SET epoch = 1 WHERE state = 'pending'")
        conn.execute(
            named(
                """
                $event id, 2, 0, NULL, 'noted', '{}' FROM public.operations WHERE id = $asked;
                UPDATE public.operations SET event_seq = 2 WHERE state = 'pending'
                """
            )
        )

    with pytest.raises(AssertionError, match="I7"):
        await assert_world(whole)


async def _a_record_of_another_name(lab: Lab) -> None:
    (acme,) = await lab.sql("SELECT id FROM public.tenants WHERE subdomain = 'acme'")
    await plant(lab, acme.id, record="hooli")


async def _a_record_before_its_step(lab: Lab) -> None:
    (row,) = await lab.sql("SELECT id FROM public.tenants WHERE subdomain = 'initech'")
    mark = Mark(lab.parts.installation, row.id, uuid4())
    await lab.dns.ensure(record_for(Subdomain("initech"), "192.0.2.7"), mark)


async def _no_record(lab: Lab) -> None:
    lab.dns.records.clear()


async def _a_schema_of_nobody(lab: Lab) -> None:
    await plant(lab, uuid4(), "schema")


async def _a_mail_sent_twice(lab: Lab) -> None:
    lab.sender.sent.append(lab.sender.sent[-1])


@pytest.mark.parametrize(
    ("tamper", "noticed"),
    [
        (_a_schema_of_nobody, "I8 of no tenant"),
        (_a_record_of_another_name, "I10 hooli"),
        (_a_record_before_its_step, "I10 a record initech"),
        (_no_record, "I11"),
        (_a_mail_sent_twice, "I12 sent twice"),
    ],
)
async def test_what_is_where_it_should_not_be_is_named(
    whole: Lab, tamper: Callable[[Lab], Awaitable[None]], noticed: str
) -> None:
    await tamper(whole)

    with pytest.raises(AssertionError, match=noticed):
        await assert_world(whole)


async def test_what_is_left_over_is_named(whole):
    beat = whole.engine().heartbeat
    async with AsyncExitStack() as left:
        conn = await left.enter_async_context(whole.parts.owner.connect())
        with pytest.raises(AssertionError, match="I15 connections"):
            await assert_world(whole)
        await conn.exec_driver_sql("SELECT 1")
        with pytest.raises(AssertionError, match="I15 transactions"):
            await assert_world(whole)
    beat.start()
    try:
        with pytest.raises(AssertionError, match="I15 threads"):
            await assert_world(whole)
    finally:
        await asyncio.to_thread(beat.stop)
    await assert_world(whole)


async def test_a_bystander_that_was_touched_is_another(whole):
    (acme,) = await whole.sql("SELECT id FROM public.tenants WHERE subdomain = 'acme'")
    before = await fingerprint(whole, acme.id)
    assert await fingerprint(whole, acme.id) == before

    with psycopg.connect(whole.database.superuser_url) as conn:
        conn.execute("UPDATE public.tenants SET version = version + 1 WHERE subdomain = 'acme'")

    assert await fingerprint(whole, acme.id) != before
