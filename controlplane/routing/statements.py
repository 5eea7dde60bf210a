"""What is said to PostgreSQL around a tenant's transaction. Pure."""

from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from psycopg import sql

from controlplane.domain.naming import SchemaName, schema_name

# SET LOCAL, never SET: a pooled connection must not keep it, and a pooler would hand it to others.
# Never set_config() either: the tenant's role may not call it. pg_temp is named, and last, because
# it is searched first where it is not named.
_ENTER = (
    sql.SQL("SET LOCAL search_path TO {schema}, pg_temp"),
    sql.SQL("SET LOCAL app.current_tenant_id TO {id}"),
    sql.SQL("SET LOCAL ROLE {schema}"),
)
# A missing schema, or one without USAGE, is silently skipped on a path. So the server divides by
# zero there: what was sent behind it, in the same message or pipeline, is then not executed.
_PROOF = sql.SQL(
    "SELECT 1 / (current_schema() IS NOT DISTINCT FROM {name} AND current_user = {name})::int"
)
BEGIN = b"BEGIN"
COMMIT = b"COMMIT"
ROLLBACK = b"ROLLBACK"
# What ran in the transaction may have said SET without LOCAL, and COMMIT would keep it.
RESETS = (b"RESET ROLE", b"RESET search_path", b"RESET app.current_tenant_id")
LEAVE = b"; ".join((COMMIT, *RESETS))
ABANDON = b"; ".join((ROLLBACK, *RESETS))


@dataclass(frozen=True)
class Prelude:
    """How a transaction becomes a tenant's.

    `statements` begin it, set path, id and role, and prove path and role; `script` is the same as
    one message, `inside` the same for a transaction that has begun.
    """

    schema: SchemaName
    statements: tuple[bytes, ...]
    script: bytes
    inside: bytes


@lru_cache(maxsize=16_384)
def prelude(tenant_id: UUID) -> Prelude:
    """Kept for the tenants that were last asked for: composing costs more than sending."""
    schema = schema_name(tenant_id)
    names = {"schema": sql.Identifier(schema), "id": sql.Literal(str(tenant_id))}
    enter = [statement.format(**names).as_bytes(None) for statement in _ENTER]
    proof = _PROOF.format(name=sql.Literal(schema)).as_bytes(None)
    return Prelude(
        schema,
        (BEGIN, *enter, proof),
        b"; ".join((BEGIN, *enter, proof)),
        b"; ".join((*enter, proof)),
    )
