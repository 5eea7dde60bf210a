"""What a template promises about a schema: its tables and the rights on them. Pure."""

import re

from controlplane.tenancy.compile import SCHEMA, Script
from controlplane.tenancy.sqltext import plain

_NAME = rf'(?:{SCHEMA}\.)?"?(\w+)"?'
_CREATE = re.compile(rf"CREATE TABLE {_NAME}", re.IGNORECASE)
_DROP = re.compile(rf"DROP TABLE {_NAME}", re.IGNORECASE)
_RENAME = re.compile(rf"ALTER TABLE {_NAME} RENAME TO {_NAME}", re.IGNORECASE)
_GRANT = re.compile(rf"GRANT ([A-Z, ]+) ON (?:TABLE )?{_NAME} TO __role__", re.IGNORECASE)


Rights = dict[str, frozenset[str]]


def rights_by_table(script: Script) -> Rights:
    """Every table and what the tenant's role may do on it, read from a first install's statements
    so that no second list can differ."""
    rights: Rights = {}
    for statement in script.statements:
        _apply(plain(statement), rights)
    return rights


def _apply(statement: str, rights: Rights) -> None:
    if found := _CREATE.match(statement):
        rights[found[1]] = frozenset()
    elif found := _DROP.match(statement):
        rights.pop(found[1], None)
    elif found := _RENAME.match(statement):
        rights[found[2]] = rights.pop(found[1], frozenset())
    elif found := _GRANT.match(statement):
        granted = frozenset(word.strip().upper() for word in found[1].split(","))
        rights[found[2]] = rights.get(found[2], frozenset()) | granted
