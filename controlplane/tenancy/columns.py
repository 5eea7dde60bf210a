"""Columns and constraints that every table of a tenant schema is made of.

Revisions that are already applied call these functions, so their result never changes: another
shape is another function.
"""

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    Text,
    Uuid,
    false,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

NAMING = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


def key() -> Column[Any]:
    """`id`, a UUID: no identity columns, so that rows can move between databases."""
    return Column("id", Uuid(), primary_key=True, server_default=text("gen_random_uuid()"))


def moment(name: str) -> Column[Any]:
    """A time that may be unknown, with time zone."""
    return Column(name, DateTime(timezone=True))


def deadline(name: str) -> Column[Any]:
    """A time that the writer must give, with time zone."""
    return Column(name, DateTime(timezone=True), nullable=False)


def stamp(name: str) -> Column[Any]:
    """A time that defaults to the start of the transaction, with time zone."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("now()"))


def words(name: str) -> Column[Any]:
    """Text that must be given."""
    return Column(name, Text(), nullable=False)


def lowered(name: str, source: str) -> Column[Any]:
    """The source in lower case, kept by the database, to look rows up by.

    Row security lets only leakproof operators use an index: `=` on this column is one, but
    `lower(source) = …` and jsonb's `@>` would read the whole table.
    """
    return Column(name, Text(), Computed(f"lower({source})", persisted=True))


def document(name: str) -> Column[Any]:
    """A JSON object, empty at first."""
    return Column(name, JSONB(), nullable=False, server_default=text("'{}'"))


def choice(name: str, *, default: str | None = None) -> Column[Any]:
    """Text that a `one_of` constrains."""
    preset = None if default is None else text(f"'{default}'")
    return Column(name, Text(), nullable=False, server_default=preset)


def one_of(name: str, *values: str) -> CheckConstraint:
    """`ck_<table>_<name>`: the column holds one of the values. A CHECK can be changed in a
    transaction, an ENUM type cannot."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{name} IN ({listed})", name=name)


def belongs_to(name: str, target: str) -> Column[Any]:
    """A required reference; the row goes with what it refers to. Indexed."""
    return Column(name, Uuid(), ForeignKey(target, ondelete="CASCADE"), nullable=False, index=True)


def refers_to(name: str, target: str) -> Column[Any]:
    """An optional reference that becomes NULL when its target goes. Indexed."""
    return Column(name, Uuid(), ForeignKey(target, ondelete="SET NULL"), index=True)


def flag(name: str, *, default: bool) -> Column[Any]:
    return Column(name, Boolean(), nullable=False, server_default=true() if default else false())


def number(name: str, *, default: int) -> Column[Any]:
    return Column(name, Integer(), nullable=False, server_default=text(str(default)))


def required_bytes(name: str) -> Column[Any]:
    """Bytes that must be given: hashes, keys, sealed secrets."""
    return Column(name, LargeBinary(), nullable=False)
