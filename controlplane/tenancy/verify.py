"""Whether a tenant's schema is what its template promises, by what PostgreSQL's catalog says."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import schema_name
from controlplane.tenancy.compile import Script, compiled
from controlplane.tenancy.expected import Rights, rights_by_table
from controlplane.tenancy.scope import tenant_scope
from controlplane.tenancy.template import Template
from controlplane.tenancy.versions import VERSIONS, present_heads

# Through pg_depend, which is indexed by schema: pg_class is not and holds every tenant's tables.
_TABLES = text("""
SELECT c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
       c.relowner = n.nspowner AS owned,
       ARRAY(SELECT format('%s %s %s %s', p.polname, p.polpermissive, p.polcmd,
                           p.polroles = '{0}'::oid[])
             FROM pg_policy p WHERE p.polrelid = c.oid ORDER BY 1) AS policies,
       EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive
               AND pg_get_expr(p.polqual, p.polrelid) = :rule
               AND pg_get_expr(p.polwithcheck, p.polrelid) = :rule) AS ruled,
       EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c'
               AND k.convalidated AND pg_get_constraintdef(k.oid) = :pinned) AS pinned,
       ARRAY(SELECT a.privilege_type FROM aclexplode(c.relacl) a
             WHERE a.grantee = r.oid ORDER BY 1) AS rights,
       EXISTS (SELECT FROM aclexplode(c.relacl) a
               WHERE a.grantee NOT IN (c.relowner, r.oid)) AS others,
       EXISTS (SELECT FROM pg_attribute t, aclexplode(t.attacl) a
               WHERE t.attrelid = c.oid AND a.grantee <> c.relowner) AS columns
FROM pg_namespace n
JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
                AND d.classid = 'pg_class'::regclass
JOIN pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p')
LEFT JOIN pg_roles r ON r.rolname = n.nspname
WHERE n.nspname = :schema
ORDER BY c.relname
""")
# As PostgreSQL 15 to 18 print the policy of revisions.CONTEXT.
_RULE = (
    "(tenant_id = ( SELECT (NULLIF(current_setting('app.current_tenant_id'::text, true), "
    "''::text))::uuid AS \"nullif\"))"
)
_POLICIES = ["tenant_access t * t", "tenant_rows f * t"]

_FRAME = text("""
SELECT n.nspowner <> r.oid AS apart,
       pg_has_role(:app, r.oid, 'MEMBER') AS member,
       r.rolcanlogin OR r.rolsuper OR r.rolbypassrls OR r.rolcreaterole AS mighty,
       has_schema_privilege(r.oid, n.oid, 'USAGE') AS uses,
       has_schema_privilege(r.oid, n.oid, 'CREATE') AS creates,
       EXISTS (SELECT FROM aclexplode(n.nspacl) a
               WHERE a.grantee NOT IN (n.nspowner, r.oid)) AS others
FROM pg_namespace n JOIN pg_roles r ON r.rolname = n.nspname WHERE n.nspname = :schema
""")


async def verify_catalog(
    conn: AsyncConnection, *, tenant_id: UUID, app_login: str, template: Template
) -> list[str]:
    """What is wrong with the schema, a sentence each; empty where all is well."""
    script = await asyncio.to_thread(compiled, template)
    name = schema_name(tenant_id)
    frame = (await conn.execute(_FRAME, {"schema": name, "app": app_login})).one_or_none()
    if frame is None:
        return [f"The schema or the role {name} is missing."]
    known = {"schema": name, "rule": _RULE, "pinned": f"CHECK ((tenant_id = '{tenant_id}'::uuid))"}
    rows = (await conn.execute(_TABLES, known)).all()
    framed = _frame_findings(frame, app_login)
    found = framed + _table_findings(rights_by_table(script), rows)
    if framed or VERSIONS not in {row.name for row in rows}:
        return found
    return found + await _revision_findings(conn, tenant_id, script)


def _frame_findings(frame: Row[Any], app_login: str) -> list[str]:
    checks = {
        "The schema belongs to the tenant's own role.": not frame.apart,
        f"The login {app_login} is not a member of the tenant's role.": not frame.member,
        "The tenant's role may log in or has rights over others.": frame.mighty,
        "The tenant's role may not use its schema.": not frame.uses,
        "The tenant's role may create objects in its schema.": frame.creates,
        "Others than the tenant's role have rights on its schema.": frame.others,
    }
    return [finding for finding, wrong in checks.items() if wrong]


def _table_findings(expected: Rights, rows: Sequence[Row[Any]]) -> list[str]:
    missing = sorted(expected.keys() - {row.name for row in rows})
    found = [f"Table {name} is missing." for name in missing]
    for row in rows:
        # A table that no revision knows is held to the same rules, and to no grants at all.
        found += _one_table(row, expected.get(row.name, frozenset()))
    return found


def _one_table(row: Row[Any], rights: frozenset[str]) -> list[str]:
    name = row.name
    checks = {
        f"Row-level security is off on {name}.": not row.enabled,
        f"Row-level security is not forced on {name}.": not row.forced,
        f"The policies on {name} are {row.policies}.": row.policies != _POLICIES,
        f"The tenant's policy on {name} has another text.": not row.ruled,
        f"No CHECK pins {name} to the tenant.": not row.pinned,
        f"{name} belongs to another role than its schema.": not row.owned,
        f"The tenant's role has {row.rights} on {name}.": set(row.rights) != rights,
        f"Others than the tenant's role have rights on {name}.": row.others,
        f"Rights on single columns of {name} were granted.": row.columns,
    }
    return [finding for finding, wrong in checks.items() if wrong]


async def _revision_findings(conn: AsyncConnection, tenant_id: UUID, script: Script) -> list[str]:
    async with tenant_scope(conn, tenant_id):
        present = ",".join(await present_heads(conn))
    if present == script.revision:
        return []
    return [f"The schema is at revision {present}, the template at {script.revision}."]
