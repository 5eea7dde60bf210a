"""The core tables of a tenant's schema as they are at the newest revision.

No schema is named: the transaction's path decides whose they are. What the revisions say is the
truth; a test compares the two.
"""

import sqlalchemy as sa
from sqlalchemy import Column, Index, Text, Uuid
from sqlalchemy.dialects.postgresql import INET, JSONB

from controlplane.tenancy import (  # noqa: F401  a table is known once its module is imported
    account_tables,
    login_tables,
)
from controlplane.tenancy.columns import (
    choice,
    document,
    key,
    number,
    one_of,
    refers_to,
    stamp,
    words,
)
from controlplane.tenancy.tenant_table import core_metadata, core_table, tenant_table

# `tenant_table` for the tables.py of tenant templates.
__all__ = ["audit_events", "metadata", "settings", "tenant_table"]

# All that there are, with those below.
metadata = core_metadata

settings = core_table(
    "settings",
    Column("key", Text(), primary_key=True),
    Column("value", JSONB()),
    choice("value_type"),
    Column("value_encrypted", sa.LargeBinary()),
    Column("description", Text()),
    number("version", default=1),
    refers_to("updated_by", "users.id"),
    stamp("updated_at"),
    one_of("value_type", "string", "number", "boolean", "json"),
)

audit_events = core_table(
    "audit_events",
    key(),
    stamp("occurred_at"),
    choice("actor_kind"),
    Column("actor_id", Uuid()),
    words("action"),
    Column("target_kind", Text()),
    Column("target_id", Text()),
    choice("outcome", default="ok"),
    Column("ip", INET()),
    Column("request_id", Text()),
    document("details"),
    one_of("actor_kind", "user", "client", "system", "operator"),
    one_of("outcome", "ok", "denied", "failed"),
    Index("ix_audit_events_occurred_at", "occurred_at"),
    Index("ix_audit_events_actor_id", "actor_id", "occurred_at"),
    Index("ix_audit_events_action", "action", "occurred_at"),
)
