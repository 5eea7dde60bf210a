"""What an operator may change while everything runs: public.system_config, typed, with defaults."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.tenants import Tier
from controlplane.errors import FieldFault, ValidationFailed
from controlplane.store.tables import system_config as table

Value = TypeVar("Value")


@dataclass(frozen=True)
class Key(Generic[Value]):
    """`value_type` is string, integer or boolean; `parse` raises ValueError for what does not fit."""

    name: str
    value_type: str
    default: Value
    parse: Callable[[Any], Value]


DEFAULT_TIER = Key("default_subscription_tier", "string", Tier.STARTER, Tier)

_KEYS: dict[str, Key[Any]] = {key.name: key for key in (DEFAULT_TIER,)}


async def read(conn: AsyncConnection, key: Key[Value]) -> Value:
    """The value, or the default where there is none. Raises ValidationFailed for one that was
    written past `write` and does not fit."""
    row = (await conn.execute(select(table.c.value).where(table.c.key == key.name))).one_or_none()
    return key.default if row is None else _parsed(key, row.value)


async def write(conn: AsyncConnection, name: str, value: object) -> None:
    """Raises ValidationFailed for an unknown name and for a value that does not fit."""
    if name not in _KEYS:
        raise _fault("unknown_key", f"There is no setting '{name}'.")
    key = _KEYS[name]
    _parsed(key, value)
    row = insert(table).values(key=name, value=value, value_type=key.value_type)
    changed = {"value": value, "updated_at": func.now()}
    await conn.execute(row.on_conflict_do_update(index_elements=[table.c.key], set_=changed))


def _parsed(key: Key[Value], value: Any) -> Value:
    try:
        return key.parse(value)
    except (TypeError, ValueError) as error:
        raise _fault("invalid_value", f"The setting '{key.name}' cannot be {value!r}.") from error


def _fault(code: str, detail: str) -> ValidationFailed:
    return ValidationFailed(detail, [FieldFault("/value", code, detail)])
