"""What is asked of the database for each target: prepared once for each connection, because planned
anew for each target it costs more than it does."""

from psycopg.sql import SQL, Literal
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.rollouts import Policy
from controlplane.store import driver

# Locks of this class are the places of a rollout: `max_parallel` of them, whoever takes them.
PLACES = 720_138

# $1 rollout, $2 tenant. The row of a tenant with an operation in its hands is locked by that, so it
# is passed over. coalesce: nothing but the primary key is to be of use, whatever the planner believes
# of how many are pending; by the other index, all that are would be gone through for each of them.
_HOLD = """
SELECT t.attempt FROM public.rollout_targets t
JOIN public.rollouts r ON r.id = t.rollout_id JOIN public.tenants n ON n.id = t.tenant_id
WHERE t.rollout_id = $1 AND t.tenant_id = $2 AND coalesce(t.state, '') = 'pending'
  AND t.run_at <= clock_timestamp() AND t.ring <= r.ring
  AND r.state = 'running' AND r.run_at <= clock_timestamp()
FOR UPDATE OF t SKIP LOCKED FOR NO KEY UPDATE OF n SKIP LOCKED
"""
# $3 schema, $4 our mark, $5 places, $6 their class. A statement of its own, begun when nobody can
# change what is read of the tenant any more.
_LOOK = """
SELECT n.state, n.revision, o.kind AS operation, coalesce(o.state = 'parked', false) AS parked,
  CASE WHEN n.conditions @> '{"Frozen": {"holds": true}}'
    THEN coalesce(n.conditions #>> '{Frozen,reason}', '') END AS frozen,
  starts_with(coalesce(d.description, ''), $4) AS ours,
  (SELECT place FROM generate_series(1, $5) AS place
   WHERE pg_try_advisory_xact_lock($6, place) LIMIT 1) AS place
FROM public.tenants n
LEFT JOIN public.operations o ON o.tenant_id = n.id AND o.finished_at IS NULL
LEFT JOIN pg_catalog.pg_description d ON d.objoid = to_regnamespace($3)::oid
  AND d.classoid = 'pg_catalog.pg_namespace'::regclass AND d.objsubid = 0
WHERE n.id = $2
"""
# $3 the revision before, $4 the rollout's.
_DONE = """
WITH target AS (
  UPDATE public.rollout_targets SET state = 'done', attempt = attempt + 1, error = NULL,
    from_revision = $3, finished_at = clock_timestamp()
  WHERE rollout_id = $1 AND tenant_id = $2
)
UPDATE public.tenants
SET revision = $4, version = version + 1, updated_at = clock_timestamp()
WHERE id = $2 AND revision IS DISTINCT FROM $4
"""
_PREPARE = f"""
PREPARE rollout_hold (uuid, uuid) AS {_HOLD};
PREPARE rollout_look (uuid, uuid, text, text, integer, integer) AS {_LOOK};
PREPARE rollout_done (uuid, uuid, text, text) AS {_DONE}
"""

# The number of the session's last transaction that has committed: one that has not takes its own back.
_LAST = "controlplane.upgrade"
LAST = f"SELECT coalesce(nullif(current_setting('{_LAST}', true), '')::bigint, 0)"

# The error of the functions below.
REFUSED = "CP001"
# For messages that nobody looks into before they commit: what is not quite so ends them. The text of
# the error is `missed` or `no_place` where that is all, else there is something to look at. $7 and
# $5: the revisions that the catalog and the schema have, before and after.
_FUNCTIONS = f"""
CREATE FUNCTION pg_temp.rollout_take(uuid, uuid, text, text, integer, integer, text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE seen record; heads text;
BEGIN
  PERFORM FROM ({_HOLD}) AS held;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = '{REFUSED}', MESSAGE = 'missed';
  END IF;
  SELECT * INTO seen FROM ({_LOOK}) AS look;
  IF seen.place IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = '{REFUSED}', MESSAGE = 'no_place';
  END IF;
  IF (seen.ours AND seen.revision = $7 AND seen.state NOT IN ('purging', 'purged')
      AND seen.operation IS NULL AND seen.frozen IS NULL) IS NOT TRUE THEN
    RAISE EXCEPTION USING ERRCODE = '{REFUSED}', MESSAGE = 'look';
  END IF;
  EXECUTE format('SELECT string_agg(version_num, '','' ORDER BY version_num)'
    ' FROM %I.alembic_version', $3) INTO heads;
  IF heads IS DISTINCT FROM $7 THEN
    RAISE EXCEPTION USING ERRCODE = '{REFUSED}', MESSAGE = 'look';
  END IF;
END $$;
CREATE FUNCTION pg_temp.rollout_finish(uuid, uuid, text, text, text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE heads text;
BEGIN
  {_DONE};
  EXECUTE format('SELECT string_agg(version_num, '','' ORDER BY version_num)'
    ' FROM %I.alembic_version', $5) INTO heads;
  IF heads IS DISTINCT FROM $4 THEN
    RAISE EXCEPTION USING ERRCODE = '{REFUSED}', MESSAGE = 'look';
  END IF;
END $$
"""  # noqa: S608  made of the literals above

EXECUTE_HOLD = SQL("EXECUTE rollout_hold ({rollout}, {tenant})")
EXECUTE_LOOK = SQL(
    "EXECUTE rollout_look ({rollout}, {tenant}, {schema}, {mark}, {places}, {class_})"
)
EXECUTE_DONE = SQL("EXECUTE rollout_done ({rollout}, {tenant}, {before}, {revision})")
TAKE = SQL(
    "SELECT pg_temp.rollout_take"
    "({rollout}, {tenant}, {schema}, {mark}, {places}, {class_}, {before})"
)
# What is put off to the end of a transaction is done by then, in the tenant's path: nobody enters what
# fails at COMMIT itself.
SETTLE = "SET CONSTRAINTS ALL IMMEDIATE"
# Planned once, as long as the path is the same; that of a tenant never is.
FINISH = SQL(
    f"{SETTLE};\n"
    "SET LOCAL search_path = pg_catalog, pg_temp;\n"
    "SELECT pg_temp.rollout_finish({rollout}, {tenant}, {before}, {revision}, {schema})"
)
# Before its number. No set_config(): an owner need not have the right to it.
NUMBER = f"SET {_LAST} = "
# Its COMMIT does not wait for the disk. What others commit on the strength of it comes later in the
# journal of the server, so it is never there without this.
LAZILY = "SET LOCAL synchronous_commit = off"
_LIMITS = SQL("SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}")


def limits(policy: Policy) -> str:
    """The statement that bounds the waits of a transaction."""
    lock_ms, statement_ms = policy.lock_timeout_ms, policy.statement_timeout_s * 1000
    return _LIMITS.format(Literal(lock_ms), Literal(statement_ms)).as_string()


async def prepare(conn: AsyncConnection) -> None:
    """What EXECUTE needs of its connection; nothing where it has it already."""
    await _once(conn, "rollouts", _PREPARE)


async def prepare_functions(conn: AsyncConnection) -> None:
    """What TAKE and FINISH need of their connection, which commits each message by itself. Raises
    DBAPIError, also for an owner who may make nothing temporary."""
    await _once(conn, "rollouts at once", _FUNCTIONS)


async def _once(conn: AsyncConnection, what: str, script: str) -> None:
    known = (await conn.get_raw_connection()).info
    if what not in known:
        await driver.rows_of_each(conn, script)
        known[what] = True
