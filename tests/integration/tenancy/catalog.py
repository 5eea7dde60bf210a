"""A schema's catalog as comparable lines, without what must differ between two tenants."""

import psycopg

from controlplane.domain.naming import SchemaName

_QUERIES = {
    "tables": """
        SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relpersistence,
               c.relowner::regrole::text, c.reloptions
        FROM pg_class c WHERE c.relnamespace = {schema} AND c.relkind <> 'i'""",
    "columns": """
        SELECT c.relname, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               a.attstorage, a.attcollation, pg_get_expr(f.adbin, f.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef f ON f.adrelid = c.oid AND f.adnum = a.attnum
        WHERE c.relnamespace = {schema} AND c.relkind = 'r' AND a.attnum > 0
          AND NOT a.attisdropped""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype, convalidated, condeferrable,
               pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = {schema}""",
    "indexes": """
        SELECT i.indrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisvalid
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = {schema}""",
    "policies": """
        SELECT p.polrelid::regclass::text, p.polname, p.polcmd, p.polpermissive, p.polroles::text,
               pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
        FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = {schema}""",
    "grants": """
        SELECT c.relname, a.grantee::regrole::text, a.privilege_type, a.is_grantable
        FROM pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = {schema}""",
}


def dump(connection: psycopg.Connection, schema: SchemaName) -> list[str]:
    """Sorted; the schema's own name and the tenant's id are replaced by placeholders."""
    lines = []
    for kind, query in _QUERIES.items():
        place = "to_regnamespace(%(schema)s)"
        found = connection.execute(query.replace("{schema}", place), {"schema": schema})
        lines += [f"{kind} {row}" for row in found]
    hexadecimal = schema.removeprefix("tenant_")
    dashed = "-".join(hexadecimal[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))
    return sorted(line.replace(schema, "SCHEMA").replace(dashed, "TENANT") for line in lines)
