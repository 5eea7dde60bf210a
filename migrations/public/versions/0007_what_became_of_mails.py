"""What became of a mail after it was sent: complaints, delivery, and what finds it again"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | Sequence[str] | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_UP = """
ALTER TABLE public.email_deliveries
  ADD COLUMN message_id text,
  ADD COLUMN delivered_at timestamptz,
  DROP CONSTRAINT ck_email_deliveries_state,
  DROP CONSTRAINT ck_email_deliveries_sent,
  ADD CONSTRAINT ck_email_deliveries_state CHECK (state IN
    ('queued', 'sending', 'sent', 'failed', 'bounced', 'complained', 'uncertain')),
  ADD CONSTRAINT ck_email_deliveries_sent
    CHECK ((sent_at IS NOT NULL) = (state IN ('sent', 'bounced', 'complained')))
"""
_FORGET = "UPDATE public.email_deliveries SET state = 'bounced' WHERE state = 'complained'"
_DOWN = """
ALTER TABLE public.email_deliveries
  DROP COLUMN message_id,
  DROP COLUMN delivered_at,
  DROP CONSTRAINT ck_email_deliveries_state,
  DROP CONSTRAINT ck_email_deliveries_sent,
  ADD CONSTRAINT ck_email_deliveries_state CHECK (state IN
    ('queued', 'sending', 'sent', 'failed', 'bounced', 'uncertain')),
  ADD CONSTRAINT ck_email_deliveries_sent
    CHECK ((sent_at IS NOT NULL) = (state IN ('sent', 'bounced')))
"""
_INDEXES = {
    "ix_email_deliveries_provider_id": ("provider_id", "provider_id IS NOT NULL"),
    "ix_email_deliveries_message_id": ("message_id", "message_id IS NOT NULL"),
    "ix_email_deliveries_recipient": ("recipient", "sent_at IS NOT NULL"),
}


def upgrade() -> None:
    op.execute(_UP)
    for name, (column, rows) in _INDEXES.items():
        op.create_index(
            name,
            "email_deliveries",
            [column],
            schema="public",
            postgresql_where=sa.text(rows),
        )


def downgrade() -> None:
    for name in _INDEXES:
        op.drop_index(name, table_name="email_deliveries", schema="public")
    op.execute(_FORGET)
    op.execute(_DOWN)
