"""What revisions of a tenant schema are written with.

`tenant_table` instead of `op.create_table`: it adds the tenant column, row-level security and the
grants, which the lint otherwise demands one by one. No revision names a schema.
"""

from dataclasses import dataclass
from typing import Any

from alembic import op
from sqlalchemy import CheckConstraint, Column, MetaData, Uuid, text
from sqlalchemy.schema import SchemaItem

from controlplane.tenancy.columns import NAMING
from controlplane.tenancy.sqltext import statements
from controlplane.tenancy.versions import VERSIONS

ALL_ROWS = "SELECT, INSERT, UPDATE, DELETE"
APPEND_ONLY = "SELECT, INSERT"

# The sub-select is evaluated once per statement instead of once per row.
CONTEXT = "(SELECT NULLIF(current_setting('app.current_tenant_id', true), '')::uuid)"

_PROTECT = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_access ON {table} AS PERMISSIVE FOR ALL TO PUBLIC
  USING (true) WITH CHECK (true);
CREATE POLICY tenant_rows ON {table} AS RESTRICTIVE FOR ALL TO PUBLIC
  USING (tenant_id = {context}) WITH CHECK (tenant_id = {context})
"""
_UNPROTECT = """
DROP POLICY tenant_rows ON {table};
DROP POLICY tenant_access ON {table};
ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;
ALTER TABLE {table} DISABLE ROW LEVEL SECURITY
"""


@dataclass(frozen=True)
class Target:
    """Whose schema the revisions run in; the compile path puts placeholders here."""

    schema: str
    role: str
    tenant_id: str


def target_metadata() -> MetaData:
    """Gives constraints in revisions their names."""
    return MetaData(naming_convention=NAMING)


def tenant_table(name: str, *parts: SchemaItem, grants: str = ALL_ROWS) -> None:
    """Create a table that only its tenant can use; `grants` are the tenant role's rights."""
    op.create_table(name, *parts, _tenant_column(), _tenant_check())
    protect(name)
    grant(name, grants)


def drop_tenant_table(name: str) -> None:
    op.drop_table(name)


def protect(name: str) -> None:
    """Row-level security, enabled and forced, with its two policies."""
    _each(_PROTECT, name)


def grant(name: str, rights: str = ALL_ROWS) -> None:
    """Rights on one named table: `ON ALL TABLES` would scan every tenant's catalog rows."""
    role = _quoted(_target().role)
    op.execute(f"GRANT {rights} ON {_quoted(name)} TO {role}")


def protect_versions() -> None:
    """Put Alembic's own version table under the same rules; nobody but the owner may use it."""
    op.add_column(VERSIONS, _tenant_column())
    op.create_check_constraint("tenant_id", VERSIONS, _tenant_check().sqltext)
    protect(VERSIONS)


def unprotect_versions() -> None:
    _each(_UNPROTECT, VERSIONS)
    op.drop_constraint(op.f(f"ck_{VERSIONS}_tenant_id"), VERSIONS)
    op.drop_column(VERSIONS, "tenant_id")


def _tenant_column() -> Column[Any]:
    return Column(
        "tenant_id", Uuid(), nullable=False, server_default=text(f"'{_target().tenant_id}'")
    )


def _tenant_check() -> CheckConstraint:
    return CheckConstraint(f"tenant_id = '{_target().tenant_id}'", name="tenant_id")


def _each(script: str, name: str) -> None:
    for statement in statements(script):
        op.execute(statement.format(table=_quoted(name), context=CONTEXT))


def _target() -> Target:
    target: Target = op.get_context().opts["target"]
    return target


def _quoted(name: str) -> str:
    return op.get_context().dialect.identifier_preparer.quote(name)
