"""What has been requested lately, for limits that all replicas share"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | Sequence[str] | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Counters are locked in the order of their names, whatever order they are asked for in: nobody waits
# in a circle. The clock is read under the lock, so that counts are made in its order. A lock that is
# not had soon is somebody's who stands still; the caller has a way on without us.
_ADMIT = """
CREATE FUNCTION public.admit_request(
  quota_counters text[],
  quota_limits integer[],
  quota_windows integer[],
  at_s double precision DEFAULT NULL,
  OUT admitted boolean,
  OUT remaining integer[],
  OUT reset_s double precision[]
) LANGUAGE plpgsql SET search_path = pg_catalog SET lock_timeout = '1s' AS $$
DECLARE
  nothing CONSTANT integer[] := array_fill(0, ARRAY[61]);
  quota record;
  one public.rate_counts;
  counted public.rate_counts[] := '{}';
  now_s double precision;
  slice bigint;
  ahead bigint;
  used bigint;
  oldest bigint;
BEGIN
  admitted := true;
  remaining := quota_limits;
  reset_s := array_fill(0::double precision, ARRAY[cardinality(quota_limits)]);
  FOR quota IN
    SELECT * FROM unnest(quota_counters, quota_limits, quota_windows)
      WITH ORDINALITY AS asked (counter, most, window_s, place)
    ORDER BY counter COLLATE "C"
  LOOP
    LOOP
      SELECT * INTO one FROM public.rate_counts WHERE counter = quota.counter FOR UPDATE;
      EXIT WHEN FOUND;
      INSERT INTO public.rate_counts VALUES (quota.counter, 0, nothing, clock_timestamp())
      ON CONFLICT DO NOTHING;
    END LOOP;
    now_s := coalesce(at_s, extract(epoch FROM clock_timestamp()));
    slice := floor(now_s * 60 / quota.window_s);
    ahead := slice - one.newest;
    IF ahead < -61 OR ahead > 60 THEN
      one.newest := slice;
      one.counts := nothing;
    ELSIF ahead > 0 THEN
      one.newest := slice;
      one.counts := nothing[1:ahead] || one.counts[1:61 - ahead];
    END IF;
    SELECT sum(number), max(place) FILTER (WHERE number > 0) INTO used, oldest
    FROM unnest(one.counts) WITH ORDINALITY AS slices (number, place);
    admitted := admitted AND used < quota.most;
    remaining[quota.place] := greatest(quota.most - used, 0);
    reset_s[quota.place] :=
      (one.newest - coalesce(oldest, 1) + 62) * quota.window_s / 60.0::double precision - now_s;
    one.counts[1] := one.counts[1] + 1;
    one.expires_at := to_timestamp((one.newest + 61) * quota.window_s / 60.0::double precision);
    counted := counted || one;
  END LOOP;
  IF admitted THEN
    FOR place IN 1 .. cardinality(remaining) LOOP
      remaining[place] := remaining[place] - 1;
    END LOOP;
    UPDATE public.rate_counts AS kept
    SET newest = now.newest, counts = now.counts, expires_at = now.expires_at
    FROM unnest(counted) AS now WHERE kept.counter = now.counter;
  END IF;
END $$
"""
_CLOSE = """
REVOKE EXECUTE ON FUNCTION
  public.admit_request(text[], integer[], integer[], double precision) FROM PUBLIC
"""


def upgrade() -> None:
    op.create_table(
        "rate_counts",
        sa.Column("counter", sa.Text(), nullable=False),
        sa.Column("newest", sa.BigInteger(), nullable=False),
        sa.Column("counts", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("counter", name=op.f("pk_rate_counts")),
        schema="public",
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": "50"},
    )
    op.execute(_ADMIT)
    op.execute(_CLOSE)


def downgrade() -> None:
    op.execute("DROP FUNCTION public.admit_request(text[], integer[], integer[], double precision)")
    op.drop_table("rate_counts", schema="public")
