"""The compiled script does what Alembic itself would have done, and every revision has a way back."""

import re
from uuid import uuid4

import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import CheckConstraint, MetaData, create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import make_url

from controlplane.domain.naming import schema_name
from controlplane.tenancy import alembic_run, environment, tables
from controlplane.tenancy.columns import NAMING
from controlplane.tenancy.scope import enter
from controlplane.tenancy.upgrade import upgrade
from tenant_template import tables as sample
from tests.integration.tenancy.catalog import dump
from tests.integration.tenancy.places import ROWS

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

LOCK_MS = 5000


def _alembic(place, tenant_id, template, to=None):
    common = {
        "url": place.owner_url,
        "tenant_id": tenant_id,
        "template": template,
        "lock_timeout_ms": LOCK_MS,
    }
    return alembic_run.downgrade(to=to, **common) if to else alembic_run.upgrade(**common)


def _catalog(place, tenant_id):
    with place.owned(tenant_id) as connection:
        return dump(connection, schema_name(tenant_id))


def _bare_schema(place):
    """A schema and its role, as `create` frames them, without a table."""
    tenant_id = uuid4()
    name, app = Identifier(schema_name(tenant_id)), Identifier(place.app_login)
    with place.owned(tenant_id) as connection:
        for statement in ["CREATE ROLE {n}", "GRANT {n} TO {a}", "CREATE SCHEMA {n}"]:
            connection.execute(SQL(statement).format(n=name, a=app))
    return tenant_id, name


async def test_compiled_and_online_give_the_same_catalog(place, template):
    compiled = await place.tenant(template, rows=False)
    online, name = _bare_schema(place)
    assert _alembic(place, online, template) == "app_0001,core_0003"
    lines = _catalog(place, compiled)
    assert len(lines) > 500
    assert _catalog(place, online) == lines
    with place.superuser() as connection:
        connection.execute(SQL("DROP SCHEMA {} CASCADE").format(name))
        connection.execute(SQL("DROP ROLE {}").format(name))


@pytest.mark.parametrize("rows", [False, True], ids=["empty", "populated"])
@pytest.mark.parametrize(
    "to", ["template@base", "core@core_0002", "core@core_0001", "base"], ids=str
)
async def test_down_and_up_again_ends_where_it_began(place, template, to, rows):
    tenant_id = await place.tenant(template, rows=rows)
    before = _catalog(place, tenant_id)
    _alembic(place, tenant_id, template, to)
    assert _catalog(place, tenant_id) != before
    assert _alembic(place, tenant_id, template) == "app_0001,core_0003"
    assert _positionless(_catalog(place, tenant_id)) == _positionless(before)


def _positionless(lines):
    """A column that was dropped and added again counts on from the last number."""
    return sorted(line for line in lines if "('alembic_version', 'tenant_id', " not in line)


async def test_older_tenants_are_upgraded_by_the_compiled_script(place, template):
    fresh = await place.tenant(template, rows=False)
    older = await place.tenant(template, rows=False)
    _alembic(place, older, template, "core@core_0002")
    async with place.owner() as conn:
        revision = await upgrade(conn, tenant_id=older, template=template)
    assert revision == "app_0001,core_0003"
    assert _catalog(place, older) == _catalog(place, fresh)


async def test_the_tables_in_python_are_the_tables_in_the_database(place, template):
    tenant_id = await place.tenant(template, rows=False)
    engine = create_engine(make_url(place.owner_url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        connection.exec_driver_sql(enter(tenant_id), execution_options={"no_parameters": True})
        changes = environment.changes(connection, _both())
        without_sample = environment.changes(connection, tables.metadata)
    engine.dispose()
    assert changes == []
    assert {change[1].name for change in without_sample if change[0] == "remove_table"} == {
        *sample.metadata.tables
    }


def _both() -> MetaData:
    both = MetaData(naming_convention=NAMING)
    for each in (tables.metadata, sample.metadata):
        for table in each.tables.values():
            table.to_metadata(both)
    return both


async def test_every_check_in_python_is_in_the_database(place, template):
    """Autogenerate does not compare CHECKs."""
    tenant_id = await place.tenant(template, rows=False)
    with place.owned(tenant_id) as connection:
        names = "SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace = %s::regnamespace"
        found = {row[0] for row in connection.execute(names, [schema_name(tenant_id)])}
    quote = postgresql.dialect().identifier_preparer
    known = {
        quote.format_constraint(constraint)
        for table in _both().tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    pinned = {f"ck_{table}_tenant_id" for table in [*_both().tables, "alembic_version"]}
    assert found == known | pinned


def test_rows_are_there_for_every_table_that_seeds_leave_empty():
    missing = [name for name in _both().tables if not re.search(rf"INSERT INTO {name}\s", ROWS)]
    assert sorted(missing) == ["roles", "settings", "tenant_realms"]
