"""An operator brings his own application: its tables take the sample's place beside the core's."""

import pytest

from controlplane.domain.naming import schema_name
from controlplane.tenancy.lint import lint
from controlplane.tenancy.upgrade import upgrade
from controlplane.tenancy.verify import verify_catalog
from tests.integration.tenancy.places import tables
from tests.integration.tenancy.templates import application, revision

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

BOOKS = """
tenant_table(
    "books",
    key(),
    words("title"),
    sa.Column("owner_id", sa.Uuid(), sa.ForeignKey("users.id", ondelete="SET NULL"), index=True),
    sa.CheckConstraint("title <> ''", name="title"),
)
"""
SEED = """
-- A semicolon; in a comment, and a percent sign in a string.
INSERT INTO books (id, title) VALUES
  ('50000000-0000-4000-8000-000000000001', '100% ; it''s {"literal": :not_a_parameter}');
"""


def _books(folder):
    return application(folder, upgrade=BOOKS, downgrade='drop_tenant_table("books")', seed=SEED)


async def test_its_tables_and_rows_are_there_and_the_samples_are_not(place, tmp_path):
    template = _books(tmp_path)
    assert lint(template) == []
    tenant_id = await place.tenant(template, rows=False)
    with place.superuser() as connection:
        found = tables(connection, schema_name(tenant_id))
    assert "books" in found
    assert "users" in found
    assert "registrations" not in found
    with place.served(tenant_id, context=tenant_id) as connection:
        titles = connection.execute("SELECT title FROM books").fetchall()
    assert titles == [('100% ; it\'s {"literal": :not_a_parameter}',)]


async def test_it_is_verified_and_upgraded_like_the_sample(place, tmp_path):
    tenant_id = await place.tenant(_books(tmp_path), rows=False)
    more = """
    op.add_column("books", sa.Column("pages", sa.Integer()))
    op.create_check_constraint("pages", "books", "pages > 0")
    """
    revision(tmp_path, "own_0002", down="own_0001", upgrade=more)
    newer = _books(tmp_path)
    assert lint(newer) == []
    async with place.owner() as conn:
        check = {"tenant_id": tenant_id, "app_login": place.app_login, "template": newer}
        assert await verify_catalog(conn, **check) == [
            "The schema is at revision core_0003,own_0001, the template at core_0003,own_0002."
        ]
        assert await upgrade(conn, tenant_id=tenant_id, template=newer) == "core_0003,own_0002"
        assert await verify_catalog(conn, **check) == []


async def test_a_row_of_it_is_as_hidden_as_any_other(place, tmp_path):
    template = _books(tmp_path)
    ours, theirs = [await place.tenant(template, rows=False) for _ in range(2)]
    with place.served(ours, context=theirs) as connection:
        assert connection.execute("SELECT count(*) FROM books").fetchone() == (0,)
