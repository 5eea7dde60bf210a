"""Rules that look at what becomes of each table over all statements. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from controlplane.tenancy.compile import ROLE, SCHEMA, TENANT_ID, Script
from controlplane.tenancy.findings import Finding, Rule
from controlplane.tenancy.revisions import CONTEXT
from controlplane.tenancy.sqltext import parts, plain, without_literals
from controlplane.tenancy.versions import VERSIONS

# Tables of schema public: a path to a schema that is missing must never find one of these names.
PUBLIC_TABLES = frozenset(
    [
        "alembic_version_public",
        "api_tokens",
        "audit_log",
        "drift_findings",
        "drift_look",
        "email_deliveries",
        "global_sessions",
        "global_users",
        "idempotency_keys",
        "installation",
        "operation_events",
        "operation_steps",
        "operations",
        "rate_counts",
        "rollout_positions",
        "rollout_targets",
        "rollouts",
        "structure_drift",
        "structure_look",
        "subdomain_holds",
        "system_config",
        "tenant_changes",
        "tenant_domains",
        "tenant_hosts",
        "tenant_registry_changes",
        "tenant_resources",
        "tenants",
        "warm_schemas",
    ]
)

_BY_TABLE = "Create it with `tenant_table` (or add what is missing with `protect` and `grant`)."
UNPROTECTED = Rule("unprotected", "Every tenant table is guarded by row-level security.", _BY_TABLE)
TENANT_COLUMN = Rule("tenant-column", "Every row says whose it is, pinned by a CHECK.", _BY_TABLE)
GRANTS = Rule(
    "grants",
    "The tenant's role has exactly the rights that are named, and nobody else has any.",
    "Grant whole tables, one by one, to the tenant's role (`tenant_table`, `grant`).",
)
POLICY = Rule(
    "policy",
    "A policy beyond the two could open the table by a flag or a role.",
    "Guard rows in the application, or with a narrower grant.",
)
NAME = Rule(
    "name-taken",
    "A table of this name exists in schema public.",
    "Choose another name.",
)
UNNAMED = Rule(
    "unnamed",
    "A later revision cannot name the constraint, and its name would differ between tenants.",
    "Give every constraint a name.",
)
OUTSIDE = Rule(
    "foreign-key",
    "A reference may not leave the tenant's schema.",
    "Refer to a table that the revisions create.",
)

_NAME = rf'(?:{SCHEMA}\.)?"?(\w+)"?'
_CREATE = re.compile(rf"CREATE (?:UNLOGGED |TEMP |TEMPORARY )?TABLE {_NAME}", re.IGNORECASE)
# Here nothing says how its table is protected.
_FILLS = re.compile(r"(?:SELECT|WITH)\b.*(?<!\bINSERT )(?<!\bMERGE )\bINTO\b", re.IGNORECASE)
_ALTER = re.compile(rf"ALTER TABLE (?:ONLY )?{_NAME}(?: ?\*)? (.*)", re.IGNORECASE)
_SECURITY = re.compile(r"ALTER TABLE .*\bROW LEVEL SECURITY\b", re.IGNORECASE)
_RENAME = re.compile(rf"RENAME TO {_NAME}", re.IGNORECASE)
_GONE = re.compile(rf"DROP TABLE {_NAME}", re.IGNORECASE)
_POLICY = re.compile(rf'(CREATE|ALTER|DROP) POLICY "?(\w+)"? ON {_NAME}', re.IGNORECASE)
_ANY_POLICY = re.compile(r"(CREATE|ALTER|DROP) POLICY\b", re.IGNORECASE)
_RIGHTS = re.compile(r"(GRANT|REVOKE)\b", re.IGNORECASE)
_GRANT = re.compile(rf"GRANT ([A-Z, ]+) ON (?:TABLE )?{_NAME} TO (\w+)", re.IGNORECASE)
_REFERENCES = re.compile(r'REFERENCES "?(\w+)"?', re.IGNORECASE)
_NAMED_KEY = re.compile(r"CONSTRAINT \S+ FOREIGN KEY ?\([^)]*\) REFERENCES", re.IGNORECASE)
_NAMED = re.compile(
    r"CONSTRAINT \S+ (PRIMARY KEY|UNIQUE|CHECK|EXCLUDE|REFERENCES)\b", re.IGNORECASE
)
_ANY = re.compile(r"\b(PRIMARY KEY|UNIQUE|CHECK|FOREIGN KEY|EXCLUDE|REFERENCES)\b", re.IGNORECASE)
_DML = frozenset(["SELECT", "INSERT", "UPDATE", "DELETE"])

_POLICIES = {
    "tenant_access": plain("PERMISSIVE FOR ALL TO PUBLIC USING (true) WITH CHECK (true)"),
    "tenant_rows": plain(
        f"RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = {CONTEXT})"
        f" WITH CHECK (tenant_id = {CONTEXT})"
    ),
}

# What a statement says about its table, and what it takes back.
_FACTS = {
    "column": re.compile(rf"\btenant_id UUID DEFAULT '{TENANT_ID}' NOT NULL", re.IGNORECASE),
    "pinned": re.compile(rf"\bCHECK \(tenant_id = '{TENANT_ID}'\)", re.IGNORECASE),
    "enabled": re.compile(r"\bENABLE ROW LEVEL SECURITY", re.IGNORECASE),
    "forced": re.compile(r"(?<!\bNO )\bFORCE ROW LEVEL SECURITY", re.IGNORECASE),
}
_UNDONE = {
    "column": re.compile(r'\b(DROP|ALTER|RENAME) (COLUMN )?"?tenant_id\b', re.IGNORECASE),
    "pinned": re.compile(r'\bDROP CONSTRAINT "?ck_\w+_tenant_id\b', re.IGNORECASE),
    "enabled": re.compile(r"\bDISABLE ROW LEVEL SECURITY", re.IGNORECASE),
    "forced": re.compile(r"\bNO FORCE ROW LEVEL SECURITY", re.IGNORECASE),
}
_NEEDED = {
    UNPROTECTED: {"enabled", "forced", "tenant_access", "tenant_rows"},
    TENANT_COLUMN: {"column", "pinned"},
    GRANTS: {"granted"},
}


@dataclass
class _Table:
    revision: str
    statement: str
    facts: set[str] = field(default_factory=set)


def breaches(script: Script) -> Iterator[Finding]:
    tables: dict[str, _Table] = {}
    for statement, origin in zip(script.statements, script.origins, strict=True):
        line = plain(statement)
        for rule in [*_apply(line, tables, _Table(origin, statement)), *_constraints(line, tables)]:
            yield Finding(rule, origin, statement)
    for name, table in tables.items():
        for rule in _missing(name, table.facts):
            yield Finding(rule, table.revision, table.statement)


def _missing(name: str, facts: set[str]) -> Iterator[Rule]:
    for rule, needed in _NEEDED.items():
        wanted = needed - {"granted"} if name == VERSIONS else needed
        if wanted - facts:
            yield rule
    if name in PUBLIC_TABLES:
        yield NAME


def _apply(line: str, tables: dict[str, _Table], made: _Table) -> Iterator[Rule]:
    if found := _CREATE.match(line):
        tables[found[1]] = made
        _note(made, line)
    elif (found := _ALTER.match(line)) and found[1] in tables:
        _alter(found[1], found[2], tables)
    elif found := _GONE.match(line):
        tables.pop(found[1], None)
    elif _ANY_POLICY.match(line):
        yield from _policy(line, tables)
    elif _RIGHTS.match(line):
        yield from _grant(line, tables)
    elif _FILLS.match(line) or _SECURITY.match(line):
        yield UNPROTECTED


def _alter(name: str, change: str, tables: dict[str, _Table]) -> None:
    for part in parts(change):
        _note(tables[name], part)
    if renamed := _RENAME.match(change):
        tables[renamed[1]] = tables.pop(name)


def _note(table: _Table, text: str) -> None:
    table.facts -= {fact for fact, pattern in _UNDONE.items() if pattern.search(text)}
    table.facts |= {fact for fact, pattern in _FACTS.items() if pattern.search(text)}


def _policy(line: str, tables: dict[str, _Table]) -> Iterator[Rule]:
    """As with grants: what it opens is not guessed."""
    verb, name, of = found.groups() if (found := _POLICY.match(line)) else ("", "", "")
    table = tables.get(of)
    if table and verb == "drop":
        table.facts.discard(name)
    elif table and verb == "create" and line.partition(" as ")[2] == _POLICIES.get(name):
        table.facts.add(name)
    else:
        yield POLICY


def _grant(line: str, tables: dict[str, _Table]) -> Iterator[Rule]:
    """Whatever has not the shape of `grant` is refused: what it grants would have to be guessed."""
    found = _GRANT.fullmatch(line)
    table = tables.get(found[2]) if found else None
    if found and table and found[3] == ROLE and _named(found[1]) <= _DML:
        table.facts.add("granted")
    else:
        yield GRANTS


def _named(rights: str) -> set[str]:
    return {right.strip().upper() for right in rights.split(",")}


def _constraints(line: str, tables: dict[str, _Table]) -> Iterator[Rule]:
    if not (_CREATE.match(line) or _ALTER.match(line)):
        return
    words = without_literals(line)
    if _ANY.search(_NAMED.sub("", _NAMED_KEY.sub("", words))):
        yield UNNAMED
    if any(name not in tables for name in _REFERENCES.findall(words)):
        yield OUTSIDE
