"""The sample application's tables as they are at the newest revision, for its queries."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    MetaData,
    Numeric,
    Text,
    UniqueConstraint,
)

from controlplane.tenancy.columns import (
    NAMING,
    belongs_to,
    choice,
    document,
    key,
    moment,
    one_of,
    refers_to,
    stamp,
    words,
)
from controlplane.tenancy.tables import tenant_table

metadata = MetaData(naming_convention=NAMING)

clients = tenant_table(
    metadata,
    "clients",
    key(),
    choice("kind"),
    words("name"),
    Column("email", Text()),
    Column("phone", Text()),
    choice("state", default="active"),
    document("metadata"),
    refers_to("created_by", "users.id"),
    stamp("created_at"),
    stamp("updated_at"),
    one_of("kind", "individual", "company"),
    one_of("state", "active", "archived"),
    Index("ix_clients_name", "name"),
)

registrations = tenant_table(
    metadata,
    "registrations",
    key(),
    words("number"),
    belongs_to("client_id", "clients.id"),
    choice("state", default="draft"),
    document("details"),
    refers_to("assigned_to", "users.id"),
    moment("submitted_at"),
    moment("decided_at"),
    stamp("created_at"),
    stamp("updated_at"),
    UniqueConstraint("number"),
    one_of("state", "draft", "submitted", "in_review", "approved", "rejected", "cancelled"),
    Index("ix_registrations_state", "state", "created_at"),
)

documents = tenant_table(
    metadata,
    "documents",
    key(),
    belongs_to("registration_id", "registrations.id"),
    words("name"),
    words("storage_path"),
    words("mime_type"),
    Column("size_bytes", BigInteger(), nullable=False),
    choice("state", default="pending"),
    refers_to("uploaded_by", "users.id"),
    refers_to("verified_by", "users.id"),
    moment("verified_at"),
    moment("expires_at"),
    stamp("created_at"),
    stamp("updated_at"),
    UniqueConstraint("storage_path"),
    one_of("state", "pending", "verified", "rejected", "expired"),
    CheckConstraint("size_bytes >= 0", name="size_bytes"),
)

commissions = tenant_table(
    metadata,
    "commissions",
    key(),
    belongs_to("registration_id", "registrations.id"),
    refers_to("user_id", "users.id"),
    Column("fee", Numeric(14, 2), nullable=False),
    Column("rate", Numeric(6, 5), nullable=False),
    Column("amount", Numeric(14, 2), nullable=False),
    words("currency"),
    choice("state", default="pending"),
    moment("paid_at"),
    stamp("created_at"),
    stamp("updated_at"),
    one_of("state", "pending", "approved", "paid", "cancelled"),
    CheckConstraint("fee >= 0 AND amount >= 0", name="amounts"),
    CheckConstraint("rate BETWEEN 0 AND 1", name="rate"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
)
