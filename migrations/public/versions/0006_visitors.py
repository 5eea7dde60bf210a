"""Rows of the audit log that visitors of tenants' hosts have caused"""

from collections.abc import Sequence

from alembic import op

revision: str = "0006"
down_revision: str | Sequence[str] | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_DROP = "ALTER TABLE public.audit_log DROP CONSTRAINT ck_audit_log_actor_kind"
_ALLOW = """
ALTER TABLE public.audit_log ADD CONSTRAINT ck_audit_log_actor_kind
  CHECK (actor_kind IN ('admin', 'operation', 'cli', 'visitor'))
"""
_FORBID = """
ALTER TABLE public.audit_log ADD CONSTRAINT ck_audit_log_actor_kind
  CHECK (actor_kind IN ('admin', 'operation', 'cli')) NOT VALID
"""
# The rows of visitors stay: a log that can only grow loses none.
_BELIEVE = """
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM public.audit_log WHERE actor_kind = 'visitor') THEN
    ALTER TABLE public.audit_log VALIDATE CONSTRAINT ck_audit_log_actor_kind;
  END IF;
END $$
"""


def upgrade() -> None:
    for statement in (_DROP, _ALLOW):
        op.execute(statement)


def downgrade() -> None:
    for statement in (_DROP, _FORBID, _BELIEVE):
        op.execute(statement)
