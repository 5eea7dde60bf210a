"""Alembic's environment of the public schema; started by controlplane.store.migrate alone."""

from alembic import context
from sqlalchemy import Connection

from controlplane.store.tables import metadata

connection: Connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table="alembic_version_public",
    version_table_schema="public",
    include_schemas=True,
    include_name=lambda name, kind, _: kind != "schema" or name == "public",
)
with context.begin_transaction():
    context.run_migrations()
