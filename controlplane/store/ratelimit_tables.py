"""What has been requested lately, and how much of it. Rows that may be lost: a crash of the server
empties the table, and everybody's quotas with it."""

from sqlalchemy import BigInteger, Column, DateTime, Integer, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from controlplane.store.columns import metadata

# Written by `public.admit_request` as controlplane.domain.ratelimit says, and by store.turns. Half of each page
# is left free, so that the next count of a counter stays beside its last one.
rate_counts = Table(
    "rate_counts",
    metadata,
    Column("counter", Text, primary_key=True),
    Column("newest", BigInteger, nullable=False),
    Column("counts", ARRAY(Integer), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    prefixes=["UNLOGGED"],
    postgresql_with={"fillfactor": "50"},
)
