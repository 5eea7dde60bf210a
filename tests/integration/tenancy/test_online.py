"""A data revision runs inside the tenant's schema, sees its rows and changes them."""

import asyncio

import pytest
from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError

from controlplane.domain.naming import schema_name
from controlplane.errors import Permanent, RevisionNeedsOnline, TemplateInvalid
from controlplane.tenancy import alembic_run
from controlplane.tenancy.lint import lint
from controlplane.tenancy.online import Migrations
from controlplane.tenancy.upgrade import upgrade
from tests.integration.tenancy.templates import application, revision

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

BACKFILL = """
notes = sa.table("notes", sa.column("id"), sa.column("body"))
bind = op.get_bind()
for row in bind.execute(sa.select(notes.c.id, notes.c.body)).all():
    bind.execute(notes.update().where(notes.c.id == row.id).values(body=row.body[::-1]))
"""


async def _older_tenant(place, folder):
    """A tenant with one note, and the template with a data revision that it lacks."""
    tenant_id = await place.tenant(application(folder), rows=False)
    with place.owned(tenant_id) as connection:
        connection.execute("INSERT INTO notes (id, body) VALUES (1, 'desserts')")
    revision(folder, "own_0002", down="own_0001", upgrade=BACKFILL, more="online = True")
    return tenant_id, application(folder)


def _note(place, tenant_id):
    with place.owned(tenant_id) as connection:
        return connection.execute("SELECT body FROM notes").fetchall()


async def test_the_script_says_that_a_data_revision_needs_alembic(place, tmp_path):
    tenant_id, newer = await _older_tenant(place, tmp_path)
    with pytest.raises(RevisionNeedsOnline, match="own_0002"):
        async with place.owner() as conn:
            await upgrade(conn, tenant_id=tenant_id, template=newer)
    assert _note(place, tenant_id) == [("desserts",)]


async def test_a_backfill_reaches_the_rows_although_row_security_is_forced(place, tmp_path):
    tenant_id, newer = await _older_tenant(place, tmp_path)
    neighbour = await place.tenant(newer, rows=False)
    with Migrations() as migrations:
        arguments = {"url": place.owner_url, "tenant_id": tenant_id, "template": newer}
        assert await migrations.upgrade(**arguments) == "core_0003,own_0002"
        assert await migrations.upgrade(**arguments) == "core_0003,own_0002"
    assert _note(place, tenant_id) == [("stressed",)]
    assert _note(place, neighbour) == []


async def test_a_new_schema_skips_data_revisions_and_is_at_head(place, tmp_path):
    application(tmp_path)
    revision(tmp_path, "own_0002", down="own_0001", upgrade=BACKFILL, more="online = True")
    template = application(tmp_path, seed="INSERT INTO notes (id, body) VALUES (1, 'seed');")
    tenant_id = await place.tenant(template, rows=False)
    assert _note(place, tenant_id) == [("seed",)]
    async with place.owner() as conn:
        assert await upgrade(conn, tenant_id=tenant_id, template=template) == "core_0003,own_0002"
    assert lint(template) == []


async def test_a_failed_data_revision_leaves_the_schema_as_it_was(place, tmp_path):
    tenant_id, _ = await _older_tenant(place, tmp_path)
    failing = f"{BACKFILL}\nop.execute('SELECT 1/0')"
    revision(tmp_path, "own_0002", down="own_0001", upgrade=failing, more="online = True")
    with pytest.raises(Exception, match="division by zero"):
        alembic_run.upgrade(
            url=place.owner_url,
            tenant_id=tenant_id,
            template=application(tmp_path),
            lock_timeout_ms=5000,
        )
    assert _note(place, tenant_id) == [("desserts",)]


async def test_an_upgrade_gives_up_soon_where_a_reader_holds_the_table(place, tmp_path):
    tenant_id = await place.tenant(application(tmp_path), rows=False)
    more = 'op.add_column("notes", sa.Column("title", sa.Text()))'
    revision(tmp_path, "own_0002", down="own_0001", upgrade=more)
    newer = application(tmp_path)
    with place.owned(tenant_id) as reader:
        reader.execute("SELECT FROM notes")
        with pytest.raises(OperationalError) as raised:
            async with place.owner() as conn:
                await upgrade(conn, tenant_id=tenant_id, template=newer, lock_timeout_ms=50)
    assert isinstance(raised.value.orig, LockNotAvailable)
    async with place.owner() as conn:
        assert await upgrade(conn, tenant_id=tenant_id, template=newer) == "core_0003,own_0002"


async def test_two_upgrades_of_one_tenant_run_the_revision_once(place, tmp_path):
    tenant_id = await place.tenant(application(tmp_path), rows=False)
    more = "op.execute(\"INSERT INTO notes (id, body) VALUES (7, 'once')\")"
    revision(tmp_path, "own_0002", down="own_0001", upgrade=more)
    newer = application(tmp_path)

    async def once():
        async with place.owner() as conn:
            return await upgrade(conn, tenant_id=tenant_id, template=newer)

    results = await asyncio.gather(once(), once(), return_exceptions=True)
    assert "core_0003,own_0002" in results
    assert _note(place, tenant_id) == [("once",)]


async def test_heads_that_the_template_does_not_know_are_refused(place, template, tmp_path):
    tenant_id = await place.tenant(application(tmp_path), rows=False)
    with pytest.raises(TemplateInvalid, match="own_0001"):
        async with place.owner() as conn:
            await upgrade(conn, tenant_id=tenant_id, template=template)


async def test_a_schema_without_a_revision_is_not_upgraded(place, template):
    tenant_id = await place.tenant(template, rows=False)
    with place.owned(tenant_id) as connection:
        connection.execute("DELETE FROM alembic_version")
    with pytest.raises(Permanent, match=schema_name(tenant_id)):
        async with place.owner() as conn:
            await upgrade(conn, tenant_id=tenant_id, template=template)
