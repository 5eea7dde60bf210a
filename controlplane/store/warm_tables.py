"""Schemas that were made ahead, and belong to no tenant yet."""

from sqlalchemy import Boolean, Column, DateTime, Index, Table, Text, Uuid, func, text

from controlplane.store.columns import metadata

# `tenant_id` is whose it will be: there is no such tenant yet. `stamp` is tenancy.stamp's of it as it
# was made; `going` ones are being removed. A row goes in the transaction in which its tenant's
# comes, and none ever comes back.
warm_schemas = Table(
    "warm_schemas",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("recipe", Text, nullable=False),
    Column("revision", Text, nullable=False),
    Column("stamp", Text, nullable=False),
    Column("going", Boolean, nullable=False, server_default=text("false")),
    Column(
        "made_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()
    ),
    Index("ix_warm_schemas_ready", "recipe", "made_at", postgresql_where=text("NOT going")),
)
