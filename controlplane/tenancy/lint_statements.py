"""Rules that look at one compiled statement. Pure."""

import re
from collections.abc import Iterator

from controlplane.tenancy.findings import Rule
from controlplane.tenancy.sqltext import without_literals

_LOCAL = "On a distributed server the table silently stays on one node."
_REFUSED = "Distributed servers refuse it."

_REACHES_OUT = (
    r"\b(TABLE|ONLY|INTO|FROM|JOIN|UPDATE|ON|REFERENCES|VIEW|INDEX|EXISTS|SEQUENCE)"
    r' (?!__schema__\.alembic_version\b)("[^"]+"|\w+)\.("|\w)'
)
_BEYOND = (
    r"^((CREATE|ALTER|DROP|COMMENT ON) (ROLE|USER|GROUP|DATABASE|SCHEMA)"
    r"|ALTER DEFAULT PRIVILEGES|(REASSIGN|DROP) OWNED|SET|RESET|VACUUM|REINDEX|COPY"
    # The session and its savepoints, cursors and prepared statements are the worker's.
    r"|RELEASE|DISCARD|DEALLOCATE|EXECUTE|DECLARE|LISTEN|UNLISTEN|NOTIFY|LOAD|CHECKPOINT)\b"
)
# A table may have this name: INSERT INTO temp.
_TEMPORARY = (
    r"^CREATE (OR REPLACE )?((GLOBAL|LOCAL) )?TEMP(ORARY)?\b"
    r"|(?<!INSERT )(?<!MERGE )\bINTO ((GLOBAL|LOCAL) )?TEMP(ORARY)?\b"
)

# Patterns see the statement on one line, literals emptied; they ignore case.
RULES: list[tuple[str, Rule]] = [
    (
        r"^CREATE (TYPE|DOMAIN)\b",
        Rule(
            "type",
            "A type's values cannot be changed inside a transaction with the tables that use it.",
            "Use text with a named CHECK (`choice` and `one_of`).",
        ),
    ),
    (
        r"^CREATE (OR REPLACE )?(EXTENSION|FUNCTION|PROCEDURE|AGGREGATE|LANGUAGE|OPERATOR|CAST)\b",
        Rule(
            "function",
            "It would exist once per tenant, or run with whatever path its caller has.",
            "Put the logic into the application; gen_random_uuid() is built in.",
        ),
    ),
    (
        r"^CREATE (OR REPLACE )?(CONSTRAINT |EVENT )?(TRIGGER|RULE)\b",
        Rule("trigger", _REFUSED, "Let the application set the value, such as `updated_at`."),
    ),
    (r"^(DO|CALL)\b", Rule("block", _LOCAL, "Write the statements one by one.")),
    (
        r"\bAS IDENTITY\b|\b(BIG|SMALL)?SERIAL\b",
        Rule("identity", _REFUSED, "Use a UUID key (`key`)."),
    ),
    (r"\bINHERITS ?\(", Rule("inheritance", _REFUSED, "Use a table of its own.")),
    (
        r"^(GRANT|REVOKE) .*\bON ALL \w+ IN SCHEMA\b",
        Rule(
            "grant-on-all",
            "It reads the catalog rows of every tenant: creation slows down with their number.",
            "Name the tables (`tenant_table`, `grant`).",
        ),
    ),
    (
        r"^ALTER TABLE .*\bADD COLUMN\b.*\b(CHECK ?\(|REFERENCES|UNIQUE|PRIMARY KEY)",
        Rule(
            "inline-constraint",
            _REFUSED,
            "Add the column, then the named constraint as a statement of its own.",
        ),
    ),
    (r"\bRENAME CONSTRAINT\b", Rule("rename-constraint", _REFUSED, "Drop it and add a new one.")),
    (r"\bSET SCHEMA\b", Rule("set-schema", _REFUSED, "A table stays in its tenant's schema.")),
    (
        # A column called owner may be renamed.
        r"^ALTER .*(?<!RENAME )(?<!COLUMN )\bOWNER TO\b",
        Rule(
            "owner",
            "Whoever owns a table can lift its row-level security.",
            "Leave it to the login that runs the revisions.",
        ),
    ),
    (
        r"\bCONCURRENTLY\b",
        Rule(
            "concurrently",
            "It cannot run in the one transaction that makes or upgrades a tenant.",
            "Create the index plainly: a tenant's tables are small.",
        ),
    ),
    (
        r"^INSERT\b.*\bSELECT\b",
        Rule(
            "insert-select", _REFUSED, "Write literal rows, or a data revision (`online = True`)."
        ),
    ),
    (
        r"^UPDATE\b.*\b(random|gen_random_uuid|clock_timestamp|timeofday|nextval) ?\(",
        Rule("volatile-update", _REFUSED, "Let the application compute the value."),
    ),
    (
        _REACHES_OUT,
        Rule(
            "schema-named",
            "The path decides whose table it is; a name reaches out of the tenant.",
            "Leave the schema's name away.",
        ),
    ),
    (
        r"\bTIMESTAMP\b(?! ?(\(\d\) ?)?WITH TIME ZONE)",
        Rule("naive-time", "Its meaning depends on the session's time zone.", "Use timestamptz."),
    ),
    (
        _TEMPORARY,
        Rule(
            "temporary",
            "It outlives the transaction: the session's next tenant finds it, with this one's rows.",
            "Write one statement, or a data revision (`online = True`).",
        ),
    ),
    (
        _BEYOND,
        Rule(
            "beyond-tables",
            "Roles, schemas and session settings are the control plane's.",
            "A revision changes tables, indexes, constraints and rows.",
        ),
    ),
]
_COMPILED = [(re.compile(pattern, re.IGNORECASE), rule) for pattern, rule in RULES]

_SEED = Rule(
    "seed",
    "The seed is compiled once for all tenants.",
    "Write `INSERT INTO table (columns) VALUES (literals)`.",
)
_LITERAL_INSERT = re.compile(r"INSERT INTO \w+ ?\([^)]*\) ?VALUES\b", re.IGNORECASE)


def breaches(statement: str, origin: str) -> Iterator[Rule]:
    words = " ".join(without_literals(statement).split())
    for pattern, rule in _COMPILED:
        if pattern.search(words):
            yield rule
    if origin == "seed" and not _LITERAL_INSERT.match(words):
        yield _SEED
