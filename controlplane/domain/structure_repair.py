"""The SQL that would make a schema what its template says, for an operator to read and to run. Pure.

Whatever it takes away comes last and only where that is asked for: what the template does not know
may be somebody's.
"""

from collections.abc import Callable, Iterable

from controlplane.domain.naming import SchemaName
from controlplane.domain.structure import SCHEMA, TENANT_ID, Difference, FactKind

_OWNER = "__owner__"
_Sql = Callable[[Difference], str]


def repair_plan(
    apart: Iterable[Difference],
    *,
    schema: SchemaName,
    tenant_id: object,
    owner: str,
    removals: bool = False,
) -> list[str]:
    """Statements without semicolons, to be run in one transaction by the schema's owner (quoted).

    Without `removals`, what would remove something is a comment.
    """
    found = list(apart)
    presets = {(d.on, d.name): d.expected for d in found if d.kind is FactKind.DEFAULT}
    made = [text for d in found if d.expected is not None for text in _made(d, presets)]
    gone = [text for d in reversed(found) if d.expected is None for text in _gone(d)]
    kept = gone if removals else [f"-- not done: {text}" for text in gone]
    fills = {SCHEMA: schema, TENANT_ID: str(tenant_id), _OWNER: owner}
    return [_filled(text, fills) for text in (*made, *kept)]


def _filled(text: str, fills: dict[str, str]) -> str:
    for placeholder, value in fills.items():
        text = text.replace(placeholder, value)
    return text


def _table(d: Difference) -> str:
    return f"{SCHEMA}.{d.on}"


def _alter(d: Difference) -> str:
    return f"ALTER TABLE {_table(d)}"


def _column(d: Difference) -> str:
    return f"{_alter(d)} ALTER COLUMN {d.name}"


def _definition(d: Difference) -> str:
    return d.expected or ""


def _constraint(d: Difference) -> str:
    return f"{_alter(d)} ADD CONSTRAINT {d.name} {d.expected}"


def _row_security(d: Difference) -> str:
    enabled = "ENABLE" if _definition(d).startswith("enabled") else "DISABLE"
    forced = "NO FORCE" if "not forced" in _definition(d) else "FORCE"
    return f"{_alter(d)} {enabled} ROW LEVEL SECURITY, {forced} ROW LEVEL SECURITY"


def _type_of(d: Difference) -> str:
    return _definition(d).partition(" GENERATED ")[0]


_CREATE: dict[FactKind, _Sql] = {
    FactKind.SEQUENCE: lambda d: f"CREATE SEQUENCE {_table(d)} {d.expected}",
    # Its columns, constraints and the rest are facts of their own, which follow.
    FactKind.TABLE: lambda d: f"CREATE TABLE {_table(d)} ()",
    FactKind.TYPE: lambda d: f"CREATE TYPE {SCHEMA}.{d.name} {d.expected}",
    FactKind.FUNCTION: _definition,
    FactKind.COLUMN: lambda d: f"{_alter(d)} ADD COLUMN {d.name} {d.expected}",
    FactKind.DEFAULT: lambda d: f"{_column(d)} SET DEFAULT {d.expected}",
    FactKind.NOT_NULL: lambda d: f"{_column(d)} SET NOT NULL",
    FactKind.CONSTRAINT: _constraint,
    FactKind.FOREIGN_KEY: _constraint,
    FactKind.INDEX: _definition,
    FactKind.STATISTICS: _definition,
    FactKind.VIEW: lambda d: f"CREATE {_definition(d).removesuffix(';')}",
    FactKind.TRIGGER: _definition,
    FactKind.POLICY: lambda d: f"CREATE POLICY {d.name} ON {_table(d)} {d.expected}",
    FactKind.ROW_SECURITY: _row_security,
    FactKind.OWNER: lambda d: f"{_alter(d)} OWNER TO {_OWNER}",
}
# What can be changed in its place; the rest is taken away and made anew.
_CHANGE: dict[FactKind, _Sql] = {
    **{
        kind: _CREATE[kind]
        for kind in (FactKind.FUNCTION, FactKind.DEFAULT, FactKind.ROW_SECURITY, FactKind.OWNER)
    },
    FactKind.SEQUENCE: lambda d: f"ALTER SEQUENCE {_table(d)} {d.expected}",
    FactKind.COLUMN: lambda d: f"{_column(d)} TYPE {_type_of(d)} USING {d.name}::{_type_of(d)}",
}
_REMOVE: dict[FactKind, _Sql] = {
    FactKind.TYPE: lambda d: f"DROP TYPE {SCHEMA}.{d.name}",
    FactKind.SEQUENCE: lambda d: f"DROP SEQUENCE {_table(d)}",
    FactKind.TABLE: lambda d: f"DROP TABLE {_table(d)}",
    FactKind.FUNCTION: lambda d: f"DROP ROUTINE {SCHEMA}.{d.name}",
    FactKind.COLUMN: lambda d: f"{_alter(d)} DROP COLUMN {d.name}",
    FactKind.DEFAULT: lambda d: f"{_column(d)} DROP DEFAULT",
    FactKind.NOT_NULL: lambda d: f"{_column(d)} DROP NOT NULL",
    FactKind.CONSTRAINT: lambda d: f"{_alter(d)} DROP CONSTRAINT {d.name}",
    FactKind.FOREIGN_KEY: lambda d: f"{_alter(d)} DROP CONSTRAINT {d.name}",
    FactKind.INDEX: lambda d: f"DROP INDEX {SCHEMA}.{d.name}",
    FactKind.STATISTICS: lambda d: f"DROP STATISTICS {SCHEMA}.{d.name}",
    FactKind.VIEW: lambda d: f"DROP {(d.found or '').partition('VIEW')[0]}VIEW {_table(d)}",
    FactKind.TRIGGER: lambda d: f"DROP TRIGGER {d.name} ON {_table(d)}",
    FactKind.POLICY: lambda d: f"DROP POLICY {d.name} ON {_table(d)}",
}
# What only somebody who knows the data can change.
_BY_HAND = frozenset({FactKind.TYPE, FactKind.TABLE})


def _made(d: Difference, presets: dict[tuple[str, str], str | None]) -> list[str]:
    if d.kind is FactKind.GRANT:
        return _granted(d)
    if d.found is None and _can_be_made(d):
        default = presets.get((d.on, d.name)) if d.kind is FactKind.COLUMN else None
        # At once, so that the rows that are there have it.
        return [_CREATE[d.kind](d) + (f" DEFAULT {default}" if default else "")]
    if d.kind in _BY_HAND:
        return [f"-- by hand: {d}".replace("\n", " ")]
    if d.kind in _CHANGE:
        return [_CHANGE[d.kind](d)]
    return [_REMOVE[d.kind](d), _CREATE[d.kind](d)]


def _can_be_made(d: Difference) -> bool:
    begins = {FactKind.TYPE: "AS ENUM", FactKind.TABLE: "plain"}.get(d.kind, "")
    return _definition(d).startswith(begins)


def _gone(d: Difference) -> list[str]:
    if d.kind is FactKind.GRANT:
        return _granted(d)
    # An owner and row security go with their table.
    return [_REMOVE[d.kind](d)] if d.kind in _REMOVE else []


def _granted(d: Difference) -> list[str]:
    given, found = _rights(d.expected), _rights(d.found)
    on = _table(d) if d.on else f"SCHEMA {SCHEMA}"
    # A star is for a right that may be handed on.
    taken, more = (
        ", ".join(sorted(found - given)).replace("*", ""),
        ", ".join(sorted(given - found)),
    )
    revoked = f"REVOKE {taken} ON {on} FROM {d.name}" if taken else ""
    granted = f"GRANT {more} ON {on} TO {d.name}" if more else ""
    return [text for text in (revoked, granted) if text]


def _rights(told: str | None) -> set[str]:
    return {right for right in (told or "").split(", ") if right}
