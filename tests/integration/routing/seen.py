"""What a transaction or the pool's next connection sees, and whose rows."""

from psycopg.pq import TransactionStatus

DEFAULTS = ('"$user", public', "none", "")
SEEN = (
    "SELECT current_setting('search_path'), current_setting('role'),"
    " coalesce(current_setting('app.current_tenant_id', true), '')"
)
# With the role's name, where SEEN has the setting.
SEEN_AS = (
    "SELECT current_setting('search_path'), current_user,"
    " coalesce(current_setting('app.current_tenant_id', true), '')"
)


async def state_at_checkout(pool):
    """Path, role and tenant of the next connection of the pool; it must not be in a transaction."""
    async with pool.connection() as conn:
        assert conn.info.transaction_status == TransactionStatus.IDLE
        return await (await conn.execute(SEEN)).fetchone()


async def bodies(conn):
    rows = await (await conn.execute("SELECT body FROM notes ORDER BY id")).fetchall()
    return [body for (body,) in rows]


async def backend(pool):
    async with pool.connection() as conn:
        return conn.info.backend_pid
