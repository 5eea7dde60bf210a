"""Rules that look at a revision's Python text. Pure but for reading it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from controlplane.tenancy.findings import Finding, Rule

SCHEMA_ARGUMENT = Rule(
    "schema-argument",
    "The path decides whose table it is.",
    "Leave `schema=` away.",
)
LIVE_TABLES = Rule(
    "live-tables",
    "Those tables change with later revisions, and this one would change with them.",
    "Write the columns as they are at this revision, or sa.table(…) for rows.",
)
ONLINE_DDL = Rule(
    "online-ddl",
    "A data revision is left out when a new schema is made, so its tables would be missing there.",
    "Put the change of tables into a revision of its own.",
)
NO_DOWNGRADE = Rule(
    "downgrade",
    "Nobody could go back from it.",
    "Write `downgrade`, or let it raise with the reason.",
)
BATCH_OFFLINE = Rule(
    "batch-offline",
    "Only a data revision goes through rows in batches; this one would never run them.",
    "Say `online = True`, and change tables in another revision.",
)

_ROWS_ONLY = frozenset(["bulk_insert", "execute", "f", "get_bind", "get_context", "inline_literal"])
_MAKES_TABLES = frozenset(["tenant_table", "drop_tenant_table", "protect", "grant"])


def breaches(path: Path) -> Iterator[Finding]:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    name = _revision(tree) or path.name
    online = any(_assigns(node, "online") for node in tree.body)
    for node in ast.walk(tree):
        for rule in _node(node, online=online):
            yield Finding(rule, name, ast.unparse(node))
    if not online and any(_is_batch(node) for node in tree.body):
        yield Finding(BATCH_OFFLINE, name, "batch")
    if not any(_is_downgrade(node) for node in tree.body):
        yield Finding(NO_DOWNGRADE, name, path.name)


def _node(node: ast.AST, *, online: bool) -> Iterator[Rule]:
    if isinstance(node, ast.Call):
        if any(keyword.arg == "schema" for keyword in node.keywords):
            yield SCHEMA_ARGUMENT
        if online and _changes_tables(node.func):
            yield ONLINE_DDL
    if isinstance(node, ast.ImportFrom) and _is_of_today(node.module or ""):
        yield LIVE_TABLES


def _is_of_today(module: str) -> bool:
    """It declares tables as they are at the newest revision: an application's, or the core's."""
    ours = module.startswith("controlplane.tenancy.") and module.endswith(("_tables", "_table"))
    return ours or module.rsplit(".", maxsplit=1)[-1] == "tables"


def _changes_tables(called: ast.expr) -> bool:
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
        return called.value.id == "op" and called.attr not in _ROWS_ONLY
    return isinstance(called, ast.Name) and called.id in _MAKES_TABLES


def _is_batch(node: ast.stmt) -> bool:
    return _assigns(node, "batch") or (isinstance(node, ast.FunctionDef) and node.name == "batch")


def _is_downgrade(node: ast.stmt) -> bool:
    """Present, and more than `pass`."""
    return (
        isinstance(node, ast.FunctionDef)
        and node.name == "downgrade"
        and not all(isinstance(statement, ast.Pass) for statement in node.body)
    )


def no_way_back(source: str) -> str | None:
    """Why a revision's text says that nobody can go back from it; None where it goes back."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == "downgrade":
            told = [each for each in node.body if not isinstance(each, ast.Expr)]
            return _raised(told[0]) if told and isinstance(told[0], ast.Raise) else None
    return "It has none."


def _raised(node: ast.Raise) -> str:
    call = node.exc
    if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant):
        return str(call.args[0].value).rstrip(".") + "."
    return "It says no reason."


def _revision(tree: ast.Module) -> str | None:
    for node in tree.body:
        if _assigns(node, "revision") and isinstance(node, ast.Assign | ast.AnnAssign):
            return str(node.value.value) if isinstance(node.value, ast.Constant) else None
    return None


def _assigns(node: ast.stmt, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)
