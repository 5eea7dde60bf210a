"""Whether the app servers' login is as powerless as the isolation needs it."""

from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from controlplane.errors import UnsafeDatabaseRole

# session_user: what SET ROLE, whoever runs it, can come back to. MEMBER asks what the login may
# become, USAGE what it is already. Each query names its finds, at most five of them. What is in a
# schema is found by pg_depend: pg_class holds all tenants' tables, and has no index of its own for it.
# Rights are asked for before names are matched, which takes longer.
_FAULTS = {
    "it is, or may become, a role with powers over all tenants (superuser, BYPASSRLS, CREATEROLE,"
    " REPLICATION or access to all data, files or programs)": r"""
        SELECT rolname::text FROM pg_roles
        WHERE pg_has_role(session_user, oid, 'MEMBER')
          AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolreplication OR rolname IN (
            'pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files',
            'pg_write_server_files', 'pg_execute_server_program'))
        ORDER BY rolname <> session_user, rolname LIMIT 5""",
    "it owns, or may act as the owner of": r"""
        SELECT owned FROM (
          SELECT 'database ' || datname, datdba FROM pg_database WHERE datname = current_database()
          UNION ALL
          SELECT 'schema ' || nspname, nspowner FROM pg_namespace
          WHERE pg_has_role(session_user, nspowner, 'MEMBER')
            AND (nspname = 'public' OR nspname ~ '^tenant_[0-9a-f]{32}$')
          UNION ALL
          SELECT 'public.' || c.relname, c.relowner FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
          WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'public'::regnamespace
            AND d.classid = 'pg_class'::regclass AND c.relkind IN ('r', 'p', 'v', 'm')
        ) AS things (owned, owner)
        WHERE pg_has_role(session_user, owner, 'MEMBER') ORDER BY owned LIMIT 5""",
    "it inherits rights instead of taking a role per transaction (make it NOINHERIT)": r"""
        SELECT rolname::text FROM pg_roles
        WHERE (rolname = session_user AND rolinherit)
           OR (pg_has_role(session_user, oid, 'USAGE') AND rolname ~ '^tenant_[0-9a-f]{32}$')
        ORDER BY rolname <> session_user, rolname LIMIT 5""",
}
_WARNINGS = {
    "PUBLIC may execute set_config(), which can change the role in the midst of a query; as a"
    " superuser: REVOKE EXECUTE ON FUNCTION pg_catalog.set_config FROM PUBLIC": """
        SELECT has_function_privilege('public', 'pg_catalog.set_config(text,text,bool)', 'EXECUTE')
        """,
    "PUBLIC may create temporary tables; as the database's owner:"
    " REVOKE TEMPORARY ON DATABASE … FROM PUBLIC": """
        SELECT has_database_privilege('public', current_database(), 'TEMPORARY')""",
    # SQL inside a tenant may leave them, for whoever has left its role is the login.
    "the login or the database has a role, a search path or a tenant of its own in its settings;"
    " look into pg_db_role_setting and RESET it": r"""
        SELECT EXISTS (
          SELECT FROM pg_db_role_setting, unnest(setconfig) AS setting
          WHERE (setrole = 0 OR setrole = session_user::regrole)
            AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
            AND setting ~* '^(role|search_path|session_authorization|app\.current_tenant_id)=')""",
}


async def check_login(conn: AsyncConnection[Any]) -> list[str]:
    """Look at the login of this connection, once, before it serves anybody.

    Returns what weakens the isolation without voiding it, a sentence each. Raises
    UnsafeDatabaseRole, naming every fault, for a login with rights of its own over tenants.
    """
    async with conn.cursor(row_factory=scalar_row) as cursor:
        found = [
            f"{fault}: {', '.join(names)}"
            for fault, query in _FAULTS.items()
            if (names := await (await cursor.execute(query)).fetchall())
        ]
        if found:
            raise UnsafeDatabaseRole(f"The login may not serve tenants: {'; '.join(found)}.")
        return [
            warning
            for warning, query in _WARNINGS.items()
            if await (await cursor.execute(query)).fetchone()
        ]
