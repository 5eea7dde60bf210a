"""What tables of a tenant's schema are declared with for queries; revisions have their own."""

from functools import partial

import sqlalchemy as sa
from sqlalchemy import Column, Uuid

from controlplane.tenancy.columns import NAMING

core_metadata = sa.MetaData(naming_convention=NAMING)


def tenant_table(metadata: sa.MetaData, name: str, *parts: sa.schema.SchemaItem) -> sa.Table:
    """A table with the tenant column, whose value the database gives and nobody writes."""
    tenant_id = Column("tenant_id", Uuid(), nullable=False, server_default=sa.FetchedValue())
    return sa.Table(name, metadata, *parts, tenant_id)


core_table = partial(tenant_table, core_metadata)
