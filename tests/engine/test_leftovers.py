"""What a drop in several transactions leaves when it is given up halfway is never served."""

from datetime import timedelta
from functools import partial

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from controlplane.domain.naming import schema_name
from controlplane.provisioning import requests
from controlplane.provisioning.crew import nowhere
from tests.engine.faults import Failure
from tests.engine.lab import ACTOR
from tests.engine.test_large import grow

pytestmark = [pytest.mark.anyio]

FOREIGN_KEYS = (
    "SELECT count(*) AS n FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE k.contype = 'f' AND n.nspname = :name AND c.relname !~ '^t[0-9]+$'"
)


async def foreign_keys(lab, tenant_id):
    """How many the template's own tables have."""
    (row,) = await lab.sql(FOREIGN_KEYS, name=schema_name(tenant_id))
    return row.n


async def asked(lab, request, tenant_id):
    async with lab.parts.control.begin() as conn:
        return await request(conn, tenant_id, actor=ACTOR, deadline_s=300)


abandon = partial(
    requests.abandon,
    reason="external",
    comment="it is in the way",
    by="ada",
    quarantine=timedelta(0),
    actor=ACTOR,
)


async def given_up_halfway(lab):
    """A failed tenant, whose schema has lost its foreign keys and keeps its tables."""
    operation, healthy = await lab.create("acme"), dict(lab.steps)
    tenant_id = operation.tenant_id

    async def meddle(place):
        if place == "step:verify:before-intent":
            grow(lab.database, tenant_id)
        if place == "undo:schema:after-wait-commit":
            with psycopg.connect(lab.database.superuser_url) as conn:
                view = SQL("CREATE OR REPLACE VIEW public.theirs AS SELECT body FROM {}.t7")
                conn.execute(view.format(Identifier(schema_name(tenant_id))))

    lab.failpoint = meddle
    lab.steps = Failure("verify", "ensure").wrap(lab.steps)
    parked = await lab.settle(operation)
    assert parked.state == "parked"
    async with lab.parts.control.begin() as conn:
        await abandon(conn, operation.id)
    await lab.sql("DROP VIEW public.theirs")
    lab.steps, lab.failpoint = healthy, nowhere
    with psycopg.connect(lab.database.superuser_url) as conn:
        conn.execute(
            SQL(
                "DO $$ BEGIN FOR n IN 1..90 LOOP"
                " EXECUTE format('DROP TABLE IF EXISTS {}.t%s', n); END LOOP; END $$"
            ).format(Identifier(schema_name(tenant_id)))
        )
    return tenant_id


async def test_a_half_dropped_schema_is_not_taken_for_a_whole_one(lab):
    whole = await foreign_keys(lab, (await lab.sql("SELECT id FROM public.tenants"))[0].id)
    tenant_id = await given_up_halfway(lab)
    assert await foreign_keys(lab, tenant_id) < whole

    again = await lab.settle(await asked(lab, requests.provision_again, tenant_id))

    assert again.state == "succeeded"
    assert await foreign_keys(lab, tenant_id) == whole
