"""How much DDL runs at once in a database: a few transactions, each of which holds so many locks.

PostgreSQL's lock table is shared by all sessions of the server, and when it is full, whoever asks
next is refused ("out of shared memory"), the tenants' requests included.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# As many as gain anything: DDL is bound by the server's CPU, and beyond its cores only waits.
AT_ONCE = 4
# An object that is made or dropped is one lock: measured, 22 for a table with a foreign key, six
# NOT NULL, an index and a policy (PostgreSQL 18; 16 and 15 know no locks of NOT NULL, so fewer).
# A thousand are four such transactions in the default lock table of 64 x 100, and a third left.
AT_MOST = 1000

# Any number; all workers agree on it.
_CLASS = 4203
# A free slot, or else the place in the queue of any: the session's lock_timeout ends the wait.
_TAKE = text("""
WITH free AS MATERIALIZED (
  SELECT slot FROM generate_series(1, :at_once) slot
  WHERE pg_try_advisory_xact_lock(:class, slot) LIMIT 1
), waited AS MATERIALIZED (
  SELECT CASE WHEN NOT EXISTS (SELECT FROM free)
    THEN pg_advisory_xact_lock(:class, 1 + (random() * (:at_once - 1))::int) END
)
SELECT least(:at_most,
  current_setting('max_locks_per_transaction')::int
  * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int)
  / (2 * :at_once))
FROM waited
""").bindparams(**{"class": _CLASS, "at_once": AT_ONCE, "at_most": AT_MOST})


async def take(conn: AsyncConnection) -> int:
    """Hold a slot until the transaction's end; returns how many locks it should not exceed: half
    the server's lock table for all slots together, and never more than AT_MOST.

    Raises psycopg's LockNotAvailable inside SQLAlchemy's OperationalError where none came free
    within the session's lock_timeout.
    """
    return int((await conn.execute(_TAKE)).scalar_one())
