"""Rules that every table of the public schema keeps, read from its metadata."""

import pytest
from sqlalchemy import DateTime, Table
from sqlalchemy.dialects import postgresql

from controlplane.store.tables import metadata
from controlplane.tenancy.tables import metadata as tenant_metadata

TABLES = sorted(metadata.tables.values(), key=lambda table: table.name)


@pytest.fixture(params=TABLES, ids=lambda table: table.name)
def table(request: pytest.FixtureRequest) -> Table:
    found: Table = request.param
    return found


def test_every_moment_knows_its_time_zone(table: Table) -> None:
    naive = [
        column.name
        for column in table.columns
        if isinstance(column.type, DateTime) and not column.type.timezone
    ]
    assert naive == []


def test_states_and_kinds_are_text_with_a_check_and_never_enum_types(table: Table) -> None:
    kinds = [column.name for column in table.columns if isinstance(column.type, postgresql.ENUM)]
    assert kinds == []


def test_every_constraint_has_a_name(table: Table) -> None:
    assert [constraint for constraint in table.constraints if not constraint.name] == []


def test_the_table_lives_in_public(table: Table) -> None:
    assert table.schema == "public"


def test_no_table_name_recurs_in_a_tenants_schema() -> None:
    ours = {table.name for table in metadata.tables.values()}
    theirs = {table.name for table in tenant_metadata.tables.values()}
    assert ours
    assert theirs
    assert ours & theirs == set()
